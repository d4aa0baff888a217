"""A BatchId that comes again: told, or refused where the port takes each one once."""

from collections.abc import Mapping

from tests.documents import batch, envelope
from tests.site import Site, running, until

ENDS: Mapping[str, tuple[str, str, int]] = {
    "told": ("file.warned", "batch.repeated", 3),
    "refused": ("file.refused", "batch.duplicate", 1),
}
"""By port: how it is told that a file comes again, and how many answers there are in the end."""


async def test_only_what_comes_again_is_told_or_refused(site: Site) -> None:
    for port in ENDS:
        site.add_port(port, process={"unique_batch_id": port == "refused"})
        for name in ("a.xml", "b.xml"):  # found in one look
            site.drop(name, batch([envelope()], 'BatchId="77"'), port)

    async def told(port: str, *files: str) -> bool:
        event, code, _ = ENDS[port]
        of_port = [one for one in site.events() if one.get("port") == port]
        return [one["file"] for one in of_port if (one["event"], one.get("code")) == (event, code)] == [*files]

    async with running(site):
        for port in ENDS:
            await until(lambda port=port: told(port, "b.xml"), "the second file is told of", tell=site.tail)
            site.drop("c.xml", batch([envelope()], 'BatchId="77"'), port)
        for port, (_, _, answers) in ENDS.items():
            await until(lambda port=port: told(port, "b.xml", "c.xml"), "the third file is told of", tell=site.tail)
            assert len(await site.wait_answers(answers, port)) == answers
    for port, (_, _, answers) in ENDS.items():
        assert len(site.answers(port)) == answers
