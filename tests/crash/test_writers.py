"""P11, P12, P13: partners who write slowly, never finish, or go on writing after their file was taken."""

import asyncio
import os
import threading
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from tests.crash.partner import Partner
from tests.crash.proof import drained, everything_happened_once
from tests.crash.site import CrashSite
from tests.documents import batch, envelope, single
from tests.site import until

LONG_AGO = 1_000_000_000.0
Pieces = list[bytes]


def write_directly(path: Path, pieces: Pieces, pause: Callable[[], None]) -> None:
    with path.open("wb", buffering=0) as file:
        for piece in pieces:
            file.write(piece)
            pause()


def write_and_rename(path: Path, pieces: Pieces, pause: Callable[[], None]) -> None:
    write_directly(path.with_suffix(".tmp"), pieces, pause)
    path.with_suffix(".tmp").rename(path)


def reserve_and_fill(path: Path, pieces: Pieces, pause: Callable[[], None]) -> None:
    with path.open("wb", buffering=0) as file:
        os.posix_fallocate(file.fileno(), 0, sum(map(len, pieces)))
        for piece in pieces:
            file.write(piece)
            pause()


def copy_with_old_times(path: Path, pieces: Pieces, pause: Callable[[], None]) -> None:
    """As `cp -p` and `rsync -t`: the modification time says nothing about the last write."""
    with path.open("wb", buffering=0) as file:
        for piece in pieces:
            file.write(piece)
            os.utime(file.fileno(), (LONG_AGO, LONG_AGO))
            pause()


WRITERS = (write_directly, write_and_rename, reserve_and_fill, copy_with_old_times)


async def write_slowly(site: CrashSite, partner: Partner, files: int, envelopes: int, seconds: float) -> None:
    """Let writers of all kinds write so many files side by side, each over so many seconds."""
    threads: list[threading.Thread] = []
    for number in range(files):
        content = batch([envelope(message_id=one) for one in partner.new_ids(envelopes)])
        size = max(1, len(content) // 50)
        pieces = [content[at : at + size] for at in range(0, len(content), size)]
        pause = PauseFor(seconds / len(pieces))
        target = site.inbound() / f"slow_{number:04}.xml"
        threads.append(threading.Thread(target=WRITERS[number % len(WRITERS)], args=(target, pieces, pause)))
    for thread in threads:
        thread.start()
    for thread in threads:
        await asyncio.to_thread(thread.join)


class PauseFor:
    """What a slow writer does between two pieces: it stands for the network, not for waiting in a test."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __call__(self) -> None:
        time.sleep(self._seconds)


@pytest.mark.parametrize(
    ("files", "envelopes", "seconds"),
    [(8, 5, 3.0), pytest.param(100, 3000, 60.0, marks=[pytest.mark.full, pytest.mark.timeout(0)])],
    ids=["few", "many"],
)
async def test_slow_writers_are_never_read_early(
    crash_site: CrashSite, files: int, envelopes: int, seconds: float
) -> None:
    crash_site.add_port(receive={"grace_seconds": 30.0, "sweep_seconds": 0.1})
    with Partner(crash_site) as partner:
        await crash_site.run()
        await write_slowly(crash_site, partner, files, envelopes, seconds)
        await drained(crash_site, partner)
        assert not crash_site.told("file.refused")
    await everything_happened_once(crash_site, partner)


async def test_without_readiness_slow_writers_are_read_early(crash_site: CrashSite) -> None:
    """The proof can fail: a gateway that takes what it sees refuses files that were only unfinished."""
    crash_site.add_port(receive={"grace_seconds": 30.0, "sweep_seconds": 0.1})
    with Partner(crash_site) as partner:
        await crash_site.run(build="no_readiness")
        partner.drop(1)
        await drained(crash_site, partner)  # its reader is there and need not be waited for
        await write_slowly(crash_site, partner, 4, 5, 3.0)
        await until(refused_in(crash_site), "a file is refused", tell=crash_site.tail)
        assert partner.verdict()["lost"] > 0


def refused_in(site: CrashSite):  # type: ignore[no-untyped-def]
    async def refused() -> bool:
        return site.told("file.refused")

    return refused


@pytest.mark.parametrize("holds", [True, False], ids=["still-open", "closed"])
async def test_a_writer_who_never_finishes_is_told_and_holds_nobody_up(crash_site: CrashSite, holds: bool) -> None:
    crash_site.add_port(receive={"grace_seconds": 0.5})
    with Partner(crash_site) as partner:
        await crash_site.run()
        half = single(envelope())[:300]
        with (crash_site.inbound() / "half.xml").open("wb", buffering=0) as file:
            file.write(half)
            if not holds:
                file.close()
            partner.drop(5)
            await until(refused_in(crash_site), "the half file is refused", tell=crash_site.tail)
        await drained(crash_site, partner)
        (refused,) = crash_site.happened("file.refused")
        assert refused["file"] == "half.xml" and refused["code"] == "xml.incomplete"
        (kept,) = (crash_site.data / "error" / "orders").glob("*half.xml")
        assert kept.read_bytes() == half
        assert "xml.incomplete" in kept.with_name(f"{kept.name}.txt").read_text()
    await everything_happened_once(crash_site, partner)


@pytest.mark.parametrize(
    ("point", "reports"),
    [
        ("claim.inbound.flushed", {"file.warned", "file.refused"}),
        ("ingest.before_commit", {"file.changed_after_claim"}),
    ],
    ids=["before it is read", "after it was read"],
)
async def test_bytes_written_after_the_claim_are_reported(crash_site: CrashSite, point: str, reports: set[str]) -> None:
    """What is kept is what was read, or somebody is told."""
    told, same = await write_after_the_claim(crash_site, point)
    assert told & reports
    assert same or "file.changed_after_claim" in told


async def test_change_after_the_claim_that_nobody_looks_for_is_seen(crash_site: CrashSite) -> None:
    """The proof can fail: something else is kept than was read, and nobody is told."""
    told, same = await write_after_the_claim(crash_site, "ingest.before_commit", "no_second_look")
    assert not same and not told


async def write_after_the_claim(site: CrashSite, point: str, build: str = "") -> tuple[set[str], bool]:
    """Write to a file at a point; return what was told of it, and whether what is kept is what was read."""
    site.add_port(receive={"done_marker": True})
    with Partner(site) as partner:
        content = single(envelope(message_id=partner.new_ids(1)[0]))
        with (site.inbound() / "a.xml").open("wb", buffering=0) as file:
            file.write(content)
            (site.inbound() / "a.xml.done").touch()
            site.launch(build=build, pauses={point: str(site.folder)})
            await site.paused_at(point)
            file.write(b"<!-- and one more thing -->\n")
        site.go_on(point)
        await until(settled(site), "the file is put away", tell=site.tail)
        (row,) = await site.query("SELECT sha256, outcome FROM delivery")
        kept = next(path for path in site.data.rglob("*~a.xml") if path.is_file())
        # what is told of the file is told before it is put away
        told = {name for name in ("file.warned", "file.refused", "file.changed_after_claim") if site.told(name)}
        return told, sha256(kept.read_bytes()).digest() == row["sha256"]


def settled(site: CrashSite):  # type: ignore[no-untyped-def]
    async def empty() -> bool:
        return not list((site.data / "work" / "orders").iterdir())

    return empty
