"""Error policies beyond their table: what runs together, what operators set right, too many failures, stopping lanes.

Source: AIF reference, section 25; rulings, "Batches, lanes, policies".
"""

import pytest

from gateway.db.open import Store
from gateway.kernel.ids import MessageKey
from gateway.messaging.processing.claims import claim_inbound
from gateway.messaging.processing.prepare import Prepared, prepare
from gateway.messaging.queue.leases import CLAIM_BYTES, give_back
from gateway.messaging.queue.operate import release_lane
from gateway.messaging.rules.lane import WHOLE_PORT
from gateway.messaging.rules.pace import Pace
from tests.factories import ORDERS
from tests.integration.messaging.sets import BAD, Port
from tests.integration.messaging.test_policy_table import FAILED, FILE, POLICIES, SKIPPED, UNDONE

every_kind_of_port = pytest.mark.parametrize("mode", ["sequential", "parallel"])


async def process(store: Store, policy: str, mode: str) -> tuple[Port, list[MessageKey]]:
    """Put the file through a port; returns the port and the numbers of the messages."""
    port = Port(store, {"on_error": policy, "mode": mode})
    keys = await port.put(FILE)
    await port.run()
    return port, keys


@pytest.mark.parametrize(
    ("policy", "answered"), [("continue", [0, 1, 3, 4]), ("halt", [0, 1]), ("rollback", [])], ids=POLICIES
)
async def test_no_fault_where_the_port_answers_no_errors(store: Store, policy: str, answered: list[int]) -> None:
    port = Port(store, {"on_error": policy}, errors=False)
    keys = await port.put(FILE)
    await port.run()
    assert await port.answers() == {keys[place]: "response" for place in answered}


@pytest.mark.parametrize(("policy", "numbers"), [("continue", 4), ("halt", 2), ("rollback", 0)], ids=POLICIES)
async def test_number_sequences_of_what_was_undone_are_undone(store: Store, policy: str, numbers: int) -> None:
    port, _ = await process(store, policy, "sequential")
    assert sorted((await port.effects()).values()) == list(range(1, numbers + 1))
    (after,) = await port.put(["7"])
    await port.run()
    assert (await port.effects())[after] == numbers + 1


@pytest.mark.parametrize(
    ("policy", "mode", "together"),
    [("continue", "parallel", True), ("continue", "sequential", False), ("halt", "parallel", False),
     ("halt", "sequential", False), ("rollback", "parallel", False), ("rollback", "sequential", False)],
)  # fmt: skip
async def test_messages_of_a_set_run_together_only_when_the_port_is_parallel_and_errors_change_nothing(
    store: Store, policy: str, mode: str, together: bool
) -> None:
    port = Port(store, {"on_error": policy, "mode": mode}, stages=3, chunk=1)
    port.orders.wanted_together = 5 if together else 0
    keys = await port.put(FILE)
    await port.run()
    assert port.orders.together == (5 if together else 1)
    if not together:
        ran = keys if policy == "continue" else keys[:3]
        assert port.orders.order == ran, "in their order, and none behind the failing one where that stops"


async def test_parallel_set_with_a_conversation_runs_one_after_another(store: Store) -> None:
    port = Port(store, {"on_error": "continue", "mode": "parallel"}, stages=2, chunk=2)
    keys = await port.put(["1", "2", "3", "4", "5"], conversation="c")
    await port.run()
    assert port.orders.together == 1
    assert port.orders.order == keys


@every_kind_of_port
@pytest.mark.parametrize("policy", POLICIES)
async def test_policy_does_not_concern_a_file_of_one_envelope(store: Store, policy: str, mode: str) -> None:
    port = Port(store, {"on_error": policy, "mode": mode})
    (failing,) = await port.put([BAD], single=True)
    (after,) = await port.put(["2"], single=True)
    await port.run()
    assert await port.states([failing, after]) == ["error/failed/none", "processed"]


@pytest.mark.parametrize(
    ("policy", "state"),
    [("continue", ("error", 4, 1, 0)), ("halt", ("error", 2, 1, 0)), ("rollback", ("rolled_back", 0, 1, 0))],
    ids=POLICIES,
)
async def test_set_tells_how_far_it_is(store: Store, policy: str, state: tuple[str, int, int, int]) -> None:
    port, _ = await process(store, policy, "sequential")
    assert await port.set_state() == state


@every_kind_of_port
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("released", [1, 2, 4], ids=["one before", "the failing one", "one after"])
async def test_release_of_any_member_runs_the_whole_rest_in_order(
    store: Store, policy: str, mode: str, released: int
) -> None:
    port, keys = await process(store, policy, mode)
    rest = {"continue": [2], "halt": [2, 3, 4], "rollback": [0, 1, 2, 3, 4]}[policy]
    port.orders.refuses.clear()
    port.orders.order.clear()
    if released not in rest:
        assert (await port.release(keys[released])).changed == (), "what was processed has left the queue"
        released = rest[0]
    assert (await port.release(keys[released])).changed == tuple(keys[place] for place in rest)
    await port.run()
    assert port.orders.order == [keys[place] for place in rest]
    assert await port.states(keys) == ["processed"] * 5
    assert await port.set_state() == ("completed", 5, 0, 0)


@pytest.mark.parametrize("policy", ["halt", "rollback"])
async def test_rest_of_a_set_runs_when_the_failing_member_is_deleted_and_the_rest_released(
    store: Store, policy: str
) -> None:
    port, keys = await process(store, policy, "sequential")
    assert (await port.delete(keys[2])).changed == (keys[2],)
    await port.run()
    held = {"halt": SKIPPED, "rollback": UNDONE}[policy]
    assert (await port.states(keys))[2:] == ["deleted", held, held], "a deletion releases nothing"
    await port.release(keys[4])
    await port.run()
    assert await port.states(keys) == ["processed", "processed", "deleted", "processed", "processed"]
    assert await port.set_state() == ("completed", 4, 0, 1)
    assert (await port.answers())[keys[2]] == "fault", "nothing is answered for a deletion"


async def test_answers_that_wait_to_be_sent_are_no_part_of_the_rest_of_a_halted_set(store: Store) -> None:
    port = Port(store, {"on_error": "halt"}, chunk=1)
    await port.put(FILE)
    await port.run()
    async with store.transaction() as connection:
        waiting = await connection.fetch("SELECT status, reason FROM queue WHERE direction = 'out'")
    assert [tuple(row) for row in waiting] == [("ready", "ready")] * 3


@pytest.mark.parametrize(("limit", "failures"), [(2, 2), ("40%", 2), ("100%", 4), (None, 4)])
async def test_rest_of_a_set_is_held_when_too_many_failed(store: Store, limit: int | str | None, failures: int) -> None:
    port = Port(store, {"max_failed": limit}, chunk=1)
    keys = await port.put(["1", BAD, BAD, BAD, BAD])
    await port.run()
    rest = 4 - failures
    assert await port.states(keys) == ["processed", *[FAILED] * failures, *[SKIPPED] * rest]


async def test_failures_in_one_unit_stop_a_set_as_exactly(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pace, "next", lambda pace, **_: pace.most)
    port = Port(store, {"mode": "parallel", "max_failed": 2})
    keys = await port.put(["1", BAD, BAD, "4", "5"])
    await port.run()
    assert await port.states(keys) == ["processed", FAILED, FAILED, SKIPPED, SKIPPED]
    port.orders.refuses.clear()
    assert (await port.release(keys[4])).changed == (keys[3], keys[4]), "what waits, waits together"
    await port.run()
    assert await port.states(keys) == ["processed", FAILED, FAILED, "processed", "processed"]
    await port.release(keys[1], keys[2])
    await port.run()
    assert await port.states(keys) == ["processed"] * 5


async def test_rollback_set_larger_than_a_claim_has_few_documents_parsed_at_the_same_time(store: Store) -> None:
    port = Port(store, {"on_error": "rollback"})
    keys = await port.put(["1", "2", "3", "4", "5", BAD], padding=CLAIM_BYTES // 2)
    claimed = await claim_inbound(store, 1, ORDERS, 100)
    assert claimed is not None
    items = prepare(claimed.items, port.open, port.registry, port.settings)
    assert [isinstance(item, Prepared) and item.late for item in items] == [False, *[True] * 5]
    await give_back(store, claimed.fence)
    await port.run()
    assert await port.states(keys) == [*[UNDONE] * 5, FAILED]
    port.orders.refuses.clear()
    await port.release(keys[0])
    await port.run()
    assert await port.states(keys) == ["processed"] * 6


@pytest.mark.parametrize("rule", ["block", "park"])
@pytest.mark.parametrize("policy", POLICIES)
async def test_nothing_passes_a_failed_message_in_a_lane_that_stops(store: Store, policy: str, rule: str) -> None:
    port = Port(store, {"on_error": policy, "on_lane_error": rule})
    await port.run()  # the rule of the port is known before its first file
    keys = [*await port.put(FILE), *await port.put(["6"], single=True)]
    await port.run()
    states = await port.states(keys)
    behind = "ready/behind_in_lane" if rule == "block" else "hold/lane_parked"
    assert states[2] == FAILED
    assert states[5] == f"{behind}/none"
    assert states[3] == {"continue": f"{behind}/ready", "halt": SKIPPED, "rollback": UNDONE}[policy]
    port.orders.refuses.clear()
    await port.release(keys[2])
    await release_lane(store, ORDERS, WHOLE_PORT)
    await port.run()
    assert await port.states(keys) == ["processed"] * 6
    assert port.orders.order[-1] == keys[5]
