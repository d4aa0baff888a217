"""Operator actions on the gateway queue: one message, or all that are alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo
from enum import StrEnum
from typing import Final

from gateway.config.models import Settings
from gateway.db.open import Store
from gateway.kernel.ids import MessageKey
from gateway.messaging.queue import operate
from gateway.messaging.rules.states import Reason, Status
from gateway.operations.audit import recorded
from gateway.operations.messages import Asked, meant
from gateway.operations.person import Principal
from gateway.operations.reads.selection import CauseRow, choose_queued, group_queued
from gateway.operations.references import resolve


class Action(StrEnum):
    """What an operator does to queued messages."""

    HOLD = "hold"  # park what has not started
    RELEASE = "release"  # let held and failed ones run again
    RETRY = "retry"  # try now what waits for another try
    DELETE = "delete"  # remove what failed, is held or malformed; the history knows it as deleted


_STATUSES: Final[Mapping[Action, frozenset[Status]]] = {
    Action.HOLD: frozenset({Status.READY}),
    Action.RELEASE: frozenset({Status.HOLD, Status.ERROR}),
    Action.RETRY: frozenset({Status.READY}),
    Action.DELETE: frozenset({Status.HOLD, Status.ERROR, Status.MALFORMED}),
}
"""What each action changes; anything else is left alone."""
_WAITING: Final = frozenset({Reason.BACKOFF, Reason.ADDRESS_UNAVAILABLE})
_ACTIONS: Final = {
    Action.HOLD: operate.hold,
    Action.RELEASE: operate.release,
    Action.RETRY: operate.retry,
    Action.DELETE: operate.delete,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What an action would change: `keys` were named or chosen, `bound` are taken along by their sets.

    `causes` counts both by what they are.
    """

    action: Action
    keys: tuple[MessageKey, ...]
    bound: tuple[MessageKey, ...]
    causes: tuple[CauseRow, ...]
    is_chosen: bool

    @property
    def needs_consent(self) -> bool:
        """True when a person should see it first: it cannot be undone, or it is more than what was named."""
        return self.action is Action.DELETE or self.is_chosen or bool(self.bound)


async def plan_named(store: Store, action: Action, references: Sequence[str]) -> Plan:
    """Return what an action on these messages, by number or MessageId, would change.

    Raises: NotFound, Ambiguous.
    """
    keys = [MessageKey((await resolve(store, text, queued=True)).key) for text in references]
    return await _plan(store, action, keys, is_chosen=False)


async def plan_chosen(
    store: Store, settings: Settings, action: Action, asked: Asked, *, zone: tzinfo, now: datetime
) -> Plan:
    """Return what an action on all messages that are meant would change: of those, the ones that it can change.

    Raises: NotFound for an unknown port; NoMoment.
    """
    wanted = meant(settings, asked, zone=zone, now=now)
    can = _STATUSES[action]
    statuses = [status for status in wanted.statuses or can if status in can]
    wanted = replace(
        wanted, statuses=sorted(statuses), reasons=sorted(_WAITING) if action is Action.RETRY else wanted.reasons
    )
    async with store.transaction() as connection:
        keys, _ = await choose_queued(store, connection, wanted)
    return await _plan(store, action, keys, is_chosen=True)


async def carry_out(store: Store, who: Principal, plan: Plan) -> operate.Changed:
    """Do what was planned to the messages that still stand so; it is written down."""
    messages = [*plan.keys, *plan.bound]
    async with recorded(store, who, f"queue.{plan.action}", messages=messages) as note:
        changed = await _ACTIONS[plan.action](store, plan.keys)
        note.text = f"changed {len(changed.changed)}, left {len(changed.left)}"
    return changed


async def _plan(store: Store, action: Action, keys: Sequence[MessageKey], *, is_chosen: bool) -> Plan:
    bound = [] if action is Action.DELETE else await operate.bound_to(store, keys)
    taken = [key for key, status, reason in bound if _changes(action, status, reason)]
    async with store.transaction() as connection:
        causes = await group_queued(store, connection, [*keys, *taken])
    return Plan(action=action, keys=tuple(keys), bound=tuple(taken), causes=tuple(causes), is_chosen=is_chosen)


def _changes(action: Action, status: Status, reason: Reason) -> bool:
    return status in _STATUSES[action] and (action is not Action.RETRY or reason in _WAITING)
