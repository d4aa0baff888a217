"""Rollback of effects outside the database: taken back in reverse order, at least once, with the same key."""

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from gateway.contracts.service import Request, ServiceContext
from gateway.db.open import Store
from gateway.kernel.errors import OperationRejected, TransientError
from gateway.kernel.faultpoints import InjectedFault, switched_on
from gateway.messaging.queue.leases import give_back, wake_due
from gateway.messaging.rules.poison import MOST_CRASHES
from gateway.messaging.rules.states import Policy
from tests.inbound_bench import InboundBench, Scripted


class Lasting(Scripted):
    """An operation with an effect outside the database, known by its idempotency key."""

    undoable = False

    def __init__(self) -> None:
        super().__init__()
        self.compensated: list[str] = []
        self.stubborn: dict[str, Exception] = {}

    async def compensate(self, request: Request, context: ServiceContext) -> None:
        mark = str(request.parts[0].findtext(".//{*}PurchOrderFormNum"))
        self.compensated.append(mark)
        await context.connection.execute(
            "INSERT INTO number_sequence (name, next) VALUES ($1, 0)", f"back {request.idempotency_key}"
        )
        if mark in self.stubborn:
            raise self.stubborn[mark]


@pytest.fixture
def operation() -> Lasting:
    return Lasting()


@pytest.fixture
async def bench(store: Store, operation: Lasting) -> AsyncIterator[InboundBench]:
    with ThreadPoolExecutor(1) as executor:
        yield InboundBench(store, executor, operation)


async def put(bench: InboundBench) -> list[int]:
    _, keys = await bench.put(["A", "B", "C"], policy=Policy.ROLLBACK, lane="the set")
    return list(keys)


STATE = "SELECT status, reason FROM queue WHERE direction = 'in' ORDER BY message_id"
ROLLED_BACK = [("hold", "set_rolled_back"), ("error", "failed"), ("hold", "set_rolled_back")]


async def time_passes(bench: InboundBench) -> None:
    """Let everything be due that waits."""
    await bench.rows("UPDATE queue SET not_before = now() - interval '1 s' WHERE not_before IS NOT NULL")
    await bench.rows("UPDATE lane SET not_before = now() - interval '1 s' WHERE not_before IS NOT NULL")
    await wake_due(bench.store)


async def began(bench: InboundBench) -> bool:
    ((noted,),) = await bench.rows("SELECT began_at IS NOT NULL FROM message_set")
    return bool(noted)


async def test_what_was_done_is_taken_back_in_reverse_order_with_the_same_keys(
    bench: InboundBench, operation: Lasting
) -> None:
    operation.errors["B"] = OperationRejected("no")
    first, second, _ = await put(bench)
    await bench.run()
    assert operation.calls == ["A", "B"]
    assert operation.compensated == ["B", "A"], "the failing call may have done half of its work"
    assert await bench.rows(STATE) == ROLLED_BACK
    effects = await bench.rows("SELECT name FROM number_sequence ORDER BY name")
    assert effects == [(f"back orders/{first}",), (f"back orders/{second}",)], "of the calls nothing is left"
    assert not await began(bench)


async def test_nothing_is_taken_back_when_nothing_ran(bench: InboundBench, operation: Lasting) -> None:
    keys = await put(bench)
    await bench.rows("UPDATE message SET operation = 'unknown', action = 'x' WHERE id = $1", keys[1])
    await bench.run()
    assert (operation.calls, operation.compensated) == ([], [])
    assert await bench.rows(STATE) == ROLLED_BACK


async def test_set_in_passing_trouble_waits_as_a_whole_and_is_tried_as_often_as_configured(
    bench: InboundBench, operation: Lasting
) -> None:
    operation.errors["B"] = TransientError("away")
    await put(bench)
    for attempt in (1, 2):
        await bench.run()
        state = "SELECT status, reason, attempts FROM queue WHERE direction = 'in' ORDER BY message_id"
        assert await bench.rows(state) == [("ready", "backoff", attempt)] * 3
        await bench.run()
        assert operation.calls == ["A", "B"] * attempt, "it waits"
        await time_passes(bench)
    await bench.run()
    assert operation.calls == ["A", "B"] * 3
    assert await bench.rows(STATE) == ROLLED_BACK


async def test_passing_trouble_takes_nothing_back_until_the_tries_are_used_up(
    bench: InboundBench, operation: Lasting
) -> None:
    operation.errors["B"] = TransientError("away")
    await put(bench)
    await bench.run(retries=2)
    assert operation.compensated == []
    assert await began(bench)
    await time_passes(bench)
    await bench.run(retries=2)
    assert operation.compensated == ["C", "B", "A"], "what an earlier run did is not known: all are asked"
    assert await bench.rows(STATE) == ROLLED_BACK


async def test_defect_in_the_middle_of_taking_back_is_made_up_for_by_the_next_run(
    bench: InboundBench, operation: Lasting
) -> None:
    operation.errors["B"] = OperationRejected("no")
    await put(bench)
    with switched_on("inbound.before_commit:1:raise"), pytest.raises(InjectedFault):
        await bench.run()
    assert operation.compensated == ["B", "A"]
    (fence,) = (await bench.rows("SELECT fence FROM lease"))[0]
    await give_back(bench.store, fence)
    await bench.run()
    assert operation.calls == ["A", "B"] * 2
    assert operation.compensated == ["B", "A", "C", "B", "A"]
    assert not await began(bench)


async def test_poison_is_taken_back_although_it_does_not_run_again(bench: InboundBench, operation: Lasting) -> None:
    keys = await put(bench)
    await bench.rows("UPDATE message_set SET began_at = now()")
    await bench.rows("UPDATE queue SET crashes = $2 WHERE message_id = $1", keys[1], MOST_CRASHES)
    await bench.run()
    assert operation.calls == []
    assert operation.compensated == ["C", "B", "A"]
    assert await bench.rows(STATE) == [("hold", "set_rolled_back"), ("error", "poison"), ("hold", "set_rolled_back")]


async def test_message_that_is_refused_by_now_is_told_when_an_earlier_run_may_have_called_it(
    bench: InboundBench, operation: Lasting
) -> None:
    keys = await put(bench)
    await bench.rows("UPDATE message_set SET began_at = now()")
    await bench.rows("UPDATE message SET operation = 'unknown', action = 'x' WHERE id = $1", keys[1])
    await bench.run()
    assert operation.compensated == ["C", "A"]
    told = await bench.rows("SELECT message_key FROM exception WHERE code = 'compensation.failed'")
    assert told == [(keys[1],)]


async def test_compensation_in_passing_trouble_makes_the_whole_set_wait(
    bench: InboundBench, operation: Lasting
) -> None:
    operation.errors["B"] = OperationRejected("no")
    operation.stubborn["A"] = TransientError("away")
    await put(bench)
    await bench.run()
    assert await bench.rows("SELECT status, attempts FROM queue ORDER BY message_id") == [("ready", 1)] * 3
    assert await began(bench)


async def test_compensation_that_fails_is_told_and_remembered(bench: InboundBench, operation: Lasting) -> None:
    operation.errors["B"] = OperationRejected("no")
    operation.stubborn["A"] = ValueError("cannot")
    first, second, _ = await put(bench)
    await bench.run()
    assert await bench.rows(STATE) == ROLLED_BACK
    log = await bench.rows("SELECT message_key, code FROM exception ORDER BY id")
    assert log == [(second, "operation.rejected"), (first, "compensation.failed")]
    assert await began(bench), "released, the set is taken back as a whole when it fails again"
    assert await bench.rows("SELECT name FROM number_sequence") == [(f"back orders/{second}",)]


async def test_good_set_is_not_touched(bench: InboundBench, operation: Lasting) -> None:
    await put(bench)
    await bench.run()
    assert (operation.calls, operation.compensated) == (["A", "B", "C"], [])
    assert await bench.rows("SELECT status FROM message_set") == [("completed",)]
