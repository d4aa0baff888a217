"""Starting entries that are due: each becomes a run, written before any work begins.

Source: batch reference, sections 19.2 (Q5 to Q9, Q13), 19.4.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from asyncpg import Connection, Record

from gateway.batch.rules.job import Cause
from gateway.db.listen import CHANNEL, JOBS_HINT
from gateway.db.open import Store
from gateway.kernel.ids import EntryId, RunId
from gateway.queues.changes import Became, change_of
from gateway.queues.follow import tell
from gateway.queues.rules.entry import EntryStatus, Step, come_due
from gateway.queues.rules.timing import Timing

START_LIMIT: Final = 100
"""Entries looked at in one transaction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartedEntry:
    """A run of an entry that has begun."""

    entry: EntryId
    run_id: RunId
    name: str
    planned_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DueEntries:
    """What a look for due entries did. `more`: look again at once."""

    started: Sequence[StartedEntry] = ()
    more: bool = False


async def start_entries(store: Store, now: datetime, *, limit: int = START_LIMIT) -> DueEntries:
    """Start the entries that are due, the best first; those without a place wait, those out of time are removed.

    Rule: the turn is taken before anything is read, so that two servers never see the same place free.
    """
    sql = store.queries
    async with store.reading() as connection:
        sleepers = await connection.fetchval(sql.sleepers_exist)
        if not sleepers and not await connection.fetchval(sql.due_entries_exist, now):
            return DueEntries()
    async with store.transaction() as connection:
        await connection.execute(sql.take_entry_turn)
        if sleepers:
            await connection.execute(sql.wake_sleepers, now)
        rows = await connection.fetch(sql.due_entries, now, limit)
        places = await _places(store, connection, {row["category"] for row in rows if row["category"]})
        steps = [(row, _step(row, places, now)) for row in rows]
        started = await _carry_out(store, connection, steps, now)
    return DueEntries(started=started, more=len(rows) == limit)


async def next_entry_moment(store: Store) -> datetime | None:
    """Return when the next entry is due, None when none is planned."""
    async with store.reading() as connection:
        moment: datetime | None = await connection.fetchval(store.queries.next_entry_moment)
    return moment


async def begin_runs(
    store: Store, connection: Connection, entries: Sequence[int], now: datetime, *, cause: Cause = Cause.QUEUE,
    once_from: EntryStatus | None = None,
) -> list[StartedEntry]:  # fmt: skip
    """Make runs of entries, the task of each ready. Before: the turn is taken, each has its slot."""
    sql = store.queries
    runs = await connection.fetch(sql.insert_entry_runs, list(entries), now, cause)
    numbers = [row["id"] for row in runs]
    await connection.execute(sql.insert_entry_tasks, numbers, now)
    if await connection.execute(sql.insert_second_tasks, numbers) != "INSERT 0 0":
        await connection.execute(sql.insert_second_conditions, numbers)
    await connection.execute(sql.begin_entries, [row["entry_id"] for row in runs], numbers, now, once_from)
    return [
        StartedEntry(
            entry=EntryId(row["entry_id"]), run_id=RunId(row["id"]), name=row["job"], planned_at=row["planned_at"]
        )
        for row in runs
    ]  # fmt: skip


def timing_of(row: Record) -> Timing:
    """Return when an entry runs, from its row."""
    return Timing(
        weekdays=tuple(row["weekdays"]), minutes=row["minutes"], formula=row["formula"], starting=row["starting"],
        ending=row["ending"], zone=row["zone"],
    )  # fmt: skip


_Steps = Sequence[tuple[Record, tuple[Step, int | None]]]


def _step(row: Record, places: Mapping[str, list[int]], now: datetime) -> tuple[Step, int | None]:
    """Return what becomes of a due entry, and the slot that it gets."""
    free = places.get(row["category"]) if row["category"] else None
    step = come_due(timing=timing_of(row), expires=row["expires"], has_place=free is None or bool(free), now=now)
    return step, free.pop(0) if free and step.status is EntryStatus.IN_PROCESS else None


async def _places(store: Store, connection: Connection, categories: set[str]) -> dict[str, list[int]]:
    found = await connection.fetch(store.queries.free_slots, sorted(categories)) if categories else []
    return {category: [] for category in categories} | {row["name"]: list(row["slots"]) for row in found}


async def _carry_out(store: Store, connection: Connection, steps: _Steps, now: datetime) -> list[StartedEntry]:
    sql = store.queries
    if not steps:
        return []
    gone = [row for row, (step, _) in steps if step.status is None]
    if gone:
        await connection.execute(sql.delete_entries, [row["id"] for row in gone])
    moved = [
        (row["id"], step.status, step.earliest, row["attempts"], row["interruptions"], row["error_code"], row["error"])
        for row, (step, _) in steps
        if step.status in {EntryStatus.READY, EntryStatus.WAITING}
    ]
    if moved:
        await connection.execute(sql.change_entries, now, *map(list, zip(*moved, strict=True)))
    slots = [(row["category"], slot, row["id"]) for row, (_, slot) in steps if slot is not None]
    if slots:
        await connection.execute(sql.take_slots, *map(list, zip(*slots, strict=True)))
    begun = [row["id"] for row, (step, _) in steps if step.status is EntryStatus.IN_PROCESS]
    started = await begin_runs(store, connection, begun, now) if begun else []
    # Whoever was woken for a place and cannot use it leaves it to the next.
    left = {row["category"] for row, (step, _) in steps if step.row in {"Q5", "Q6"} and row["category"]}
    if left:
        await connection.execute(sql.wake_waiting, sorted(left), now)
    if started or left:
        await connection.execute(sql.hint, CHANNEL, JOBS_HINT)
    runs = {one.entry: one.run_id for one in started}
    changes = [
        change_of(row, Became.REMOVED if step.status is None else Became.STARTED, run=runs.get(row["id"]))
        for row, (step, _) in steps
        if step.row in {"Q5", "Q9"}
    ]
    await tell(store, connection, changes, now)
    return started
