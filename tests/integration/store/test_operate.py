"""Hold and release: sets together, lanes in order, running messages untouched."""

import pytest

from gateway.domain.ids import MessageKey
from gateway.domain.message import Failure
from gateway.domain.outbound import RequestFailure
from gateway.domain.states import Policy
from gateway.store.inbound import InboundResult, claim_inbound
from gateway.store.open import Store
from gateway.store.operate import hold, release
from gateway.store.requests import RequestResult, claim_requests, put_send_requests, record_requests
from tests.factories import COPIES, ORDERS, a_message, a_send_request
from tests.integration.store.test_way_of_a_message import QUEUE, claim, put, record, rows


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
