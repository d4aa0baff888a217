"""Operator actions on the gateway queue: one message, all that are alike, or answers whose staging folder is lost.

As long as a staging folder may come back, its promises wait: only its content tells what was published. An operator who
knows that it is gone decides that a partner may rather get an answer twice than never.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from gateway.config.models import InboundPort, Settings
from gateway.kernel.errors import IllegalTransition
from gateway.kernel.ids import MessageKey
from gateway.kernel.remedy import Action, Remedy, do
from gateway.messaging.delivery.staging import Prepared, give_up_promises, prepared_beside
from gateway.messaging.queue import operate
from gateway.messaging.rules.states import LoggingMode, Reason, Status
from gateway.operations.audit import recorded
from gateway.operations.messages import Asked, meant
from gateway.operations.nodes import Alive, nodes
from gateway.operations.principal import OperatorSession
from gateway.operations.reads.selection import choose_queued
from gateway.operations.references import resolve
from gateway.operations.statements import selection_sql
from gateway.operations.statements.selection_sql import CauseRow


class QueueAction(StrEnum):
    """What an operator does to queued messages."""

    HOLD = "hold"  # park what has not started
    RELEASE = "release"  # let held and failed ones run again
    RETRY = "retry"  # try now what waits for another try
    DELETE = "delete"  # remove what failed, is held or malformed; the history knows it as deleted


_STATUSES: Final[Mapping[QueueAction, frozenset[Status]]] = {
    QueueAction.HOLD: frozenset({Status.READY}),
    QueueAction.RELEASE: frozenset({Status.HOLD, Status.ERROR}),
    QueueAction.RETRY: frozenset({Status.READY}),
    QueueAction.DELETE: frozenset({Status.HOLD, Status.ERROR, Status.MALFORMED}),
}
"""What each action changes; anything else is left alone."""
_WAITING: Final = frozenset({Reason.BACKOFF, Reason.ADDRESS_UNAVAILABLE})
_ACTIONS: Final = {
    QueueAction.HOLD: operate.hold,
    QueueAction.RELEASE: operate.release,
    QueueAction.RETRY: operate.retry,
    QueueAction.DELETE: operate.delete,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What an action would change: `keys` were named or chosen, `bound` are taken along by their sets.

    `causes` counts both by what they are.
    """

    action: QueueAction
    keys: tuple[MessageKey, ...]
    bound: tuple[MessageKey, ...]
    causes: tuple[CauseRow, ...]
    is_chosen: bool

    @property
    def needs_consent(self) -> bool:
        """True when a person should see it first: it cannot be undone, or it is more than what was named."""
        return self.action is QueueAction.DELETE or self.is_chosen or bool(self.bound)


async def plan_named(session: OperatorSession, action: QueueAction, references: Sequence[str]) -> Plan:
    """Return what an action on these messages, by number or MessageId, would change.

    Raises: NotFound, Ambiguous.
    """
    keys = [MessageKey((await resolve(session.store, text, queued=True)).key) for text in references]
    return await _plan(session, action, keys, is_chosen=False)


async def plan_chosen(session: OperatorSession, action: QueueAction, asked: Asked) -> Plan:
    """Return what an action on all messages that are meant would change: of those, the ones that it can change.

    Raises: NotFound for an unknown port; NoMoment.
    """
    wanted = meant(session, asked)
    can = _STATUSES[action]
    statuses = [status for status in wanted.statuses or can if status in can]
    wanted = replace(
        wanted, statuses=sorted(statuses), reasons=sorted(_WAITING) if action is QueueAction.RETRY else wanted.reasons
    )
    async with session.store.transaction() as connection:
        keys, _ = await choose_queued(connection, wanted)
    return await _plan(session, action, keys, is_chosen=True)


async def carry_out(session: OperatorSession, plan: Plan) -> operate.Changed:
    """Do what was planned to the messages that still stand so; it is written down."""
    messages = [*plan.keys, *plan.bound]
    async with recorded(session, f"queue.{plan.action}", messages=messages) as note:
        changed = await _ACTIONS[plan.action](session.store, plan.keys)
        note.text = f"changed {len(changed.changed)}, left {len(changed.left)}"
    return changed


async def _plan(session: OperatorSession, action: QueueAction, keys: Sequence[MessageKey], *, is_chosen: bool) -> Plan:
    bound = [] if action is QueueAction.DELETE else await operate.bound_to(session.store, keys)
    taken = [key for key, status, reason in bound if _changes(action, status, reason)]
    async with session.store.transaction() as connection:
        causes = await selection_sql.group_queued(connection, [*keys, *taken])
    return Plan(action=action, keys=tuple(keys), bound=tuple(taken), causes=tuple(causes), is_chosen=is_chosen)


def _changes(action: QueueAction, status: Status, reason: Reason) -> bool:
    return status in _STATUSES[action] and (action is not QueueAction.RETRY or reason in _WAITING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """An answer in a lost folder; one that is `published` lies in the outbound folder still."""

    prepared: Prepared
    published: bool


def _explain(key: MessageKey) -> Remedy:
    return do(Action.EXPLAIN, key, then="It says where the message is.")


async def lost_with(session: OperatorSession, references: Sequence[str]) -> list[Lost]:
    """Return the answers named, by number or MessageId, with all others in the same staging folders.

    Raises: NotFound, Ambiguous; IllegalTransition when one is not prepared in a folder that nobody uses.
    """
    keys = [MessageKey((await resolve(session.store, text, queued=True)).key) for text in references]
    found = await prepared_beside(session.store, keys)
    prepared = {one.key: one for one in found}
    for key in keys:
        if key not in prepared:
            raise IllegalTransition(f"no file is prepared for message {key}").remedied(_explain(key))
    if not any(node.alive is Alive.RUNNING for node in await nodes(session)):
        raise IllegalTransition(
            "no gateway runs, so nobody can tell whether the folder is lost: start it, and it publishes what it finds"
        )
    for one in found:
        if one.reachable:
            raise IllegalTransition(
                f"message {one.key} is prepared {one.where}, and a gateway that runs uses that folder: it publishes it "
                "by itself"
            ).remedied(_explain(one.key))
    return await asyncio.to_thread(
        lambda: [Lost(prepared=one, published=_published(session.settings, one)) for one in found]
    )


async def restage(session: OperatorSession, lost: Sequence[Lost]) -> list[MessageKey]:
    """Let lost answers be prepared anew; those that lie in the outbound folder are sent. Returns what was changed."""
    async with recorded(session, "queue.restage", messages=[one.prepared.key for one in lost]):
        published = {one.prepared.key: _kept(session.settings, one.prepared) for one in lost if one.published}
        return await give_up_promises(
            session.store, [one.prepared for one in lost], published=published, by=session.actor
        )


def _kept(settings: Settings, one: Prepared) -> LoggingMode:
    port = settings.ports.get(one.port)
    return port.logging if isinstance(port, InboundPort) else LoggingMode.ORIGINAL


def _published(settings: Settings, one: Prepared) -> bool:
    """Tell whether the answer lies where it is published: names of answers are given once."""
    folders = settings.port_folders(one.port).send if one.port in settings.ports else None
    if folders is None:
        return False
    return ((folders.faults if one.is_fault else folders.outbound) / one.file).exists()
