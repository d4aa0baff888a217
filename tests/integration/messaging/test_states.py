"""The states that the database allows are the states that we can explain, no more and no fewer; each has a way out."""

from collections.abc import Awaitable, Callable, Iterator
from itertools import product

import pytest
from asyncpg import CheckViolationError

from gateway.db.open import Store
from gateway.explanations.message import explain_message
from gateway.kernel.ids import LaneName, MessageKey
from gateway.messaging.intake.writing import ingestion
from gateway.messaging.processing.claims import InboundResult
from gateway.messaging.queue.leases import read_beats, take_back, wake_due
from gateway.messaging.queue.operate import delete, hold, release, release_lane
from gateway.messaging.rules.message import Failure, RefusedFile, Retry
from gateway.messaging.rules.states import Direction, Policy, Reason, Status
from tests.factories import ORDERS, a_claim, a_message
from tests.integration.messaging.test_way_of_a_message import claim, put, record, rows
from tests.unit.explanations.test_explain import HOLDER, STATUS_OF, facts_of

QUEUE = """
INSERT INTO queue (message_id, port, direction, status, reason, fence, not_before)
VALUES (1, 'orders', $1, $2, $3, CASE WHEN $4 THEN 1 END, CASE WHEN $5 THEN now() END)
"""
REQUEST = """
INSERT INTO send_request (id, message_id, port, service, operation, entity_keys, submitter, status, reason, fence,
                          not_before)
VALUES (1, gen_random_uuid(), 'orders', 's', 'o', '[1]', 'me', $1, $2, CASE WHEN $3 THEN 1 END,
        CASE WHEN $4 THEN now() END)
"""


async def allowed(store: Store, statement: str, *values: object) -> bool:
    """Tell whether the checks of the table let a row be in this state."""
    async with store.transaction() as connection:
        nested = connection.transaction()
        await nested.start()
        try:
            await connection.execute(statement, *values)
        except CheckViolationError:
            return False
        finally:
            await nested.rollback()
    return True


def pairs() -> Iterator[tuple[Status, Reason, bool, bool]]:
    """Every status with every reason, with and without a lease and a time."""
    yield from product(Status, Reason, (False, True), (False, True))


async def test_every_state_of_the_queue_has_one_reason_that_is_explained(store: Store) -> None:
    found: set[tuple[Direction, Status, Reason]] = set()
    for direction in Direction:
        for status, reason, fence, time in pairs():
            if await allowed(store, QUEUE, direction, status, reason, fence, time):
                found.add((direction, status, reason))
                assert fence == (reason is Reason.RUNNING), "a lease and only a lease means that somebody works"
                facts = facts_of(reason, status=status, direction=direction, holder=HOLDER if fence else None)
                assert explain_message(facts).code == f"message.{reason}"
    running = {(Direction.IN, Status.IN_PROCESS), (Direction.OUT, Status.IN_TRANSPORT)}
    expected = {(d, status, reason) for reason, status in STATUS_OF.items() if reason is not Reason.RUNNING
                for d in Direction} | {(d, status, Reason.RUNNING) for d, status in running}  # fmt: skip
    assert found == expected


async def test_every_state_of_a_send_request_has_one_reason_that_is_explained(store: Store) -> None:
    found = {(status, reason) for status, reason, fence, time in pairs()
             if await allowed(store, REQUEST, status, reason, fence, time)}  # fmt: skip
    assert found == {
        (Status.READY, Reason.READY), (Status.READY, Reason.BACKOFF), (Status.IN_PROCESS, Reason.RUNNING),
        (Status.ERROR, Reason.FAILED), (Status.ERROR, Reason.POISON),
    }  # fmt: skip
    for status, reason in found:
        facts = facts_of(reason, status=status, direction=Direction.OUT, is_request_to_send=True)
        assert explain_message(facts).subject == "send request 17"


async def put_in_state(store: Store, reason: Reason, lane: str | None) -> MessageKey:
    """Put one message into a state, by the operations that lead there."""
    if reason is Reason.MALFORMED:
        async with ingestion(store) as ingesting:
            await ingesting.refuse_file(RefusedFile(claim=a_claim(), submitter=None, code="xml", text="Broken."))
        return await last_key(store)
    await put(store, [a_message(lane=lane)], policy=Policy.HALT)
    key = await last_key(store)
    if reason in (Reason.READY, Reason.BEHIND_IN_LANE):
        return key
    if reason is Reason.HELD_BY_OPERATOR:
        await hold(store, [key])
        return key
    if reason in (Reason.SET_HALTED, Reason.SET_ROLLED_BACK, Reason.LANE_PARKED):
        await run(store, f"UPDATE queue SET status = 'hold', reason = '{reason}'")
        parked = reason is Reason.LANE_PARKED
        await run(store, f"UPDATE lane SET head = NULL, parked_by = {key}" if parked else "DELETE FROM lane")
        return key
    claimed = await claim(store)
    if reason is Reason.RUNNING:
        return key
    (work,) = claimed.items
    result = InboundResult(again=[Retry(work, 3600.0, "Away.")])
    if reason in (Reason.FAILED, Reason.POISON):
        result = InboundResult(failed=[Failure(work=work, code="schema", text="Wrong.")])
    await record(store, claimed, result)
    await run(store, f"UPDATE queue SET reason = '{reason}' WHERE reason IN ('failed', 'backoff')")
    return key


async def last_key(store: Store) -> MessageKey:
    ((key,),) = await rows(store, "SELECT max(message_id) FROM queue")
    return MessageKey(int(str(key)))


async def run(store: Store, sql: str) -> None:
    async with store.transaction() as connection:
        await connection.execute(sql)


async def take_next(store: Store, key: MessageKey) -> None:
    assert [work.key for work in (await claim(store)).items] == [key]


async def wait(store: Store, key: MessageKey) -> None:
    await run(
        store, "UPDATE queue SET not_before = now(); UPDATE lane SET not_before = now() WHERE not_before IS NOT NULL"
    )
    await wake_due(store)
    await take_next(store, key)


async def take_back_and_go_on(store: Store, key: MessageKey) -> None:
    beats = await read_beats(store, 0)
    await take_back(store, beats.leases)
    await take_next(store, key)


async def release_and_go_on(store: Store, key: MessageKey) -> None:
    assert (await release(store, [key])).changed == (key,)
    await take_next(store, key)


async def release_lane_and_go_on(store: Store, key: MessageKey) -> None:
    await release_lane(store, ORDERS, LaneName("a"))
    await take_next(store, key)


async def remove(store: Store, key: MessageKey) -> None:
    assert (await delete(store, [key])).changed == (key,)
    assert await rows(store, "SELECT outcome FROM message") == [("deleted",)]


WAYS_OUT = {
    Reason.READY: [take_next], Reason.BEHIND_IN_LANE: [take_next], Reason.BACKOFF: [wait],
    Reason.ADDRESS_UNAVAILABLE: [wait], Reason.RUNNING: [take_back_and_go_on],
    Reason.HELD_BY_OPERATOR: [release_and_go_on, remove], Reason.SET_HALTED: [release_and_go_on, remove],
    Reason.SET_ROLLED_BACK: [release_and_go_on, remove],
    Reason.LANE_PARKED: [release_lane_and_go_on, release_and_go_on, remove], Reason.FAILED: [release_and_go_on, remove],
    Reason.POISON: [release_and_go_on, remove], Reason.MALFORMED: [remove],
}  # fmt: skip


@pytest.mark.parametrize(
    ("reason", "way"),
    [(reason, way) for reason, ways in WAYS_OUT.items() for way in ways],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
async def test_every_state_has_a_way_out(
    store: Store, reason: Reason, way: Callable[[Store, MessageKey], Awaitable[None]]
) -> None:
    lane = None if reason is Reason.ADDRESS_UNAVAILABLE else "a"  # of answers, which have no lane
    key = await put_in_state(store, reason, lane)
    await way(store, key)


def test_every_reason_has_a_way_out() -> None:
    assert set(WAYS_OUT) == set(Reason)
