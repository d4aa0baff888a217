"""The transaction of a message that is alone begins when its handler first asks the database something."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from asyncpg import InterfaceError, PostgresError

from gateway.contracts.service import Reply, Request, ServiceContext
from gateway.db import unit as store_unit
from gateway.db.connect import SETTINGS
from gateway.db.open import Store
from gateway.db.unit import UnitConnection, UnitTransaction
from gateway.kernel.errors import OperationRejected, StoreCrowded, StoreUnavailable
from gateway.kernel.ids import PortName
from gateway.messaging.rules.states import Policy
from gateway.messaging.services.entities import StoredNumbers
from gateway.messaging.statements import entities_sql
from gateway.queues import UnitQueue
from tests.factories import ORDERS
from tests.inbound_bench import InboundBench

BEGUN = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND state LIKE 'idle in transaction%'
"""
WRITE = "INSERT INTO number_sequence (name, next) VALUES ($1, 1)"
KEPT = "SELECT name FROM number_sequence ORDER BY name"
REQUESTS = "SELECT status, reason, attempts FROM queue WHERE direction = 'in'"

Does = Callable[[ServiceContext], Awaitable[object]]


class Doing:
    """An operation that does what a test says."""

    expects: tuple[str, ...] | None = None
    undoable = True
    idempotent = False
    timeout_seconds = 60.0

    def __init__(self) -> None:
        self.does: Does | None = None

    async def call(self, request: Request, context: ServiceContext) -> Reply:
        assert self.does is not None
        await self.does(context)
        return Reply()


@pytest.fixture
def operation() -> Doing:
    return Doing()


@pytest.fixture
async def bench(store: Store, operation: Doing) -> AsyncIterator[InboundBench]:
    with ThreadPoolExecutor(1) as executor:
        yield InboundBench(store, executor, operation)


async def begun(bench: InboundBench, number: int) -> bool:
    """Wait until so many transactions are open and do nothing: the stage itself claims meanwhile."""
    async with asyncio.timeout(60):
        while await bench.rows(BEGUN) != [(number,)]:
            await asyncio.sleep(0.01)
    return True


async def test_handler_that_asks_nothing_holds_no_transaction(bench: InboundBench, operation: Doing) -> None:
    seen: list[bool] = []

    async def wait_elsewhere(context: ServiceContext) -> None:
        seen.append(await begun(bench, 0))
        await context.connection.execute(WRITE, "mine")
        seen.append(await begun(bench, 1))

    operation.does = wait_elsewhere
    await bench.put(["M1"])
    await bench.run()
    assert seen == [True, True]
    assert await bench.rows(KEPT) == [("mine",)]
    assert len(await bench.answers()) == 1


@pytest.mark.parametrize("marks", [["M1"], ["M1", "M2"]], ids=["one", "two"])
async def test_a_set_under_rollback_has_its_transaction_from_the_start(
    bench: InboundBench, operation: Doing, marks: list[str]
) -> None:
    seen: list[bool] = []

    async def look(_: ServiceContext) -> None:
        seen.append(await begun(bench, 1))

    operation.does = look
    await bench.put(marks, policy=Policy.ROLLBACK, lane="set")
    await bench.run()
    assert seen == [True] * len(marks)


async def by_cursor(connection: Any) -> None:
    assert [row[0] async for row in connection.cursor("SELECT 7")] == [7]


async def by_awaited_cursor(connection: Any) -> None:
    assert (await (await connection.cursor("SELECT 7")).fetchrow())[0] == 7


async def by_transaction(connection: Any) -> None:
    with suppress(PostgresError):
        async with connection.transaction():
            await connection.execute("SELECT 1 / 0")
    part = connection.transaction()
    await part.start()
    await part.rollback()


async def by_preparing(connection: Any) -> None:
    assert await (await connection.prepare("SELECT 7")).fetchval() == 7


async def by_many(connection: Any) -> None:
    await connection.executemany("SELECT $1::int", [(1,), (2,)])


async def by_copying(connection: Any) -> None:
    await connection.copy_records_to_table("number_sequence", records=[("copied", 1)], columns=("name", "next"))


async def by_two_at_once(connection: Any) -> None:
    await asyncio.gather(connection.fetchval("SELECT 1"), connection.fetchval("SELECT 1"), return_exceptions=True)


@pytest.mark.parametrize(
    "asks",
    [by_cursor, by_awaited_cursor, by_transaction, by_preparing, by_many, by_copying, by_two_at_once],
    ids=lambda asks: asks.__name__,
)
async def test_every_way_of_asking_begins_it(
    bench: InboundBench, operation: Doing, asks: Callable[[Any], Awaitable[None]]
) -> None:
    seen: list[bool] = []

    async def ask(context: ServiceContext) -> None:
        await asks(context.connection)
        seen.append(await begun(bench, 1))
        assert context.connection.is_in_transaction()

    operation.does = ask
    await bench.put(["M1"])
    await bench.run()
    assert seen == [True]
    assert await bench.rows("SELECT text FROM exception") == []


async def test_failure_undoes_what_was_done_and_is_recorded(bench: InboundBench, operation: Doing) -> None:
    async def fail(context: ServiceContext) -> None:
        await context.connection.execute(WRITE, "mine")
        raise OperationRejected("No.")

    operation.does = fail
    await bench.put(["M1"])
    await bench.run()
    assert await bench.rows(KEPT) == []
    assert await bench.rows(REQUESTS) == [("error", "failed", 1)]
    assert len(await bench.answers()) == 1


async def test_statement_that_failed_unnoticed_fails_the_message(bench: InboundBench, operation: Doing) -> None:
    async def go_on(context: ServiceContext) -> None:
        with suppress(PostgresError):
            await context.connection.execute("SELECT 1 / 0")

    operation.does = go_on
    await bench.put(["M1"])
    await bench.run()
    assert await bench.rows("SELECT code, text LIKE 'TransactionAborted: A statement failed%' FROM exception") == [
        ("operation.failed", True)
    ]


@pytest.mark.parametrize("says", [OSError("no route"), OperationRejected("No."), None], ids=["away", "no", "yes"])
async def test_lost_connection_says_nothing_about_the_message(
    bench: InboundBench, operation: Doing, says: Exception | None
) -> None:
    """Whatever the handler makes of it: it runs again, and no try is counted."""
    calls = 0

    async def lose_once(context: ServiceContext) -> None:
        nonlocal calls
        calls += 1
        await context.connection.execute(WRITE, "mine")
        if calls > 1:
            return
        pid = await context.connection.fetchval("SELECT pg_backend_pid()")
        await bench.rows("SELECT pg_terminate_backend($1, 60000)", pid)
        if says is not None:
            with suppress(PostgresError, InterfaceError, OSError):
                await context.connection.fetchval("SELECT 1")
            raise says

    operation.does = lose_once
    await bench.put(["M1"])
    await bench.run(retries=1)
    assert calls == 2
    assert await bench.rows(KEPT) == [("mine",)]
    assert await bench.rows("SELECT code FROM exception") == []


async def test_what_a_handler_leaves_in_the_session_is_gone_with_it(store: Store) -> None:
    async with UnitTransaction(store, ORDERS, silent_seconds=0.0) as unit:
        connection = await unit.open()
        session = await connection.fetchval("SELECT pg_backend_pid()")
        await connection.execute("SET work_mem = '77kB'; SELECT pg_advisory_lock(77)")
    async with store.transaction() as connection:
        assert await connection.fetchval("SELECT pg_backend_pid()") == session
        assert await connection.fetchval("SHOW work_mem") != "77kB"
        assert await connection.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0


async def test_code_that_was_left_behind_begins_nothing(store: Store) -> None:
    """It waits for a connection when its message is given up: what it gets then is no transaction of anybody."""
    async with UnitTransaction(store, ORDERS, silent_seconds=0.0) as unit:
        with suppress(OperationRejected):
            async with store.unit_places.place(ORDERS), unit.attempt():
                behind = asyncio.create_task(unit.open())
                await asyncio.sleep(0)
                raise OperationRejected("given up")
        connection = await unit.open()
        with pytest.raises(InterfaceError, match="over"):
            await behind
        assert await connection.fetchval("SELECT 1") == 1


async def test_a_pool_that_is_used_up_is_nobodys_failure(
    bench: InboundBench, operation: Doing, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ask(context: ServiceContext) -> None:
        await context.connection.execute(WRITE, "mine")

    operation.does = ask
    begin = bench.store.transaction
    crowded = True

    def refuse_once(**options: bool) -> Any:
        nonlocal crowded
        if crowded and options.get("lent"):
            crowded = False
            raise StoreCrowded("all 10 connections stayed at work")
        return begin(**options)

    monkeypatch.setattr(bench.store, "transaction", refuse_once)
    await bench.put(["M1"])
    await bench.run(retries=1)
    assert await bench.rows(REQUESTS) == [("ready", "backoff", 0)]


HELD = "SELECT next FROM number_sequence WHERE name = 'Order' FOR UPDATE"
NOW = "UPDATE queue SET reason = 'ready', not_before = NULL WHERE reason = 'backoff'"


async def test_who_waits_for_a_number_holds_no_connection(
    store: Store, bench: InboundBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They get them one after another, without gaps, on one connection."""
    monkeypatch.setattr(store_unit, "HELD_SECONDS", 60.0)
    got: list[int] = []
    first = asyncio.Event()

    async def take() -> None:
        async with UnitTransaction(store, ORDERS, silent_seconds=0.0) as unit, unit.attempt():
            unit.begin_call(60)
            got.extend(await StoredNumbers(unit, store).take("Order", 2))
            await first.wait()

    tasks = [asyncio.create_task(take()) for _ in range(30)]
    assert await begun(bench, 1)
    first.set()
    await asyncio.gather(*tasks)
    assert got == list(range(1, 61))


async def test_units_of_several_wait_for_their_numbers_without_a_connection(store: Store, bench: InboundBench) -> None:
    """So a message of another port waits for one of them, not for all that have come before it."""
    gate = store.numbers.gate("Order")  # kept, it remembers who had it
    order: list[PortName] = []
    go_on = asyncio.Event()
    busy = [PortName(f"busy{number}") for number in range(12)]

    async def take(port: PortName, *, several: bool) -> None:
        async with UnitTransaction(store, port, silent_seconds=0.0) as unit:
            if several:
                await unit.open_at_once()
            async with unit.attempt():
                unit.begin_call(60)
                await StoredNumbers(unit, store).take("Order")
                order.append(port)
                await go_on.wait()

    go_on.set()
    for port in (*busy, *busy):  # the second time it is known that they need numbers
        await take(port, several=True)
    go_on.clear()
    order.clear()
    tasks = [asyncio.create_task(take(port, several=True)) for port in busy]
    tasks.append(asyncio.create_task(take(ORDERS, several=False)))
    while len(gate.waiting) < len(busy) or not order:
        await asyncio.sleep(0.01)
    assert await begun(bench, 1)
    go_on.set()
    await asyncio.gather(*tasks)
    assert order[1] == ORDERS
    assert sorted(order) == sorted([*busy, ORDERS])


async def test_a_set_whose_port_took_numbers_waits_for_its_turn_before_it_begins(
    bench: InboundBench, operation: Doing
) -> None:
    async def take(context: ServiceContext) -> None:
        await context.numbers.take("Order")

    operation.does = take
    await bench.put(["M1", "M2"], policy=Policy.ROLLBACK, lane="one")
    await bench.run()
    await bench.put(["M3", "M4"], policy=Policy.ROLLBACK, lane="two")
    gate = bench.store.numbers.gate("Order")
    async with gate.turn(PortName("other")):
        running = asyncio.create_task(bench.run())
        while not gate.waiting:
            assert not running.done()
            await asyncio.sleep(0.01)
        assert await begun(bench, 0)
    await running
    assert len(await bench.answers()) == 4


async def test_a_handler_that_takes_two_sequences_at_once_goes_on(store: Store) -> None:
    async with UnitTransaction(store, ORDERS, silent_seconds=0.0) as unit, unit.attempt():
        unit.begin_call(60)
        numbers = StoredNumbers(unit, store)
        assert [list(await numbers.take(name)) for name in ("A", "B", "A")] == [[1], [1], [2]]


async def test_number_that_others_hold_costs_no_try(
    bench: InboundBench, operation: Doing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the handler makes of it: it is undone, and tried again soon."""

    async def take(context: ServiceContext) -> None:
        await context.connection.execute(WRITE, "mine")
        try:
            await context.numbers.take("Order")
        except Exception as error:
            raise OperationRejected("No number.") from error

    operation.does = take
    await bench.rows("INSERT INTO number_sequence VALUES ('Order', 7)")
    await bench.put(["M1"])
    async with bench.store.transaction() as connection:
        await connection.execute(HELD)
        with monkeypatch.context() as hurry:
            hurry.setattr(store_unit, "_PATIENCE_SECONDS", 0.5)
            await bench.run(retries=1)
        assert await bench.rows(REQUESTS) == [("ready", "backoff", 0)]
        ((soon,),) = await bench.rows("SELECT not_before < clock_timestamp() + interval '1 s' FROM queue")
        assert soon
    await bench.rows(NOW)
    await bench.run(retries=1)
    assert await bench.rows(KEPT) == [("Order",), ("mine",)]
    assert await bench.rows("SELECT code FROM exception") == []


async def test_handler_that_keeps_a_number_waiting_fails(
    bench: InboundBench, operation: Doing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_unit, "HELD_SECONDS", 1.0)
    monkeypatch.setattr(store_unit, "_TICKS", 2)  # the loop has turned when half of that is over, however slowly

    async def wait_elsewhere(context: ServiceContext) -> None:
        await context.numbers.take("Order")
        await asyncio.wait_for(ended(context.connection), 60)
        await context.connection.execute(WRITE, "mine")

    operation.does = wait_elsewhere
    await bench.put(["M1"])
    await bench.run(retries=1)
    assert await bench.rows(REQUESTS) == [("error", "failed", 1)]
    assert await bench.rows("SELECT code, text LIKE 'It took numbers and then%' FROM exception") == [
        ("operation.held-numbers", True)
    ]
    assert await bench.rows(KEPT) == []


async def ended(connection: Any) -> None:
    """Wait until the server has ended a connection that says nothing."""
    while not connection.is_closed():
        await asyncio.sleep(0.1)


async def test_after_its_number_a_message_has_its_usual_limits_again(bench: InboundBench) -> None:
    """What is recorded after the handler is not in a hurry."""
    limits: list[tuple[str, str]] = []
    asked = "SELECT current_setting('lock_timeout'), current_setting('idle_in_transaction_session_timeout')"

    async def take(context: ServiceContext) -> None:
        limits.append(tuple(await context.connection.fetchrow(asked)))
        await context.numbers.take("Order")
        limits.append(tuple(await context.connection.fetchrow(asked)))

    async with UnitTransaction(bench.store, ORDERS, silent_seconds=0.0) as unit:
        async with unit.attempt():
            unit.begin_call(20)
            context = ServiceContext(
                connection=UnitConnection(unit), numbers=StoredNumbers(unit, bench.store), now=datetime.now(UTC),
                job_queue=UnitQueue(UnitConnection(unit), bench.store.queries), log=None,
            )  # fmt: skip
            await take(context)
        limits.append(tuple(await (await unit.open()).fetchrow(asked)))
    before, during, after = limits
    assert before == after == (SETTINGS["lock_timeout"], SETTINGS["idle_in_transaction_session_timeout"])
    assert during[1] == "10s"
    assert during[0] != before[0]


async def test_numbers_with_gaps_wait_for_nobody(store: Store) -> None:
    """Neither for who holds the next number, nor does it come back from who fails."""
    async with UnitTransaction(store, ORDERS, silent_seconds=0.0) as first:
        with suppress(OperationRejected):
            async with first.attempt():
                assert await StoredNumbers(first, store).take("Order", continuous=False) == [1]
                assert not first.is_open
                async with UnitTransaction(store, ORDERS, silent_seconds=0.0) as second, second.attempt():
                    assert await StoredNumbers(second, store).take("Order", 2, continuous=False) == [2, 3]
                raise OperationRejected("No.")
        assert await StoredNumbers(first, store).take("Order", continuous=False) == [4]
        assert await StoredNumbers(first, store).take("Order") == [11]


async def test_frozen_process_keeps_a_sequence_for_a_while_and_nobody_fails(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server ends its transaction; who waits gets the number, and the frozen one has done nothing wrong."""
    monkeypatch.setattr(store_unit, "HELD_SECONDS", 1.0)
    monkeypatch.setattr(store_unit, "_TICKS", 10_000)  # so often the loop does not turn
    with pytest.raises(StoreUnavailable) as raised:
        async with UnitTransaction(store, ORDERS, silent_seconds=0.0) as unit, unit.attempt():
            unit.begin_call(60)
            assert await StoredNumbers(unit, store).take("Order") == [1]
            async with store.transaction() as connection:
                assert await entities_sql.take_numbers(connection, "Order", 1, 1, 1) == 1
    assert not isinstance(raised.value, StoreCrowded)
