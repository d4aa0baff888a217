"""The task that removes what was finished long enough ago: history, exceptions, runs, alerts, archived files.

Nothing unfinished is touched: no message in the queue and nothing that belongs to one, no file that is still claimed,
no refused file.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from functools import partial

import structlog

from gateway.batch.housekeeping.deletes import (
    delete_actions,
    delete_alerts,
    delete_contents,
    delete_deliveries,
    delete_exceptions,
    delete_history,
    delete_runs,
    delete_sets,
    unfinished_claims,
)
from gateway.config.models import Retention
from gateway.contracts.adapter import ReceiveAdapter
from gateway.contracts.task import TaskContext
from gateway.db.open import Store
from gateway.kernel.errors import AdapterUnavailable
from gateway.kernel.ids import PortName

log = structlog.get_logger()

CHUNK = 100
"""Records per transaction, each perhaps with a document of megabytes or thousands of tasks: it must end soon."""

Delete = Callable[[int], Awaitable[int]]
"""Delete up to so many; returns how many went."""


class Housekeeping:
    """Removes by the retention that counts when it runs; *archives* are the receive sides of the open ports."""

    def __init__(
        self,
        *,
        store: Store,
        retention: Callable[[], Retention],
        archives: Callable[[], Mapping[PortName, ReceiveAdapter]],
        chunk: int = CHUNK,
    ) -> None:
        self._store = store
        self._retention = retention
        self._archives = archives
        self._chunk = chunk

    async def run(self, now: datetime, context: TaskContext) -> None:
        """Remove everything that is due at *now*, or as much as can be until a stop is asked for.

        Rule: no other clock is looked at; one that jumps meanwhile makes nothing old.

        Raises: StoreUnavailable; the next run goes on.
        """
        store, keep = self._store, self._retention()
        history = now - timedelta(days=keep.history_days)
        exceptions = now - timedelta(days=keep.exceptions_days)
        actions = now - timedelta(days=keep.audit_days)
        await self._all("messages", partial(delete_history, store, history), context)
        await self._all("contents", partial(delete_contents, store, history), context)
        await self._all("sets", partial(delete_sets, store, history), context)
        await self._all("exceptions", partial(delete_exceptions, store, exceptions), context)
        await self._all("actions", partial(delete_actions, store, actions), context)
        await self._all("runs", partial(delete_runs, store, history), context)
        await self._all("alerts", partial(delete_alerts, store, history), context)
        for name, archive in list(self._archives().items()):
            if context.stopping.is_set():
                return
            try:
                await self._port(name, archive, history, now - timedelta(days=keep.archive_days), context)
            except AdapterUnavailable as error:
                log.warning("housekeeping.skipped", port=name, error=error.message)

    async def _port(
        self, name: PortName, archive: ReceiveAdapter, history: datetime, archived: datetime, context: TaskContext
    ) -> None:
        claimed = await archive.claimed()

        async def deliveries(limit: int) -> int:
            return await delete_deliveries(self._store, history, limit, name, claimed)

        await self._all("files", deliveries, context)
        unfinished = await unfinished_claims(self._store, name, archived)
        context.tally.add("archived", await archive.purge(archived.date(), unfinished))

    async def _all(self, what: str, delete: Delete, context: TaskContext) -> None:
        """Delete chunk by chunk; others get their turn in between."""
        while not context.stopping.is_set():
            gone = await delete(self._chunk)
            context.tally.add(what, gone)
            if gone < self._chunk:
                return
            await asyncio.sleep(0)
