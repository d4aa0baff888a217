"""Files written slowly, in every way partners write: never taken early, always taken."""

import asyncio
import os
import random
import shutil
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from adapters.file import FileReceiveAdapter
from adapters.file.inbound.ready import Readiness, ReadyLadder
from tests.unit.adapters.support import Site

FILES = 12
DOCUMENT = b"<Batch>" + b"<Envelope>text</Envelope>\n" * 400 + b"</Batch>\n"
Pause = Callable[[], None]


class RealClock:
    def monotonic(self) -> float:
        return time.monotonic()

    def now(self) -> datetime:
        return datetime.now(UTC)


def pieces() -> list[bytes]:
    return [DOCUMENT[at : at + 1000] for at in range(0, len(DOCUMENT), 1000)]


def write_directly(path: Path, pause: Pause) -> None:
    with path.open("wb") as file:
        for piece in pieces():
            file.write(piece)
            file.flush()
            pause()


def write_and_rename(path: Path, pause: Pause) -> None:
    temporary = path.with_suffix(".tmp")
    write_directly(temporary, pause)
    temporary.rename(path)


def reserve_and_fill(path: Path, pause: Pause) -> None:
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, len(DOCUMENT))
        for piece in pieces():
            file.write(piece)
            file.flush()
            pause()


def append_again_and_again(path: Path, pause: Pause) -> None:
    for piece in pieces():
        with path.open("ab") as file:
            file.write(piece)
        pause()


def copy_keeping_times(path: Path, pause: Pause) -> None:
    with path.open("wb") as file:
        for piece in pieces():
            file.write(piece)
            file.flush()
            pause()
        os.utime(file.fileno(), (1_000_000_000, 1_000_000_000))


WAYS = [write_directly, write_and_rename, reserve_and_fill, append_again_and_again, copy_keeping_times]


def write_all(folder: Path, seed: int) -> list[threading.Thread]:
    def pause_of(number: int) -> Pause:
        chance = random.Random(seed * 100 + number)
        return lambda: time.sleep(chance.choice([0.001, 0.004, 0.03]))

    threads = [
        threading.Thread(target=WAYS[number % len(WAYS)], args=(folder / f"{number:02}.xml", pause_of(number)))
        for number in range(FILES)
    ]
    for thread in threads:
        thread.start()
    return threads


async def take_all(site: Site, seed: int) -> list[bytes]:
    """Take files while they are written; return what each contained when it was taken."""
    settings = site.receiving(settle_seconds=0.05)
    adapter = FileReceiveAdapter(settings, executor=site.executor, clock=RealClock())
    threads = write_all(site.inbound, seed)
    taken: list[bytes] = []
    try:
        async with asyncio.timeout(60):
            while len(taken) < FILES:
                for claim in await adapter.poll(100):
                    with adapter.open() as opener, opener(claim) as fd:
                        taken.append(os.read(fd, 2 * len(DOCUMENT)))
                wait = adapter.next_poll_seconds()
                await asyncio.sleep(0.002 if wait is None else min(wait, 0.01))
    finally:
        for thread in threads:
            await asyncio.to_thread(thread.join)
    return taken


@pytest.mark.parametrize("kernel_tells", [True, False], ids=["lease probe", "settling only"])
async def test_a_slow_writer_is_never_read_early(
    site: Site, monkeypatch: pytest.MonkeyPatch, kernel_tells: bool
) -> None:
    if not kernel_tells:
        monkeypatch.setattr("adapters.file.inbound.claim.tells_writers", lambda fd: False)
    assert await take_all(site, seed=1) == [DOCUMENT] * FILES
    assert os.listdir(site.inbound) == []


async def test_without_the_ladder_the_same_writers_are_read_early(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ReadyLadder, "judge", lambda *args, **options: Readiness.READY)
    shutil.copy(os.devnull, site.inbound / "first.xml")
    assert any(content != DOCUMENT for content in await take_all(site, seed=1))
