"""A BatchId that comes again: told, or refused where the port takes each one once."""

import pytest

from tests.documents import batch, envelope
from tests.site import Site, until


@pytest.mark.parametrize(
    ("unique", "answers", "event", "code"),
    [(False, 3, "file.warned", "batch.repeated"), (True, 1, "file.refused", "batch.duplicate")],
    ids=["told", "refused"],
)
async def test_only_what_comes_again_is_told_or_refused(
    site: Site, unique: bool, answers: int, event: str, code: str
) -> None:
    site.add_port(process={"unique_batch_id": unique})
    for name in ("a.xml", "b.xml"):  # found in one look
        site.drop(name, batch([envelope()], 'BatchId="77"'))
    await site.start()

    async def told(*files: str) -> bool:
        return [one["file"] for one in site.events() if (one["event"], one.get("code")) == (event, code)] == [*files]

    await until(lambda: told("b.xml"), "the second file is told of", tell=site.tail)
    site.drop("c.xml", batch([envelope()], 'BatchId="77"'))
    await until(lambda: told("b.xml", "c.xml"), "the third file is told of", tell=site.tail)
    assert len(await site.wait_answers(answers)) == answers
    assert await site.stop() == 0
    assert len(site.answers()) == answers
