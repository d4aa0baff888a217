"""Inbound processing in this process, on one port with one operation that does what a test says."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast
from uuid import UUID

from lxml import etree

from gateway.config.models import InboundPort, Settings
from gateway.contracts.adapter import ReceiveAdapter, SendAdapter
from gateway.contracts.service import Reply, Request, ServiceContext, ServiceOperation
from gateway.contracts.task import Tally, TaskContext
from gateway.db.open import Store
from gateway.kernel.ids import MessageKey, SetKey
from gateway.kernel.problem import Problem
from gateway.messaging.flow.port import OpenInbound, Ports
from gateway.messaging.flow.port_state import PortHealth
from gateway.messaging.intake.writing import ingestion
from gateway.messaging.processing.inbound import InboundStage
from gateway.messaging.rules.states import Policy
from gateway.messaging.services.registry import Registry, Service
from gateway.xml.limits import ReadRules
from gateway.xml.pool import XmlPool
from tests.documents import SERVICES, envelope
from tests.factories import ORDERS, a_claim, a_file, a_message


class Scripted:
    """An operation that notes its calls, and raises what a test laid out for the position of a message."""

    expects: tuple[str, ...] | None = None
    undoable = True
    idempotent = True
    timeout_seconds = 60.0

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.errors: dict[str, Exception] = {}

    async def call(self, request: Request, context: ServiceContext) -> Reply:
        mark = str(request.parts[0].findtext(".//{*}PurchOrderFormNum"))
        self.calls.append(mark)
        await context.connection.execute(
            "INSERT INTO number_sequence (name, next) VALUES ($1, 1)", request.idempotency_key
        )
        if mark in self.errors:
            raise self.errors[mark]
        part = etree.Element("{http://schemas.microsoft.com/dynamics/2008/01/documents/Done}Done")
        part.text = f"{mark}, call {len(self.calls)}"
        return Reply(parts=[part], entity_keys=[[("SalesId", mark)]])


class NothingComes:
    """The feed of a task that stands alone."""

    async def more(self) -> bool:
        return False

    async def hinted(self) -> None:
        await asyncio.Event().wait()

    def produced(self) -> None:
        return

    @property
    def closed(self) -> bool:
        return False

    @property
    def once(self) -> bool:
        return True


class InboundBench:
    """The stage with a port that answers; `put` brings a file, `run` processes what is ready."""

    def __init__(self, store: Store, executor: ThreadPoolExecutor, operation: ServiceOperation, **port: Any) -> None:
        self.store = store
        self._executor = executor
        self._operation = operation
        self._port = port

    async def put(
        self,
        marks: Sequence[str],
        *,
        ids: Sequence[UUID | None] | None = None,
        policy: Policy = Policy.CONTINUE,
        lane: str | None = None,
        namespace: str | None = None,
        problems: Sequence[Problem] = (),
    ) -> tuple[SetKey | None, list[MessageKey]]:
        """Bring a batch of one message per mark, each with *problems*; returns its set and its messages' numbers."""
        claim = a_claim()
        messages = []
        for position, (mark, message_id) in enumerate(zip(marks, ids or [None] * len(marks), strict=True), 1):
            written = envelope(
                message_id=None if message_id is None else str(message_id),
                **({"namespace": namespace} if namespace else {}),
            )
            content = written.replace(">P0<", f">{mark}<").encode()
            message = a_message(position, message_id=message_id, lane=lane, content=content, problems=tuple(problems))
            messages.append(message)
        async with ingestion(self.store) as ingesting:
            set_key = await ingesting.new_set()
            await ingesting.add_messages(ORDERS, claim.id, "partner", set_key, policy, messages)
            await ingesting.end_file(a_file(claim, members=len(messages), policy=policy), set_key, [])
        keys = await self.rows("SELECT id FROM message WHERE set_id = $1 AND direction = 'in' ORDER BY id", set_key)
        return set_key, [MessageKey(key) for (key,) in keys]

    async def run(self, **process: Any) -> Tally:
        """Process what is ready, with these settings of the port, as a gateway that has just started."""
        return await self.work(self.stage(**process))

    async def work(self, stage: InboundStage) -> Tally:
        """Process what is ready."""
        tally = Tally()
        await stage.run(TaskContext(task="inbound", feed=NothingComes(), stopping=asyncio.Event(), tally=tally))
        return tally

    def stage(self, *, incarnation: int = 1, **process: Any) -> InboundStage:
        """Return the stage with these settings of the port, in a process of this number."""
        settings = Settings.model_validate(
            {
                "services": {"SalesOrderService": {"kind": "python", "operations": {"create": "m:create"}}},
                "ports": {
                    ORDERS: {
                        "receive": {"folder": "/srv/in"},
                        "respond": {"folder": "/srv/out"},
                        "operations": ["SalesOrderService.create"],
                        "process": process,
                        **self._port,
                    }
                },
            }
        )
        port = settings.ports[ORDERS]
        assert isinstance(port, InboundPort)
        ports = Ports(settings)
        ports.add(
            OpenInbound(
                name=ORDERS, settings=port, exposed=frozenset({("SalesOrderService", "create")}), rules=ReadRules(),
                receive=cast("ReceiveAdapter", None), send=cast("SendAdapter", object()),
                name_response=lambda _, message_id, __: f"{message_id}.xml",
            )
        )  # fmt: skip
        service = Service(
            name="SalesOrderService", namespaces=frozenset({SERVICES}), operations={"create": self._operation}
        )
        return InboundStage(
            store=self.store, incarnation=incarnation, ports=ports, registry=Registry({service.name: service}),
            pool=XmlPool(1), executor=self._executor, trouble=PortHealth(self.store, incarnation), chunk=100,
        )  # fmt: skip

    async def answers(self) -> list[etree._Element]:
        """Return the answers so far, in order."""
        rows = await self.rows(
            "SELECT d.content FROM message m JOIN document d ON d.message_id = m.id"
            " WHERE direction = 'out' ORDER BY m.id"
        )
        return [etree.fromstring(content) for (content,) in rows]

    async def rows(self, sql: str, *arguments: object) -> list[tuple[Any, ...]]:
        async with self.store.transaction() as connection:
            return [tuple(row.values()) for row in await connection.fetch(sql, *arguments)]
