"""A file is read to its end before anything of it is written; what was read is written as often as it takes."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gateway.contracts.task import Tally, TaskContext
from gateway.db.open import Store
from gateway.kernel.errors import StoreUnavailable
from gateway.kernel.faultpoints import switched_on
from gateway.messaging.intake import spool as spools
from gateway.messaging.intake.spool import SpoolFull, Spools
from gateway.messaging.queue.leases import start_incarnation
from gateway.workers.link import Message
from gateway.xml.pool import XmlPool
from gateway.xml.process import ReaderProcess
from gateway.xml.protocol import MessageKind
from tests.documents import batch, envelope, guid
from tests.factories import ORDERS
from tests.integration.messaging.test_dying_readers import Bench, _Feed

LARGE_ENVELOPES = 1_500
LARGE = batch([envelope(message_id=guid(n)) for n in range(LARGE_ENVELOPES)])


class HeldReaders(XmlPool):
    """Readers whose last message comes when a test lets it."""

    def __init__(self) -> None:
        super().__init__(size=2)
        self.at_the_end = asyncio.Event()
        self.go_on = asyncio.Event()
        self.requests = 0

    async def _receive(self, reader: ReaderProcess, budget: float) -> tuple[Message, float]:
        message, left = await super()._receive(reader, budget)
        if message.kind == MessageKind.END:
            self.requests += 1
            self.at_the_end.set()
            await self.go_on.wait()
        return message, left


@pytest.fixture
async def readers() -> AsyncIterator[HeldReaders]:
    async with HeldReaders() as pool:
        yield pool


@pytest.fixture
async def bench(store: Store, tmp_path: Path, readers: HeldReaders) -> AsyncIterator[Bench]:
    with ThreadPoolExecutor(4) as executor:
        yield Bench(store, tmp_path, executor, readers, await start_incarnation(store, "a", "1"))


@pytest.fixture(params=["in memory", "on the disk"])
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "on the disk":
        monkeypatch.setattr(spools, "MEMORY_BYTES", 200_000)
    return str(request.param)


async def test_no_transaction_is_open_while_a_file_is_read(bench: Bench, readers: HeldReaders, place: str) -> None:
    bench.drop(LARGE)
    looking = asyncio.create_task(bench.look())
    await readers.at_the_end.wait()
    open_ones = await bench.rows(
        "SELECT query FROM pg_stat_activity WHERE datname = current_database() AND xact_start IS NOT NULL"
        " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
    )
    assert open_ones == []
    readers.go_on.set()
    await looking
    positions = [p for (p,) in await bench.rows("SELECT position FROM message ORDER BY id")]
    assert positions == list(range(1, LARGE_ENVELOPES + 1))
    assert list((bench.folder / "data").glob("spool/*")) == []


async def test_what_was_read_is_written_again_while_the_database_is_away(
    bench: Bench, readers: HeldReaders, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """It is not read again for that."""
    readers.go_on.set()
    bench.drop(LARGE)
    away = [StoreUnavailable("The database is away."), StoreUnavailable("It is still away.")]

    def fail(name: str) -> None:
        if name == "ingest.before_commit" and away:
            raise away.pop()

    with switched_on(observer=fail):
        tally = await bench.look()
    assert (tally.counts["received"], away, readers.requests) == (LARGE_ENVELOPES, [], 1)
    assert await bench.messages() == LARGE_ENVELOPES


async def test_a_commit_whose_answer_was_lost_counts_once(
    bench: Bench, store: Store, readers: HeldReaders, monkeypatch: pytest.MonkeyPatch
) -> None:
    readers.go_on.set()
    bench.drop(LARGE)
    write = bench.stage._ingester.write
    tries: list[str] = []

    async def lose_the_answer(*arguments: Any) -> Any:
        tries.append("write")
        written = await write(*arguments)
        if len(tries) == 1:
            raise StoreUnavailable("No answer.", outcome_unknown=True)
        return written

    monkeypatch.setattr(bench.stage._ingester, "write", lose_the_answer)
    await bench.look()
    await bench.look()
    assert len(tries) == 2
    assert await bench.messages() == LARGE_ENVELOPES
    assert len(list((bench.folder / "data/archive" / ORDERS).glob("*/*"))) == 1


async def test_a_stop_ends_the_waiting_for_the_database(
    bench: Bench, readers: HeldReaders, monkeypatch: pytest.MonkeyPatch
) -> None:
    readers.go_on.set()
    bench.drop(LARGE)
    stopping = asyncio.Event()

    def fail(name: str) -> None:
        if name == "ingest.before_commit":
            stopping.set()
            raise StoreUnavailable("The database is away.")

    with switched_on(observer=fail):
        await bench.stage.run(TaskContext(task="receive", feed=_Feed(), stopping=stopping, tally=Tally()))
    assert await bench.messages() == 0
    await bench.look()
    assert await bench.messages() == LARGE_ENVELOPES


async def test_a_large_file_waits_while_the_disk_has_no_room_for_what_is_read(
    bench: Bench, readers: HeldReaders, monkeypatch: pytest.MonkeyPatch
) -> None:
    readers.go_on.set()
    bench.drop(LARGE)
    with monkeypatch.context() as full:
        full.setattr(spools, "MEMORY_BYTES", 200_000)
        full.setattr(spools, "free_bytes", lambda _: len(LARGE) - 1)
        await bench.look()
        assert (await bench.messages(), bench.refused(), readers.requests) == (0, [], 0)
        ((state, reason),) = await bench.rows("SELECT state, reason FROM port_status")
        assert state == "degraded"
        assert "Free some space; the file is taken then." in reason
    await bench.look()
    assert await bench.messages() == LARGE_ENVELOPES
    assert await bench.rows("SELECT state, reason FROM port_status") == [("open", None)]


async def test_disk_that_fails_while_a_file_is_read_is_no_fault_of_the_file(
    bench: Bench, readers: HeldReaders, monkeypatch: pytest.MonkeyPatch
) -> None:
    readers.go_on.set()
    bench.drop(LARGE)
    with monkeypatch.context() as full:
        full.setattr(spools, "MEMORY_BYTES", 200_000)
        full.setattr(Spools, "append", _fail)
        await bench.look()
        assert (await bench.messages(), bench.refused()) == (0, [])
    await bench.look()
    assert await bench.messages() == LARGE_ENVELOPES


def _fail(*_: object) -> None:
    raise SpoolFull("The disk is full.")
