"""Large files of seven ports are read; a small one of an eighth does not wait for them."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from adapters.file.identity import FolderIdentities
from gateway.config.models import Settings
from gateway.contracts.task import Tally, TaskContext
from gateway.db.open import Store
from gateway.kernel.ids import PortName
from gateway.messaging.flow.port import Ports
from gateway.messaging.flow.port_state import PortHealth
from gateway.messaging.intake.receive import ReceiveStage
from gateway.messaging.queue.leases import start_incarnation
from gateway.runtime.ports import make_folders, open_port
from gateway.workers.link import Message
from gateway.xml import admission
from gateway.xml.pool import SMALL_BYTES, XmlPool
from gateway.xml.process import ReaderProcess
from gateway.xml.protocol import MessageKind
from tests.documents import batch, envelope
from tests.inbound_bench import NothingComes
from tests.integration.messaging.test_capacity import put_many
from tests.site import until

BUSY = [PortName(f"busy{n}") for n in range(7)]
SMALL = PortName("small")
MEDIUM = batch([envelope() for _ in range(2_500)])


class SlowReaders(XmlPool):
    """Two readers; the files of the busy ports get to their ends when a test lets them."""

    def __init__(self) -> None:
        super().__init__(size=2)
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()

    async def _receive(self, reader: ReaderProcess, budget: float) -> tuple[Message, float]:
        message, left = await super()._receive(reader, budget)
        if message.kind == MessageKind.ENVELOPES and len(message.body) > 10_000:
            self.begun.set()
            await self.go_on.wait()
        return message, left


class Once(NothingComes):
    once = True


class Site:
    def __init__(self, store: Store, folder: Path, pool: XmlPool, executor: ThreadPoolExecutor, me: int) -> None:
        self._store = store
        self._folder = folder
        settings = Settings.model_validate(
            {
                "data": str(folder / "data"),
                "queue": {"min_free_bytes": 0},
                "services": {"SalesOrderService": {"kind": "python", "operations": {"create": "m:create"}}},
                "ports": {
                    name: {
                        "receive": {"folder": str(folder / "in" / name)},
                        "operations": ["SalesOrderService.create"],
                        "process": {"validate": False},
                    }
                    for name in (*BUSY, SMALL)
                },
            }
        )
        self._ports = ports = Ports(settings)
        for name in (*BUSY, SMALL):
            make_folders(name, settings, folder)
            ports.add(open_port(name, settings, executor=executor, pool=pool, identities=FolderIdentities()))
        trouble = PortHealth(store, me)
        self._stage = ReceiveStage(store=store, incarnation=me, ports=ports, pool=pool, readers=2, trouble=trouble)

    def limit(self, max_ready: int) -> None:
        settings = self._ports.settings
        self._ports.settings = settings.model_copy(
            update={"queue": settings.queue.model_copy(update={"max_ready": max_ready})}
        )

    def drop(self, port: PortName, content: bytes) -> None:
        aside = self._folder / "aside"
        aside.write_bytes(content)
        aside.rename(self._folder / "in" / port / "order.xml")

    async def look(self) -> None:
        """Take what is there now. Busy ports and others may be looked at by several, as by several jobs."""
        await self._stage.run(TaskContext(task="receive", feed=Once(), stopping=asyncio.Event(), tally=Tally()))

    async def received(self) -> list[str]:
        """Return the ports whose files are in, in the order they came in."""
        async with self._store.transaction() as connection:
            rows = await connection.fetch("SELECT port FROM delivery ORDER BY received_at, port")
        return [row["port"] for row in rows]


@pytest.fixture
async def readers() -> AsyncIterator[SlowReaders]:
    async with SlowReaders() as pool:
        yield pool


@pytest.fixture
async def site(store: Store, tmp_path: Path, readers: SlowReaders) -> AsyncIterator[Site]:
    async with AsyncExitStack() as stack:
        executor = stack.enter_context(ThreadPoolExecutor(4))
        yield Site(store, tmp_path, readers, executor, await start_incarnation(store, "a", "1"))


async def test_a_small_file_is_in_before_the_large_ones_that_came_before_it(site: Site, readers: SlowReaders) -> None:
    assert len(MEDIUM) > SMALL_BYTES
    for port in BUSY:
        site.drop(port, MEDIUM)
    busy = asyncio.create_task(site.look())
    await readers.begun.wait()
    site.drop(SMALL, batch([envelope()]))
    looking = asyncio.create_task(site.look())

    async def small_one_is_in() -> bool:
        return await site.received() == [SMALL]

    await until(small_one_is_in, "the small file is in, and none of the large ones")
    readers.go_on.set()
    await asyncio.gather(busy, looking)
    first, *others = await site.received()
    assert first == SMALL
    assert sorted(others) == BUSY


async def test_a_port_with_a_long_queue_is_paused_and_another_takes_its_files(
    site: Site, readers: SlowReaders, store: Store
) -> None:
    readers.go_on.set()
    site.limit(50)
    await put_many(store, BUSY[0], 80)
    for port in (BUSY[0], SMALL):
        site.drop(port, batch([envelope()]))
    await site.look()
    assert await site.received() == [BUSY[0], SMALL], "the first is what was there before"
    async with store.transaction() as connection:
        states = await connection.fetch("SELECT port, state FROM port_status WHERE state <> 'open'")
    assert [tuple(row) for row in states] == [(BUSY[0], "paused")]


async def test_large_files_that_take_turns_are_all_taken_whole(
    site: Site, readers: SlowReaders, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "TURN_SECONDS", 0.0)
    readers.go_on.set()
    for port in BUSY:
        site.drop(port, MEDIUM)
    await site.look()
    assert sorted(await site.received()) == BUSY
    async with store.transaction() as connection:
        rows = await connection.fetch(
            "SELECT port, count(*) AS messages, bool_and(position = number) AS in_order FROM"
            " (SELECT port, position, row_number() OVER (PARTITION BY port ORDER BY id) AS number FROM message) m"
            " GROUP BY port ORDER BY port"
        )
    assert [tuple(row) for row in rows] == [(port, 2_500, True) for port in BUSY]
    assert len(readers.pids) <= 2
