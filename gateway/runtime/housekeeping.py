"""Keeps house while the gateway runs: once after its start, then every hour."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import structlog

from gateway.contracts.task import Tally, TaskContext, TaskHandler
from gateway.domain.errors import StoreUnavailable
from gateway.scheduler.alone import Alone
from gateway.scheduler.busy import Occurrence
from gateway.store.waiting import wait_or_stop

log = structlog.get_logger()

JOB = "housekeeping"
EVERY_SECONDS = 3600.0


async def keep_house(
    handler: TaskHandler, record: Callable[[Occurrence], Awaitable[int]], stopping: asyncio.Event
) -> None:
    """Run *handler* now and every hour until a stop is asked for; a run that removed nothing leaves no trace."""
    while not stopping.is_set():
        try:
            await _once(handler, record, stopping)
        except StoreUnavailable:
            log.debug("store.unavailable", part=JOB)
        await wait_or_stop(stopping, EVERY_SECONDS)


async def _once(handler: TaskHandler, record: Callable[[Occurrence], Awaitable[int]], stopping: asyncio.Event) -> None:
    started, tally = datetime.now(UTC), Tally()
    error: str | None = None
    away: StoreUnavailable | None = None
    try:
        await handler.run(TaskContext(task=JOB, feed=Alone(), stopping=stopping, tally=tally))
    except StoreUnavailable as trouble:
        away = trouble
    except Exception as bug:  # a bug here must not stop the messages
        error = f"{type(bug).__name__}: {bug}"
        log.exception("run.failed", job=JOB)
    if not tally.idle or error is not None:
        ended = datetime.now(UTC)
        counts = dict(tally.counts)
        run_id = await record(Occurrence(job=JOB, started_at=started, ended_at=ended, counts=counts, error=error))
        duration_ms = round((ended - started).total_seconds() * 1000)
        log.info("housekeeping.done", run_id=run_id, counts=counts, duration_ms=duration_ms)
    if away is not None:
        raise away
