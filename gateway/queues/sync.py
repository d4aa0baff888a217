"""Job queues of the configuration: categories, queues and entries kept as their sections say; starting and stopping."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from asyncpg import Connection

from gateway.batch.rules.definition import CategoryDefinition, EntryDefinition, LimitsDefinition, QueueDefinition
from gateway.db.listen import CHANNEL, JOBS_HINT
from gateway.db.open import Store
from gateway.db.statements import session_sql
from gateway.kernel.errors import EntryRefused, IllegalTransition
from gateway.kernel.ids import EntryId
from gateway.queues.adding import entry_row
from gateway.queues.entries import is_anew, read_in
from gateway.queues.rules.entry import EntryStatus

NO_LIMITS: Final = LimitsDefinition()


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfiguredEntry:
    """An entry of the configuration, with what it is born with."""

    definition: EntryDefinition
    status: EntryStatus
    user: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """A job queue as it stands, with how many of its entries wait, run, and have failed."""

    definition: QueueDefinition
    is_started: bool
    changed_by: str | None
    changed_at: datetime
    in_queue: int
    in_process: int
    failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Category:
    """A category as it stands: who has its places, how many wait. `retired`: its section is gone."""

    definition: CategoryDefinition
    retired: bool
    held_by: tuple[EntryId, ...]
    waiting: int


async def sync_queues(
    store: Store, connection: Connection, categories: Sequence[CategoryDefinition], queues: Sequence[QueueDefinition],
    entries: Sequence[ConfiguredEntry], *, limits: LimitsDefinition = NO_LIMITS, now: datetime,
) -> None:  # fmt: skip
    """Make limits, categories, queues and entries of the configuration what their sections say.

    Rule: an unchanged section changes nothing; a changed one changes what an entry says, never its status, and
    whether a queue is started only where it says so. The entry of a section that is gone goes, one in process
    when its run has ended. Entries that a queue took, and that none takes any more, wait. Call it after `sync_places`,
    which makes the groups, in the same transaction.
    Raises: EntryRefused.
    """
    sql = store.queries
    await connection.execute(sql.take_entry_turn)
    await connection.execute(
        sql.put_limits, limits.max_timeout_seconds, limits.per_user, limits.waiting_per_user, limits.waiting_hours
    )
    names = [category.name for category in categories]
    await connection.execute(
        sql.put_categories, names, [one.description for one in categories], [one.width for one in categories]
    )
    await connection.execute(sql.retire_categories, names)
    for queue in queues:
        await connection.execute(
            sql.put_queue, queue.name, queue.description, queue.categories, queue.batch_group,
            queue.starts_automatically, now,
        )  # fmt: skip
    await connection.execute(sql.delete_queues_but, [queue.name for queue in queues])
    await _sync_entries(store, connection, entries, now)
    await connection.execute(sql.note_queues)
    if names:  # there may be more places now
        await connection.execute(sql.wake_waiting, names, now)
    await session_sql.hint(connection, CHANNEL, JOBS_HINT)


async def list_queues(store: Store, name: str | None = None) -> Sequence[Queue]:
    """Return all job queues, or the one of that name."""
    async with store.reading() as connection:
        rows = await connection.fetch(store.queries.list_queues, name)
    return [
        Queue(
            definition=QueueDefinition(
                name=row["name"], description=row["description"], batch_group=row["batch_group"],
                categories=None if row["categories"] is None else tuple(row["categories"]),
                starts_automatically=row["starts_automatically"],
            ),
            is_started=row["is_started"], changed_by=row["changed_by"], changed_at=row["changed_at"],
            in_queue=row["in_queue"], in_process=row["in_process"], failed=row["failed"],
        )
        for row in rows
    ]  # fmt: skip


async def list_categories(store: Store) -> Sequence[Category]:
    """Return the categories that are configured, or that entries still have."""
    async with store.reading() as connection:
        rows = await connection.fetch(store.queries.list_categories)
    return [
        Category(
            definition=CategoryDefinition(name=row["name"], description=row["description"], width=row["width"]),
            retired=row["retired"], held_by=tuple(row["held_by"]), waiting=row["waiting"],
        )
        for row in rows
    ]  # fmt: skip


async def start_queue(store: Store, name: str, started: bool, *, by: str, now: datetime) -> None:
    """Start or stop a queue; what runs goes on. Raises: EntryRefused when there is none; IllegalTransition."""
    sql = store.queries
    async with store.transaction() as connection:
        await connection.execute(sql.take_entry_turn)
        if await connection.fetchval(sql.start_queue, name, started, by, now) is None:
            if not await connection.fetch(sql.list_queues, name):
                raise EntryRefused(f"There is no job queue {name!a}.", code="queue.unknown")
            state, other = ("started", "stop") if started else ("stopped", "start")
            raise IllegalTransition(f"The job queue {name} is {state} already. Possible now: {other}.", queue=name)
        await session_sql.hint(connection, CHANNEL, JOBS_HINT)


async def _sync_entries(
    store: Store, connection: Connection, entries: Sequence[ConfiguredEntry], now: datetime
) -> None:
    sql = store.queries
    known = {row["name"]: row for row in await connection.fetch(sql.config_entries)}
    new: list[dict[str, object]] = []
    for entry in entries:
        definition = entry.definition
        row = known.pop(definition.name, None)
        digest = definition.digest()
        written = entry_row(definition, status=entry.status, source="config", user=entry.user, digest=digest)
        if row is None:
            new.append(written)
        elif row["config_digest"] != digest or row["retired"]:
            before = (await read_in(store, connection, EntryId(row["id"]))).definition
            anew = row["retired"] or is_anew(before, definition)
            await connection.execute(sql.update_entry, row["id"], json.dumps(written), now, anew)
    if new and len(await connection.fetch(sql.insert_entries, json.dumps(new), now)) < len(new):
        names = ", ".join(str(one["name"]) for one in new)
        raise EntryRefused(
            f"One of these entries of the configuration has the name or the record of an entry that is there: {names}. "
            "Remove that one, or choose another name.",
            code="entry.exists",
        )
    if known:
        await connection.execute(sql.retire_entries, [row["id"] for row in known.values()], now)
