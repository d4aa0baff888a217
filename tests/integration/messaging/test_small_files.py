"""Many small files are read by one call and written by one commit, and do not matter to one another."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gateway.contracts.task import Tally, TaskContext
from gateway.db.open import Store
from gateway.messaging.intake import ingest
from gateway.messaging.intake.writing import Ingestion
from gateway.messaging.queue.leases import start_incarnation
from gateway.workers.link import Message
from gateway.xml.pool import ReaderDied, ReadersUnavailable, XmlPool
from gateway.xml.process import ReaderProcess
from gateway.xml.protocol import MessageKind
from tests.documents import CREATE, batch, envelope, guid, single
from tests.integration.messaging.test_dying_readers import Bench, _Feed

COUNT = 12
POISON = 5


class PoisonedReaders(XmlPool):
    """Readers that die in the file that brings the poison, as often as a test says."""

    def __init__(self) -> None:
        super().__init__(size=2)
        self.deaths = 0
        self.times: Counter[str] = Counter()
        self.ended = 0
        self.poisoned: list[int] = []

    async def _receive(self, reader: ReaderProcess, budget: float) -> tuple[Message, float]:
        message, left = await super()._receive(reader, budget)
        self.ended += message.kind == MessageKind.END
        if message.kind == MessageKind.ENVELOPES:
            number = next((n for n in range(COUNT) if name(n).encode() in message.body), None)
            self.times[str(number)] += 1
            if number == POISON:
                self.poisoned.append(reader.pid)
                if self.deaths:
                    self.deaths -= 1
                    raise ReaderDied("The process that read the file ended unexpectedly (signal 9).")
        return message, left


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
    assert again == {str(POISON): deaths + 1}
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


@pytest.fixture
def in_twos(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two files share a commit."""
    monkeypatch.setattr(ingest, "_GROUP_FILES", 2)


def held_writes(bench: Bench, monkeypatch: pytest.MonkeyPatch, hold: Callable[[], Awaitable[None]]) -> None:
    """Let *hold* happen before each group is written."""
    write = bench.stage._ingester.write

    async def held(*arguments: Any) -> Any:
        await hold()
        return await write(*arguments)

    monkeypatch.setattr(bench.stage._ingester, "write", held)


async def test_next_group_is_read_while_one_is_written(
    bench: Bench, readers: PoisonedReaders, monkeypatch: pytest.MonkeyPatch, in_twos: None
) -> None:
    """That one, and no more."""
    seen: list[int] = []

    async def wait_for_the_next() -> None:
        wanted = min(2 * len(seen) + 4, COUNT)
        async with asyncio.timeout(60):
            while readers.ended < wanted:
                await asyncio.sleep(0.001)
        seen.append(readers.ended)

    held_writes(bench, monkeypatch, wait_for_the_next)
    drop_all(bench)
    await bench.look()
    assert seen == [4, 6, 8, 10, 12, 12]
    assert await taken(bench) == [name(n) for n in range(COUNT)]


async def test_what_was_read_ahead_is_dropped_with_a_stop(
    bench: Bench, readers: PoisonedReaders, monkeypatch: pytest.MonkeyPatch, in_twos: None
) -> None:
    stopping = asyncio.Event()

    async def stop() -> None:
        await asyncio.sleep(0)  # the next group has begun to be read
        stopping.set()

    held_writes(bench, monkeypatch, stop)
    drop_all(bench)
    await bench.stage.run(TaskContext(task="receive", feed=_Feed(), stopping=stopping, tally=Tally()))
    assert await taken(bench) == [name(0), name(1)]
    assert bench.stage._ingester._spools.memory == 0
    await bench.look()
    assert await taken(bench) == [name(n) for n in range(COUNT)]


async def test_group_is_written_though_the_next_one_cannot_be_read_now(
    bench: Bench, readers: PoisonedReaders, monkeypatch: pytest.MonkeyPatch, in_twos: None
) -> None:
    take = readers._take

    async def take_no_more(*arguments: Any, **others: Any) -> Any:
        if readers.ended >= 2:
            raise ReadersUnavailable("No process that reads files gets ready.")
        return await take(*arguments, **others)

    drop_all(bench)
    with monkeypatch.context() as trouble:
        trouble.setattr(readers, "_take", take_no_more)
        await bench.look()
        assert await taken(bench) == [name(0), name(1)]
        assert [state for (state,) in await bench.rows("SELECT state FROM port_status")] == ["degraded"]
    await bench.look()
    assert await taken(bench) == [name(n) for n in range(COUNT)]


async def test_nothing_is_read_ahead_that_must_wait_then(bench: Bench, readers: PoisonedReaders, in_twos: None) -> None:
    """It would be read again at each look."""
    queue = bench.ports.settings.queue.model_copy(update={"max_ready": 6})
    bench.ports.settings = bench.ports.settings.model_copy(update={"queue": queue})
    drop_all(bench)
    await bench.look()
    assert await taken(bench) == [name(n) for n in range(4)]
    assert readers.ended == 4


async def test_numbers_of_a_group_are_taken_at_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    take = Ingestion._take_keys

    async def noted(self: Ingestion, count: int) -> list[int]:
        calls.append(self._numbers)
        return await take(self, count)

    monkeypatch.setattr(Ingestion, "_take_keys", noted)
    drop_all(bench, order03=b"no XML", order05=batch([envelope(), envelope()]))
    await bench.look()
    assert calls == [COUNT + 2, *[0] * COUNT]
    numbers = [n for (n,) in await bench.rows("SELECT id FROM message UNION ALL SELECT id FROM message_set ORDER BY 1")]
    assert numbers == list(range(numbers[0], numbers[0] + COUNT + 2))
