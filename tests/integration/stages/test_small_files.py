"""Many small files are read by one call and written by one commit, and do not matter to one another."""

from collections import Counter
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway.store.leases import start_incarnation
from gateway.store.open import Store
from gateway.xml.frames import Kind
from gateway.xml.pool import WorkerDied, XmlPool
from gateway.xml.process import Frame, WorkerProcess
from tests.documents import CREATE, envelope, guid, single
from tests.integration.stages.test_dying_readers import Bench

COUNT = 12
POISON = 5


class PoisonedReaders(XmlPool):
    """Readers that die in the file that brings the poison, as often as a test says."""

    def __init__(self) -> None:
        super().__init__(size=2)
        self.deaths = 0
        self.times: Counter[str] = Counter()
        self.poisoned: list[int] = []

    async def _receive(self, worker: WorkerProcess, budget: float) -> tuple[Frame, float]:
        frame, left = await super()._receive(worker, budget)
        if frame.kind is Kind.ENVELOPES:
            (number,) = (n for n in range(COUNT) if name(n).encode() in frame.body)
            self.times[name(number)] += 1
            if number == POISON:
                self.poisoned.append(worker.pid)
                if self.deaths:
                    self.deaths -= 1
                    raise WorkerDied("The process that read the file ended unexpectedly (signal 9).")
        return frame, left


def name(number: int) -> str:
    return f"order{number:02}"


def good(number: int) -> bytes:
    return single(envelope(message_id=guid(number), header=f"<Company>{name(number)}</Company>", action=CREATE))


@pytest.fixture
async def readers() -> AsyncIterator[PoisonedReaders]:
    async with PoisonedReaders() as pool:
        yield pool


@pytest.fixture
async def bench(store: Store, tmp_path: Path, readers: PoisonedReaders) -> AsyncIterator[Bench]:
    with ThreadPoolExecutor(4) as executor:
        yield Bench(store, tmp_path, executor, readers, await start_incarnation(store, "a", "1"))


def drop_all(bench: Bench, **others: bytes) -> None:
    """Drop good files, the last one first, and what else is asked for in their place."""
    for number in reversed(range(COUNT)):
        bench.drop(others.get(name(number), good(number)), f"{name(number)}.xml")


async def taken(bench: Bench) -> list[str]:
    """Return the files whose messages are in, in the order of these."""
    return [file for (file,) in await bench.rows("SELECT company FROM message WHERE service IS NOT NULL ORDER BY id")]


@pytest.mark.parametrize("deaths", [1, 2])
async def test_reader_that_dies_in_a_group_costs_no_file(bench: Bench, readers: PoisonedReaders, deaths: int) -> None:
    """The file in hand is read alone by a new reader, what has ended before is not read again."""
    readers.deaths = deaths
    drop_all(bench)
    await bench.look()
    assert await taken(bench) == [name(n) for n in range(COUNT)]
    assert bench.refused() == []
    again = {file: times for file, times in readers.times.items() if times > 1}
    assert again == {name(POISON): deaths + 1}
    assert len(set(readers.poisoned)) == deaths + 1


async def test_file_whose_readers_die_is_refused_and_its_neighbours_are_taken(
    bench: Bench, readers: PoisonedReaders
) -> None:
    readers.deaths = 3
    drop_all(bench)
    assert (await bench.look()).counts == {"files": COUNT, "received": COUNT - 1, "refused": 1}
    assert await taken(bench) == [name(n) for n in range(COUNT) if n != POISON]
    (text,) = bench.refused()
    assert "worker.crashed" in text and f"{name(POISON)}.xml" in text


async def test_bad_files_among_good_ones_change_nothing_for_these(bench: Bench) -> None:
    bad = {
        name(0): b"no XML",
        name(3): good(3).replace(b"</Header>", b""),
        name(4): single("<!DOCTYPE a><a/>"),
        name(7): single(f"<Batch>{envelope()}</Batch>"),
        name(11): good(11) + b"<more/>",
    }
    drop_all(bench, **bad)
    await bench.look()
    refused = await bench.rows(
        "SELECT display, code FROM delivery WHERE outcome = 'refused' ORDER BY received_at, name"
    )
    assert [f"{file}: {code}" for file, code in refused] == [
        f"{name(0)}.xml: xml.not-wellformed",
        f"{name(3)}.xml: xml.not-wellformed",
        f"{name(4)}.xml: dtd.forbidden",
        f"{name(7)}.xml: root.unknown",
        f"{name(11)}.xml: xml.not-wellformed",
    ]
    assert await taken(bench) == [name(n) for n in range(COUNT) if name(n) not in bad]
    assert len(bench.refused()) == 5
