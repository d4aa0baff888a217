"""Inbound processing in this process: how much of a port is in work at the same time."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest

from gateway.config.models import InboundPort, Settings
from gateway.contracts.adapter import ReceiveAdapter
from gateway.contracts.service import Reply, Request, ServiceContext
from gateway.contracts.task import Tally, TaskContext
from gateway.db.open import Store
from gateway.kernel.ids import PortName
from gateway.messaging.flow.port import OpenInbound, Ports
from gateway.messaging.flow.port_state import PortHealth
from gateway.messaging.intake.writing import ingestion
from gateway.messaging.processing.inbound import InboundStage
from gateway.messaging.rules.message import NewMessage
from gateway.messaging.rules.pace import Pace
from gateway.messaging.rules.states import Policy
from gateway.messaging.services.registry import Registry, Service
from gateway.xml.limits import ReadRules
from gateway.xml.pool import XmlPool
from tests.documents import SERVICES, envelope
from tests.factories import ORDERS, a_claim, a_file, a_message

DEADLINE = 60.0


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


class Busy:
    """An operation that goes on only when as many messages are in work as there can be, and notes how many."""

    expects: tuple[str, ...] | None = None
    undoable = True
    idempotent = False
    timeout_seconds = 60.0

    def __init__(self, store: Store, most: int) -> None:
        self._store = store
        self._in_work = most
        self.in_work: list[int] = []

    async def call(self, request: Request, context: ServiceContext) -> Reply:
        async with asyncio.timeout(DEADLINE):
            while True:
                messages = await self._look()
                if messages >= self._in_work or await self._all_claimed():
                    break
                await asyncio.sleep(0.01)
        self.in_work.append(messages)
        return Reply()

    async def _look(self) -> int:
        async with self._store.transaction() as connection:
            return int(await connection.fetchval("SELECT count(*) FROM queue WHERE status = 'in_process'"))

    async def _all_claimed(self) -> bool:
        async with self._store.transaction() as connection:
            return not await connection.fetchval("SELECT count(*) FROM queue WHERE status = 'ready'")


def a_port(mode: str, max_parallel: int, *, name: str = ORDERS, weight: int = 1) -> tuple[Settings, OpenInbound]:
    options: dict[str, Any] = {
        "services": {"SalesOrderService": {"kind": "python", "operations": {"create": "m:create"}}},
        "ports": {
            name: {
                "receive": {"folder": "/srv/in"},
                "operations": ["SalesOrderService.create"],
                "process": {"mode": mode, "max_parallel": max_parallel, "weight": weight},
            }
        },
    }
    settings = Settings.model_validate(options)
    port = settings.ports[name]
    assert isinstance(port, InboundPort)
    return settings, OpenInbound(
        name=PortName(name), settings=port, exposed=frozenset({("SalesOrderService", "create")}), rules=ReadRules(),
        receive=cast("ReceiveAdapter", None), send=None, name_response=lambda work, message_id, is_fault: "a.xml",
    )  # fmt: skip


async def process(store: Store, messages: Sequence[NewMessage], busy: Busy, mode: str, max_parallel: int) -> Tally:
    claim, tally = a_claim(), Tally()
    async with ingestion(store) as ingesting:
        await ingesting.add_messages(ORDERS, claim.id, "partner", None, Policy.CONTINUE, messages)
        await ingesting.end_file(a_file(claim), None, [])
    settings, port = a_port(mode, max_parallel)
    ports = Ports(settings)
    ports.add(port)
    service = Service(name="SalesOrderService", namespaces=frozenset({SERVICES}), operations={"create": busy})
    with ThreadPoolExecutor(2) as executor:
        stage = InboundStage(
            store=store, incarnation=1, ports=ports, registry=Registry({service.name: service}), pool=XmlPool(1),
            executor=executor, trouble=PortHealth(store, 1), chunk=4,
        )  # fmt: skip
        await stage.run(TaskContext(task="inbound", feed=NothingComes(), stopping=asyncio.Event(), tally=tally))
    return tally


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every port be known to be quick, so that units are as large as they may be."""
    monkeypatch.setattr(Pace, "next", lambda pace, **_: pace.most)


@pytest.mark.parametrize("lanes", [False, True], ids=["no lanes", "conversations"])
async def test_parallel_port_has_no_more_messages_in_work_than_allowed(store: Store, lanes: bool) -> None:
    busy = Busy(store, most=6)
    content = envelope().encode()
    messages = [a_message(n, content=content, lane=f"c{n}" if lanes else None) for n in range(1, 13)]
    tally = await process(store, messages, busy, "parallel", 6)
    assert tally.counts["messages"] == 12
    assert max(busy.in_work) == 6


async def test_limit_below_the_chunk_makes_smaller_units(store: Store, quick: None) -> None:
    busy = Busy(store, most=1)
    content = envelope().encode()
    await process(store, [a_message(n, content=content) for n in range(1, 8)], busy, "parallel", 3)
    assert max(busy.in_work) == 3


async def test_sequential_port_is_one_lane_and_not_limited_further(store: Store, quick: None) -> None:
    busy = Busy(store, most=1)
    content = envelope().encode()
    await process(store, [a_message(n, content=content, lane="port") for n in range(1, 9)], busy, "sequential", 1)
    assert max(busy.in_work) == 4
