"""What is removed from the archive, and what never is."""

import os
from datetime import date

import pytest

from gateway.kernel.errors import AdapterUnavailable
from gateway.messaging.rules.delivery import Claim, Settled, Settlement
from tests.unit.adapters.support import Site

DAY = 86_400.0
LATER = date(2031, 3, 4)


async def archived(site: Site, name: str) -> Claim:
    """Send a file the whole way into today's archive."""
    site.drop(name)
    adapter = site.receiver()
    (claim,) = await adapter.poll(10)
    await adapter.settle([Settled(claim=claim, settlement=Settlement.ARCHIVE)])
    return claim


def left(site: Site) -> dict[str, list[str]]:
    return {day.name: sorted(os.listdir(day)) for day in sorted(site.archive.iterdir())}


async def test_days_older_than_the_window_are_removed_with_their_files(site: Site) -> None:
    for name in ("old.xml", "edge.xml", "new.xml"):
        await archived(site, name)
        site.clock.move(DAY)
    assert list(left(site)) == ["2031-02-03", "2031-02-04", "2031-02-05"]
    assert await site.receiver().purge(date(2031, 2, 4), set()) == 1
    assert list(left(site)) == ["2031-02-04", "2031-02-05"]
    assert await site.receiver().purge(date(2031, 2, 4), set()) == 0


async def test_file_with_unfinished_messages_stays(site: Site) -> None:
    kept, gone = await archived(site, "a.xml"), await archived(site, "b.xml")
    assert await site.receiver().purge(LATER, {kept.id}) == 1
    assert left(site) == {"2031-02-03": [kept.handle.decode()]}
    assert await site.receiver().purge(LATER, set()) == 1
    assert left(site) == {}
    assert gone.id != kept.id


async def test_what_the_gateway_did_not_put_there_stays(site: Site) -> None:
    day = site.archive / "2020-01-01"
    day.mkdir()
    (day / "notes.txt").touch()
    (day / "deeper").mkdir()
    other = site.archive / "old"
    other.mkdir()
    (site.archive / "2020-01-02").touch()
    assert await site.receiver().purge(LATER, set()) == 0
    assert sorted(os.listdir(day)) == ["deeper", "notes.txt"]
    assert other.is_dir() and (site.archive / "2020-01-02").is_file()


async def test_more_files_than_one_visit_takes_go_all(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.file.inbound.adapter._REMOVED_AT_ONCE", 2)
    for name in ("a.xml", "b.xml", "c.xml", "d.xml", "e.xml"):
        await archived(site, name)
    assert await site.receiver().purge(LATER, set()) == 5
    assert left(site) == {}


async def test_claimed_files_are_told_without_touching_anything(site: Site) -> None:
    site.drop("a.xml")
    adapter = site.receiver()
    claims = await adapter.poll(10)
    (site.work / "something else").touch()
    site.recorded.clear()
    assert await adapter.claimed() == {claim.id for claim in claims} != set()
    assert site.recorded == []


async def test_missing_archive_is_told_as_unavailable(site: Site) -> None:
    site.archive.rmdir()
    with pytest.raises(AdapterUnavailable, match="archive"):
        await site.receiver().purge(LATER, set())
