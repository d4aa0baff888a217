"""What operators may do to a message in each status: every row of the table, in both directions.

The members of a set, and the way on afterwards, are in test_operate.py and test_states.py. Source: AIF reference,
section 22.2.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import product
from typing import Final

import pytest

from gateway.db.open import Store
from gateway.kernel.ids import MessageKey
from gateway.messaging.queue.operate import Changed, delete, hold, release
from gateway.messaging.rules.states import Direction, Reason
from tests.integration.messaging.test_states import put_in_state, run
from tests.integration.messaging.test_way_of_a_message import rows

Action = Callable[[Store, Sequence[MessageKey]], Awaitable[Changed]]

GONE: Final = "deleted"
TABLE: Mapping[Reason, Mapping[Action, str]] = {
    Reason.READY: {hold: "hold"},
    Reason.BACKOFF: {hold: "hold"},
    Reason.RUNNING: {},
    Reason.HELD_BY_OPERATOR: {release: "ready", delete: GONE},
    Reason.FAILED: {release: "ready", delete: GONE},
    Reason.POISON: {release: "ready", delete: GONE},
    Reason.MALFORMED: {delete: GONE},
}
"""What each action makes of a message; what is not here leaves it alone and names its status."""


@pytest.mark.parametrize("action", [hold, release, delete], ids=["hold", "release", "delete"])
async def test_operator_changes_a_message_as_its_status_allows(store: Store, action: Action) -> None:
    for reason, direction in product(TABLE, Direction):
        await run(store, "TRUNCATE delivery, message, document, queue, lane, lease, message_set, exception")
        key = await put_in_state(store, reason, None)
        if direction is Direction.OUT:
            await run(
                store,
                "UPDATE queue SET direction = 'out',"
                " status = CASE status WHEN 'in_process' THEN 'in_transport' ELSE status END",
            )
        ((before,),) = await rows(store, "SELECT status FROM queue")
        outcome = await action(store, [key])
        after = TABLE[reason].get(action)
        if after is None:
            assert (outcome.changed, outcome.left) == ((), ((key, before),)), (reason, direction)
            assert await rows(store, "SELECT status, reason FROM queue") == [(before, reason)]
        elif after == GONE:
            assert outcome.changed == (key,), (reason, direction)
            assert await rows(store, "SELECT 1 FROM queue") == []
            assert await rows(store, "SELECT outcome FROM message") == [(GONE,)]
        else:
            assert outcome.changed == (key,), (reason, direction)
            assert await rows(store, "SELECT status FROM queue") == [(after,)]
