"""The states that the database allows are the states that we can explain, no more and no fewer."""

from collections.abc import Iterator
from itertools import product

from asyncpg import CheckViolationError

from gateway.domain.explain import explain_message
from gateway.domain.states import Direction, Reason, Status
from gateway.store.open import Store
from tests.unit.domain.test_explain import STATUS_OF, a_message

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
                facts = a_message(reason, status=status, direction=direction)
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
        (Status.ERROR, Reason.FAILED),
    }  # fmt: skip
    for status, reason in found:
        facts = a_message(reason, status=status, direction=Direction.OUT, is_request_to_send=True)
        assert explain_message(facts).subject == "send request 17"
