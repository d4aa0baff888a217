"""Ports beside one that stands still: answers and documents of the others go out, in order within each port."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any
from uuid import uuid4

import pytest
from lxml import etree

from gateway.config.models import Settings
from gateway.contracts.service import Reply, Request, ServiceContext
from gateway.contracts.task import Tally, TaskContext, TaskHandler
from gateway.db.open import Store
from gateway.kernel.errors import AdapterUnavailable, GatewayError
from gateway.kernel.ids import PortName
from gateway.messaging.delivery import send as send_module
from gateway.messaging.delivery.send import SendStage
from gateway.messaging.flow.port import OpenOutbound, Ports
from gateway.messaging.flow.port_state import PortHealth
from gateway.messaging.processing.outbound import OutboundStage
from gateway.messaging.queue.requests import put_send_requests
from gateway.messaging.rules.delivery import OutgoingFile, Promise, StagingPlace
from gateway.messaging.services.registry import Registry, Service
from gateway.xml.keys import read_keys
from tests.factories import a_send_request
from tests.integration.messaging.test_inbound import NothingComes

NAMESPACE = "http://schemas.microsoft.com/dynamics/2008/01/services"
GENEROUS_SECONDS = 60.0


class Folder:
    """A send adapter that keeps what is published; one call of it stands still as long as a test wants."""

    def __init__(self, name: PortName, published: list[str]) -> None:
        self._place = StagingPlace(id=uuid4(), where=f"/srv/{name}")
        self._published = published
        self._inside = 0
        self.hangs_in = ""
        self.hanging, self.answers = asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def _call(self, name: str) -> Any:
        self._inside += 1
        assert self._inside == 1, "one call at a time, so that files appear in order"
        try:
            if name == self.hangs_in:
                self.hanging.set()
                await self.answers.wait()
            yield
        finally:
            self._inside -= 1

    async def place(self) -> StagingPlace:
        async with self._call("place"):
            return self._place

    async def probe(self) -> None:
        raise AdapterUnavailable("Not asked here.")

    async def stage(self, files: Sequence[OutgoingFile]) -> Sequence[GatewayError | None]:
        async with self._call("stage"):
            return [None for _ in files]

    async def publish(self, promises: Sequence[Promise]) -> Sequence[GatewayError | None]:
        async with self._call("publish"):
            self._published += [promise.final_name for promise in promises]
            return [None for _ in promises]

    async def discard(self, staged_names: Sequence[str]) -> None:
        async with self._call("discard"):
            pass

    async def recover(self) -> Sequence[str]:
        async with self._call("recover"):
            return []


class Reading:
    """A service operation; for some ports it waits as long as a test wants."""

    expects: tuple[str, ...] | None = None
    undoable = True
    idempotent = False
    timeout_seconds = GENEROUS_SECONDS

    def __init__(self) -> None:
        self.slow: set[str] = set()
        self.inside: list[str] = []
        self.entered, self.answers = asyncio.Event(), asyncio.Event()
        self.orders: defaultdict[str, list[str]] = defaultdict(list)

    async def call(self, request: Request, context: ServiceContext) -> Reply:
        ((_, key),) = read_keys(request.parts[0])[0]
        if request.port in self.slow:
            await context.connection.fetchval("SELECT 1")  # from here on it holds a connection
            self.inside.append(request.port)
            self.entered.set()
            await self.answers.wait()
            self.inside.remove(request.port)
        self.orders[request.port].append(key)
        return Reply(parts=[etree.Element("{urn:x}Order")])


class Bench:
    """Outbound ports with folders of their own, and both stages that serve them."""

    def __init__(self, store: Store, executor: ThreadPoolExecutor, names: Sequence[str], chunk: int) -> None:
        port: dict[str, Any] = {
            "direction": "outbound", "send": {"folder": "/srv/out"}, "operations": ["SalesOrderService.read"],
        }  # fmt: skip
        services = {"SalesOrderService": {"kind": "python", "operations": {"read": "m:read"}}}
        ports = {name: {**port, "send": {"folder": f"/srv/{name}"}} for name in names}
        settings = Settings.model_validate({"services": services, "ports": ports})
        self.store, self.names = store, [PortName(name) for name in names]
        self.published: list[str] = []
        self.folders = {name: Folder(name, self.published) for name in self.names}
        self.reading = Reading()
        opened = Ports(settings)
        for name in self.names:
            opened.add(self._open(settings, name))
        service = Service(
            name="SalesOrderService", namespaces=frozenset({NAMESPACE}), operations={"read": self.reading}
        )
        self.outbound = OutboundStage(
            store=store, incarnation=1, ports=opened, registry=Registry({service.name: service}), executor=executor,
            trouble=PortHealth(store, 1), chunk=chunk,
        )  # fmt: skip
        self.send = SendStage(store=store, incarnation=1, ports=opened, chunk=chunk, trouble=PortHealth(store, 1))

    def _open(self, settings: Settings, name: PortName) -> OpenOutbound:
        port: Any = settings.ports[name]
        actions = {("SalesOrderService", "read"): f"{NAMESPACE}/SalesOrderService/read"}
        return OpenOutbound(
            name=name, settings=port, actions=actions, send=self.folders[name],
            name_sent=lambda message_id: f"{name} {message_id}",
        )  # fmt: skip

    async def ask(self, count: int = 1) -> dict[str, list[str]]:
        """Ask for so many documents of each port; returns their file names by port, in order."""
        asked = {
            name: [a_send_request(f"{name}-{n}", port=name) for n in range(count)] for name in self.names
        }  # fmt: skip
        for requests in asked.values():
            await put_send_requests(self.store, requests)
        return {name: [f"{name} {one.message_id}" for one in requests] for name, requests in asked.items()}

    async def run(self, stage: TaskHandler) -> None:
        await stage.run(TaskContext(task="t", feed=NothingComes(), stopping=asyncio.Event(), tally=Tally()))


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor


async def until(holds: Any) -> None:
    """Wait until something holds, as long as it takes."""
    async with asyncio.timeout(GENEROUS_SECONDS):
        while not holds():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("call", ["place", "recover", "stage", "publish"])
async def test_folders_that_hang_hold_up_only_their_own_answers(
    store: Store, executor: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    monkeypatch.setattr(send_module, "_QUICK_SECONDS", GENEROUS_SECONDS * 10)  # nobody gives up waiting
    bench = Bench(store, executor, ["a", "b", "c"], chunk=2)
    files = await bench.ask(5)
    await bench.run(bench.outbound)
    for name in bench.names:
        bench.send.forget(name)  # as when its port has just been opened
    hanging = [bench.folders[PortName(name)] for name in ("a", "b")]
    for folder in hanging:
        folder.hangs_in = call
    sending = asyncio.create_task(bench.run(bench.send))
    await until(lambda: len(bench.published) == 5 and all(folder.hanging.is_set() for folder in hanging))
    assert bench.published == files["c"]
    for folder in hanging:
        folder.answers.set()
    await sending
    for name, expected in files.items():
        assert [one for one in bench.published if one.startswith(name)] == expected


async def test_more_folders_that_hang_than_there_are_places_hold_up_only_their_own_answers(
    store: Store, executor: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(send_module, "_PLACES", 2)
    monkeypatch.setattr(send_module, "_PATIENCE_SECONDS", 0.05)
    bench = Bench(store, executor, ["a", "b", "c", "d", "e", "f"], chunk=2)
    files = await bench.ask(3)
    await bench.run(bench.outbound)
    hanging = [folder for name, folder in bench.folders.items() if name != "f"]
    for folder in hanging:
        folder.hangs_in = "publish"
    sending = asyncio.create_task(bench.run(bench.send))
    await until(lambda: len(bench.published) == 3 and all(folder.hanging.is_set() for folder in hanging))
    assert bench.published == files["f"]
    for folder in hanging:
        folder.answers.set()
    await sending
    assert {name: [one for one in bench.published if one.startswith(name)] for name in files} == files


async def test_slow_service_holds_up_only_the_documents_of_its_own_port(
    store: Store, executor: ThreadPoolExecutor
) -> None:
    bench = Bench(store, executor, ["a", "b", "c"], chunk=2)
    await bench.ask(5)
    bench.reading.slow = {"a"}
    processing = asyncio.create_task(bench.run(bench.outbound))
    await until(lambda: len(bench.reading.orders["b"]) == len(bench.reading.orders["c"]) == 5)
    assert bench.reading.inside == ["a"]
    bench.reading.answers.set()
    await processing
    assert bench.reading.orders == {name: [f"{name}-{n}" for n in range(5)] for name in bench.names}


async def test_slow_services_of_many_ports_leave_connections_for_everybody_else(
    store: Store, executor: ThreadPoolExecutor
) -> None:
    names = [f"p{n:02}" for n in range(12)]
    bench = Bench(store, executor, names, chunk=2)
    await bench.ask()
    bench.reading.slow = set(names)
    processing = asyncio.create_task(bench.run(bench.outbound))
    await until(lambda: len(bench.reading.inside) == 4)
    async with AsyncExitStack() as units:  # of inbound processing: as many as may hold a connection
        for number in range(3):
            await units.enter_async_context(store.unit_places.place(PortName(f"in{number}")))
            await units.enter_async_context(store.transaction())
        one_more = asyncio.create_task(units.enter_async_context(store.unit_places.place(PortName("in3"))))
        assert await store.is_available(), "for whatever is short"
        assert not one_more.done()
        one_more.cancel()
    assert len(bench.reading.inside) == 4
    bench.reading.answers.set()
    await processing
    assert sorted(bench.reading.orders) == names


async def test_documents_that_are_read_slowly_leave_one_by_one(store: Store, executor: ThreadPoolExecutor) -> None:
    bench = Bench(store, executor, ["a"], chunk=100)
    await bench.ask(3)
    bench.reading.slow = {"a"}
    processing = asyncio.create_task(bench.run(bench.outbound))
    await bench.reading.entered.wait()
    async with store.transaction() as connection:
        assert await connection.fetchval("SELECT count(*) FROM send_request WHERE reason = 'running'") == 1
    bench.reading.answers.set()
    await processing
    assert bench.reading.orders["a"] == ["a-0", "a-1", "a-2"]


async def test_port_with_one_answer_does_not_wait_for_the_end_of_a_busy_one(
    store: Store, executor: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(send_module, "_PLACES", 1)
    bench = Bench(store, executor, ["busy", "quiet"], chunk=1)
    files = await bench.ask(3)
    await bench.run(bench.outbound)
    await bench.run(bench.send)
    assert set(bench.published[:2]) == {files["busy"][0], files["quiet"][0]}


async def test_port_that_is_cancelled_while_its_folder_hangs_gives_its_answers_back(
    store: Store, executor: ThreadPoolExecutor
) -> None:
    bench = Bench(store, executor, ["a"], chunk=2)
    files = await bench.ask()
    await bench.run(bench.outbound)
    folder = bench.folders[PortName("a")]
    folder.hangs_in = "stage"
    sending = asyncio.create_task(bench.run(bench.send))
    await until(folder.hanging.is_set)
    sending.cancel()
    with suppress(asyncio.CancelledError):
        await sending
    folder.hangs_in = ""
    await bench.run(bench.send)
    assert bench.published == files["a"]
