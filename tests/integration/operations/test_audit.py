"""What operators did: written before it is done, with what came of it."""

import asyncio

import pytest

from gateway.db.open import Store
from gateway.kernel.errors import GatewayError, IllegalTransition, StoreUnavailable
from gateway.kernel.ids import MessageKey
from gateway.operations.audit import recorded
from gateway.operations.principal import Principal
from gateway.operations.reads.audit import ActionFilter, ActionOutcome, list_actions
from tests.factories import operator

ANN = Principal(name="ann", partition="initial", reason="the schema was missing")
BEN = Principal(name="ben", partition="initial")


async def test_action_is_written_down_with_who_what_why_and_what_came_of_it(store: Store) -> None:
    async with recorded(
        operator(store, principal=ANN), "queue.release", messages=[MessageKey(n) for n in range(1, 31)]
    ) as note:
        (begun,) = await list_actions(store, ActionFilter(), limit=10)
        assert begun.outcome is None, "it is written down before it is done"
        note.text = "changed 30, left 0"
    (done,) = await list_actions(store, ActionFilter(), limit=10)
    assert (done.actor, done.action, done.reason) == ("ann", "queue.release", "the schema was missing")
    assert (done.messages, done.first_messages) == (30, list(range(1, 21)))
    assert (done.outcome, done.text) == (ActionOutcome.DONE, "changed 30, left 0")


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (IllegalTransition("the job runs"), ActionOutcome.REFUSED),
        (StoreUnavailable("the database is away", outcome_unknown=True), None),
        (RuntimeError("a bug"), None),
        (asyncio.CancelledError(), None),
    ],
    ids=["refused", "database away", "bug", "cancelled"],
)
async def test_outcome_is_told_where_it_is_known(
    store: Store, error: BaseException, outcome: ActionOutcome | None
) -> None:
    with pytest.raises(type(error)):
        async with recorded(operator(store, principal=ANN), "job.hold", "nightly"):
            raise error
    (row,) = await list_actions(store, ActionFilter(), limit=10)
    assert row.outcome == outcome
    assert row.text == (error.message if outcome and isinstance(error, GatewayError) else None)


async def test_actions_are_found_by_who_what_and_message(store: Store) -> None:
    for who, action, subject, keys in (
        (ANN, "job.hold", "nightly", None),
        (BEN, "job.release", "weekly", None),
        (BEN, "queue.delete", None, [MessageKey(7), MessageKey(8)]),
    ):
        async with recorded(operator(store, principal=who), action, subject, messages=keys):
            pass

    async def found(wanted: ActionFilter) -> list[str]:
        return [row.action for row in await list_actions(store, wanted, limit=10)]

    assert await found(ActionFilter()) == ["queue.delete", "job.release", "job.hold"]
    assert await found(ActionFilter(actor="ben")) == ["queue.delete", "job.release"]
    assert await found(ActionFilter(action="job.*")) == ["job.release", "job.hold"]
    assert await found(ActionFilter(subject="NIGHT*")) == ["job.hold"]
    assert await found(ActionFilter(message=MessageKey(8))) == ["queue.delete"]
