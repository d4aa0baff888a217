"""Sessions and their messages in the gateway's own database. Whoever changes them holds the lock of the exchange."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple
from uuid import UUID

from asyncpg import Connection, Record

from gateway.db.open import Store
from gateway.exchange.rules.message import StatusMessage
from gateway.exchange.rules.statuses import RANKS, SessionDirection, SessionStatus
from gateway.exchange.sources import Given, Kept, SessionName, Told

AHEAD_SECONDS: Final = 3_600.0
"""A message whose time is further ahead than this is from the future: it waits until its time has come."""


class Verdict(StrEnum):
    """What a message of a batch is to what was stored before."""

    FRESH = "fresh"  # new
    SAME = "same"  # stored before from this very row or file: a pass ended between storing and acknowledging
    REPEATED = "repeated"  # stored before from another one
    DIFFERS = "differs"  # another message has its id


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRow:
    """A session, for people. `message` is the number of the message that it delivers, None: a station opened it."""

    id: int
    store: str
    station: str
    direction: SessionDirection
    number: int
    status: SessionStatus
    status_at: datetime
    text: str | None
    job: str | None
    data_group: str | None
    rows: int | None
    path: str | None
    requested_at: datetime | None
    transferred_at: datetime | None
    applied_at: datetime | None
    failures: int
    created_at: datetime
    changed_at: datetime
    message: int | None
    rerun_at: datetime | None
    rerun_by: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusMessageRow:
    """A status message, for people. `problem`: why it has not moved a session yet, `unknown_session` or `future`."""

    id: int
    store: str
    station: str
    direction: SessionDirection
    number: int
    session_id: int | None
    message_id: UUID
    status: SessionStatus
    at: datetime
    uploaded_at: datetime
    rows: int | None
    path: str | None
    text: str | None
    problem: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TroubleRow:
    """A message that could not be uploaded: tried again with each pass, or `refused` and set aside in its store."""

    store: str
    name: str
    tries: int
    refused: bool
    text: str
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageStoreRow:
    """What passes made of a store: the begin of the last that came to its end, and what was wrong with the last.

    `waiting` messages have not moved a session yet, `late` ones of them for more than a day.
    """

    store: str
    passed_at: datetime | None
    tried_at: datetime
    error: str | None
    refused: int
    waiting: int
    late: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionFilter:
    """Which sessions are asked for; those with no data only with `everything`."""

    store: str | None = None
    station: str | None = None
    direction: SessionDirection | None = None
    statuses: Sequence[SessionStatus] | None = None
    job: str | None = None
    everything: bool = False


class Pass(NamedTuple):
    """A pass over a store: the begin of the last one that came to its end, and of this one; by the database's clock."""

    before: datetime | None
    began_at: datetime


@asynccontextmanager
async def changing(store: Store) -> AsyncIterator[Connection]:
    """Open a transaction that changes sessions, alone on all nodes. Raises: StoreUnavailable."""
    async with store.transaction() as connection:
        await connection.execute(store.queries.lock_exchange)
        yield connection


async def store_messages(
    store: Store, connection: Connection, name: str, given: Sequence[tuple[StatusMessage, bytes | None]],
    place: str | None,
) -> list[Verdict]:  # fmt: skip
    """Store messages of one message store and let them move their sessions; returns what each was, in order.

    Shape: each message with the row or file that it came as, None for one that we wrote.
    """
    if not given:
        return []
    rows = [
        (
            m.message_id, m.station, m.direction, m.number, m.status, m.rank, m.failed, m.at, m.job, m.data_group,
            m.rows, m.path, m.text, copy, place,
        )
        for m, copy in given
    ]  # fmt: skip
    sql = store.queries
    columns = [list(column) for column in zip(*rows, strict=True)]
    found = await connection.fetch(sql.store_status_messages, name, *columns)
    fresh = [row["id"] for row in found if row["verdict"] == Verdict.FRESH]
    await move_sessions(store, connection, fresh)
    verdicts = [Verdict(row["verdict"]) for row in found]
    same = [copy for (_, copy), verdict in zip(given, verdicts, strict=True) if verdict is Verdict.SAME]
    if same and place is not None:
        await connection.execute(sql.move_copies, name, same, place)
    return verdicts


async def move_sessions(store: Store, connection: Connection, messages: Sequence[int]) -> int:
    """Open the sessions that these messages begin; they and those that waited move theirs; returns how many."""
    if not messages:
        return 0
    sql = store.queries
    opened = await connection.fetch(sql.open_sessions, messages, AHEAD_SECONDS)
    return int(
        await connection.fetchval(sql.apply_status_messages, messages, [row["id"] for row in opened], AHEAD_SECONDS)
    )


async def waiting_messages(store: Store, name: str, after: int, limit: int) -> list[int]:
    """Return the next messages by number that have not moved a session yet."""
    async with store.reading() as connection:
        rows = await connection.fetch(store.queries.waiting_status_messages, name, after, limit)
    return [row["id"] for row in rows]


async def note_failures(store: Store, connection: Connection, name: str, given: Sequence[Given]) -> Mapping[bytes, int]:
    """Count one more try of messages that could not be read; returns how often each was tried."""
    columns = [one.copy for one in given], [one.name for one in given], [one.trouble for one in given]
    rows = await connection.fetch(store.queries.note_failures, name, *columns)
    return {row["copy"]: row["tries"] for row in rows}


async def note_refusals(store: Store, connection: Connection, name: str, refusals: Sequence[tuple[Given, str]]) -> None:
    """Record messages that are refused for good, with the reason."""
    columns = [one.copy for one, _ in refusals], [one.name for one, _ in refusals], [text for _, text in refusals]
    await connection.execute(store.queries.note_refusals, name, *columns)


async def forget_troubles(store: Store, connection: Connection, name: str, copies: Sequence[bytes]) -> None:
    """Forget what was wrong with messages: they are uploaded."""
    await connection.execute(store.queries.forget_troubles, name, list(copies))


async def begin_pass(store: Store, name: str) -> Pass:
    """Record that a pass begins."""
    async with store.transaction() as connection:
        row = await connection.fetchrow(store.queries.note_pass_begun, name)
    assert row is not None
    return Pass(row["passed_at"], row["tried_at"])


async def end_pass(store: Store, name: str, error: str | None) -> None:
    """Record how a pass ended; None: it did everything."""
    async with store.transaction() as connection:
        await connection.execute(store.queries.note_pass_ended, name, error)


async def expired_messages(
    store: Store, name: str, direction: SessionDirection, *, before: datetime, uploaded_before: datetime,
    waiting_before: datetime, limit: int,
) -> list[tuple[int, Kept]]:  # fmt: skip
    """Return messages from before *before* that were uploaded before *uploaded_before*.

    Those that have not moved a session yet only when they are from before *waiting_before*.
    """
    async with store.reading() as connection:
        rows = await connection.fetch(
            store.queries.expired_status_messages, name, direction, before, uploaded_before, waiting_before, limit
        )
    return [(row["id"], Kept(row["copy"] or b"", row["message_id"], row["place"])) for row in rows]


async def purge_messages(store: Store, messages: Sequence[int]) -> None:
    """Remove messages; their ids are remembered, so that a repetition is known."""
    async with changing(store) as connection:
        await connection.execute(store.queries.purge_status_messages, list(messages))


async def expired_sessions(
    store: Store, name: str, direction: SessionDirection, before: datetime, limit: int
) -> list[tuple[int, SessionName]]:
    """Return ended sessions that have not changed since *before* and of which no message is kept."""
    async with store.reading() as connection:
        rows = await connection.fetch(store.queries.expired_sessions, name, direction, before, limit)
    return [(row["id"], SessionName(row["station"], row["direction"], row["number"])) for row in rows]


async def purge_sessions(store: Store, sessions: Sequence[int], before: datetime) -> None:
    """Remove sessions, but none that changed since."""
    async with changing(store) as connection:
        await connection.execute(store.queries.purge_sessions, list(sessions), before)


async def purge_ids(store: Store, before: datetime, limit: int) -> int:
    """Forget the ids of messages that were removed before *before*; returns how many."""
    async with store.transaction() as connection:
        return int(await connection.fetchval(store.queries.purge_ids, before, limit))


async def purge_troubles(store: Store, name: str, before: datetime) -> None:
    """Forget what was wrong with messages that nobody has tried to copy since *before*."""
    async with store.transaction() as connection:
        await connection.execute(store.queries.purge_troubles, name, before)


async def unpublished(store: Store, name: str, after: int, limit: int) -> list[tuple[int, int, Told]]:
    """Return sessions that changed since they were told, by number: number, version, and what there is to tell."""
    async with store.reading() as connection:
        rows = await connection.fetch(store.queries.unpublished_sessions, name, after, limit)
    return [(row["id"], row["version"], _told(row)) for row in rows]


async def note_published(store: Store, told: Sequence[tuple[int, int]]) -> None:
    """Record what was told: number and version of each session."""
    async with store.transaction() as connection:
        await connection.execute(
            store.queries.note_published, [number for number, _ in told], [version for _, version in told]
        )


async def list_sessions(
    store: Store, wanted: SessionFilter, *, before: int | None = None, limit: int = 50
) -> list[SessionRow]:
    """Return sessions, the newest first; those from number *before* on are left out."""
    statuses = None if wanted.statuses is None else list(wanted.statuses)
    everything = wanted.everything or (statuses is not None and SessionStatus.NO_DATA in statuses)
    async with store.reading() as connection:
        rows = await connection.fetch(
            store.queries.list_sessions, wanted.store, wanted.station, wanted.direction, statuses, wanted.job,
            everything, before, limit,
        )  # fmt: skip
    return [_session(row) for row in rows]


async def read_session(store: Store, number: int) -> SessionRow | None:
    """Return the session with that number of ours."""
    async with store.reading() as connection:
        row = await connection.fetchrow(store.queries.read_session, number)
    return None if row is None else _session(row)


async def find_sessions(store: Store, station: str | None, number: int) -> list[SessionRow]:
    """Return the sessions that a station, or any, calls so, the newest first."""
    async with store.reading() as connection:
        rows = await connection.fetch(store.queries.find_sessions, station, number)
    return [_session(row) for row in rows]


async def list_messages(
    store: Store, *, name: str | None = None, session: int | None = None, waiting: bool = False,
    before: int | None = None, limit: int = 50,
) -> list[StatusMessageRow]:  # fmt: skip
    """Return status messages, the newest first: of a store, of a session, only those that have not moved one."""
    async with store.reading() as connection:
        rows = await connection.fetch(
            store.queries.list_status_messages, name, session, waiting, before, AHEAD_SECONDS, limit
        )
    return [
        StatusMessageRow(
            **{**row, "direction": SessionDirection(row["direction"]), "status": SessionStatus(row["status"])}
        )
        for row in rows
    ]


async def list_troubles(store: Store, *, name: str | None = None, limit: int = 50) -> list[TroubleRow]:
    """Return messages that could not be uploaded, the latest first."""
    async with store.reading() as connection:
        rows = await connection.fetch(store.queries.list_troubles, name, limit)
    return [TroubleRow(**row) for row in rows]


async def read_stores(store: Store) -> list[MessageStoreRow]:
    """Return what passes have made of each store, by name."""
    async with store.reading() as connection:
        rows = await connection.fetch(store.queries.read_message_stores)
    return [MessageStoreRow(**row) for row in rows]


async def queue_status(store: Store, message: int) -> str | None:
    """Return how a message stands in the queue, None when it is in none."""
    async with store.reading() as connection:
        status: str | None = await connection.fetchval(store.queries.delivery_status, message)
    return status


async def cancel_session(store: Store, number: int, text: str, *, but: Collection[SessionStatus]) -> bool:
    """Cancel a session that is in none of the statuses *but*; False when it is in one by now."""
    async with changing(store) as connection:
        rows = await connection.fetch(
            store.queries.cancel_sessions, [number], RANKS[SessionStatus.CANCELED], text, [*but]
        )
    return bool(rows)


async def note_rerun(store: Store, number: int, by: str) -> None:
    """Record that somebody had a session done again."""
    async with changing(store) as connection:
        await connection.execute(store.queries.note_rerun, number, by)


def _session(row: Record) -> SessionRow:
    values = {field.name: row[field.name] for field in fields(SessionRow)}
    return SessionRow(
        **{**values, "direction": SessionDirection(row["direction"]), "status": SessionStatus(row["status"])}
    )


def _told(row: Record) -> Told:
    return Told(
        name=SessionName(row["station"], row["direction"], row["number"]),
        status=row["status"],
        status_at=row["status_at"],
        job=row["job"],
        data_group=row["data_group"],
        rows=row["rows"],
        path=row["path"],
        text=row["text"],
        changed_at=row["changed_at"],
    )
