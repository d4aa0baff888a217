"""Asks the store what of the batch framework waits for too long: starts, runs, tasks, alerts. Writes nothing."""

from datetime import datetime
from typing import NamedTuple

from gateway.batch.rules.capacity import is_open
from gateway.batch.store.servers import read_periods
from gateway.db.open import Store
from gateway.explanations.finding import PATIENCE, SILENCE, Place
from gateway.kernel.ids import RunId
from gateway.operations.reads.doctor import MOST


async def find_stuck_jobs(store: Store, now: datetime) -> list[Place]:
    """Return runs that should have ended, jobs that should have started, alerts that should have been delivered.

    Cheap however much is kept: only what is open is looked at.
    """
    sql = store.queries
    patience = PATIENCE.total_seconds()
    async with store.transaction() as connection:
        periods = await read_periods(connection)
        open_periods = [period.name for period in periods if is_open(period, now) and is_open(period, now - PATIENCE)]
        checks = {
            "run-not-ended": await connection.fetch(sql.stuck_run_not_ended, MOST, SILENCE.total_seconds()),
            "start-overdue": await connection.fetch(sql.stuck_start, MOST, patience, open_periods),
            "entry-overdue": await connection.fetch(sql.stuck_entry, MOST, patience),
            "entry-no-queue": await connection.fetch(sql.entries_without_queue, MOST),
            "alert-not-delivered": await connection.fetch(sql.stuck_alert, MOST, patience),
        }
    return [Place(code, row["port"], row["what"]) for code, rows in checks.items() for row in rows]


class NotTaken(NamedTuple):
    """A task that is ready for long, the first of its group. `concurrency` is that of the group: -1 is paused."""

    batch_group: str
    concurrency: int
    task: str
    run_id: RunId
    job: str


async def tasks_not_taken(store: Store) -> tuple[list[NotTaken], set[str]]:
    """Return for each group the task that waits too long for a server, and the names of servers that work."""
    sql = store.queries
    async with store.transaction() as connection:
        rows = await connection.fetch(sql.tasks_not_taken, PATIENCE.total_seconds())
        busy = await connection.fetch(sql.servers_at_work) if rows else []
    return [NotTaken(*row) for row in rows], {row["name"] for row in busy}
