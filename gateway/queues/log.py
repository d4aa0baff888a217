"""The log of the job queue: the runs of entries, also of those that are gone. Source: batch reference, section 19.7."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from gateway.db.open import Store
from gateway.kernel.ids import EntryId, RunId


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryRun:
    """One run of an entry. `status` executing is in process, ended is success; `traceback` is the call stack."""

    run_id: RunId
    entry_id: EntryId
    entry: str
    category: str | None
    description: str
    run: str
    parameters: Mapping[str, object]
    user: str
    server: str | None
    planned_at: datetime
    started_at: datetime
    ended_at: datetime | None
    status: str
    error_code: str | None
    error: str | None
    traceback: str | None


async def entry_log(
    store: Store,
    *,
    partition: str,
    entry: EntryId | None = None,
    name: str | None = None,
    category: str | None = None,
    statuses: Sequence[str] | None = None,
    user: str | None = None,
    before: RunId | None = None,
    limit: int = 50,
) -> Sequence[EntryRun]:
    """Return runs of entries, the newest first; *before* is the number to go on from. None does not narrow."""
    async with store.reading() as connection:
        rows = await connection.fetch(
            store.queries.entry_log, partition, entry, name, category, statuses, user, before, limit
        )
    return [
        EntryRun(
            **{
                **{key: value for key, value in row.items() if key != "user_name"},
                "user": row["user_name"],
                "parameters": json.loads(row["parameters"]),
            }
        )
        for row in rows
    ]
