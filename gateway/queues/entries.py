"""Job queue entries as they stand, and what people may do to them.

Source: batch reference, sections 19.1, 19.2 (Q1, Q3, Q4), 19.7.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from asyncpg import Connection, Record

from gateway.batch.rules.definition import EntryDefinition
from gateway.batch.rules.job import Cause, Location, ReportOutput
from gateway.db.listen import CHANNEL, JOBS_HINT
from gateway.db.open import Store
from gateway.db.statements import session_sql
from gateway.kernel.errors import EntryRefused, IllegalTransition
from gateway.kernel.ids import EntryId, RunId
from gateway.kernel.remedy import Action, do
from gateway.queues.adding import check_entry, check_waiting, enqueue, entry_row, read_limits
from gateway.queues.changes import Became, change_of
from gateway.queues.follow import tell
from gateway.queues.rules.entry import EntryAction, EntryStatus, KeptBy, act
from gateway.queues.rules.timing import Timing
from gateway.queues.starting import FreePlaces, begin_runs, kept_categories, take_slots

_PLAIN = (
    "name", "description", "record", "company", "category", "priority", "expires", "minutes", "formula",
    "starting", "ending", "zone", "max_attempts", "rerun_delay_seconds", "inactivity_minutes", "timeout_seconds",
    "retries_timeout", "notify_on_success", "parameters_version", "then_run",
)  # fmt: skip
_STANDING = (
    "created_by", "user_name", "attempts", "interruptions", "run_id", "started_at", "last_run_id", "hold_after",
    "error_code", "error", "source", "queue", "last_queue", "held_by", "created_at", "changed_at",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An entry as it stands: its definition and what has become of it. Times are aware UTC.

    `next_start` is when it starts next, or wakes. `queue` is the one that takes it, None: none does; `last_queue` the
    one that did, None: it runs by itself. `kept_by` says what keeps it from starting, but for its category; `held_by`
    is one that has a place of that. `error` is that of the last failure.
    """

    id: EntryId
    definition: EntryDefinition
    status: EntryStatus
    created_by: str
    user_name: str
    attempts: int
    interruptions: int
    run_id: RunId | None
    started_at: datetime | None
    last_run_id: RunId | None
    hold_after: bool
    error_code: str | None
    error: str | None
    source: str
    next_start: datetime
    queue: str | None
    last_queue: str | None
    kept_by: KeptBy | None
    held_by: EntryId | None
    created_at: datetime
    changed_at: datetime

    @property
    def shown(self) -> str:
        """Return what people call it."""
        return self.definition.name or f"entry {self.id}"


async def list_entries(
    store: Store,
    *,
    partition: str | None = None,
    name: str | None = None,
    statuses: Sequence[EntryStatus] | None = None,
    user: str | None = None,
    category: str | None = None,
    queue: str | None = None,
    record: str | None = None,
) -> Sequence[Entry]:
    """Return entries by category, best first. None does not narrow."""
    async with store.reading() as connection:
        rows = await connection.fetch(
            store.queries.find_entries, None, partition, name, statuses, user, category, queue, record
        )
    return [_entry(row) for row in rows]


async def read_entry(store: Store, entry: EntryId) -> Entry:
    """Return an entry by its number. Raises: EntryRefused when there is none."""
    async with store.reading() as connection:
        return await read_in(store, connection, entry)


async def add_entry(
    store: Store,
    definition: EntryDefinition,
    *,
    by: str,
    now: datetime,
    user: str | None = None,
    status: EntryStatus = EntryStatus.ON_HOLD,
) -> EntryId:
    """Add an entry by hand; it is on hold unless told otherwise, and runs as *user*, else as *by*.

    Raises: EntryRefused.
    """
    async with store.transaction() as connection:
        (entry,) = await enqueue(
            connection, store.queries, [definition], user=user or by, by=by, now=now, status=status, source="operator"
        )
    return entry


def in_words(definition: EntryDefinition) -> str:
    """Say when an entry runs."""
    return Timing(
        weekdays=definition.weekdays, minutes=definition.minutes, formula=definition.formula,
        starting=definition.starting, ending=definition.ending, zone=definition.zone,
    ).in_words  # fmt: skip


async def change_entry(store: Store, entry: EntryId, action: EntryAction, *, by: str, now: datetime) -> None:
    """Set an entry to ready, put it on hold, or remove it.

    Rule: one that is set to ready runs as *by*, with all its attempts; one that had failed or was parked at once. One
    in process that is put on hold is held when its run has ended.
    Raises: EntryRefused when there is none, or *by* has too many that wait; IllegalTransition with what is possible.
    """
    sql = store.queries
    async with store.transaction() as connection:
        await connection.execute(sql.take_entry_turn)
        row = await _lock(store, connection, entry)
        after = act(action, EntryStatus(row["status"]), name=_shown(row))
        match action:
            case EntryAction.READY:
                await check_waiting(connection, sql, await read_limits(connection, sql), by, more=1)
                await connection.execute(sql.ready_entry, entry, by, now)
                await tell(store, connection, [change_of(row, Became.READIED)], now)
            case EntryAction.HOLD:
                await connection.execute(sql.hold_entry, entry, now)
            case EntryAction.DELETE:
                assert after is None
                await connection.execute(sql.delete_entries, [entry])
                await tell(store, connection, [change_of(row, Became.REMOVED)], now)
            case _:
                raise ValueError(f"{action} has an operation of its own")
        if row["category"] and action is not EntryAction.READY:  # it may have been woken for a place it leaves now
            await connection.execute(sql.wake_waiting, [row["category"]], now)
        await session_sql.hint(connection, CHANNEL, JOBS_HINT)


async def edit_entry(store: Store, entry: EntryId, definition: EntryDefinition, *, now: datetime) -> None:
    """Replace what an entry says; it must be on hold.

    Rule: when what it runs, its parameters or its earliest start change, its attempts begin anew.
    Raises: EntryRefused, IllegalTransition.
    """
    sql = store.queries
    async with store.transaction() as connection:
        await connection.execute(sql.take_entry_turn)
        check_entry(definition, await read_limits(connection, sql))
        row = await _lock(store, connection, entry)
        act(EntryAction.EDIT, EntryStatus(row["status"]), name=_shown(row))
        before = (await read_in(store, connection, entry)).definition
        changed = entry_row(definition, status=EntryStatus.ON_HOLD, source=row["source"], user="")
        await connection.execute(sql.update_entry, entry, json.dumps(changed), now, is_anew(before, definition))


async def run_once(store: Store, entry: EntryId, *, by: str, now: datetime) -> RunId:
    """Start a run of an entry now, for a try, whatever its time; the entry stands as before when it has ended.

    Rule: it takes a place of its category, and of its user, as every run. A success of one that does not recur is its
    end.
    Raises: EntryRefused when there is none; IllegalTransition, also when there is no place.
    """
    sql = store.queries
    async with store.transaction() as connection:
        await connection.execute(sql.take_entry_turn)
        row = await _lock(store, connection, entry)
        status = EntryStatus(row["status"])
        act(EntryAction.RUN_ONCE, status, name=_shown(row))
        places = await FreePlaces.read(store, connection, [row])
        if not places.of_categories.get(row["category"] or "", True):
            held = (await read_in(store, connection, entry)).held_by
            raise IllegalTransition(
                f"Entry {_shown(row)} cannot be tried now: entry {held} of its category {row['category']} is in "
                "process. Wait until it has ended.",
                entry=entry,
            )
        if not places.of_users.get(row["user_name"], True):
            raise IllegalTransition(
                f"Entry {_shown(row)} cannot be tried now: {row['user_name']} has as many entries in process as a user "
                "may have (`job_queues.limits.per_user`). Wait until one has ended.",
                entry=entry,
            )
        await take_slots(store, connection, [places.take(row)])
        if left := await kept_categories(store, connection, now):
            await connection.execute(sql.wake_waiting, sorted(left), now)
        (started,) = await begin_runs(store, connection, [entry], now, cause=Cause.OPERATOR, once_from=status)
        await tell(store, connection, [change_of(row, Became.STARTED, run=started.run_id)], now)
        await session_sql.hint(connection, CHANNEL, JOBS_HINT)
    return started.run_id


def is_anew(before: EntryDefinition, after: EntryDefinition) -> bool:
    """Tell whether a change makes another work of an entry, or moves its start."""
    return (before.run, before.parameters, before.earliest) != (after.run, after.parameters, after.earliest)


async def read_in(store: Store, connection: Connection, entry: EntryId) -> Entry:
    """Return an entry as it stands in a transaction. Raises: EntryRefused when there is none."""
    row = await connection.fetchrow(
        store.queries.find_entries, entry, None, None, None, None, None, None, None
    )  # fmt: skip
    if row is None:
        raise _unknown(entry)
    return _entry(row)


async def _lock(store: Store, connection: Connection, entry: EntryId) -> Record:
    row = await connection.fetchrow(store.queries.lock_entry, entry)
    if row is None:
        raise _unknown(entry)
    return row


def _unknown(entry: EntryId) -> EntryRefused:
    return EntryRefused(f"There is no entry {entry}: it may have run, or been removed.", code="entry.unknown").remedied(
        do(Action.READ_ENTRY_LOG, then="It shows what ran.")
    )


def _shown(row: Record) -> str:
    return row["name"] or str(row["id"])


def _entry(row: Record) -> Entry:
    definition = EntryDefinition(
        run=row["handler"], parameters=json.loads(row["parameters"]), partition=row["partition_key"],
        earliest=row["not_before"], weekdays=tuple(row["weekdays"]), wakes_on=tuple(row["wakes_on"]),
        location=Location(row["location"]), output=ReportOutput(row["output"]),
        **{column: row[column] for column in _PLAIN},
    )  # fmt: skip
    return Entry(
        id=EntryId(row["id"]), definition=definition, status=EntryStatus(row["status"]), next_start=row["earliest"],
        kept_by=None if row["kept_by"] is None else KeptBy(row["kept_by"]),
        **{column: row[column] for column in _STANDING},
    )  # fmt: skip
