"""Hints come soon, survive the folder and end at once."""

import asyncio
import errno
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from threading import Event as ThreadEvent

import pytest
from structlog.testing import capture_logs

from adapters.file import FileReceiveAdapter, linux
from adapters.file.inbound import ready, watch
from adapters.file.linux import Event, Happened, Writers
from gateway.kernel.retry import Backoff
from tests.unit.adapters.support import WHOLE, Site, names


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
        async with asyncio.timeout(60), self._more:
            await self._more.wait_for(lambda: self.count > count)


@asynccontextmanager
async def listening(site: Site, adapter: FileReceiveAdapter | None = None, **changes: object) -> AsyncIterator[Hints]:
    adapter = adapter or site.receiver(**changes)  # type: ignore[arg-type]  # a test names real fields
    hints = Hints(adapter)
    task = asyncio.create_task(hints.listen())
    try:
        yield hints
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            async with asyncio.timeout(60):
                await task


@pytest.mark.parametrize("polling", [False, True], ids=["events", "polling"])
async def test_a_file_renamed_in_gives_a_hint(site: Site, polling: bool) -> None:
    async with listening(site, force_polling=polling, sweep_seconds=0.1) as hints:
        await hints.after(0)  # one to begin with: files may have come before
        for number in range(3):
            before = hints.count
            site.drop(f"{number}.xml")
            await hints.after(before)


async def test_a_whole_file_gives_its_hint_at_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "_GROUP_SECONDS", 3600.0)
    async with listening(site) as hints:
        await hints.after(0)
        (site.inbound / "begun.part").touch()
        site.drop("renamed.xml")
        await hints.after(1)
        (site.inbound / "written.xml").write_bytes(WHOLE)
        await hints.after(2)


async def test_the_loop_does_not_turn_for_nothing_while_more_may_happen(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, turns = asyncio.get_running_loop(), 0
    add_reader = loop.add_reader

    def counted(fd: int, callback: Callable[[], None]) -> None:
        def count() -> None:
            nonlocal turns
            turns += 1
            callback()

        add_reader(fd, count)

    monkeypatch.setattr(loop, "add_reader", counted)
    async with listening(site) as hints:
        await hints.after(0)
        with (site.inbound / "begun.xml").open("wb") as file:
            file.write(WHOLE)
            file.flush()
            await hints.after(1)
    assert turns < 10


async def test_a_name_that_is_not_utf8_gives_a_hint_and_so_does_the_next(site: Site) -> None:
    with capture_logs() as told:
        async with listening(site) as hints:
            await hints.after(0)
            for name in (b"caf\xe9.xml", b"next.xml"):
                before = hints.count
                site.drop(name)
                await hints.after(before)
    assert told == []


async def test_trouble_with_watching_is_told_once_and_hints_go_on(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def used_up(_: Path) -> Iterator[int]:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        yield

    monkeypatch.setattr(linux, "watched", used_up)
    monkeypatch.setattr(watch, "_TRY_AGAIN", Backoff(first_seconds=0.001, most_seconds=0.001))
    with capture_logs() as told:
        async with listening(site) as hints:
            await hints.after(5)
    assert [entry["event"] for entry in told] == ["folder.watch_failed"]


async def test_a_file_of_another_account_that_is_renamed_in_is_taken_at_once(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ready, "probe_writer", lambda _: Writers.UNKNOWN)  # as the kernel says of a file not ours
    adapter = site.receiver()
    async with listening(site, adapter) as hints:
        await hints.after(0)
        (site.inbound / "written.xml").write_bytes(WHOLE)
        site.drop("changed.xml")
        with (site.inbound / "changed.xml").open("ab") as file:
            file.write(b"\n")
        site.drop("replaced.xml")
        (site.inbound / "replaced.xml").unlink()
        (site.inbound / "replaced.xml").write_bytes(WHOLE)
        (site.inbound / "later.part").write_bytes(WHOLE)
        (site.inbound / "later.part").rename(site.inbound / "renamed here.xml")
        site.drop("renamed in.xml")
        assert await claimed_in_time(adapter, hints, 2) == [b"renamed here.xml", b"renamed in.xml"]
        assert names(await adapter.poll(10)) == []
        site.clock.move(2)
        assert names(await adapter.poll(10)) == [b"changed.xml", b"replaced.xml", b"written.xml"]
        before = hints.count
        site.drop("last.xml")
        await hints.after(before)
        assert await claimed_in_time(adapter, hints, 1) == [b"last.xml"]


async def test_events_that_were_lost_end_all_trust(site: Site) -> None:
    renamed = {b"a.xml"}
    assert watch._note([Event(Happened.LOST, b"")], renamed)
    assert renamed == set()


async def claimed_in_time(adapter: FileReceiveAdapter, hints: "Hints", count: int) -> list[bytes]:
    """Claim at every hint, as the gateway does, until there are so many; the clock of the site stands still."""
    found: list[bytes] = []
    while True:
        before = hints.count
        found += names(await adapter.poll(10))
        if len(found) >= count:
            return found
        await hints.after(before)


async def test_our_own_claims_give_no_hint(site: Site) -> None:
    async with listening(site) as hints:
        await hints.after(0)
        before = hints.count
        site.drop("a.xml")
        await hints.after(before)
        await site.receiver().poll(1)
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
        async with asyncio.timeout(60):
            await task


@pytest.mark.parametrize("polling", [False, True], ids=["events", "polling"])
async def test_folder_that_hangs_takes_no_thread_from_others(
    site: Site, monkeypatch: pytest.MonkeyPatch, polling: bool
) -> None:
    entered, answers = ThreadEvent(), ThreadEvent()

    def hangs(_: Path) -> None:
        entered.set()
        answers.wait()
        raise FileNotFoundError

    monkeypatch.setattr(watch, "_listing" if polling else "_identity", hangs)
    with ThreadPoolExecutor(1) as shared:
        asyncio.get_running_loop().set_default_executor(shared)
        async with listening(site, force_polling=polling):
            async with asyncio.timeout(60):
                await asyncio.to_thread(entered.wait)  # the shared thread is free
            answers.set()
