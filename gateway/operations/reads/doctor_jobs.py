"""Asks the store what of the batch framework waits for too long: starts, runs, tasks, alerts. Writes nothing."""

from datetime import datetime

from gateway.batch.rules.capacity import is_open
from gateway.batch.store.servers import read_periods
from gateway.db.open import Store
from gateway.explanations.finding import PATIENCE, SILENCE, Place
from gateway.operations.reads.doctor import MOST
from gateway.operations.statements import doctor_sql
from gateway.operations.statements.doctor_sql import NotTaken


async def find_stuck_jobs(store: Store, now: datetime) -> list[Place]:
    """Return runs that should have ended, jobs that should have started, alerts that should have been delivered.

    Cheap however much is kept: only what is open is looked at.
    """
    patience = PATIENCE.total_seconds()
    async with store.transaction() as connection:
        periods = await read_periods(connection)
        open_periods = [period.name for period in periods if is_open(period, now) and is_open(period, now - PATIENCE)]
        checks = {
            "run-not-ended": await doctor_sql.stuck_run_not_ended(connection, MOST, SILENCE.total_seconds()),
            "start-overdue": await doctor_sql.stuck_start(connection, MOST, patience, open_periods),
            "alert-not-delivered": await doctor_sql.stuck_alert(connection, MOST, patience),
        }
        entries = {
            "entry-overdue": await connection.fetch(store.queries.stuck_entry, MOST, patience),
            "entry-no-queue": await connection.fetch(store.queries.entries_without_queue, MOST),
        }
    found = [Place(code, *spot) for code, spots in checks.items() for spot in spots]
    return found + [Place(code, *row) for code, rows in entries.items() for row in rows]


async def tasks_not_taken(store: Store) -> tuple[list[NotTaken], set[str]]:
    """Return for each group the task that waits too long for a server, and the names of servers that work."""
    async with store.transaction() as connection:
        rows = await doctor_sql.tasks_not_taken(connection, PATIENCE.total_seconds())
        busy = await doctor_sql.servers_at_work(connection) if rows else []
    return rows, set(busy)
