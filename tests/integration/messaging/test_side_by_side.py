"""Three gateways on one store, real stages side by side: each request once, lanes in order, each answered once."""

import asyncio
from collections import Counter, defaultdict
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from adapters.file.outbound.adapter import FileSendAdapter
from gateway.config.models import Respond
from gateway.contracts.service import Reply, Request, ServiceContext
from gateway.contracts.task import Tally, TaskContext
from gateway.db.open import Store
from gateway.kernel.errors import OperationRejected, TransientError
from gateway.messaging.delivery.send import SendStage
from gateway.messaging.flow.port import Ports
from gateway.messaging.flow.port_state import PortHealth
from gateway.messaging.intake.writing import ingestion
from gateway.messaging.processing.inbound import InboundStage
from gateway.messaging.queue.leases import start_incarnation, wake_due
from gateway.messaging.rules.states import Policy
from gateway.messaging.services.registry import Registry, Service
from gateway.operations.reads.doctor import find_wrong
from gateway.xml.pool import XmlPool
from tests.documents import SERVICES, envelope
from tests.factories import ORDERS, a_claim, a_file, a_message
from tests.integration.messaging.test_inbound import NothingComes, a_port
from tests.integration.messaging.test_way_of_a_message import rows
from tests.statements import replaced, text_of
from tests.unit.adapters.support import send_settings

CONVERSATIONS, LONG, FREE = 6, 10, 20
DUE = "UPDATE queue SET not_before = now() WHERE not_before IS NOT NULL"
LANES_DUE = "UPDATE lane SET not_before = now() WHERE not_before IS NOT NULL"


class Recording:
    """An operation that notes the order of what it did; now and then it says not now, or never."""

    expects: tuple[str, ...] | None = None
    undoable = True
    idempotent = False
    timeout_seconds = 60.0

    def __init__(self) -> None:
        self.tries: Counter[int] = Counter()
        self.done: list[int] = []

    async def call(self, request: Request, context: ServiceContext) -> Reply:
        self.tries[request.key] += 1
        await asyncio.sleep(0)
        if request.key % 11 == 3:
            raise OperationRejected("It can never succeed.")
        if request.key % 5 == 2 and self.tries[request.key] == 1:
            raise TransientError("Not now.")
        self.done.append(request.key)
        return Reply()


class Node:
    """One gateway: an incarnation with an inbound and a send stage of its own."""

    def __init__(self, store: Store, incarnation: int, operation: Recording, folder: Path, threads: Executor) -> None:
        settings, port = a_port("parallel", 1000)
        for name in ("outbound", "staging"):
            (folder / name).mkdir(exist_ok=True)
        respond = Respond(folder=folder / "outbound")
        ports = Ports(settings)
        ports.add(
            replace(
                port, settings=port.settings.model_copy(update={"respond": respond}),
                send=FileSendAdapter(send_settings(folder), executor=threads),
                name_response=lambda work, message_id, is_fault: f"{work.key}.{message_id}.xml",
            )
        )  # fmt: skip
        service = Service(name="SalesOrderService", namespaces=frozenset({SERVICES}), operations={"create": operation})
        self._inbound = InboundStage(
            store=store, incarnation=incarnation, ports=ports, registry=Registry({service.name: service}),
            pool=XmlPool(1), executor=threads, trouble=PortHealth(store, incarnation), chunk=4,
        )  # fmt: skip
        self._send = SendStage(
            store=store, incarnation=incarnation, ports=ports, chunk=4, trouble=PortHealth(store, incarnation)
        )

    async def work(self) -> None:
        """Do what can be done now."""
        for task, stage in (("inbound", self._inbound), ("send", self._send)):
            await stage.run(TaskContext(task=task, feed=NothingComes(), stopping=asyncio.Event(), tally=Tally()))


async def fill(store: Store) -> None:
    """Conversations whose messages come in turn, and messages that nothing orders."""
    content = envelope().encode()
    lanes = [f"conversation:{n % CONVERSATIONS}" for n in range(CONVERSATIONS * LONG)] + [None] * FREE
    claim = a_claim()
    async with ingestion(store) as ingesting:
        messages = [
            a_message(n, content=content, lane=lane, message_id=uuid4()) for n, lane in enumerate(lanes, start=1)
        ]
        await ingesting.add_messages(ORDERS, claim.id, "partner", None, Policy.CONTINUE, messages)
        await ingesting.end_file(a_file(claim), None, [])


async def test_three_gateways_do_each_request_once_in_the_order_of_its_lane(store: Store, tmp_path: Path) -> None:
    await work_side_by_side(store, tmp_path)


async def test_claim_that_ignores_the_leases_of_lanes_is_seen(store: Store, tmp_path: Path) -> None:
    """The proof can fail."""
    broken = text_of("claim_lanes").replace("AND fence IS NULL AND not_before", "AND not_before")
    assert broken != text_of("claim_lanes")
    with replaced(claim_lanes=broken), pytest.raises(AssertionError):
        await work_side_by_side(store, tmp_path)


async def work_side_by_side(store: Store, tmp_path: Path) -> None:
    """Let three gateways do everything, and look at what they did."""
    await fill(store)
    lanes = {int(str(k)): lane for k, lane in await rows(store, "SELECT message_id, lane FROM queue")}
    operation = Recording()
    with ThreadPoolExecutor(4) as threads:
        nodes = [
            Node(store, await start_incarnation(store, f"node {n}", "1"), operation, tmp_path, threads)
            for n in range(3)
        ]
        while await rows(store, "SELECT 1 FROM queue WHERE status <> 'error'"):
            await asyncio.gather(*(node.work() for node in nodes))
            assert await find_wrong(store, [ORDERS]) == []
            async with store.transaction() as connection:
                await connection.execute(DUE)
                await connection.execute(LANES_DUE)
            await wake_due(store)
    never = {key for key in lanes if key % 11 == 3}
    assert Counter(operation.done) == dict.fromkeys(set(lanes) - never, 1)
    orders = defaultdict(list)
    for key in operation.done:
        orders[lanes[key]].append(key)
    assert all(order == sorted(order) for lane, order in orders.items() if lane is not None)
    answered = Counter(int(path.name.split(".")[0]) for path in (tmp_path / "outbound").iterdir())
    assert answered == dict.fromkeys(lanes, 1), "a response or a fault for each"
    assert [one.name for one in (tmp_path / "staging").iterdir() if not one.name.startswith(".")] == []
