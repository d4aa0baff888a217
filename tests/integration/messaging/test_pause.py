"""A service that does not work costs a few requests, not all of them."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from gateway.db.open import Store
from gateway.kernel.errors import TransientError
from gateway.kernel.ids import PortName
from gateway.messaging.queue.leases import wake_due
from gateway.messaging.queue.ports import Retried, retry_port
from gateway.messaging.rules.states import Policy
from gateway.operations.reads.gateway import read_presence
from tests.factories import ORDERS
from tests.inbound_bench import InboundBench, Scripted

MARKS = [f"M{number}" for number in range(10)]


@pytest.mark.parametrize(
    ("error", "lane", "failed"),
    [
        (ValueError("a bug"), None, ("error", 3)),
        (ValueError("a bug"), "the port", ("error", 3)),
        (TransientError("away"), None, ("ready", 3)),
    ],
    ids=["defect", "defect in a lane", "away"],
)
async def test_rest_waits_when_services_do_not_work(
    store: Store, error: Exception, lane: str | None, failed: tuple[str, int]
) -> None:
    operation = Scripted()
    operation.errors = dict.fromkeys(MARKS, error)
    with ThreadPoolExecutor(1) as executor:
        bench = InboundBench(store, executor, operation)
        await bench.put(MARKS, lane=lane)
        await bench.run(pause_after_failures=3)
    assert len(operation.calls) == 3
    state = "SELECT status, count(*) FROM queue WHERE direction = 'in' AND attempts > 0 GROUP BY status"
    assert await bench.rows(state) == [failed]
    untouched = "SELECT count(*) FROM queue WHERE direction = 'in' AND status = 'ready' AND attempts = 0"
    assert await bench.rows(untouched) == [(7,)]
    ((text,),) = await bench.rows("SELECT text FROM exception WHERE code = 'port.stopped'")
    assert "3 requests in a row failed" in text
    assert str(error) in text
    (status,) = (await read_presence(store)).ports
    assert (status.state, status.reason) == ("stopped", text)


async def test_sets_under_rollback_wait_as_well(store: Store) -> None:
    operation = Scripted()
    operation.errors = dict.fromkeys(MARKS, ValueError("a bug"))
    with ThreadPoolExecutor(1) as executor:
        bench = InboundBench(store, executor, operation)
        for number in range(5):
            await bench.put(MARKS[:2], policy=Policy.ROLLBACK, lane=f"set {number}")
        await bench.run(pause_after_failures=2)
    assert operation.calls == ["M0", "M0"]
    assert await bench.rows("SELECT count(*) FROM queue WHERE status = 'ready' AND direction = 'in'") == [(6,)]


async def test_what_waits_for_another_try_is_due_when_an_operator_says_so(store: Store) -> None:
    operation = Scripted()
    operation.errors = dict.fromkeys(MARKS, TransientError("away"))
    with ThreadPoolExecutor(1) as executor:
        bench = InboundBench(store, executor, operation)
        await bench.put(MARKS[:2])
        await bench.put(MARKS[2:4], lane="the port")
        await bench.run()
        await bench.rows("UPDATE queue SET not_before = not_before + interval '5 minutes'")
        await bench.rows("UPDATE lane SET not_before = not_before + interval '5 minutes'")
        await wake_due(store)
        assert await bench.rows("SELECT count(*) FROM queue WHERE reason = 'backoff'") == [(3,)]
        assert await retry_port(store, PortName("another")) == Retried(
            port=PortName("another"), messages=0, lanes=0, requests=0
        )
        assert await retry_port(store, ORDERS) == Retried(port=ORDERS, messages=2, lanes=1, requests=0)
        await wake_due(store)
        operation.errors.clear()
        await bench.run()
        assert len(await bench.answers()) == 4
