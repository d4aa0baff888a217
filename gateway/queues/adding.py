"""Adding job queue entries, inside the transaction of the caller: an entry is there exactly when that is committed."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Final

from asyncpg import Connection

from gateway.batch.rules.definition import EntryDefinition
from gateway.batch.rules.formula import check_formula
from gateway.db.listen import CHANNEL, JOBS_HINT
from gateway.db.sql import Queries
from gateway.db.unit import UnitConnection
from gateway.kernel.errors import EntryRefused
from gateway.kernel.ids import EntryId
from gateway.kernel.text import clean
from gateway.queues.rules.entry import MOST_ATTEMPTS, EntryStatus

_LONGEST_DELAY_SECONDS: Final = 3600.0
_SHORTEST_INACTIVITY: Final = 5


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
    for entry in entries:
        check_entry(entry)
    if unknown := await connection.fetch(sql.unknown_categories, [one.category for one in entries if one.category]):
        raise EntryRefused(
            f"There is no job queue category {unknown[0]['name']!a}. Name it in `job_queues.categories`.",
            code="entry.category",
        )
    rows = [entry_row(one, status=status, source=source, user=user) | {"created_by": by or user} for one in entries]
    added = await connection.fetch(sql.insert_entries, json.dumps(rows), now)
    if len(added) < len(rows):
        there = {row["record"] for row in added} | {row["name"] for row in added}
        taken = next(one for one in entries if {one.record, one.name} - {None} and not {one.record, one.name} & there)
        about = f"about {taken.record}" if taken.record is not None else f"named {taken.name}"
        raise EntryRefused(f"There is an entry {about} already.", code="entry.exists", record=taken.record)
    await connection.execute(sql.hint, CHANNEL, JOBS_HINT)
    return sorted(EntryId(row["id"]) for row in added)


@dataclass(frozen=True, slots=True)
class UnitQueue:
    """The job queue as the handler of a request sees it (`gateway.contracts.service.JobQueue`)."""

    connection: UnitConnection
    sql: Queries

    async def enqueue(self, entry: EntryDefinition, *, user: str) -> EntryId:
        """Add an entry in the transaction of the request. Raises: EntryRefused."""
        (number,) = await enqueue(self.connection, self.sql, [entry], user=user)
        return number


def check_entry(entry: EntryDefinition) -> None:
    """Refuse what no entry can be. Raises: EntryRefused."""
    if entry.formula is not None:
        check_formula(entry.formula)
        if entry.minutes:
            raise EntryRefused("An entry has minutes between runs or a date formula, not both.")
    if not 0 <= entry.max_attempts <= MOST_ATTEMPTS:
        raise EntryRefused(f"An entry has at most {MOST_ATTEMPTS} further attempts, not {entry.max_attempts}.")
    if not 0 <= entry.rerun_delay_seconds <= _LONGEST_DELAY_SECONDS:
        raise EntryRefused(f"A rerun delay is 0 to {_LONGEST_DELAY_SECONDS:g} seconds.")
    if entry.inactivity_minutes and entry.inactivity_minutes < _SHORTEST_INACTIVITY:
        raise EntryRefused(f"An inactivity timeout is 0, or at least {_SHORTEST_INACTIVITY} minutes.")
    if entry.location == "operator" and (entry.weekdays or entry.formula):
        raise EntryRefused("An entry that a person runs cannot recur.")


def entry_row(
    entry: EntryDefinition, *, status: EntryStatus, source: str, user: str, digest: str | None = None
) -> dict[str, object]:
    """Return the row of an entry, for `insert_entries` and `update_entry`."""
    columns = asdict(entry)
    for column, name in (("handler", "run"), ("partition_key", "partition")):
        columns[column] = columns.pop(name)
    for moment in ("earliest", "expires", "starting", "ending"):
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
