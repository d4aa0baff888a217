"""Operator actions on the gateway queue."""

from collections.abc import Sequence

from gateway.domain.ids import MessageKey
from gateway.operations.references import resolve
from gateway.store import operate
from gateway.store.open import Store


async def hold(store: Store, references: Sequence[str]) -> operate.Changed:
    """Park the messages named, by number or MessageId, with the rest of their sets.

    Raises: NotFound, Ambiguous; then nothing is changed.
    """
    return await operate.hold(store, await _keys(store, references))


async def release(store: Store, references: Sequence[str]) -> operate.Changed:
    """Let held and failed messages run again, with the rest of their sets.

    Raises: NotFound, Ambiguous; then nothing is changed.
    """
    return await operate.release(store, await _keys(store, references))


async def delete(store: Store, references: Sequence[str]) -> operate.Changed:
    """Remove failed, held and malformed messages from the queue; the history knows them as deleted.

    Raises: NotFound, Ambiguous; then nothing is changed.
    """
    return await operate.delete(store, await _keys(store, references))


async def _keys(store: Store, references: Sequence[str]) -> list[MessageKey]:
    return [MessageKey((await resolve(store, text, queued=True)).key) for text in references]
