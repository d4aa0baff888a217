"""Adding job queue entries, inside the transaction of the caller: an entry is there exactly when that is committed.

Source: batch reference, sections 19.1, 19.6.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Final

from asyncpg import Connection

from gateway.batch.rules.definition import (
    LEAST_INACTIVITY_MINUTES,
    MOST_ATTEMPTS,
    MOST_MINUTES,
    MOST_PRIORITY,
    MOST_RERUN_DELAY_SECONDS,
    EntryDefinition,
    LimitsDefinition,
)
from gateway.batch.rules.formula import check_formula
from gateway.db.listen import CHANNEL, JOBS_HINT
from gateway.db.sql import Queries
from gateway.db.statements import session_sql
from gateway.db.unit import UnitConnection
from gateway.kernel.errors import EntryRefused, JobRefused
from gateway.kernel.ids import EntryId
from gateway.kernel.local_time import zone_named
from gateway.kernel.text import clean
from gateway.queues.rules.entry import EntryStatus

_WEEKDAYS: Final = frozenset(range(7))


async def enqueue(
    connection: Connection | UnitConnection,
    sql: Queries,
    entries: Sequence[EntryDefinition],
    *,
    user: str,
    by: str | None = None,
    now: datetime | None = None,
    status: EntryStatus = EntryStatus.READY,
    source: str = "code",
) -> Sequence[EntryId]:
    """Add entries that run as *user* and were made by *by*, else by the same; returns their numbers in the order given.

    *now* None: by the database's clock.

    Rule: a category must be there. A name, and what an entry is about, can be taken: then nothing is added.
    Raises: EntryRefused; asyncpg's errors where the statement fails.
    """
    limits = await check_entries(connection, sql, entries)
    if status is EntryStatus.READY:
        await check_waiting(connection, sql, limits, user, more=len(entries))
    rows = [entry_row(one, status=status, source=source, user=user) | {"created_by": by or user} for one in entries]
    added = await connection.fetch(sql.insert_entries, json.dumps(rows), now)
    if len(added) < len(rows):
        there = {row["record"] for row in added} | {row["name"] for row in added}
        taken = next(one for one in entries if {one.record, one.name} - {None} and not {one.record, one.name} & there)
        about = f"about {taken.record}" if taken.record is not None else f"named {taken.name}"
        raise EntryRefused(f"There is an entry {about} already.", code="entry.exists", record=taken.record)
    await connection.execute(session_sql.HINT, CHANNEL, JOBS_HINT)
    return sorted(EntryId(row["id"]) for row in added)


@dataclass(frozen=True, slots=True)
class UnitQueue:
    """The job queue as the handler of a request sees it (`gateway.contracts.service.JobQueue`)."""

    connection: Connection | UnitConnection
    sql: Queries

    async def enqueue(self, entry: EntryDefinition, *, user: str) -> EntryId:
        """Add an entry in the transaction of the request. Raises: EntryRefused."""
        (number,) = await enqueue(self.connection, self.sql, [entry], user=user)
        return number


async def check_entries(
    connection: Connection | UnitConnection, sql: Queries, entries: Sequence[EntryDefinition]
) -> LimitsDefinition:
    """Refuse what cannot be added as it is; returns what all entries have to keep to. Raises: EntryRefused."""
    limits = await read_limits(connection, sql)
    for entry in entries:
        check_entry(entry, limits)
    if unknown := await connection.fetch(sql.unknown_categories, [one.category for one in entries if one.category]):
        raise EntryRefused(
            f"There is no job queue category {unknown[0]['name']!a}. Name it in `job_queues.categories`.",
            code="entry.category",
        )
    return limits


async def check_waiting(
    connection: Connection | UnitConnection, sql: Queries, limits: LimitsDefinition, user: str, *, more: int
) -> None:
    """Refuse to let so many *more* entries of a user wait than there may be. Raises: EntryRefused."""
    most = limits.waiting_per_user
    if most is None:
        return
    waiting: int = await connection.fetchval(sql.waiting_entries_of, user)
    if waiting + more > most:
        raise EntryRefused(
            f"{user} has {waiting} job queue entries that are ready or wait, and {most} is the limit "
            "(`job_queues.limits.waiting_per_user`). Wait until some have run, or delete some.",
            code="entry.limit",
        )


async def read_limits(connection: Connection | UnitConnection, sql: Queries) -> LimitsDefinition:
    """Return what all entries have to keep to."""
    row = await connection.fetchrow(sql.entry_limits)
    assert row is not None
    return LimitsDefinition(**dict(row))


def check_entry(entry: EntryDefinition, limits: LimitsDefinition) -> None:
    """Refuse what no entry can be. Raises: EntryRefused."""
    if entry.timeout_seconds is not None and not 0 < entry.timeout_seconds <= limits.max_timeout_seconds:
        raise EntryRefused(
            f"A run of an entry may take up to {limits.max_timeout_seconds:g} seconds, not {entry.timeout_seconds:g}: "
            "that is the limit (`job_queues.limits.max_timeout_seconds`).",
            code="entry.limit",
        )
    try:
        zone_named(entry.zone)
    except JobRefused as error:
        raise EntryRefused(error.message) from None
    if not set(entry.weekdays) <= _WEEKDAYS:
        raise EntryRefused(f"The weekdays of an entry are numbers from 0 (Monday) to 6, not {entry.weekdays}.")
    if any(moment is not None and moment.tzinfo is None for moment in (entry.earliest, entry.expires)):
        raise EntryRefused("`earliest` and `expires` of an entry need a time zone.")
    if not 0 <= entry.priority <= MOST_PRIORITY:
        raise EntryRefused(f"The priority of an entry is a number from 0 to {MOST_PRIORITY}, not {entry.priority}.")
    if not 0 <= entry.minutes <= MOST_MINUTES:
        raise EntryRefused(f"An entry has 0 to {MOST_MINUTES} minutes between runs, not {entry.minutes}.")
    if entry.formula is not None:
        check_formula(entry.formula)
        if entry.minutes:
            raise EntryRefused("An entry has minutes between runs or a date formula, not both.")
    if not 0 <= entry.max_attempts <= MOST_ATTEMPTS:
        raise EntryRefused(f"An entry has at most {MOST_ATTEMPTS} further attempts, not {entry.max_attempts}.")
    if not 0 <= entry.rerun_delay_seconds <= MOST_RERUN_DELAY_SECONDS:
        raise EntryRefused(f"A rerun delay is 0 to {MOST_RERUN_DELAY_SECONDS:g} seconds.")
    if entry.inactivity_minutes and entry.inactivity_minutes < LEAST_INACTIVITY_MINUTES:
        raise EntryRefused(f"An inactivity timeout is 0, or at least {LEAST_INACTIVITY_MINUTES} minutes.")
    if entry.location == "operator" and (entry.weekdays or entry.formula):
        raise EntryRefused("An entry that a person runs cannot recur.")


def entry_row(
    entry: EntryDefinition, *, status: EntryStatus, source: str, user: str, digest: str | None = None
) -> dict[str, object]:
    """Return the row of an entry, for `insert_entries` and `update_entry`."""
    columns = asdict(entry)
    for column, name in (("handler", "run"), ("partition_key", "partition"), ("not_before", "earliest")):
        columns[column] = columns.pop(name)
    for moment in ("not_before", "expires", "starting", "ending"):
        columns[moment] = None if columns[moment] is None else columns[moment].isoformat()
    return {
        **columns,
        "description": clean(entry.description, limit=2000),
        "status": status,
        "source": source,
        "created_by": user,
        "user_name": user,
        "config_digest": digest,
    }
