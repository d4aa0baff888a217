"""A reader that dies proves nothing against its file, and one that never gets ready is no file's fault."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adapters.file.identity import FolderIdentities
from gateway.config.models import Settings
from gateway.contracts.task import Tally, TaskContext
from gateway.db.open import Store
from gateway.messaging.flow.port import OpenInbound, Ports
from gateway.messaging.flow.port_state import PortHealth
from gateway.messaging.intake.receive import ReceiveStage
from gateway.messaging.queue.leases import start_incarnation
from gateway.runtime.ports import make_folders, open_port
from gateway.workers.link import Message
from gateway.xml import process
from gateway.xml.limits import ReadRules
from gateway.xml.pool import ReaderDied, XmlPool
from gateway.xml.process import ReaderProcess
from gateway.xml.protocol import MessageKind
from tests.documents import batch, envelope
from tests.factories import ORDERS
from tests.inbound_bench import NothingComes

SMALL = batch([envelope()])
LARGE = batch([envelope() for _ in range(1_500)])
LARGE_ENVELOPES = 1_500


class DyingReaders(XmlPool):
    """Readers that die in the middle of a file, as often as a test says."""

    def __init__(self) -> None:
        super().__init__(size=2)
        self.deaths = 0
        self.readers: list[int] = []

    async def _receive(self, reader: ReaderProcess, budget: float) -> tuple[Message, float]:
        message, left = await super()._receive(reader, budget)
        if message.kind == MessageKind.HEAD:
            self.readers.append(reader.pid)
        if message.kind == MessageKind.ENVELOPES and self.deaths:
            self.deaths -= 1
            raise ReaderDied("The process that read the file ended unexpectedly (signal 9).")
        return message, left


class _Feed(NothingComes):
    once = True


class Bench:
    """The stage that takes files, on one port with real folders."""

    def __init__(self, store: Store, folder: Path, executor: ThreadPoolExecutor, pool: XmlPool, me: int) -> None:
        self.store = store
        self.folder = folder
        settings = Settings.model_validate(
            {
                "data": str(folder / "data"),
                "queue": {"min_free_bytes": 0},
                "services": {"SalesOrderService": {"kind": "python", "operations": {"create": "m:create"}}},
                "ports": {
                    ORDERS: {
                        "receive": {"folder": str(folder / "in")},
                        "operations": ["SalesOrderService.create"],
                        "process": {"validate": False},
                    }
                },
            }
        )
        make_folders(ORDERS, settings, folder)
        self.ports = Ports(settings)
        port = open_port(ORDERS, settings, executor=executor, pool=pool, identities=FolderIdentities())
        assert isinstance(port, OpenInbound)
        self.port = port
        self.ports.add(port)
        trouble = PortHealth(store, me)
        self.stage = ReceiveStage(store=store, incarnation=me, ports=self.ports, pool=pool, readers=2, trouble=trouble)

    def drop(self, content: bytes, name: str = "order.xml") -> None:
        aside = self.folder / "aside"
        aside.write_bytes(content)
        aside.rename(self.folder / "in" / name)

    async def look(self) -> Tally:
        tally = Tally()
        await self.stage.run(TaskContext(task="receive", feed=_Feed(), stopping=asyncio.Event(), tally=tally))
        return tally

    async def rows(self, sql: str) -> list[tuple[Any, ...]]:
        async with self.store.transaction() as connection:
            return [tuple(row.values()) for row in await connection.fetch(sql)]

    async def messages(self) -> int:
        return int((await self.rows("SELECT count(*) FROM message WHERE service IS NOT NULL"))[0][0])

    def refused(self) -> list[str]:
        return [path.read_text() for path in (self.folder / "data/error" / ORDERS).glob("*.txt")]


@pytest.fixture
async def readers() -> AsyncIterator[DyingReaders]:
    async with DyingReaders() as pool:
        yield pool


@pytest.fixture
async def bench(store: Store, tmp_path: Path, readers: DyingReaders) -> AsyncIterator[Bench]:
    with ThreadPoolExecutor(4) as executor:
        yield Bench(store, tmp_path, executor, readers, await start_incarnation(store, "a", "1"))


@pytest.mark.parametrize(
    ("content", "messages", "deaths"),
    [(SMALL, 1, 2), (LARGE, LARGE_ENVELOPES, 1), (LARGE, LARGE_ENVELOPES, 2)],
    ids=["small-2", "large-1", "large-2"],
)
async def test_a_good_file_is_taken_whole_and_once_though_its_reader_died(
    bench: Bench, readers: DyingReaders, content: bytes, messages: int, deaths: int
) -> None:
    readers.deaths = deaths
    bench.drop(content)

    await bench.look()

    assert bench.refused() == []
    assert await bench.messages() == messages
    assert len(set(readers.readers)) == len(readers.readers) == deaths + 1


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
async def test_a_file_whose_readers_die_twice_alone_is_refused_and_not_called_wrong(
    bench: Bench, readers: DyingReaders, content: bytes
) -> None:
    readers.deaths = 3
    bench.drop(content)

    assert (await bench.look()).counts["refused"] == 1

    assert await bench.messages() == 0
    (text,) = bench.refused()
    assert "worker.crashed" in text
    assert "The file may be good." in text
    assert "Mend the file" not in text


async def test_a_file_waits_while_no_reader_can_start(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bench.drop(LARGE)
    (tmp_path / "gateway").mkdir()
    (tmp_path / "gateway/__init__.py").write_text("raise ImportError('only half of it is here')")
    with monkeypatch.context() as upgrade:
        upgrade.setattr(process, "_PACKAGE_ROOT", tmp_path)
        await bench.look()

        assert await bench.messages() == 0
        assert bench.refused() == []
        ((state, reason),) = await bench.rows("SELECT state, reason FROM port_status")
        assert state == "degraded"
        assert "No process that reads files gets ready" in reason
        assert "ImportError: only half of it is here" in reason
    await bench.look()

    assert await bench.messages() == LARGE_ENVELOPES
    assert await bench.rows("SELECT state, reason FROM port_status") == [("open", None)]


async def test_no_process_left_for_a_reader_is_no_fault_of_the_file(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object, **__: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    bench.drop(SMALL)
    with monkeypatch.context() as limit:
        limit.setattr(asyncio, "create_subprocess_exec", refuse)
        await bench.look()
    assert bench.refused() == []

    await bench.look()

    assert await bench.messages() == 1


async def test_a_reader_that_dies_of_the_schemas_is_no_fault_of_the_file(bench: Bench, tmp_path: Path) -> None:
    bench.drop(SMALL)
    unreadable = ReadRules(schema_folders=(str(tmp_path / "\0"),))  # no folder can have this name
    good = bench.port
    bench.ports.add(replace(good, rules=unreadable))
    await bench.look()
    assert bench.refused() == []
    assert await bench.messages() == 0

    bench.ports.add(good)
    await bench.look()

    assert await bench.messages() == 1
