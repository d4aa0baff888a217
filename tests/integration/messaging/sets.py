"""Files with a failing message, put through the real store and the inbound stage, and what became of each message."""

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, cast
from uuid import UUID

from gateway.config.models import InboundPort, Settings
from gateway.contracts.adapter import ReceiveAdapter, SendAdapter
from gateway.contracts.service import Reply, Request, ServiceContext
from gateway.contracts.task import Tally, TaskContext
from gateway.db.open import Store
from gateway.kernel.errors import OperationRejected
from gateway.kernel.ids import MessageKey
from gateway.kernel.namespaces import BATCH, MESSAGE_2011
from gateway.kernel.problem import Problem
from gateway.messaging.flow.port import OpenInbound, Ports
from gateway.messaging.flow.port_state import PortHealth
from gateway.messaging.intake.debatch import new_messages
from gateway.messaging.intake.writing import ingestion
from gateway.messaging.processing.inbound import InboundStage
from gateway.messaging.queue.lanes import set_port_rule
from gateway.messaging.queue.operate import Changed, delete, hold, release
from gateway.messaging.rules.delivery import Settlement
from gateway.messaging.rules.envelope import FileEnd, FileHead, Header, ReadEnvelope, Root
from gateway.messaging.rules.message import NewFile, Work
from gateway.messaging.rules.message_set import most_failures
from gateway.messaging.rules.states import Direction
from gateway.messaging.services.registry import Registry, Service
from gateway.operations.reads.messages import list_queue
from gateway.operations.reads.selection import MessageFilter
from gateway.xml.limits import ReadRules
from gateway.xml.pool import XmlPool
from tests.documents import CREATE, SALES_ORDER, SERVICES, envelope, order
from tests.factories import ORDERS, a_claim
from tests.integration.messaging.test_inbound import NothingComes

DEADLINE = 60.0
BAD = "13"
"""A quantity that the operation refuses."""


class Orders:
    """An operation with an effect and a number of its own; refuses a quantity, and notes what runs beside what."""

    expects: tuple[str, ...] | None = None
    undoable = True
    idempotent = False
    timeout_seconds = 60.0

    def __init__(self) -> None:
        self.refuses = {BAD}
        self.words = "nobody orders"
        self.together = 0
        self.running: list[int] = []
        self.order: list[int] = []
        self.wanted_together = 0
        self._enough = asyncio.Event()

    async def call(self, request: Request, context: ServiceContext) -> Reply:
        self.order.append(request.key)
        self.running.append(request.key)
        self.together = max(self.together, len(self.running))
        try:
            await self._meet_others()
            (number,) = await context.numbers.take("Order")
            quantity = request.parts[0].findtext(".//{*}SalesQty")
            await context.connection.execute("INSERT INTO effect VALUES ($1, $2)", request.key, number)
            if quantity in self.refuses:
                raise OperationRejected(f"{self.words} {quantity}")
        finally:
            self.running.remove(request.key)
        return Reply(entity_keys=[[("SalesId", f"SO-{number}")]], keys_only=True)

    async def _meet_others(self) -> None:
        """Let others begin; where a test wants so many together, wait for them."""
        if len(self.running) >= self.wanted_together:
            self._enough.set()
        if self.wanted_together:
            async with asyncio.timeout(DEADLINE):
                await self._enough.wait()
        else:
            await asyncio.sleep(0)


@dataclass
class Port:
    """A port on a real store with the service above; `stages` is how many gateways work on it."""

    store: Store
    process: Mapping[str, Any]
    stages: int = 1
    chunk: int = 100
    errors: bool = True
    orders: Orders = field(default_factory=Orders)
    rules: ReadRules = ReadRules(validate=False)  # noqa: RUF009 frozen

    def __post_init__(self) -> None:
        options: dict[str, Any] = {
            "services": {"SalesOrderService": {"kind": "python", "operations": {"create": "m:create"}}},
            "ports": {
                ORDERS: {
                    "receive": {"folder": "/srv/in"},
                    "respond": {"folder": "/srv/out", "errors": self.errors},
                    "operations": ["SalesOrderService.create"],
                    "process": dict(self.process),
                }
            },
        }
        self.settings = Settings.model_validate(options)
        port = self.settings.ports[ORDERS]
        assert isinstance(port, InboundPort)
        self.open = OpenInbound(
            name=ORDERS, settings=port, exposed=frozenset({("SalesOrderService", "create")}), rules=self.rules,
            receive=cast("ReceiveAdapter", None), send=cast("SendAdapter", object()), name_response=_name,
        )  # fmt: skip

    async def put(
        self,
        quantities: Sequence[str],
        *,
        conversation: str | None = None,
        own: str | None = None,
        single: bool = False,
        padding: int = 0,
        problems: Sequence[Problem] = (),
    ) -> list[MessageKey]:
        """Ingest one file; returns the numbers of its messages.

        *own* is the ConversationId of each message, *problems* what the reader found wrong in each document.
        """
        claim = a_claim()
        head = FileHead(
            root=Root.ENVELOPE if single else Root.BATCH,
            namespace=BATCH,
            encoding="UTF-8",
            conversation_id=conversation,
        )
        read = [
            ReadEnvelope(
                position=position, namespace=MESSAGE_2011, header=Header(action=CREATE, conversation_id=own),
                parts=(f"{{{SALES_ORDER}}}SalesOrder",), content=envelope(order(quantity)).encode() + b" " * padding,
                body_problems=tuple(problems),
            )
            for position, quantity in enumerate(quantities, start=1)
        ]  # fmt: skip
        async with ingestion(self.store) as ingesting:
            set_key = None if single else await ingesting.new_set()
            new = await new_messages(read, head, set_key, self.open)
            await ingesting.add_messages(ORDERS, claim.id, "partner", set_key, self.open.policy, new)
            end = FileEnd(envelopes=len(new), size=claim.size, sha256=claim.id.bytes * 2)
            limit = most_failures(self.open.settings.process.max_failed, len(new))
            file = NewFile(
                claim=claim, head=head, end=end, submitter="partner", settlement=Settlement.ARCHIVE,
                batch_id=None if single else "b", policy=self.open.policy, max_failed=limit,
            )  # fmt: skip
            await ingesting.end_file(file, set_key, [])
        async with self.store.transaction() as connection:
            rows = await connection.fetch("SELECT id FROM message WHERE claim_id = $1 ORDER BY position", claim.id)
        return [MessageKey(row["id"]) for row in rows]

    async def run(self) -> None:
        """Process until nothing is left that can run."""
        async with self.store.transaction() as connection:
            await connection.execute("CREATE TABLE IF NOT EXISTS effect (message bigint, number bigint)")
        await set_port_rule(self.store, ORDERS, self.open.settings.process.on_lane_error)
        ports = Ports(self.settings)
        ports.add(self.open)
        async with XmlPool(1) as pool:
            with ThreadPoolExecutor(2) as executor:
                await self._run(ports, pool, executor)

    async def _run(self, ports: Ports, pool: XmlPool, executor: ThreadPoolExecutor) -> None:
        stages = [
            InboundStage(
                store=self.store, incarnation=number, ports=ports, registry=self.registry, pool=pool,
                executor=executor, trouble=PortHealth(self.store, number), chunk=self.chunk,
            )
            for number in range(1, self.stages + 1)
        ]  # fmt: skip
        await asyncio.gather(*(stage.run(_context()) for stage in stages))

    @property
    def registry(self) -> Registry:
        """Return where the service is found."""
        name = "SalesOrderService"
        return Registry(
            {name: Service(name=name, namespaces=frozenset({SERVICES}), operations={"create": self.orders})}
        )

    async def states(self, keys: Sequence[MessageKey]) -> list[str]:
        """Return of each message `status/reason/set status`, or its outcome when it has left the queue."""
        queued, _ = await list_queue(self.store, MessageFilter(direction=Direction.IN), limit=1000)
        places = {row.key: f"{row.status}/{row.reason}/{row.set_status}" for row in queued}
        async with self.store.transaction() as connection:
            outcomes = await connection.fetch(
                "SELECT id, outcome FROM message WHERE id = ANY($1::bigint[])", list(keys)
            )
        ended = {row["id"]: str(row["outcome"]) for row in outcomes}
        return [places.get(key, ended[key]) for key in keys]

    async def effects(self) -> dict[int, int]:
        """Return the number that each message with an effect got."""
        async with self.store.transaction() as connection:
            rows = await connection.fetch("SELECT message, number FROM effect")
        return {row["message"]: row["number"] for row in rows}

    async def answers(self) -> dict[int, str]:
        """Return of each answered message whether it got a response or a fault, or which of them one after another."""
        async with self.store.transaction() as connection:
            rows = await connection.fetch(
                "SELECT request_id, string_agg(CASE WHEN is_fault THEN 'fault' ELSE 'response' END, ', ' ORDER BY id)"
                " AS kinds FROM message WHERE direction = 'out' GROUP BY request_id"
            )
        return {row["request_id"]: row["kinds"] for row in rows}

    async def codes(self) -> dict[int, str]:
        """Return the codes in the exception log by message."""
        async with self.store.transaction() as connection:
            rows = await connection.fetch("SELECT message_key, code FROM exception WHERE severity = 'error'")
        return {row["message_key"]: row["code"] for row in rows}

    async def set_state(self) -> tuple[str, int, int, int]:
        """Return the status of the first set, and how many of it are processed, failed and deleted."""
        async with self.store.transaction() as connection:
            row = await connection.fetchrow("SELECT status, processed, failed, deleted FROM message_set ORDER BY id")
        assert row is not None
        return row["status"], row["processed"], row["failed"], row["deleted"]

    async def release(self, *keys: MessageKey) -> Changed:
        """Let members run again."""
        return await release(self.store, keys)

    async def hold(self, *keys: MessageKey) -> Changed:
        """Park members."""
        return await hold(self.store, keys)

    async def release_verdict(self, *keys: MessageKey) -> None:
        """Let members be judged by the real reader before they run for the first time."""
        await self.hold(*keys)
        await self.release(*keys)

    async def delete(self, *keys: MessageKey) -> Changed:
        """Delete members."""
        return await delete(self.store, keys)


def _name(work: Work, message_id: UUID, is_fault: bool) -> str:
    return f"{work.key}.{message_id}.xml"


def _context() -> TaskContext:
    return TaskContext(task="inbound", feed=NothingComes(), stopping=asyncio.Event(), tally=Tally())
