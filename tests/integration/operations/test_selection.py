"""Unfinished messages chosen by what they are, and counted by cause."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from gateway.db.open import Store
from gateway.kernel.ids import MessageKey
from gateway.messaging.processing.claims import InboundResult, claim_inbound, record_inbound
from gateway.messaging.queue.requests import RequestResult, claim_requests, put_send_requests, record_requests
from gateway.messaging.rules.message import Failure, Retry
from gateway.messaging.rules.outbound import RequestFailure
from gateway.messaging.rules.states import Direction, Reason, Status
from gateway.operations.reads.messages import count_causes, list_queue
from gateway.operations.reads.selection import MessageFilter
from tests.factories import COPIES, ORDERS, a_message, a_send_request
from tests.integration.messaging.test_way_of_a_message import put

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


async def fill(store: Store) -> list[MessageKey]:
    """Put two failed, one waiting and one ready message of two files into the queue, and a failed send request."""
    await put(store, [a_message(n) for n in (1, 2, 3)], batch=True)
    await put(store, [a_message()])
    claimed = await claim_inbound(store, 1, ORDERS, 3)
    assert claimed is not None
    first, second, third = claimed.items
    result = InboundResult(
        failed=[
            Failure(work=first, code="schema", text="a"),
            Failure(work=second, code="operation.rejected", text="b"),
        ],
        again=[Retry(third, 200.0, "operation.unreachable: away. Attempt 1 of 3 failed.")],
    )
    async with store.transaction() as connection:
        await record_inbound(store, connection, claimed.fence, result)
    await put_send_requests(store, [a_send_request("SO-1")])
    requests = await claim_requests(store, 1, COPIES, 1)
    assert requests is not None
    failure = RequestFailure(request=requests.items[0], code="operation.rejected", text="There is no SO-1.")
    async with store.transaction() as connection:
        await record_requests(store, connection, requests.fence, RequestResult(failed=[failure]))
    found, total = await list_queue(store, MessageFilter(), limit=10)
    assert total == len(found) == 5
    return [MessageKey(row.key) for row in found]


@pytest.mark.parametrize(
    ("wanted", "places"),
    [
        (MessageFilter(), [0, 1, 2, 3, 4]),
        (MessageFilter(port=COPIES), [4]),
        (MessageFilter(statuses=[Status.ERROR]), [0, 1, 4]),
        (MessageFilter(reasons=[Reason.BACKOFF, Reason.READY]), [2, 3]),
        (MessageFilter(direction=Direction.OUT), [4]),
        (MessageFilter(code="schema"), [0]),
        (MessageFilter(code="operation.*"), [1, 2, 4]),
        (MessageFilter(code="operation_rejected"), []),
        (MessageFilter(file="order*.XML"), [0, 1, 2, 3]),
        (MessageFilter(file="other.xml"), []),
        (MessageFilter(user="nobody"), []),
        (MessageFilter(since=LONG_AGO), [0, 1, 2, 3, 4]),
        (MessageFilter(until=LONG_AGO), []),
    ],
)
async def test_messages_are_chosen_by_what_they_are(store: Store, wanted: MessageFilter, places: Sequence[int]) -> None:
    keys = await fill(store)
    found, total = await list_queue(store, wanted, limit=10)
    assert [row.key for row in found] == [keys[place] for place in places]
    assert total == len(places)
    assert sum(cause.messages for cause in await count_causes(store, wanted)) == len(places)


async def test_messages_are_counted_by_cause(store: Store) -> None:
    keys = await fill(store)
    causes = {
        (c.port, c.reason, c.code): (c.messages, c.files, c.first) for c in await count_causes(store, MessageFilter())
    }
    assert causes == {
        (ORDERS, "failed", "schema"): (1, 1, keys[0]),
        (ORDERS, "failed", "operation.rejected"): (1, 1, keys[1]),
        (ORDERS, "backoff", "operation.unreachable"): (1, 1, keys[2]),
        (ORDERS, "ready", None): (1, 1, keys[3]),
        (COPIES, "failed", "operation.rejected"): (1, 0, keys[4]),
    }
