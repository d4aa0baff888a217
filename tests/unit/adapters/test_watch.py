"""Hints come soon, survive the folder and end at once."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from adapters.file import FileReceiveAdapter
from tests.unit.adapters.support import WHOLE, Site


class Hints:
    """Counts the hints of an adapter in the background."""

    def __init__(self, adapter: FileReceiveAdapter) -> None:
        self.count = 0
        self._more = asyncio.Condition()
        self._adapter = adapter

    async def listen(self) -> None:
        async for _ in self._adapter.hints():
            async with self._more:
                self.count += 1
                self._more.notify_all()

    async def after(self, count: int) -> None:
        """Wait until there are more than *count*."""
        async with asyncio.timeout(30), self._more:
            await self._more.wait_for(lambda: self.count > count)


@asynccontextmanager
async def listening(site: Site, **changes: object) -> AsyncIterator[Hints]:
    adapter = site.receiver(**changes)  # type: ignore[arg-type]  # a test names real fields
    hints = Hints(adapter)
    task = asyncio.create_task(hints.listen())
    try:
        yield hints
    finally:
        adapter.stop()
        async with asyncio.timeout(5):
            await task


@pytest.mark.parametrize("polling", [False, True], ids=["events", "polling"])
async def test_a_file_renamed_in_gives_a_hint(site: Site, polling: bool) -> None:
    async with listening(site, force_polling=polling, sweep_seconds=0.1) as hints:
        await hints.after(0)  # one to begin with: files may have come before
        for number in range(3):
            before = hints.count
            site.drop(f"{number}.xml")
            await hints.after(before)


async def test_a_name_that_is_not_utf8_gives_a_hint_and_so_does_the_next(site: Site) -> None:
    with capture_logs():
        async with listening(site) as hints:
            await hints.after(0)
            for name in (b"caf\xe9.xml", b"next.xml"):
                before = hints.count
                site.drop(name)
                await hints.after(before)


async def test_our_own_claims_give_no_hint(site: Site) -> None:
    async with listening(site) as hints:
        await hints.after(0)
        before = hints.count
        site.drop("a.xml")
        await hints.after(before)
        await site.receiver().claim(1)
        before = hints.count
        os.unlink(os.path.join(site.work, os.listdir(site.work)[0]))
        (site.inbound / "b.xml").write_bytes(WHOLE)
        await hints.after(before)


@pytest.mark.parametrize("how", ["missing at first", "deleted", "replaced"])
async def test_a_folder_that_comes_back_is_watched_again(site: Site, how: str) -> None:
    if how == "missing at first":
        site.inbound.rmdir()
    with capture_logs():
        async with listening(site) as hints:
            if how == "missing at first":
                site.inbound.mkdir()
                await hints.after(0)
            else:
                await hints.after(0)
                before = hints.count
                if how == "deleted":
                    shutil.rmtree(site.inbound)
                else:
                    site.inbound.rename(site.root / "old")
                site.inbound.mkdir()
                await hints.after(before)
            before = hints.count
            site.drop("a.xml")
            await hints.after(before)


async def test_a_listener_that_is_cancelled_leaves_no_thread(site: Site) -> None:
    hints = Hints(site.receiver())
    task = asyncio.create_task(hints.listen())
    await hints.after(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(5):
            await task
