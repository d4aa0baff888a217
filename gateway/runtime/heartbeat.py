"""The life of this process among others: it beats, sees who does not, and takes over what they left.

Who lives is told by counts that move, never by the time of day.
"""

import asyncio
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import structlog

from gateway.db.migrate import load_migrations, require_current
from gateway.db.open import Store
from gateway.kernel.errors import StoreUnavailable
from gateway.kernel.ids import Fence
from gateway.messaging.queue.leases import (
    EXTEND_SECONDS,
    LEASE_SECONDS,
    Reap,
    beat,
    declare_nodes_lost,
    read_beats,
    take_back,
)

log = structlog.get_logger()


async def keep_leases(
    store: Store, incarnation: int, *, compensated: Callable[[], None], node_lost: Callable[[], None],
    reapers: Sequence[Reap] = (),
) -> None:  # fmt: skip
    """Beat for what we work on while we live; take back what stands still, our own claims that nobody knows of too.

    *compensated* is called when there is work again, *node_lost* when another process died or froze: its files may lie
    in folders that we share.
    Raises: SchemaMismatch when the database was migrated by a newer gateway meanwhile.
    """
    ours = await asyncio.to_thread(load_migrations)  # now: a later look could find the files of a newer version
    processes: Observer[int] = Observer(LEASE_SECONDS)
    leases: Observer[Fence] = Observer(LEASE_SECONDS)
    while True:
        await asyncio.sleep(EXTEND_SECONDS)
        try:
            async with store.transaction(life=True) as connection:
                await require_current(connection, ours)
            returned = await beat(store, incarnation)
            if returned:
                log.warning("node.returned", incarnation=incarnation)
            beats = await read_beats(store, incarnation)
            now = time.monotonic()
            lost = await declare_nodes_lost(store, processes.look(beats.processes, now), reapers)
            expired = await take_back(store, leases.look(beats.leases, now), reapers)
        except StoreUnavailable:
            log.debug("store.unavailable", part="leases")
            processes.start_anew()
            leases.start_anew()
            continue
        for one in lost:
            log.warning("node.lost", node=one.node, host=one.host, pid=one.pid, incarnation=one.incarnation)
        if expired:
            log.warning("lease.expired", leases=expired)
        if lost:
            node_lost()
        if lost or expired or returned:
            compensated()


K = TypeVar("K", bound=Hashable)

_LOOKS_PER_TERM = 3
"""A single pause between two looks counts for a third of the term at most, however long it was."""
_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class _Sight:
    beats: int
    still_seconds: float


class Observer(Generic[K]):
    """Remembers what one process saw of others: whose beats stand still, and for how long by its own clock.

    Rule: a pause of the observer itself counts for little. When a machine slept, the others slept perhaps as long, and
    whoever wakes first must not take everything from them: each of them is looked at three times at least.
    """

    def __init__(self, term_seconds: float) -> None:
        self._term = term_seconds
        self._sights: dict[K, _Sight] = {}
        self._looked_at: float | None = None

    def look(self, beats: Mapping[K, int], now: float) -> dict[K, int]:
        """Take in the beats of all who are there now; return those that stood still for a whole term, with their beats.

        Units: *now* in seconds of a clock that never jumps (`time.monotonic`). Whoever is not in *beats* is forgotten.
        Rule: what is done about the result must hold only while the beats still have this value.
        """
        passed = 0.0 if self._looked_at is None else min(now - self._looked_at, self._term / _LOOKS_PER_TERM)
        self._looked_at = now
        self._sights = {key: self._sight(key, count, passed) for key, count in beats.items()}
        return {key: one.beats for key, one in self._sights.items() if one.still_seconds >= self._term - _ROUNDING}

    def start_anew(self) -> None:
        """Forget what was seen: the database was away, and nobody could beat."""
        self._sights.clear()
        self._looked_at = None

    def _sight(self, key: K, beats: int, passed: float) -> _Sight:
        before = self._sights.get(key)
        if before is None or before.beats != beats:
            return _Sight(beats, 0.0)
        return _Sight(beats, before.still_seconds + passed)
