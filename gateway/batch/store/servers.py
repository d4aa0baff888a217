"""Batch groups, the servers that serve them, their hours, and active periods.

Rule: a server has an explicit list of groups. A new one has the default group by itself; the first named group that it
is given takes the place of that, and the default group is given back like any other. As long as a named group was given
to nobody, its tasks run wherever those of the default group do. Source: batch reference, section 13, S04; section 10.5
for active periods.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import count

from asyncpg import Connection

from gateway.batch.rules.definition import GroupDefinition, HoursDefinition, PeriodDefinition, ServerDefinition
from gateway.batch.statements import jobs_sql, servers_sql
from gateway.db.listen import CHANNEL, JOBS_HINT
from gateway.db.open import Store
from gateway.db.statements import session_sql
from gateway.kernel.errors import JobRefused, NoSuchJob


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A batch group and the servers that serve it."""

    definition: GroupDefinition
    servers: tuple[str, ...]
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server: what it may do, and which process bears its name now (None: it does not run).

    `takes` are the groups whose tasks it runs: its own and, with the default group, those that nobody was given.
    """

    definition: ServerDefinition
    takes: tuple[str, ...]
    incarnation: int | None
    draining: bool
    source: str


async def register_server(store: Store, name: str, incarnation: int, now: datetime) -> str:
    """Let this process bear the name of a server, and return it; a name that is new is made.

    Rule: where another node that lives bears it, as on one host with two data folders, a number is put behind it.
    """
    async with store.transaction() as connection:
        for number in count(1):
            wanted = name if number == 1 else f"{name}-{number}"
            if await servers_sql.register_server(connection, wanted, incarnation, now) is not None:
                await servers_sql.put_default_group(connection, wanted)
                break
    return wanted


async def leave_server(store: Store, name: str, incarnation: int) -> None:
    """Give the name back at an orderly end."""
    async with store.transaction() as connection:
        await servers_sql.leave_server(connection, name, incarnation)


async def put_server(store: Store, server: ServerDefinition, *, now: datetime, source: str = "operator") -> None:
    """Save what a server may do; `groups` None leaves its groups as they are.

    Raises: JobRefused for a group that does not exist.
    """
    async with store.transaction() as connection:
        await _put_server(connection, server, now=now, source=source)


async def _put_server(connection: Connection, server: ServerDefinition, *, now: datetime, source: str) -> None:
    await servers_sql.put_server(
        connection, server.name, server.is_batch, server.threads, server.reserved_percent, source, now
    )
    await servers_sql.put_default_group(connection, server.name)
    await servers_sql.delete_hours(connection, server.name)
    if server.hours:
        await servers_sql.put_hours(
            connection,
            server.name,
            range(len(server.hours)),
            [row.threads for row in server.hours],
            [row.start for row in server.hours],
            [row.end for row in server.hours],
            [row.zone for row in server.hours],
        )
    if server.groups is not None:
        for unknown in await jobs_sql.unknown_groups(connection, server.groups):
            raise JobRefused(f"server {server.name}: there is no batch group named {unknown}")
        await servers_sql.delete_server_groups(connection, server.name)
        for group in server.groups:
            await servers_sql.assign_group(connection, server.name, group)
    await session_sql.hint(connection, CHANNEL, JOBS_HINT)


async def list_servers(store: Store, name: str | None = None) -> Sequence[Server]:
    """Return all servers, or the one of that name."""
    async with store.transaction() as connection:
        rows = await servers_sql.list_servers(connection, name)
        hours = defaultdict(list)
        for row in await servers_sql.list_hours(connection, name):
            hours[row.server].append(
                HoursDefinition(threads=row.threads, start=row.start_time, end=row.end_time, zone=row.zone)
            )
    return [
        Server(
            definition=ServerDefinition(
                name=row.name, is_batch=row.is_batch, threads=row.threads,
                reserved_percent=row.reserved_percent, groups=tuple(row.groups),
                hours=tuple(hours[row.name]),
            ),
            takes=tuple(row.takes), incarnation=row.incarnation, draining=row.draining,
            source=row.source,
        )
        for row in rows
    ]  # fmt: skip


async def set_draining(store: Store, name: str, draining: bool, *, now: datetime) -> None:
    """Let a server take nothing new, or take work again. Raises: NoSuchJob for an unknown server."""
    async with store.transaction() as connection:
        if await servers_sql.set_draining(connection, name, draining, now) is None:
            raise NoSuchJob(f"there is no server named {name}", server=name)
        await session_sql.hint(connection, CHANNEL, JOBS_HINT)


async def put_group(store: Store, group: GroupDefinition, *, now: datetime, source: str = "operator") -> None:
    """Save a batch group."""
    async with store.transaction() as connection:
        await _put_group(connection, group, now=now, source=source)


async def _put_group(connection: Connection, group: GroupDefinition, *, now: datetime, source: str) -> None:
    await servers_sql.put_group(
        connection, group.name, group.description, group.priority, group.concurrency, source, now
    )
    await session_sql.hint(connection, CHANNEL, JOBS_HINT)


async def delete_group(store: Store, name: str) -> None:
    """Remove a batch group. Raises: JobRefused while something names it; NoSuchJob."""
    async with store.transaction() as connection:
        if used_by := await servers_sql.group_in_use(connection, name):
            raise JobRefused(f"the batch group {name} is in use by {used_by}: take it away there first", group=name)
        if await servers_sql.delete_group(connection, name) is None:
            raise NoSuchJob(f"there is no batch group named {name} that could be removed", group=name)


async def list_groups(store: Store) -> Sequence[Group]:
    """Return all batch groups by name, the default one first."""
    async with store.transaction() as connection:
        rows = await servers_sql.list_groups(connection)
    return [
        Group(
            definition=GroupDefinition(
                name=row.name, description=row.description, priority=row.priority,
                concurrency=row.concurrency,
            ),
            servers=tuple(row.servers), source=row.source,
        )
        for row in rows
    ]  # fmt: skip


async def assign_group(store: Store, server: str, group: str) -> None:
    """Let a server serve a group. Raises: NoSuchJob for a server or group that does not exist."""
    async with store.transaction() as connection:
        if not await servers_sql.list_servers(connection, server):
            raise NoSuchJob(f"there is no server named {server}", server=server)
        for unknown in await jobs_sql.unknown_groups(connection, [group]):
            raise NoSuchJob(f"there is no batch group named {unknown}", group=group)
        await servers_sql.assign_group(connection, server, group)
        await session_sql.hint(connection, CHANNEL, JOBS_HINT)


async def unassign_group(store: Store, server: str, group: str) -> None:
    """Let a server no longer serve a group; what it runs goes on. Raises: NoSuchJob when it does not serve it."""
    async with store.transaction() as connection:
        if await servers_sql.unassign_group(connection, server, group) is None:
            raise NoSuchJob(f"the server {server} does not serve the group {group or '(default)'}", server=server)


async def put_period(store: Store, period: PeriodDefinition, *, source: str = "operator") -> None:
    """Save an active period."""
    async with store.transaction() as connection:
        await _put_period(connection, period, source=source)


async def _put_period(connection: Connection, period: PeriodDefinition, *, source: str) -> None:
    await servers_sql.put_period(
        connection, period.name, period.start, period.end, list(period.weekdays), period.zone, source
    )
    await session_sql.hint(connection, CHANNEL, JOBS_HINT)


async def delete_period(store: Store, name: str) -> None:
    """Remove an active period. Raises: JobRefused while a job names it; NoSuchJob."""
    async with store.transaction() as connection:
        if job := await servers_sql.period_in_use(connection, name):
            raise JobRefused(f"the active period {name} is in use by job {job}", period=name)
        if await servers_sql.delete_period(connection, name) is None:
            raise NoSuchJob(f"there is no active period named {name}", period=name)


async def list_periods(store: Store) -> Sequence[PeriodDefinition]:
    """Return all active periods by name."""
    async with store.transaction() as connection:
        return await read_periods(connection)


async def read_periods(connection: Connection) -> Sequence[PeriodDefinition]:
    """Return all active periods by name, in a transaction that goes on."""
    rows = await servers_sql.list_periods(connection)
    return [
        PeriodDefinition(
            name=row.name, start=row.start_time, end=row.end_time, weekdays=tuple(row.weekdays),
            zone=row.zone,
        )
        for row in rows
    ]  # fmt: skip


async def sync_places(
    connection: Connection,
    groups: Sequence[GroupDefinition],
    servers: Sequence[ServerDefinition],
    periods: Sequence[PeriodDefinition],
    *,
    now: datetime,
) -> None:
    """Make groups, servers and periods of the configuration what it says; those it no longer names go when unused.

    Rule: call it before `sync_jobs`, which names them, and in the same transaction: all is used, or nothing.
    """
    await jobs_sql.lock_synchronisation(connection)
    for group in groups:
        await _put_group(connection, group, now=now, source="config")
    for server in servers:
        await _put_server(connection, server, now=now, source="config")
    for period in periods:
        await _put_period(connection, period, source="config")
    named = {("group", group.name) for group in groups} | {("period", period.name) for period in periods}
    rows = await servers_sql.config_named(connection)
    for kind, name in sorted({(row.kind, row.name) for row in rows} - named):
        if kind == "group" and await servers_sql.group_in_use(connection, name) is None:
            await servers_sql.delete_group(connection, name)
        elif kind == "period" and await servers_sql.period_in_use(connection, name) is None:
            await servers_sql.delete_period(connection, name)
