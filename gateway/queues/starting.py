"""Starting entries that are due: each becomes a run, written before any work begins.

Source: batch reference, sections 19.2 (Q5 to Q9, Q13), 19.4, 19.6.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Self

import structlog
from asyncpg import Connection, Record

from gateway.batch.rules.definition import LimitsDefinition
from gateway.batch.rules.job import Cause
from gateway.db.listen import CHANNEL, JOBS_HINT
from gateway.db.open import Store
from gateway.db.statements import session_sql
from gateway.kernel.ids import EntryId, RunId
from gateway.queues.adding import read_limits
from gateway.queues.changes import Became, change_of
from gateway.queues.follow import tell
from gateway.queues.rules.entry import TIMING, EntryStatus, Step, come_due
from gateway.queues.rules.timing import Timing

log = structlog.get_logger()

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
        limits = await read_limits(connection, sql)
        places = await FreePlaces.read(store, connection, rows)
        steps: list[tuple[Record, Step | None]] = []
        taken: list[Taken] = []
        for row in rows:
            steps.append((row, step := _step(row, places, limits, now)))
            if step is not None and step.status is EntryStatus.IN_PROCESS:
                taken.append(places.take(row))
        started = await _carry_out(store, connection, steps, taken, now)
    for row, step in steps:
        if step is not None and step.error is not None:
            log.error("entry.failed", entry=row["id"], code=TIMING, error=step.error, run_id=None)
        elif step is not None and step.status is None:
            log.warning("entry.expired", entry=row["id"], name=row["name"], planned_at=row["earliest"].isoformat())
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
    """Make runs of entries, the task of each ready. Before: the turn is taken, each has its slots."""
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


@dataclass(frozen=True, slots=True)
class FreePlaces:
    """Slots that are free, the lowest first: of each category, and of each user where users have a limit."""

    of_categories: Mapping[str, list[int]]
    of_users: Mapping[str, list[int]]

    @classmethod
    async def read(cls, store: Store, connection: Connection, rows: Sequence[Record]) -> Self:
        """Return what is free for these entries. Before: the turn is taken."""
        sql = store.queries
        categories = {row["category"] for row in rows if row["category"]}
        found = await connection.fetch(sql.free_slots, sorted(categories)) if categories else []
        users = await connection.fetch(sql.free_user_slots, sorted({row["user_name"] for row in rows}))
        return cls(
            {category: [] for category in categories} | {row["name"]: list(row["slots"]) for row in found},
            {row["name"]: list(row["slots"]) for row in users},
        )

    def take(self, row: Record) -> "Taken":
        """Take the slots that an entry needs, as far as there are any."""
        category, user = self.of_categories.get(row["category"] or ""), self.of_users.get(row["user_name"])
        return Taken(
            entry=row["id"], category=row["category"], user=row["user_name"],
            slot=None if category is None else category.pop(0), user_slot=None if user is None else user.pop(0),
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """The slots of an entry that begins; None where it needs none."""

    entry: int
    category: str | None
    user: str
    slot: int | None
    user_slot: int | None


async def take_slots(store: Store, connection: Connection, taken: Sequence[Taken]) -> None:
    """Write down who has which slot; the database refuses one that somebody has already."""
    sql = store.queries
    for statement, slots in (
        (sql.take_slots, [(one.category, one.slot, one.entry) for one in taken if one.slot is not None]),
        (sql.take_user_slots, [(one.user, one.user_slot, one.entry) for one in taken if one.user_slot is not None]),
    ):
        if slots:
            await connection.execute(statement, *map(list, zip(*slots, strict=True)))


async def kept_categories(store: Store, connection: Connection, now: datetime) -> set[str]:
    """Return the categories of due entries whose users have as many in process as they may: others may go first."""
    return {row["category"] for row in await connection.fetch(store.queries.categories_kept_by_users, now)}


def _step(row: Record, places: FreePlaces, limits: LimitsDefinition, now: datetime) -> Step | None:
    """Return what becomes of a due entry; None: nothing yet, its user has no place."""
    timing, expires = timing_of(row), row["expires"]
    if limits.waiting_hours is not None and not timing.recurs:
        expires = min(
            expires or datetime.max.replace(tzinfo=UTC), row["earliest"] + timedelta(hours=limits.waiting_hours)
        )
    free = places.of_categories.get(row["category"] or "")
    step = come_due(timing=timing, expires=expires, has_place=free is None or bool(free), now=now)
    own = places.of_users.get(row["user_name"])
    return None if step.status is EntryStatus.IN_PROCESS and own is not None and not own else step


async def _carry_out(
    store: Store, connection: Connection, steps: Sequence[tuple[Record, Step | None]], taken: Sequence[Taken],
    now: datetime,
) -> list[StartedEntry]:  # fmt: skip
    sql = store.queries
    if not steps:
        return []
    gone = [row["id"] for row, step in steps if step is not None and step.status is None]
    if gone:
        await connection.execute(sql.delete_entries, gone)
    moved = [
        (row["id"], step.status, step.earliest, row["attempts"], row["interruptions"],
         TIMING if step.error else row["error_code"], step.error or row["error"])
        for row, step in steps
        if step is not None and step.status not in {None, EntryStatus.IN_PROCESS}
    ]  # fmt: skip
    if moved:
        await connection.execute(sql.change_entries, now, *map(list, zip(*moved, strict=True)))
    await take_slots(store, connection, taken)
    started = await begin_runs(store, connection, [one.entry for one in taken], now) if taken else []
    # Whoever was woken for a place and cannot use it leaves it to the next.
    left = {
        row["category"]
        for row, step in steps
        if step is not None and step.row in {"Q5", "Q6", "Q15"} and row["category"]
    }
    left |= await kept_categories(store, connection, now)
    if left:
        await connection.execute(sql.wake_waiting, sorted(left), now)
    if started or left:
        await session_sql.hint(connection, CHANNEL, JOBS_HINT)
    runs = {one.entry: one.run_id for one in started}
    became = {"Q5": Became.REMOVED, "Q9": Became.STARTED, "Q15": Became.FAILED}
    changes = [
        change_of(row, became[step.row], run=runs.get(row["id"]), error=step.error)
        for row, step in steps
        if step is not None and step.row in became
    ]
    await tell(store, connection, changes, now)
    return started
