"""What operators did: who, when, what, why, and what came of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from gateway.db.open import Store
from gateway.kernel.ids import MessageKey
from gateway.kernel.text import clean
from gateway.operations.reads.history import like
from gateway.operations.statements import audit_sql
from gateway.operations.statements.audit_sql import ActionRow


class ActionOutcome(StrEnum):
    """How an action ended."""

    DONE = "done"
    REFUSED = "refused"  # nothing was changed


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionFilter:
    """Which actions are meant; None does not narrow. In `action` and `subject`, `*` and `?` stand for anything."""

    actor: str | None = None
    action: str | None = None
    subject: str | None = None
    message: MessageKey | None = None
    since: datetime | None = None
    until: datetime | None = None


async def begin_action(
    store: Store, *, actor: str, action: str, subject: str | None, messages: Sequence[MessageKey] | None,
    reason: str | None,
) -> int:  # fmt: skip
    """Write down an action that is about to be done; returns its number."""
    async with store.transaction() as connection:
        return await audit_sql.begin_action(
            connection, clean(actor, 200), action, subject and clean(subject, 2000), messages,
            reason and clean(reason, 2000),
        )  # fmt: skip


async def end_action(store: Store, number: int, outcome: ActionOutcome, text: str | None) -> None:
    """Write down what came of an action."""
    async with store.transaction() as connection:
        await audit_sql.end_action(connection, number, outcome, text and clean(text, 2000))


async def list_actions(
    store: Store, wanted: ActionFilter, *, before: int | None = None, limit: int
) -> Sequence[ActionRow]:
    """Return actions, the newest first; *before* is the number to go on from."""
    action, subject = (None if one is None else like(one, wildcards=True) for one in (wanted.action, wanted.subject))
    async with store.transaction() as connection:
        return await audit_sql.list_actions(
            connection, wanted.actor, action, subject, wanted.message, wanted.since, wanted.until, before, limit
        )
