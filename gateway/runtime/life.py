"""The life of this process among others: it beats, sees who does not, and takes over what they left."""

import asyncio
import time
from collections.abc import Callable, Sequence

import structlog

from gateway.db.migrate import load_migrations, require_current
from gateway.db.open import Store
from gateway.kernel.errors import StoreUnavailable
from gateway.kernel.ids import Fence
from gateway.kernel.liveness import Observer
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
                await require_current(connection, store.queries, ours)
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
