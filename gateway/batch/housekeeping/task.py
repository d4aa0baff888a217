"""The runnable `housekeeping`: removes what was kept long enough; one at a time on all nodes."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import Annotated, Any, Final

import structlog
from pydantic import BeforeValidator, Field

from gateway.batch.housekeeping.deletes import (
    Swept,
    believed_clock,
    delete_actions,
    delete_alerts,
    delete_contents,
    delete_deliveries,
    delete_exceptions,
    delete_history,
    delete_jobs,
    delete_runs,
    delete_sets,
    sole_housekeeper,
    sweep,
    unfinished_claims,
)
from gateway.batch.rules.job import JobStatus
from gateway.config.models import Retention
from gateway.config.models_base import Count, Options, Text
from gateway.contracts.adapter import ReceiveAdapter
from gateway.contracts.task import Runnable, TaskContext
from gateway.db.open import Store
from gateway.kernel.errors import AdapterUnavailable
from gateway.kernel.ids import PortName

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


log = structlog.get_logger()

SWEPT_FROM: Final = 1_000
"""So many rows of a kind must have gone before their tables are swept; the database does the rest by itself."""
_KINDS: Final[Mapping[Swept, tuple[str, ...]]] = {
    Swept.MESSAGES: ("messages", "sets", "files"),
    Swept.RUNS: ("runs", "alerts"),
    Swept.EXCEPTIONS: ("exceptions",),
}


class Removable(StrEnum):
    """Statuses in which a job may be removed."""

    WITHHOLD = "withhold"
    ERROR = "error"
    ENDED = "ended"
    CANCELED = "canceled"


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


class HousekeepingParameters(Options):
    """Which jobs go, besides what `retention` says; none without `job_days`."""

    job_days: Count | None = Field(
        default=None,
        ge=1,
        le=36_500,
        description="Days that jobs of operators are kept after they ended; null: for ever.",
    )
    job_statuses: Annotated[tuple[Removable, ...], BeforeValidator(_as_list)] = Field(
        default=(Removable.ENDED, Removable.CANCELED), min_length=1, description="Statuses in which they go."
    )
    job_name: Text | None = Field(default=None, description="Only the job of this name; case is ignored.")
    job_creator: Text | None = Field(default=None, description="Only jobs that this user made.")


class HousekeepingTask:
    """One clean-up (`gateway.contracts.task.TaskHandler`); another one that is under way is waited for.

    Rule: by a clock that seems wrong nothing is removed, because everything would be old for a clock that is ahead. The
    clock is looked at once: what is believed then is the time for everything.
    Progress is what is gone: an interruption costs nothing.
    """

    def __init__(self, store: Store, house: Housekeeping, parameters: HousekeepingParameters) -> None:
        self._store = store
        self._house = house
        self._parameters = parameters

    async def run(self, context: TaskContext) -> None:
        """Remove everything that is due, then sweep the tables that much was deleted from. Raises: StoreUnavailable."""
        began = asyncio.get_running_loop().time()
        async with sole_housekeeper(self._store, context.stopping) as connection:
            if connection is None:
                return
            now, doubt = await believed_clock(self._store)
            if doubt:
                context.log.warning(f"Nothing was removed: {doubt}")
                log.warning("housekeeping.postponed", run_id=context.run_id, reason=doubt)
                return
            await self._house.run(now, context)
            if self._parameters.job_days is not None:
                await self._jobs(now - timedelta(days=self._parameters.job_days), context)
            for what, kinds in _KINDS.items():
                gone = sum(context.tally.counts.get(kind, 0) for kind in kinds)
                if gone >= SWEPT_FROM and not context.stopping.is_set():
                    await sweep(self._store, connection, what)
        counts = dict(context.tally.counts)
        if counts:
            context.log.info(
                "Removed: " + ", ".join(f"{number} {what}" for what, number in sorted(counts.items())) + "."
            )
            duration_ms = round((asyncio.get_running_loop().time() - began) * 1000)
            log.info("housekeeping.done", run_id=context.run_id, counts=counts, duration_ms=duration_ms)

    async def _jobs(self, before: datetime, context: TaskContext) -> None:
        wanted = self._parameters
        delete = partial(
            delete_jobs, self._store, before, CHUNK, statuses=[JobStatus(status) for status in wanted.job_statuses],
            name=wanted.job_name, owner=wanted.job_creator,
        )  # fmt: skip
        while not context.stopping.is_set():
            gone = await delete()
            context.tally.add("jobs", gone)
            if gone < CHUNK:
                return


def housekeeping_runnable(
    store: Callable[[], Store],
    retention: Callable[[], Retention],
    archives: Callable[[], Mapping[PortName, ReceiveAdapter]],
) -> Runnable:
    """Describe it; the callables are asked when it runs."""

    def make(parameters: Any) -> HousekeepingTask:
        house = Housekeeping(store=store(), retention=retention, archives=archives)
        return HousekeepingTask(store(), house, parameters)

    return Runnable(
        name="housekeeping",
        description="removes what was kept long enough",
        parameters=HousekeepingParameters,
        make=make,
        idempotent=True,
        retryable=True,
    )
