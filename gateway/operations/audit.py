"""Every action of an operator is written down: who, when, what, why, and what came of it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from gateway.db.open import Store
from gateway.explanations.facts import Deed
from gateway.kernel.errors import GatewayError, StoreUnavailable
from gateway.kernel.ids import MessageKey
from gateway.kernel.window import beginning, end
from gateway.operations.messages import Page, page_of
from gateway.operations.principal import OperatorSession
from gateway.operations.reads.audit import ActionFilter, ActionOutcome, begin_action, end_action, list_actions
from gateway.operations.references import resolve
from gateway.operations.statements.audit_sql import ActionRow

_LAST = 5


@dataclass(slots=True)
class Note:
    """What is to be said of an action when it is done."""

    text: str | None = None


@asynccontextmanager
async def recorded(
    session: OperatorSession, action: str, subject: str | None = None, *, messages: Sequence[MessageKey] | None = None
) -> AsyncIterator[Note]:
    """Write an action down before it is done in the block, and afterwards what came of it.

    Rule: what the block refuses with an error of ours changed nothing. Where it cannot be told, as when the database
    goes or the process is ended, the outcome stays open.
    """
    store, who = session.store, session.principal
    number = await begin_action(
        store, actor=who.name, action=action, subject=subject, messages=messages, reason=who.reason
    )
    note = Note()
    try:
        yield note
    except StoreUnavailable:
        raise
    except GatewayError as error:
        await end_action(store, number, ActionOutcome.REFUSED, error.message)
        raise
    await end_action(store, number, ActionOutcome.DONE, note.text)


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedActions:
    """Which actions a person means, as it was typed: *message* by number or MessageId; None does not narrow."""

    actor: str | None = None
    action: str | None = None
    subject: str | None = None
    message: str | None = None
    since: str | None = None
    until: str | None = None


async def actions(
    session: OperatorSession, asked: AskedActions, *, before: int | None = None, limit: int = 50
) -> Page[ActionRow]:
    """Return what operators did, the newest first. Raises: NotFound, Ambiguous; NoMoment."""
    found = None if asked.message is None else await resolve(session.store, asked.message, queued=True, either=True)
    now, zone = session.now, session.zone
    wanted = ActionFilter(
        actor=asked.actor,
        action=asked.action,
        subject=asked.subject,
        message=None if found is None else MessageKey(found.key),
        since=None if asked.since is None else beginning(asked.since, now=now, zone=zone),
        until=None if asked.until is None else end(asked.until, now=now, zone=zone),
    )
    return page_of(await list_actions(session.store, wanted, before=before, limit=limit + 1), limit, lambda row: row.id)


async def last_deed(
    store: Store, action: str, *, subject: str | None = None, message: MessageKey | None = None
) -> Deed | None:
    """Return the last action of a kind on a thing or a message that was not refused; None when none is kept."""
    wanted = ActionFilter(action=action, subject=subject, message=message)
    for row in await list_actions(store, wanted, limit=_LAST):
        if row.outcome != ActionOutcome.REFUSED:
            return Deed(row.actor, row.at, row.reason)
    return None
