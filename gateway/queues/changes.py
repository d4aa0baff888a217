"""What became of entries, for those who follow: told in the transaction that makes it true."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from asyncpg import Connection

from gateway.domain.ids import EntryId, RunId
from gateway.store.open import Store


class Became(StrEnum):
    """What became of an entry."""

    STARTED = "started"  # a run of it begins
    SUCCEEDED = "succeeded"  # its run went well
    RETRIED = "retried"  # its run failed or was lost, and it is tried again
    FAILED = "failed"  # its attempts are used up
    REMOVED = "removed"  # it is gone without having run: expired, or taken out by a person


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryChange:
    """One entry and what became of it; `record` is what it is about. `error` and `code` say why it failed."""

    entry: EntryId
    became: Became
    record: str | None
    name: str
    run: RunId | None = None
    code: str | None = None
    error: str | None = None


Follower = Callable[[Store, Connection, Sequence[EntryChange], datetime], Awaitable[None]]
"""Does what follows from changes of entries, in their transaction. It waits for nothing outside of it."""

FOLLOWERS: tuple[Follower, ...] = ()


async def tell(store: Store, connection: Connection, changes: Sequence[EntryChange], now: datetime) -> None:
    """Tell everybody who follows what became of entries."""
    if changes:
        for follower in FOLLOWERS:
            await follower(store, connection, changes, now)
