"""Sessions and their messages in the gateway's own database. Whoever changes them holds the lock of the exchange."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from asyncpg import Connection

from gateway.db.open import Store
from gateway.exchange.rules.message import StatusMessage
from gateway.exchange.rules.statuses import RANKS, SessionDirection, SessionStatus
from gateway.exchange.sources import Given, Kept, SessionName, Told
from gateway.exchange.statements import sessions_sql
from gateway.exchange.statements.sessions_sql import MessageStoreRow, Pass, SessionRow, StatusMessageRow, TroubleRow
from gateway.kernel.ids import MessageKey

AHEAD_SECONDS: Final = 3_600.0
"""A message whose time is further ahead than this is from the future: it waits until its time has come."""


class Verdict(StrEnum):
    """What a message of a batch is to what was stored before."""

    FRESH = "fresh"  # new
    SAME = "same"  # stored before from this very row or file: a pass ended between storing and acknowledging
    REPEATED = "repeated"  # stored before from another one
    DIFFERS = "differs"  # another message has its id


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionFilter:
    """Which sessions are asked for; those with no data only with `everything`."""

    store: str | None = None
    station: str | None = None
    direction: SessionDirection | None = None
    statuses: Sequence[SessionStatus] | None = None
    job: str | None = None
    everything: bool = False


@asynccontextmanager
async def changing(store: Store) -> AsyncIterator[Connection]:
    """Open a transaction that changes sessions, alone on all nodes. Raises: StoreUnavailable."""
    async with store.transaction() as connection:
        await sessions_sql.lock_exchange(connection)
        yield connection


async def store_messages(
    connection: Connection, name: str, given: Sequence[tuple[StatusMessage, bytes | None]],
    place: str | None,
) -> list[Verdict]:  # fmt: skip
    """Store messages of one message store and let them move their sessions; returns what each was, in order.

    Shape: each message with the row or file that it came as, None for one that we wrote.
    """
    if not given:
        return []
    messages = [message for message, _ in given]
    stored = await sessions_sql.store_status_messages(
        connection,
        name,
        [one.message_id for one in messages],
        [one.station for one in messages],
        [one.direction for one in messages],
        [one.number for one in messages],
        [one.status for one in messages],
        [one.rank for one in messages],
        [one.failed for one in messages],
        [one.at for one in messages],
        [one.job for one in messages],
        [one.data_group for one in messages],
        [one.rows for one in messages],
        [one.path for one in messages],
        [one.text for one in messages],
        [copy for _, copy in given],
        [place] * len(given),
    )
    await move_sessions(connection, [row.id for row in stored if row.id is not None and row.verdict == Verdict.FRESH])
    verdicts = [Verdict(row.verdict) for row in stored]
    same = [copy for (_, copy), verdict in zip(given, verdicts, strict=True) if copy and verdict is Verdict.SAME]
    if same and place is not None:
        await sessions_sql.move_copies(connection, name, same, place)
    return verdicts


async def move_sessions(connection: Connection, messages: Sequence[int]) -> int:
    """Open the sessions that these messages begin; they and those that waited move theirs; returns how many."""
    if not messages:
        return 0
    opened = await sessions_sql.open_sessions(connection, messages, AHEAD_SECONDS)
    return await sessions_sql.apply_status_messages(connection, messages, opened, AHEAD_SECONDS)


async def waiting_messages(store: Store, name: str, after: int, limit: int) -> list[int]:
    """Return the next messages by number that have not moved a session yet."""
    async with store.reading() as connection:
        return await sessions_sql.waiting_status_messages(connection, name, after, limit)


async def note_failures(connection: Connection, name: str, given: Sequence[tuple[Given, str]]) -> Mapping[bytes, int]:
    """Count one more try of messages that could not be read, for what reason; returns how often each was tried."""
    rows = await sessions_sql.note_failures(connection, name, *_columns(given))
    return {row.copy: row.tries for row in rows}


async def note_refusals(connection: Connection, name: str, refusals: Sequence[tuple[Given, str]]) -> None:
    """Record messages that are refused for good, with the reason."""
    await sessions_sql.note_refusals(connection, name, *_columns(refusals))


async def begin_pass(store: Store, name: str) -> Pass:
    """Record that a pass begins."""
    async with store.transaction() as connection:
        return await sessions_sql.note_pass_begun(connection, name)


async def end_pass(store: Store, name: str, error: str | None) -> None:
    """Record how a pass ended; None: it did everything."""
    async with store.transaction() as connection:
        await sessions_sql.note_pass_ended(connection, name, error)


async def expired_messages(
    store: Store, name: str, direction: SessionDirection, *, before: datetime, uploaded_before: datetime,
    waiting_before: datetime, limit: int,
) -> list[tuple[int, Kept]]:  # fmt: skip
    """Return messages from before *before* that were uploaded before *uploaded_before*.

    Those that have not moved a session yet only when they are from before *waiting_before*.
    """
    async with store.reading() as connection:
        rows = await sessions_sql.expired_status_messages(
            connection, name, direction, before, uploaded_before, waiting_before, limit
        )
    return [(row.id, Kept(row.copy or b"", row.message_id, row.place)) for row in rows]


async def purge_messages(store: Store, messages: Sequence[int]) -> None:
    """Remove messages; their ids are remembered, so that a repetition is known."""
    async with changing(store) as connection:
        await sessions_sql.purge_status_messages(connection, messages)


async def expired_sessions(
    store: Store, name: str, direction: SessionDirection, before: datetime, limit: int
) -> list[tuple[int, SessionName]]:
    """Return ended sessions that have not changed since *before* and of which no message is kept."""
    async with store.reading() as connection:
        rows = await sessions_sql.expired_sessions(connection, name, direction, before, limit)
    return [(row.id, SessionName(row.station, row.direction, row.number)) for row in rows]


async def purge_sessions(store: Store, sessions: Sequence[int], before: datetime) -> None:
    """Remove sessions, but none that changed since."""
    async with changing(store) as connection:
        await sessions_sql.purge_sessions(connection, sessions, before)


async def purge_ids(store: Store, before: datetime, limit: int) -> int:
    """Forget the ids of messages that were removed before *before*; returns how many."""
    async with store.transaction() as connection:
        return await sessions_sql.purge_ids(connection, before, limit)


async def purge_troubles(store: Store, name: str, before: datetime) -> None:
    """Forget what was wrong with messages that nobody has tried to copy since *before*."""
    async with store.transaction() as connection:
        await sessions_sql.purge_troubles(connection, name, before)


async def unpublished(store: Store, name: str, after: int, limit: int) -> list[tuple[int, int, Told]]:
    """Return sessions that changed since they were told, by number: number, version, and what there is to tell."""
    async with store.reading() as connection:
        rows = await sessions_sql.unpublished_sessions(connection, name, after, limit)
    return [(row.id, row.version, _told(row)) for row in rows]


async def note_published(store: Store, told: Sequence[tuple[int, int]]) -> None:
    """Record what was told: number and version of each session."""
    async with store.transaction() as connection:
        await sessions_sql.note_published(connection, [number for number, _ in told], [version for _, version in told])


async def list_sessions(
    store: Store, wanted: SessionFilter, *, before: int | None = None, limit: int = 50
) -> list[SessionRow]:
    """Return sessions, the newest first; those from number *before* on are left out."""
    everything = wanted.everything or (wanted.statuses is not None and SessionStatus.NO_DATA in wanted.statuses)
    async with store.reading() as connection:
        return await sessions_sql.list_sessions(
            connection,
            store=wanted.store,
            station=wanted.station,
            direction=wanted.direction,
            statuses=wanted.statuses,
            job=wanted.job,
            with_no_data=everything,
            before=before,
            most=limit,
        )


async def read_session(store: Store, number: int) -> SessionRow | None:
    """Return the session with that number of ours."""
    async with store.reading() as connection:
        return await sessions_sql.read_session(connection, number)


async def find_sessions(store: Store, station: str | None, number: int) -> list[SessionRow]:
    """Return the sessions that a station, or any, calls so, the newest first."""
    async with store.reading() as connection:
        return await sessions_sql.find_sessions(connection, station, number)


async def list_messages(
    store: Store, *, name: str | None = None, session: int | None = None, waiting: bool = False,
    before: int | None = None, limit: int = 50,
) -> list[StatusMessageRow]:  # fmt: skip
    """Return status messages, the newest first: of a store, of a session, only those that have not moved one."""
    async with store.reading() as connection:
        return await sessions_sql.list_status_messages(
            connection,
            store=name,
            session=session,
            waiting=waiting,
            before=before,
            ahead_seconds=AHEAD_SECONDS,
            most=limit,
        )


async def list_troubles(store: Store, *, name: str | None = None, limit: int = 50) -> list[TroubleRow]:
    """Return messages that could not be uploaded, the latest first."""
    async with store.reading() as connection:
        return await sessions_sql.list_troubles(connection, name, limit)


async def read_stores(store: Store) -> list[MessageStoreRow]:
    """Return what passes have made of each store, by name."""
    async with store.reading() as connection:
        return await sessions_sql.read_message_stores(connection)


async def queue_status(store: Store, message: MessageKey) -> str | None:
    """Return how a message stands in the queue, None when it is in none."""
    async with store.reading() as connection:
        return await sessions_sql.delivery_status(connection, message)


async def cancel_session(store: Store, number: int, text: str, *, but: Collection[SessionStatus]) -> bool:
    """Cancel a session that is in none of the statuses *but*; False when it is in one by now."""
    async with changing(store) as connection:
        return bool(
            await sessions_sql.cancel_sessions(connection, [number], RANKS[SessionStatus.CANCELED], text, list(but))
        )


async def note_rerun(store: Store, number: int, by: str) -> None:
    """Record that somebody had a session done again."""
    async with changing(store) as connection:
        await sessions_sql.note_rerun(connection, number, by)


def _columns(given: Sequence[tuple[Given, str]]) -> tuple[list[bytes], list[str], list[str]]:
    return [one.copy for one, _ in given], [one.name for one, _ in given], [text for _, text in given]


def _told(row: sessions_sql.UnpublishedSession) -> Told:
    return Told(
        name=SessionName(row.station, row.direction, row.number),
        status=row.status,
        status_at=row.status_at,
        job=row.job,
        data_group=row.data_group,
        rows=row.rows,
        path=row.path,
        text=row.text,
        changed_at=row.changed_at,
    )
