"""Batch groups: which there are, who serves them, how they are changed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from gateway.batch.rules.definition import GroupDefinition
from gateway.batch.rules.job import Priority
from gateway.batch.store import servers
from gateway.config.definitions import group_key, group_name
from gateway.config.suggest import did_you_mean
from gateway.db.open import Store
from gateway.kernel.errors import JobRefused
from gateway.operations.audit import recorded
from gateway.operations.person import Principal
from gateway.operations.references import NotFound


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRow:
    """A group as people see it; `concurrency` 0: no bound, -1: paused. Of `source` config it is set by the file."""

    name: str
    description: str
    priority: Priority
    concurrency: int
    servers: tuple[str, ...]
    source: str


async def list_groups(store: Store) -> list[GroupRow]:
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
        for one in await servers.list_groups(store)
    ]


async def set_group(
    store: Store,
    who: Principal,
    name: str,
    *,
    description: str | None = None,
    priority: Priority | None = None,
    concurrency: int | None = None,
    now: datetime,
) -> GroupRow:
    """Make a group, or change what is given of one that is there; returns it.

    Rule: a group of the configuration is set again as the file says when that is read the next time.
    """
    async with recorded(store, who, "group.set", name):
        found = {one.definition.name: one for one in await servers.list_groups(store)}
        key = group_key(name) or ""
        before = found.get(key)
        definition = before.definition if before else GroupDefinition(name=key, description=name)
        changed = replace(
            definition,
            description=definition.description if description is None else description,
            priority=definition.priority if priority is None else priority,
            concurrency=definition.concurrency if concurrency is None else concurrency,
        )
        await servers.put_group(store, changed, now=now, source=before.source if before else "operator")
        (row,) = [one for one in await list_groups(store) if one.name == name]
        return row


async def delete_group(store: Store, who: Principal, name: str) -> None:
    """Remove a group that nothing names. Raises: JobRefused while something does, and for the default one; NotFound."""
    async with recorded(store, who, "group.delete", name):
        key = await require_group(store, name)
        if not key:
            raise JobRefused(f"the group {name} is that of all tasks without a group: it cannot be removed", group=name)
        await servers.delete_group(store, key)


async def require_group(store: Store, name: str) -> str:
    """Return how the store calls a group. Raises: NotFound."""
    names = [row.name for row in await list_groups(store)]
    if name not in names:
        raise NotFound(
            f"there is no batch group {name!a}{did_you_mean(name, names) or '; there are ' + ', '.join(names)}"
        )
    return group_key(name) or ""


def names_of(keys: Sequence[str]) -> tuple[str, ...]:
    """Return how people call groups."""
    return tuple(group_name(key) for key in keys)
