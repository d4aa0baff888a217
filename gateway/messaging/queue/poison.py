"""Count what ended the process that worked on it, or had it ended."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from gateway.db.open import Store
from gateway.kernel.ids import MessageKey, PortName
from gateway.messaging.queue.exceptions import Entry, insert_exceptions
from gateway.messaging.statements import poison_sql

WARNING = (
    "The process that runs services ended while {operation} worked on this message. The message runs once more, alone; "
    "if the process ends again, the message goes to Error as poison."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Crash:
    """A message, or a send request, that was at work when a process ended; `crashes` counts this one too."""

    key: MessageKey
    port: PortName
    operation: str
    crashes: int


async def ports_of(store: Store, keys: Collection[MessageKey]) -> Sequence[PortName]:
    """Return the ports of unfinished messages and send requests, each once."""
    async with store.transaction() as connection:
        rows = await poison_sql.ports_of(connection, sorted(keys))
    return [PortName(port) for port in rows]


async def note_held_loop(store: Store, key: MessageKey) -> None:
    """Write down that the code of a message held the event loop until its process was ended; its next claim judges.

    Before: as `count_crashes`.
    """
    async with store.transaction() as connection:
        await poison_sql.note_held_loop(connection, key)


async def count_crashes(store: Store, keys: Collection[MessageKey]) -> Sequence[Crash]:
    """Count an end of the process for messages whose code was running; those that are finished meanwhile are not told.

    Before: nothing of that process is taken back yet; that gives attempts back, and this one stays counted.
    """
    if not keys:
        return []
    async with store.transaction() as connection:
        rows = await poison_sql.count_crashes(connection, sorted(keys))
        crashes = [
            Crash(key=MessageKey(row.key), port=PortName(row.port), operation=row.operation,
                  crashes=row.crashes)
            for row in rows
        ]  # fmt: skip
        entries = [
            Entry(code="message.crashed", text=WARNING.format(operation=crash.operation), severity="warning",
                  port=crash.port, message_key=crash.key)
            for crash in crashes if crash.crashes == 1
        ]  # fmt: skip
        await insert_exceptions(connection, entries)
    return crashes
