"""Order from files to answers: by file name within a look at the folder, by document order within a file."""

import re
from collections.abc import Mapping, Sequence

from lxml import etree

from tests.documents import batch, envelope
from tests.site import Site, running


async def in_order_of_processing(site: Site, number: int, port: str) -> Sequence[tuple[str, int]]:
    """Return stem and position of each request in the order in which they got their numbers."""
    processed: list[tuple[str, str, int]] = []
    for name, content in (await site.wait_answers(number, port)).items():
        value = etree.fromstring(content).findtext(".//{*}Value")
        found = re.match(r"(.+)\.(\d{6})\.", name)
        assert value is not None and found is not None, content
        processed.append((value, found[1], int(found[2])))
    return [(stem, position) for _, stem, position in sorted(processed)]


PORTS: Mapping[str, str] = {"sequential": "", "parallel": 'ConversationId="5678"'}
"""By mode, which is also the name of the port: what its batches say of themselves."""


async def test_files_found_together_run_by_name_and_messages_by_their_place(site: Site) -> None:
    for mode, attributes in PORTS.items():
        site.add_port(mode, process={"mode": mode})
        for name in ("c", "B", "a-10", "A-2", "d"):
            site.drop(f"{name}.xml", batch([envelope() for _ in range(4)], attributes), mode)
    async with running(site):
        for mode in PORTS:
            assert await in_order_of_processing(site, 20, mode) == [
                (name, position) for name in ("a-10", "A-2", "B", "c", "d") for position in (1, 2, 3, 4)
            ]
