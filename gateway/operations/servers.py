"""Servers that run tasks, and batch groups: what they may do, who serves whom, how they are changed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gateway.batch.rules.definition import DEFAULT_GROUP, GroupDefinition, HoursDefinition, ServerDefinition
from gateway.batch.rules.job import Priority
from gateway.batch.store import jobs, servers
from gateway.config.definitions import group_key, group_name
from gateway.config.suggest import did_you_mean
from gateway.kernel.errors import JobRefused
from gateway.operations.audit import recorded
from gateway.operations.principal import OperatorSession
from gateway.operations.references import NotFound


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerRow:
    """A server as people see it. `running` tells whether a process bears its name."""

    name: str
    running: bool
    batch: bool
    draining: bool
    groups: tuple[str, ...]
    threads: int
    reserved_percent: int
    hours: tuple[HoursDefinition, ...]
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerChange:
    """What is to be set of a server; None leaves it as it is."""

    batch: bool | None = None
    groups: Sequence[str] | None = None
    threads: int | None = None
    reserved_percent: int | None = None
    hours: Sequence[HoursDefinition] | None = None


async def list_servers(session: OperatorSession) -> list[ServerRow]:
    """Return all servers by name."""
    return [_row(one) for one in await servers.list_servers(session.store)]


async def set_server(session: OperatorSession, name: str, change: ServerChange) -> ServerRow:
    """Make a server, or change what is given of one that is there; returns it.

    Rule: a server of the configuration is set again as the file says when that is read the next time.
    Raises: NotFound for an unknown group.
    """
    found = await servers.list_servers(session.store, name)
    definition = found[0].definition if found else ServerDefinition(name=name)
    groups = None if change.groups is None else tuple([await require_group(session, group) for group in change.groups])
    changed = replace(
        definition,
        is_batch=definition.is_batch if change.batch is None else change.batch,
        threads=definition.threads if change.threads is None else change.threads,
        reserved_percent=definition.reserved_percent if change.reserved_percent is None else change.reserved_percent,
        groups=groups,
        hours=definition.hours if change.hours is None else tuple(change.hours),
    )
    async with recorded(session, "server.set", name):
        await servers.put_server(
            session.store, changed, now=session.now, source=found[0].source if found else "operator"
        )
    return _row((await servers.list_servers(session.store, name))[0])


async def groups_left_alone(session: OperatorSession) -> list[str]:
    """Return the groups that jobs or tasks belong to and that no server serves: those tasks wait."""
    served = {group for one in await servers.list_servers(session.store) for group in one.takes}
    wanted: set[str] = set()
    for job in await jobs.list_jobs(session.store):
        own = job.definition.batch_group or DEFAULT_GROUP
        wanted |= {own if task.batch_group is None else task.batch_group for task in job.definition.tasks}
    return sorted(names_of(tuple(wanted - served)))


async def set_draining(session: OperatorSession, name: str, draining: bool) -> ServerRow:
    """Let a server take nothing new, or take work again; what runs goes on. Raises: NotFound."""
    async with recorded(session, "server.drain" if draining else "server.resume", name):
        names = [one.definition.name for one in await servers.list_servers(session.store)]
        if name not in names:
            known = f"; there are {', '.join(names)}" if names else "; none has run yet"
            raise NotFound(f"there is no server {name!a}{did_you_mean(name, names) or known}")
        await servers.set_draining(session.store, name, draining, now=session.now)
        return _row((await servers.list_servers(session.store, name))[0])


def _row(server: servers.Server) -> ServerRow:
    definition = server.definition
    return ServerRow(
        name=definition.name,
        running=server.incarnation is not None,
        batch=definition.is_batch,
        draining=server.draining,
        groups=names_of(definition.groups or ()),
        threads=definition.threads,
        reserved_percent=definition.reserved_percent,
        hours=definition.hours,
        source=server.source,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRow:
    """A group as people see it; `concurrency` 0: no bound, -1: paused. Of `source` config it is set by the file."""

    name: str
    description: str
    priority: Priority
    concurrency: int
    servers: tuple[str, ...]
    source: str


async def list_groups(session: OperatorSession) -> list[GroupRow]:
    """Return all groups, the default one first."""
    return [
        GroupRow(
            name=group_name(one.definition.name),
            description=one.definition.description,
            priority=one.definition.priority,
            concurrency=one.definition.concurrency,
            servers=one.servers,
            source=one.source,
        )
        for one in await servers.list_groups(session.store)
    ]


async def set_group(
    session: OperatorSession,
    name: str,
    *,
    description: str | None = None,
    priority: Priority | None = None,
    concurrency: int | None = None,
) -> GroupRow:
    """Make a group, or change what is given of one that is there; returns it.

    Rule: a group of the configuration is set again as the file says when that is read the next time.
    """
    async with recorded(session, "group.set", name):
        found = {one.definition.name: one for one in await servers.list_groups(session.store)}
        key = group_key(name) or ""
        before = found.get(key)
        definition = before.definition if before else GroupDefinition(name=key, description=name)
        changed = replace(
            definition,
            description=definition.description if description is None else description,
            priority=definition.priority if priority is None else priority,
            concurrency=definition.concurrency if concurrency is None else concurrency,
        )
        await servers.put_group(session.store, changed, now=session.now, source=before.source if before else "operator")
        (row,) = [one for one in await list_groups(session) if one.name == name]
        return row


async def delete_group(session: OperatorSession, name: str) -> None:
    """Remove a group that nothing names. Raises: JobRefused while something does, and for the default one; NotFound."""
    async with recorded(session, "group.delete", name):
        key = await require_group(session, name)
        if not key:
            raise JobRefused(f"the group {name} is that of all tasks without a group: it cannot be removed", group=name)
        await servers.delete_group(session.store, key)


async def require_group(session: OperatorSession, name: str) -> str:
    """Return how the store calls a group. Raises: NotFound."""
    names = [row.name for row in await list_groups(session)]
    if name not in names:
        raise NotFound(
            f"there is no batch group {name!a}{did_you_mean(name, names) or '; there are ' + ', '.join(names)}"
        )
    return group_key(name) or ""


def names_of(keys: Sequence[str]) -> tuple[str, ...]:
    """Return how people call groups."""
    return tuple(group_name(key) for key in keys)
