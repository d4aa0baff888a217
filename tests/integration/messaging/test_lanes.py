"""What an error does to those behind it in a lane: they go on, wait for it, or are put aside; operators decide."""

import asyncio
from uuid import UUID

import pytest

from gateway.db.open import Store
from gateway.kernel.ids import LaneName, MessageKey
from gateway.messaging.processing.claims import InboundResult, claim_inbound
from gateway.messaging.queue.lanes import set_lane_rule, set_port_rule
from gateway.messaging.queue.operate import delete, hold, release, release_lane
from gateway.messaging.rules.message import Claimed, Failure, Work
from gateway.messaging.rules.states import LaneRule, Policy
from gateway.operations.reads.messages import progress_of_file
from tests.factories import ORDERS, a_message
from tests.integration.messaging.test_operate import keys_of
from tests.integration.messaging.test_way_of_a_message import QUEUE, claim, put, record, rows

LANE = LaneName("conversation:a")
LANES = "SELECT head, blocked_by, parked_by FROM lane"


async def a_lane(store: Store, rule: LaneRule, messages: int = 3) -> list[MessageKey]:
    """Fill a lane of a port with this rule; returns the numbers of its messages."""
    await set_port_rule(store, ORDERS, rule)
    await put(store, [a_message(n, lane=LANE) for n in range(1, messages + 1)])
    return await keys_of(store)


async def fail_first(store: Store) -> Claimed[Work]:
    """Let the first message of a claim fail and give the others back, as the stage does where an error stops a lane."""
    claimed = await claim(store)
    failing, *others = claimed.items
    failure = Failure(work=failing, code="schema", text="wrong")
    await record(store, claimed, InboundResult(failed=[failure], released=others))
    return claimed


async def finish_claim(store: Store, limit: int = 100) -> list[MessageKey]:
    """Do all that can be claimed now; returns what it was."""
    claimed = await claim_inbound(store, 1, ORDERS, limit)
    if claimed is None:
        return []
    await record(store, claimed, InboundResult(done=[(work, []) for work in claimed.items]))
    return [work.key for work in claimed.items]


async def test_next_message_goes_on_after_an_error(store: Store) -> None:
    _, second, third = await a_lane(store, LaneRule.CONTINUE)
    await fail_first(store)
    assert await finish_claim(store) == [second, third]
    assert await rows(store, LANES) == []


async def test_failed_message_blocks_its_lane(store: Store) -> None:
    first, _, _ = await a_lane(store, LaneRule.BLOCK)
    await fail_first(store)
    assert await rows(store, QUEUE) == [("error", "failed"), ("ready", "behind_in_lane"), ("ready", "behind_in_lane")]
    assert await rows(store, LANES) == [(None, first, None)]
    assert await finish_claim(store) == []


@pytest.mark.parametrize(
    ("rule", "settled"), [(LaneRule.CONTINUE, False), (LaneRule.BLOCK, True), (LaneRule.PARK, True)]
)
async def test_file_behind_a_stopped_lane_is_not_waited_for(store: Store, rule: LaneRule, settled: bool) -> None:
    await a_lane(store, rule)
    await fail_first(store)
    ((claim_id,),) = await rows(store, "SELECT claim_id FROM delivery")
    assert isinstance(claim_id, UUID)
    assert (await progress_of_file(store, claim_id)).settled is settled


async def test_lane_stays_blocked_when_nothing_is_left_but_the_failed_message(store: Store) -> None:
    (first,) = await a_lane(store, LaneRule.BLOCK, 1)
    await fail_first(store)
    await put(store, [a_message(lane=LANE)])
    assert await finish_claim(store) == []
    assert await rows(store, LANES) == [(None, first, None)]


async def test_resubmitted_message_goes_back_to_its_own_place(store: Store) -> None:
    keys = await a_lane(store, LaneRule.BLOCK)
    await fail_first(store)
    await put(store, [a_message(4, lane=LANE)])
    assert (await release(store, [keys[0]])).changed == (keys[0],)
    assert await finish_claim(store, limit=2) == keys[:2]
    assert await finish_claim(store) == [keys[2], keys[2] + 1]


async def test_deletion_of_what_blocks_lets_the_lane_go_on(store: Store) -> None:
    first, second, third = await a_lane(store, LaneRule.BLOCK)
    await fail_first(store)
    await delete(store, [first])
    assert await finish_claim(store) == [second, third]


async def test_held_message_blocks_where_an_error_would(store: Store) -> None:
    first, second, third = await a_lane(store, LaneRule.BLOCK)
    await hold(store, [second])
    assert await finish_claim(store) == [first], "a claim ends before what is held"
    assert await rows(store, LANES) == [(None, second, None)]
    await release(store, [second])
    assert await finish_claim(store) == [second, third]


async def test_release_of_a_blocked_lane_tries_the_message_that_blocks_it(store: Store) -> None:
    keys = await a_lane(store, LaneRule.BLOCK)
    await fail_first(store)
    assert (await release_lane(store, ORDERS, LANE)).changed == (keys[0],)
    assert await finish_claim(store) == keys


async def test_rollback_set_blocks_its_lane_and_goes_on_as_a_whole(store: Store) -> None:
    await set_port_rule(store, ORDERS, LaneRule.BLOCK)
    await put(store, [a_message(n, lane=LANE) for n in (1, 2)], policy=Policy.ROLLBACK, batch=True)
    await put(store, [a_message(lane=LANE)])
    first, second, third = await keys_of(store)
    claimed = await claim(store)
    _, failing = claimed.items
    assert failing.set_key is not None
    failure = Failure(work=failing, code="schema", text="wrong")
    await record(store, claimed, InboundResult(failed=[failure], rolled_back={failing.set_key: failing.key}))
    assert await rows(store, LANES) == [(None, first, None)]
    await release(store, [first])
    assert await finish_claim(store) == [first, second]
    assert await finish_claim(store) == [third]


async def test_error_puts_the_lane_aside(store: Store) -> None:
    first, second, third = await a_lane(store, LaneRule.PARK)
    await fail_first(store)
    assert await rows(store, QUEUE) == [("error", "failed"), ("hold", "lane_parked"), ("hold", "lane_parked")]
    assert await rows(store, LANES) == [(None, None, first)]
    await put(store, [a_message(4, lane=LANE)])
    assert (await rows(store, QUEUE))[3] == ("hold", "lane_parked"), "what comes later is put aside too"
    assert await finish_claim(store) == []
    assert (await release_lane(store, ORDERS, LANE)).changed == (second, third, third + 1)
    assert await finish_claim(store) == [second, third, third + 1], "whoever failed stays, the others pass it"
    assert await rows(store, LANES) == []


async def test_message_released_by_itself_runs_while_its_lane_is_parked(store: Store) -> None:
    first, second, third = await a_lane(store, LaneRule.PARK)
    await fail_first(store)
    await release(store, [first])
    assert await finish_claim(store) == [first]
    assert await rows(store, LANES) == [(None, None, first)], "the lane stays parked until it is released"
    await release_lane(store, ORDERS, LANE)
    assert await finish_claim(store) == [second, third]


async def test_parked_messages_are_no_waiting_intake(store: Store) -> None:
    await a_lane(store, LaneRule.PARK)
    await fail_first(store)
    waiting = await rows(store, "SELECT count(*) FROM queue WHERE status IN ('ready', 'in_process')")
    assert waiting == [(0,)]


@pytest.mark.parametrize("rule", [LaneRule.BLOCK, LaneRule.PARK])
async def test_other_lanes_go_on(store: Store, rule: LaneRule) -> None:
    await a_lane(store, rule)
    await fail_first(store)
    await put(store, [a_message(lane="conversation:b"), a_message(2)])
    assert len(await finish_claim(store)) == 2


async def test_changed_setting_of_a_port_frees_its_blocked_lanes(store: Store) -> None:
    _, second, third = await a_lane(store, LaneRule.BLOCK)
    await fail_first(store)
    assert await set_port_rule(store, ORDERS, LaneRule.CONTINUE) == 1
    assert await finish_claim(store) == [second, third]


async def test_changed_setting_of_a_port_blocks_lanes_that_went_on(store: Store) -> None:
    first, second, _ = await a_lane(store, LaneRule.CONTINUE)
    await fail_first(store)
    await hold(store, [second, second + 1])
    assert await rows(store, LANES) == []
    await set_port_rule(store, ORDERS, LaneRule.BLOCK)
    await put(store, [a_message(lane=LANE)])
    assert await rows(store, LANES) == [(None, first, None)]
    assert await finish_claim(store) == []


async def test_operators_rule_for_a_lane_stands_over_the_setting_of_its_port(store: Store) -> None:
    first, _, _ = await a_lane(store, LaneRule.CONTINUE)
    await set_lane_rule(store, ORDERS, LANE, LaneRule.BLOCK)
    await set_port_rule(store, ORDERS, LaneRule.PARK)
    await fail_first(store)
    assert await rows(store, LANES) == [(None, first, None)]
    await set_lane_rule(store, ORDERS, LANE, None)
    assert await rows(store, "SELECT on_error FROM lane") == [("park",)]
    assert len(await finish_claim(store)) == 2


async def test_operators_rule_outlives_the_lane(store: Store) -> None:
    await set_lane_rule(store, ORDERS, LANE, LaneRule.BLOCK)
    assert await rows(store, LANES) == [], "a rule makes no lane"
    await a_lane(store, LaneRule.CONTINUE)
    claimed = await fail_first(store)
    assert {work.lane_rule for work in claimed.items} == {LaneRule.BLOCK}
    assert await finish_claim(store) == []


async def test_rule_changed_while_the_lane_is_in_work_counts_when_the_work_is_recorded(store: Store) -> None:
    first, _, _ = await a_lane(store, LaneRule.CONTINUE)
    claimed = await claim(store, limit=1)
    await set_lane_rule(store, ORDERS, LANE, LaneRule.BLOCK)
    failure = Failure(work=claimed.items[0], code="schema", text="wrong")
    await record(store, claimed, InboundResult(failed=[failure]))
    assert await rows(store, LANES) == [(None, first, None)]


async def test_message_that_commits_late_takes_its_place_at_the_head(store: Store) -> None:
    """Numbers are taken before the commit: of two files at the same time the later one may be seen first."""
    async with store.transaction() as connection:
        await connection.execute("SELECT setval('message_key', 1000)")
    await put(store, [a_message(lane=LANE)])
    async with store.transaction() as connection:
        await connection.execute("SELECT setval('message_key', 10)")
    await put(store, [a_message(lane=LANE)])
    assert await rows(store, QUEUE) == [("ready", "ready"), ("ready", "behind_in_lane")]
    assert await finish_claim(store, limit=1) == [11]


async def test_parallel_port_has_no_more_in_work_than_allowed_in_all_gateways_together(store: Store) -> None:
    await put(store, [a_message(n, lane=f"lane {n}" if n % 2 else None) for n in range(1, 41)])
    claims = await asyncio.gather(
        *(claim_inbound(store, gateway, ORDERS, 4, at_once=10) for gateway in range(1, 6)),
        *(claim_inbound(store, gateway, ORDERS, 3, at_once=10) for gateway in range(1, 6)),
    )
    assert sum(len(claimed.items) for claimed in claims if claimed is not None) == 10
    done = next(claimed for claimed in claims if claimed is not None)
    await record(store, done, InboundResult(done=[(work, []) for work in done.items]))
    more = await claim_inbound(store, 1, ORDERS, 100, at_once=10)
    assert more is not None and len(more.items) == len(done.items)


async def test_members_in_other_lanes_are_held_when_too_many_of_their_set_failed(store: Store) -> None:
    messages = [a_message(1, lane="set:1:conversation:a"), a_message(2, lane="set:1:conversation:b"), a_message(3)]
    await put(store, messages, batch=True, max_failed=1)
    claimed = await claim(store, limit=1)
    assert claimed.items[0].failures_left == 1
    failure = Failure(work=claimed.items[0], code="schema", text="wrong")
    await record(store, claimed, InboundResult(failed=[failure]))
    assert await rows(store, QUEUE) == [("error", "failed"), ("hold", "set_halted"), ("hold", "set_halted")]
    assert await rows(store, LANES) == []
