"""Processes on one store count the failures of a port together, try one request over all, and go on together."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from gateway.batch.alerts.outbox import AlertRule, set_alert_rule
from gateway.batch.rules.alert import AlertEvent, Channel
from gateway.contracts.service import Reply, Request, ServiceContext
from gateway.db.open import Store
from gateway.messaging.processing.claims import claim_inbound
from gateway.messaging.processing.inbound import InboundStage
from gateway.messaging.queue.leases import give_back, read_beats, take_back
from gateway.messaging.queue.port_health import doubt_ports, forget_health, record_health
from gateway.messaging.queue.ports import retry_port
from gateway.messaging.rules.health import Findings
from gateway.messaging.rules.states import Stage
from gateway.operations.reads.gateway import read_presence
from tests.factories import ORDERS
from tests.inbound_bench import InboundBench, Scripted
from tests.integration.db.test_listen import listening
from tests.integration.messaging.test_bounded_ports import mark
from tests.site import until

MOST = 3
HEALTH = "SELECT failures, paused_until IS NOT NULL FROM port_health"
DUE = "UPDATE port_health SET paused_until = clock_timestamp() - interval '1 second'"


class Guarded(Scripted):
    """Every call fails for as long as `error` is set; those of marks in `held` wait until the test lets them go on."""

    def __init__(self) -> None:
        super().__init__()
        self.error: Exception | None = ValueError("a bug")
        self.held: dict[str, asyncio.Event] = {}

    async def call(self, request: Request, context: ServiceContext) -> Reply:
        mark = str(request.parts[0].findtext(".//{*}PurchOrderFormNum"))
        if mark in self.held:
            self.calls.append(mark)
            await self.held[mark].wait()
        if self.error is not None and mark not in self.held:
            self.errors[mark] = self.error
        return await super().call(request, context)


class Two:
    """One port, and two processes that work on it."""

    def __init__(self, store: Store, executor: ThreadPoolExecutor) -> None:
        self.store = store
        self.operation = Guarded()
        self.bench = InboundBench(store, executor, self.operation)
        self.first = self.a_process(1)
        self.second = self.a_process(2)

    def a_process(self, incarnation: int) -> InboundStage:
        return self.bench.stage(
            incarnation=incarnation, mode="parallel", max_parallel=50, pause_after_failures=MOST, retries=1
        )

    async def put(self, *marks: str) -> None:
        await self.bench.put(marks)

    async def bring(self, mark: str, process: InboundStage) -> list[str]:
        """Bring one request and let a process work; returns which calls that made."""
        await self.put(mark)
        return await self.work(process)

    async def work(self, process: InboundStage) -> list[str]:
        self.operation.calls.clear()
        await self.bench.work(process)
        return list(self.operation.calls)

    async def pause(self) -> None:
        """Let the port pause, with a request behind."""
        await self.put(*(f"P{number}" for number in range(MOST)))
        assert len(await self.work(self.first)) == MOST
        await self.put("behind")

    async def hold(self, mark: str) -> asyncio.Task[None]:
        """Let the first process begin a call that waits."""
        self.operation.held[mark] = asyncio.Event()
        working = asyncio.create_task(self._work_on())

        async def began() -> bool:  # and the process has claimed what there is: what comes now is not for it
            may_claim = self.first._shares._claims or any(run.waiting for run in self.first._runner._runs)
            return mark in self.operation.calls and not may_claim

        await until(began, "the call begins")
        return working

    async def _work_on(self) -> None:
        await self.bench.work(self.first)

    async def let_go(self, mark: str, working: asyncio.Task[None]) -> None:
        self.operation.held[mark].set()
        await working

    async def health(self) -> list[tuple[int, bool]]:
        return [(failures, paused) for failures, paused in await self.bench.rows(HEALTH)]

    async def state(self) -> str:
        (port,) = (await read_presence(self.store)).ports
        return port.state


@pytest.fixture
async def two(store: Store) -> AsyncIterator[Two]:
    with ThreadPoolExecutor(1) as executor:
        yield Two(store, executor)


async def test_failures_of_all_processes_pause_the_port_for_all(two: Two, store: Store) -> None:
    async with store.transaction() as connection:
        rule = AlertRule(user="ann", events=frozenset({AlertEvent.ERROR}), channels=frozenset({Channel.EMAIL}))
        await set_alert_rule(connection, rule, port=ORDERS)
    assert await two.bring("A", two.first) == ["A"]
    assert await two.bring("B", two.second) == ["B"]
    assert await two.state() == "open"
    assert await two.bring("C", two.first) == ["C"]
    assert await two.bring("D", two.second) == []
    assert await two.bring("E", two.first) == []
    assert await two.health() == [(3, True)]
    assert await two.state() == "stopped"
    ((text,),) = await two.bench.rows("SELECT text FROM exception WHERE code = 'port.stopped'")
    assert "3 requests in a row failed" in text
    ((told,),) = await two.bench.rows("SELECT body FROM alert")
    assert text in told


async def test_success_in_one_process_counts_for_failures_in_another(two: Two) -> None:
    await two.put("slow")
    working = await two.hold("slow")
    await two.bring("A", two.second)
    await two.bring("B", two.second)
    assert await two.health() == [(2, False)]
    await two.let_go("slow", working)
    assert await two.health() == [(0, False)]


async def test_no_more_run_side_by_side_than_may_fail_in_all_processes_together(two: Two) -> None:
    await two.put("slow")
    working = await two.hold("slow")
    assert await two.bring("A", two.second) == ["A"]
    await two.put("B", "C")
    assert await two.work(two.second) == ["B"], "one has failed, one is in work, and a third one may fail"
    assert await two.health() == [(2, False)]
    await two.let_go("slow", working)


async def test_process_that_may_claim_nothing_yet_is_told_when_another_ends_its_claim(two: Two, store: Store) -> None:
    await two.put(*(f"S{number}" for number in range(MOST)))
    claimed = await claim_inbound(store, 9, ORDERS, MOST, at_once=50, most_failures=MOST)
    assert claimed is not None
    await two.put("behind")
    async with listening(store.url) as hints:
        assert await hints.get() is None
        assert await two.work(two.second) == []
        await give_back(store, claimed.fence)
        await mark(store)
        assert await hints.get() == Stage.INBOUND


async def test_paused_port_is_tried_by_one_request_over_all_processes(two: Two, store: Store) -> None:
    await two.pause()
    await two.put("X", "Y")
    assert await two.work(two.second) == []
    await two.bench.rows(f"{DUE} RETURNING 1")
    working = await two.hold("behind")
    assert await two.work(two.second) == [], "it is being tried"
    two.operation.error = None
    async with listening(store.url) as hints:
        assert await hints.get() is None
        await two.let_go("behind", working)
        assert await hints.get() == Stage.INBOUND, "others need not find out by themselves"
    assert await two.state() == "open"
    assert len(await two.bring("Z", two.second)) == 1
    assert await two.bench.rows("SELECT count(*) FROM queue WHERE direction = 'in' AND status = 'ready'") == [(0,)]


async def test_try_that_fails_puts_off_the_next_one(two: Two) -> None:
    await two.pause()
    await two.put("X")
    await two.bench.rows(f"{DUE} RETURNING 1")
    assert await two.work(two.second) == ["behind"]
    assert await two.work(two.first) == []
    assert await two.health() == [(MOST + 1, True)]
    ahead = "SELECT paused_until > clock_timestamp(), paused_at < clock_timestamp() FROM port_health"
    assert await two.bench.rows(ahead) == [(True, True)]
    assert await two.bench.rows("SELECT count(*) FROM exception WHERE code = 'port.stopped'") == [(1,)]


@pytest.mark.parametrize("end", ["taken back", "given back"])
async def test_try_that_is_lost_costs_nothing(two: Two, store: Store, end: str) -> None:
    await two.pause()
    await two.bench.rows(f"{DUE} RETURNING 1")
    tried = await claim_inbound(store, 9, ORDERS, 50, at_once=50, most_failures=MOST)
    assert tried is not None and len(tried.items) == 1
    assert await claim_inbound(store, 8, ORDERS, 50, at_once=50, most_failures=MOST) is None
    if end == "given back":
        await give_back(store, tried.fence)
    else:
        assert await take_back(store, (await read_beats(store, 8)).leases) == 1
    two.operation.error = None
    assert await two.work(two.second) == ["behind"]
    assert await two.state() == "open"


async def test_try_that_finds_nothing_to_do_is_none(two: Two) -> None:
    await two.pause()
    await two.bench.rows(
        "UPDATE queue SET status = 'hold', reason = 'held_by_operator' WHERE status = 'ready' RETURNING 1"
    )
    await two.bench.rows(f"{DUE} RETURNING 1")
    assert await two.work(two.first) == []
    two.operation.error = None
    assert await two.bring("X", two.second) == ["X"]


async def test_of_many_that_want_to_try_one_does(two: Two, store: Store) -> None:
    """Also where nothing makes them claim one after another."""
    await two.pause()
    await two.put(*(f"X{number}" for number in range(5)))
    await two.bench.rows(f"{DUE} RETURNING 1")
    claims = await asyncio.gather(*(claim_inbound(store, n, ORDERS, 1, most_failures=MOST) for n in range(11, 16)))
    assert [len(claim.items) for claim in claims if claim is not None] == [1]


async def test_pause_that_began_while_a_success_was_recorded_is_seen_to_end(two: Two, store: Store) -> None:
    await two.pause()
    async with store.transaction() as connection:
        before = MOST - 1  # of the failures, when it looked
        assert await record_health(connection, Findings(port=ORDERS, most=MOST, works=True), before) == "open"
    assert await two.health() == [(0, False)]


async def test_operator_need_not_wait_for_the_next_try(two: Two, store: Store) -> None:
    await two.pause()
    assert await two.work(two.second) == []
    await retry_port(store, ORDERS)
    two.operation.error = None
    assert await two.work(two.second) == ["behind"]


async def test_next_try_is_not_put_off_by_a_clock_that_was_set_back(two: Two) -> None:
    await two.pause()
    await two.bench.rows("UPDATE port_health SET paused_until = paused_until + interval '1 hour' RETURNING 1")
    two.operation.error = None
    assert await two.work(two.second) == ["behind"]


async def test_port_that_was_changed_starts_anew(two: Two, store: Store) -> None:
    await two.pause()
    assert await forget_health(store, [ORDERS]) == [ORDERS]
    assert await two.state() == "open"
    await two.put("X", "Y", "Z")
    assert len(await two.work(two.second)) == MOST, "until one succeeds it may fail so often again"
    assert await two.health() == [(MOST, True)]


async def test_start_of_a_gateway_tries_at_once_and_takes_nothing_for_granted(two: Two, store: Store) -> None:
    await two.pause()
    await doubt_ports(store, [ORDERS])
    assert await two.work(two.second) == ["behind"], "one is tried"
    await retry_port(store, ORDERS)
    two.operation.error = None
    assert await two.bring("X", two.second) == ["X"]
    assert await two.health() == [(0, False)]
    await doubt_ports(store, [ORDERS])
    assert await two.health() == []


async def test_nothing_is_written_of_services_that_work(two: Two) -> None:
    two.operation.error = None
    version = "SELECT xmin::text, ctid::text FROM port_health"
    assert await two.bring("A", two.first) == ["A"]
    written = await two.bench.rows(version)
    await two.put("B", "C", "D")
    assert await two.work(two.first) == ["B", "C", "D"]
    assert await two.bring("E", two.second) == ["E"]
    assert await two.bench.rows(version) == written
