"""Hold and release: sets together, lanes in order, running messages untouched."""

import pytest

from gateway.db.open import Store
from gateway.kernel.ids import MessageKey
from gateway.messaging.processing.claims import InboundResult, claim_inbound
from gateway.messaging.queue.leases import wake_due
from gateway.messaging.queue.operate import hold, release, retry
from gateway.messaging.queue.requests import RequestResult, claim_requests, put_send_requests, record_requests
from gateway.messaging.rules.message import Failure, Retry
from gateway.messaging.rules.outbound import RequestFailure
from gateway.messaging.rules.states import Policy
from tests.factories import COPIES, ORDERS, a_message, a_send_request
from tests.integration.messaging.test_way_of_a_message import QUEUE, claim, put, record, rows


async def keys_of(store: Store) -> list[MessageKey]:
    return [
        MessageKey(int(str(key))) for (key,) in await rows(store, "SELECT message_id FROM queue ORDER BY message_id")
    ]


async def test_held_message_is_passed_over_and_released_to_its_own_place(store: Store) -> None:
    for _ in range(3):
        await put(store, [a_message(lane="port")])
    first, second, third = await keys_of(store)
    assert (await hold(store, [first])).changed == (first,)
    assert await rows(store, QUEUE) == [("hold", "held_by_operator"), ("ready", "ready"), ("ready", "behind_in_lane")]
    assert (await release(store, [first])).changed == (first,)
    assert await rows(store, QUEUE) == [("ready", "ready"), ("ready", "behind_in_lane"), ("ready", "behind_in_lane")]
    assert [work.key for work in (await claim(store)).items] == [first, second, third]


async def test_lane_whose_messages_are_all_held_goes_and_comes_back(store: Store) -> None:
    await put(store, [a_message(lane="port")])
    (key,) = await keys_of(store)
    await hold(store, [key])
    assert await rows(store, "SELECT count(*) FROM lane") == [(0,)]
    assert await claim_inbound(store, 1, ORDERS, 10) is None
    await release(store, [key])
    assert [work.key for work in (await claim(store)).items] == [key]


async def test_running_message_is_left_alone(store: Store) -> None:
    await put(store, [a_message(lane="port")])
    (key,) = await keys_of(store)
    await claim(store)
    outcome = await hold(store, [key])
    assert (outcome.changed, outcome.left) == ((), ((key, "in_process"),))


@pytest.mark.parametrize(("policy", "held"), [(Policy.CONTINUE, 1), (Policy.HALT, 3), (Policy.ROLLBACK, 3)])
async def test_hold_of_one_member_holds_its_set_where_that_waits_together(
    store: Store, policy: Policy, held: int
) -> None:
    await put(store, [a_message(n) for n in (1, 2, 3)], policy=policy, batch=True)
    await put(store, [a_message()])
    first = (await keys_of(store))[0]
    assert len((await hold(store, [first])).changed) == held
    assert [status for status, _ in await rows(store, QUEUE)] == ["hold"] * held + ["ready"] * (4 - held)


@pytest.mark.parametrize("policy", [Policy.HALT, Policy.ROLLBACK])
async def test_release_of_one_member_runs_the_rest_of_a_stopped_set_in_order(store: Store, policy: Policy) -> None:
    await put(store, [a_message(n, lane="set:1") for n in (1, 2, 3)], policy=policy, batch=True)
    claimed = await claim(store)
    first, failing, third = claimed.items
    assert failing.set_key is not None
    result = InboundResult(failed=[Failure(work=failing, code="schema", text="wrong")])
    if policy is Policy.HALT:
        result.done, result.halted = [(first, [])], {failing.set_key: failing.key}
    else:
        result.rolled_back = {failing.set_key: failing.key}
    await record(store, claimed, result)
    await release(store, [third.key])
    expected = [2, 3] if policy is Policy.HALT else [1, 2, 3]
    again = await claim(store)
    assert [work.position for work in again.items] == expected
    assert {work.attempts for work in again.items} == {1}, "tries begin anew"
    assert await rows(store, "SELECT status FROM message_set") == [("ready",)]


async def test_what_waits_for_another_try_is_tried_now(store: Store) -> None:
    await put(store, [a_message(1, lane="port"), a_message(2, lane="port"), a_message(3), a_message(4)])
    claimed = await claim(store)
    head, behind, free, other = claimed.items
    later = [Retry(item, 200.0, "Not now.") for item in (head, free, other)]
    await record(store, claimed, InboundResult(again=later, released=[behind]))
    await wake_due(store)
    assert await claim_inbound(store, 1, ORDERS, 10) is None
    outcome = await retry(store, [head.key, behind.key, free.key])
    assert (outcome.changed, outcome.left) == ((head.key, free.key), ((behind.key, "ready"),))
    again = await claim(store)
    assert [(work.key, work.attempts) for work in again.items] == [(head.key, 2), (behind.key, 1), (free.key, 2)]


async def test_rolled_back_set_that_waits_is_tried_as_a_whole(store: Store) -> None:
    await put(store, [a_message(n, lane="set:1") for n in (1, 2)], policy=Policy.ROLLBACK, batch=True)
    claimed = await claim(store)
    await record(store, claimed, InboundResult(again=[Retry(item, 200.0, "Not now.") for item in claimed.items]))
    keys = [item.key for item in claimed.items]
    assert (await retry(store, keys[1:])).changed == tuple(keys)
    assert [work.key for work in (await claim(store)).items] == keys


async def test_answer_and_send_request_that_wait_are_tried_now(store: Store) -> None:
    (request,) = await put_send_requests(store, [a_send_request("SO-1")])
    claimed = await claim_requests(store, 1, COPIES, 1)
    assert claimed is not None
    waits = RequestResult(again=[Retry(claimed.items[0], 200.0, "Not now.")])
    async with store.transaction() as connection:
        await record_requests(store, connection, claimed.fence, waits)
    assert await claim_requests(store, 1, COPIES, 1) is None
    assert (await retry(store, [request])).changed == (request,)
    again = await claim_requests(store, 1, COPIES, 1)
    assert again is not None and again.items[0].key == request


async def test_send_request_cannot_be_held(store: Store) -> None:
    (request,) = await put_send_requests(store, [a_send_request("SO-1")])
    assert (await hold(store, [request])).left == ((request, "ready"),)


async def test_failed_send_request_is_read_anew_and_others_are_left_alone(store: Store) -> None:
    failed, waiting = await put_send_requests(store, [a_send_request("SO-1"), a_send_request("SO-2")])
    claimed = await claim_requests(store, 1, COPIES, 1)
    assert claimed is not None
    failure = RequestFailure(request=claimed.items[0], code="operation.rejected", text="There is no SO-1.")
    async with store.transaction() as connection:
        await record_requests(store, connection, claimed.fence, RequestResult(failed=[failure]))
    outcome = await release(store, [failed, waiting])
    assert (outcome.changed, outcome.left) == ((failed,), ((waiting, "ready"),))
    assert await rows(store, "SELECT status, reason, attempts, error FROM send_request") == [
        ("ready", "ready", 0, None), ("ready", "ready", 0, None),
    ]  # fmt: skip
    again = await claim_requests(store, 1, COPIES, 10)
    assert again is not None and [request.key for request in again.items] == [failed, waiting]
