"""Many messages of many ports at once: what waits holds up nobody but its own."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import pytest

from gateway.config.models import Respond
from gateway.contracts.adapter import SendAdapter
from gateway.contracts.service import Reply, Request, ServiceContext
from gateway.contracts.task import Tally, TaskContext
from gateway.db.open import Store
from gateway.kernel.ids import PortName
from gateway.messaging.flow.port import Ports
from gateway.messaging.flow.port_state import PortHealth
from gateway.messaging.intake.writing import ingestion
from gateway.messaging.processing.inbound import InboundStage
from gateway.messaging.processing.suspects import HandOver, keep
from gateway.messaging.queue.leases import claim_in_turn
from gateway.messaging.rules.states import Policy
from gateway.messaging.services.registry import Registry, Service
from gateway.xml.pool import XmlPool
from tests.documents import SERVICES, envelope
from tests.factories import a_claim, a_file, a_message
from tests.integration.messaging.test_inbound import a_port
from tests.site import until

DEADLINE = 60.0
ANSWERED = """
SELECT r.port, count(*)::int AS number FROM message r JOIN message a ON a.request_id = r.id GROUP BY r.port
"""
IN_TRANSACTION = """
SELECT count(*)::int FROM pg_stat_activity
WHERE datname = current_database() AND state LIKE 'idle in transaction%'
"""


SUSPECT = """
UPDATE queue SET crashes = 1
WHERE message_id = (SELECT id FROM message WHERE port = $1 AND position = $2 AND direction = 'in') RETURNING message_id
"""


class Hints:
    """The feed of a task that is told of what comes, until nothing comes any more."""

    def __init__(self) -> None:
        self.hint = asyncio.Event()
        self.closed = False

    async def more(self) -> bool:
        await self.hint.wait()
        if not self.closed:
            self.hint.clear()
        return not self.closed

    async def hinted(self) -> None:
        await self.hint.wait()
        if self.closed:
            await asyncio.Event().wait()
        self.hint.clear()

    def produced(self) -> None:
        return

    def enough(self) -> bool:
        return False

    @property
    def once(self) -> bool:
        return False


@dataclass
class Waiting:
    """An operation that waits for another system: of each port until *enough* are inside, or until a test says so."""

    expects: tuple[str, ...] | None = None
    undoable: bool = True
    idempotent: bool = False
    timeout_seconds: float = DEADLINE
    slow: frozenset[str] = frozenset()
    enough: int = 0
    computes: bool = False
    inside: Counter[str] = field(default_factory=Counter)
    most: Counter[str] = field(default_factory=Counter)
    order: list[int] = field(default_factory=list)
    now: set[int] = field(default_factory=set)
    met: list[set[int]] = field(default_factory=list)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    async def call(self, request: Request, context: ServiceContext) -> Reply:
        self.order.append(request.key)
        self.now.add(request.key)
        await asyncio.sleep(0)
        self.met.append(set(self.now))
        self.inside[request.port] += 1
        self.most[request.port] = max(self.most[request.port], self.inside[request.port])
        if self.enough and self.inside[request.port] >= self.enough:
            self.go_on.set()
        try:
            if request.port in self.slow:
                async with asyncio.timeout(DEADLINE):
                    await self.go_on.wait()
        finally:
            self.inside[request.port] -= 1
            self.now.discard(request.key)
        return Reply()


@dataclass
class Gateway:
    """Inbound processing of some ports, with one operation."""

    store: Store
    operation: Waiting
    folder: Path
    options: Mapping[str, Mapping[str, Any]]
    feed: Hints = field(default_factory=Hints)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    hand_over: HandOver = keep

    async def put(self, port: str, lanes: Sequence[str | None]) -> None:
        """Bring messages, and hint."""
        claim = a_claim(port=PortName(port))
        content = envelope().encode()
        messages = [a_message(n, content=content, lane=lane, message_id=uuid4()) for n, lane in enumerate(lanes, 1)]
        async with ingestion(self.store) as ingesting:
            await ingesting.add_messages(PortName(port), claim.id, "partner", None, Policy.CONTINUE, messages)
            await ingesting.end_file(a_file(claim), None, [])
        self.feed.hint.set()

    async def suspect(self, port: str, position: int) -> int:
        """Let a message have ended a process before; returns its key."""
        async with self.store.transaction() as connection:
            return int(await connection.fetchval(SUSPECT, port, position))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Process for the length of the block, and then to the end."""
        ports: Ports | None = None
        for name, options in self.options.items():
            settings, port = a_port(options.get("mode", "parallel"), options.get("max_parallel", 1000), name=name)
            changed = port.settings.model_copy(update={"respond": Respond(folder=self.folder)})
            ports = ports or Ports(settings)
            ports.add(replace(port, settings=changed, send=cast("SendAdapter", object()), name_response=_name))
        assert ports is not None
        self.ports = ports
        service = Service(
            name="SalesOrderService", namespaces=frozenset({SERVICES}), operations={"create": self.operation}
        )
        with ThreadPoolExecutor(2) as executor:
            stage = InboundStage(
                store=self.store, incarnation=1, ports=ports, registry=Registry({service.name: service}),
                pool=XmlPool(1), executor=executor, trouble=PortHealth(self.store, 1), chunk=100,
                hand_over=self.hand_over,
            )  # fmt: skip
            context = TaskContext(task="inbound", feed=self.feed, stopping=self.stopping, tally=Tally())
            task = asyncio.create_task(stage.run(context))
            try:
                yield
            finally:
                self.operation.go_on.set()
                self.feed.closed = True
                self.feed.hint.set()
                await task

    async def answered(self) -> dict[str, int]:
        """Return how many answers of each port there are."""
        async with self.store.transaction() as connection:
            return {row["port"]: row["number"] for row in await connection.fetch(ANSWERED)}

    async def queued(self, status: str) -> int:
        async with self.store.transaction() as connection:
            return int(await connection.fetchval("SELECT count(*) FROM queue WHERE status = $1", status))

    async def until_answered(self, port: str, number: int) -> None:
        async def is_so() -> bool:
            return (await self.answered()).get(port, 0) >= number

        await until(is_so, f"{number} messages of {port} are answered")

    async def until_inside(self, port: str, number: int) -> None:
        async def is_so() -> bool:
            return self.operation.inside[port] >= number

        await until(is_so, f"{number} messages of {port} wait for the other system")


def _name(work: Any, message_id: Any, is_fault: bool) -> str:
    return f"{work.key}.{message_id}.xml"


@pytest.mark.parametrize("lanes", [False, True], ids=["free", "conversations"])
async def test_messages_of_a_parallel_port_wait_for_another_system_all_at_once(
    store: Store, tmp_path: Path, lanes: bool
) -> None:
    operation = Waiting(slow=frozenset({"a"}), enough=20)
    gateway = Gateway(store, operation, tmp_path, {"a": {"max_parallel": 20}})
    await gateway.put("a", [f"c{n}" if lanes else None for n in range(20)])
    async with gateway.running():
        await gateway.until_answered("a", 20)
    assert operation.most["a"] == 20


async def test_what_waits_for_another_system_holds_no_connection(store: Store, tmp_path: Path) -> None:
    operation = Waiting(slow=frozenset({"a"}))
    gateway = Gateway(store, operation, tmp_path, {"a": {}})
    await gateway.put("a", [None] * 20)
    async with gateway.running():
        await gateway.until_inside("a", 20)

        async def nobody_holds_one() -> bool:  # the stage itself looks for more now and then
            async with store.transaction() as connection:
                return bool(await connection.fetchval(IN_TRANSACTION) == 0)

        await until(nobody_holds_one, "no transaction is open")
    assert await gateway.answered() == {"a": 20}


async def test_what_has_ended_a_process_runs_beside_nothing_else(store: Store, tmp_path: Path) -> None:
    operation = Waiting()
    gateway = Gateway(store, operation, tmp_path, {"a": {}, "b": {}})
    await gateway.put("a", [None] * 12 + ["c1"] * 3)
    await gateway.put("b", [None] * 12)
    suspects = {await gateway.suspect(port, position) for port in ("a", "b") for position in (1, 4, 5, 12)}
    async with gateway.running():
        await gateway.until_answered("a", 15)
        await gateway.until_answered("b", 12)
    assert len(operation.met) == 27 and len(suspects) == 8
    assert not [met for met in operation.met if len(met) > 1 and met & suspects]


async def test_port_of_what_has_ended_a_process_is_handed_over_with_it(store: Store, tmp_path: Path) -> None:
    """It costs no attempt, and the other ports go on."""
    operation = Waiting()
    gateway = Gateway(store, operation, tmp_path, {"a": {}, "b": {}})
    handed_over: list[str] = []
    await gateway.put("a", [None] * 3)
    await gateway.suspect("a", 1)
    await gateway.put("b", [None] * 3)

    def hand_over(port: PortName) -> bool:
        handed_over.append(port)
        gateway.ports.remove(port)
        return True

    gateway.hand_over = hand_over
    async with gateway.running():
        await gateway.until_answered("b", 3)
    assert handed_over == ["a"]
    async with store.transaction() as connection:
        rows = await connection.fetch("SELECT port, status, attempts FROM queue WHERE direction = 'in'")
        assert [tuple(row.values()) for row in rows] == [("a", "ready", 0)] * 3
        assert await connection.fetchval("SELECT count(*) FROM lease") == 0


async def test_no_more_than_allowed_are_in_work(store: Store, tmp_path: Path) -> None:
    operation = Waiting(slow=frozenset({"a"}), enough=5)
    gateway = Gateway(store, operation, tmp_path, {"a": {"max_parallel": 5}})
    await gateway.put("a", [None] * 12 + ["c1", "c1", "c2"])
    async with gateway.running():
        await gateway.until_answered("a", 15)
    assert operation.most["a"] == 5


async def test_slow_ports_hold_up_nobody_else(store: Store, tmp_path: Path) -> None:
    operation = Waiting(slow=frozenset({"a", "b"}))
    gateway = Gateway(store, operation, tmp_path, {"a": {}, "b": {"mode": "sequential"}, "c": {}})
    async with gateway.running():
        await gateway.put("a", [None] * 60)
        await gateway.put("b", ["port"] * 60)
        await gateway.until_inside("a", 20)
        await gateway.until_inside("b", 1)
        await gateway.put("c", [None] * 30)
        await gateway.until_answered("c", 30)
        assert await gateway.answered() == {"c": 30}
        assert operation.most["b"] == 1
    assert await gateway.answered() == {"a": 60, "b": 60, "c": 30}


async def test_claim_of_a_port_that_is_held_up_holds_up_nobody_else(store: Store, tmp_path: Path) -> None:
    """Another process is frozen in the middle of a claim of that port."""
    operation = Waiting()
    gateway = Gateway(store, operation, tmp_path, {"a": {}, "b": {}, "c": {"mode": "sequential"}})
    await gateway.put("a", [None] * 5)
    async with AsyncExitStack() as frozen:
        await claim_in_turn(await frozen.enter_async_context(store.transaction()), PortName("a"))
        async with gateway.running():
            await gateway.put("b", [None] * 40)
            await gateway.put("c", ["port"] * 40)
            await gateway.until_answered("b", 40)
            await gateway.until_answered("c", 40)
            assert await gateway.answered() == {"b": 40, "c": 40}
            await frozen.aclose()
            await gateway.until_answered("a", 5)


async def test_port_with_all_that_it_may_have_in_work_goes_on_when_one_ends(store: Store, tmp_path: Path) -> None:
    operation = Waiting(slow=frozenset({"a"}))
    gateway = Gateway(store, operation, tmp_path, {"a": {"max_parallel": 2}})
    await gateway.put("a", [None] * 6)
    async with gateway.running():
        await gateway.until_inside("a", 2)
        assert await gateway.queued("in_process") == 2
        operation.go_on.set()
        await gateway.until_answered("a", 6)


async def test_messages_without_a_conversation_run_beside_busy_conversations(store: Store, tmp_path: Path) -> None:
    operation = Waiting()
    gateway = Gateway(store, operation, tmp_path, {"a": {"max_parallel": 1}})
    await gateway.put("a", [f"c{n % 10}" for n in range(40)])
    await gateway.put("a", [None] * 3)
    async with gateway.running():
        await gateway.until_answered("a", 43)
    async with store.transaction() as connection:
        free = {
            row["id"]
            for row in await connection.fetch("SELECT id FROM message WHERE direction = 'in' ORDER BY id DESC LIMIT 3")
        }
    assert [place for place, key in enumerate(operation.order) if key in free] == [3, 7, 11]


async def test_what_has_not_begun_when_a_stop_is_asked_for_is_given_back(store: Store, tmp_path: Path) -> None:
    operation = Waiting(slow=frozenset({"a"}))
    gateway = Gateway(store, operation, tmp_path, {"a": {"max_parallel": 3}})
    await gateway.put("a", [None] * 10)
    async with gateway.running():
        await gateway.until_inside("a", 3)
        gateway.stopping.set()
    assert await gateway.answered() == {"a": 3}, "what has begun ends"
    assert await gateway.queued("ready") == 7 + 3, "the rest of the requests, and the answers"
    assert store.held == set()
