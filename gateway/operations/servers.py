"""Servers that run tasks: what they may do, and drain."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from gateway.batch.rules.definition import DEFAULT_GROUP, HoursDefinition, ServerDefinition
from gateway.batch.store import jobs, servers
from gateway.config.suggest import did_you_mean
from gateway.db.open import Store
from gateway.operations.audit import recorded
from gateway.operations.groups import names_of, require_group
from gateway.operations.person import Principal
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


async def list_servers(store: Store) -> list[ServerRow]:
    """Return all servers by name."""
    return [_row(one) for one in await servers.list_servers(store)]


async def set_server(store: Store, who: Principal, name: str, change: ServerChange, *, now: datetime) -> ServerRow:
    """Make a server, or change what is given of one that is there; returns it.

    Rule: a server of the configuration is set again as the file says when that is read the next time.
    Raises: NotFound for an unknown group.
    """
    found = await servers.list_servers(store, name)
    definition = found[0].definition if found else ServerDefinition(name=name)
    groups = None if change.groups is None else tuple([await require_group(store, group) for group in change.groups])
    changed = replace(
        definition,
        is_batch=definition.is_batch if change.batch is None else change.batch,
        threads=definition.threads if change.threads is None else change.threads,
        reserved_percent=definition.reserved_percent if change.reserved_percent is None else change.reserved_percent,
        groups=groups,
        hours=definition.hours if change.hours is None else tuple(change.hours),
    )
    async with recorded(store, who, "server.set", name):
        await servers.put_server(store, changed, now=now, source=found[0].source if found else "operator")
    return _row((await servers.list_servers(store, name))[0])


async def groups_left_alone(store: Store) -> list[str]:
    """Return the groups that jobs or tasks belong to and that no server serves: those tasks wait."""
    served = {group for one in await servers.list_servers(store) for group in one.takes}
    wanted: set[str] = set()
    for job in await jobs.list_jobs(store):
        own = job.definition.batch_group or DEFAULT_GROUP
        wanted |= {own if task.batch_group is None else task.batch_group for task in job.definition.tasks}
    return sorted(names_of(tuple(wanted - served)))


async def set_draining(store: Store, who: Principal, name: str, draining: bool, *, now: datetime) -> ServerRow:
    """Let a server take nothing new, or take work again; what runs goes on. Raises: NotFound."""
    async with recorded(store, who, "server.drain" if draining else "server.resume", name):
        names = [one.definition.name for one in await servers.list_servers(store)]
        if name not in names:
            known = f"; there are {', '.join(names)}" if names else "; none has run yet"
            raise NotFound(f"there is no server {name!a}{did_you_mean(name, names) or known}")
        await servers.set_draining(store, name, draining, now=now)
        return _row((await servers.list_servers(store, name))[0])


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
