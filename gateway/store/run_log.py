"""The log of one attempt of a task, written in batches while the task runs."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import structlog

from gateway.domain.errors import StoreUnavailable
from gateway.domain.ids import RunId, RunTaskId
from gateway.domain.text import clean
from gateway.store.open import Store
from gateway.store.waiting import back_off, wait_or_stop

log = structlog.get_logger()

MOST_LINES: Final = 10_000
"""Lines of one attempt that are kept; errors and warnings may be a tenth more."""
LONGEST_LINE: Final = 4_000
_FLUSH_SECONDS: Final = 1.0
_LAST_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class _Line:
    at: datetime
    severity: str
    text: str


class StoredLog:
    """Takes lines from any thread and keeps them until they are flushed (`gateway.contracts.task.RunLog`)."""

    def __init__(
        self, store: Store, run_id: RunId, run_task_id: RunTaskId, attempt: int, now: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._place = (run_id, run_task_id, attempt)
        self._now = now
        self._lock = threading.Lock()
        self._lines: list[_Line] = []
        self._taken = 0
        self._dropped = 0

    def info(self, text: str) -> None:
        """Say what was done."""
        self._add("info", text, MOST_LINES)

    def warning(self, text: str) -> None:
        """Say what somebody may want to look at."""
        self._add("warning", text, MOST_LINES + MOST_LINES // 10)

    def error(self, text: str) -> None:
        """Say what went wrong."""
        self._add("error", text, MOST_LINES + MOST_LINES // 10)

    def _add(self, severity: str, text: str, limit: int) -> None:
        line = _Line(self._now(), severity, clean(text, limit=LONGEST_LINE))
        with self._lock:
            if self._taken >= limit:
                self._dropped += 1
            else:
                self._taken += 1
                self._lines.append(line)

    async def flush(self) -> None:
        """Write what has come together; what cannot be written is kept for the next time. Raises: StoreUnavailable."""
        with self._lock:
            lines = list(self._lines)
        if not lines:
            return
        async with self._store.transaction() as connection:
            await connection.execute(
                self._store.queries.insert_log, *self._place,
                [line.at for line in lines], [line.severity for line in lines], [line.text for line in lines],
            )  # fmt: skip
        with self._lock:
            del self._lines[: len(lines)]

    async def close(self) -> None:
        """Write the rest, and how much was left out. A database that is away is waited for, for a while."""
        with self._lock:
            if self._dropped:
                text = f"{self._dropped} further lines were not kept: an attempt may write {MOST_LINES}."
                self._lines.append(_Line(self._now(), "warning", text))
                self._dropped = 0
        try:
            async with asyncio.timeout(_LAST_SECONDS):
                for delay in back_off():
                    try:
                        return await self.flush()
                    except StoreUnavailable:
                        await asyncio.sleep(delay)
        except TimeoutError:
            run_id, _, attempt = self._place
            log.warning("run.log_incomplete", run_id=run_id, attempt=attempt, lines=len(self._lines))


def _utc_now() -> datetime:
    return datetime.now(UTC)


@asynccontextmanager
async def run_log(
    store: Store, run_id: RunId, run_task_id: RunTaskId, attempt: int, *, now: Callable[[], datetime] = _utc_now
) -> AsyncIterator[StoredLog]:
    """Open the log of an attempt: written every second, and to its last line at the end of the block.

    Rule: a database that is away while the task runs costs nothing; lines wait for it, at the end up to a minute. The
    outcome of a task never depends on its log.
    """
    stored = StoredLog(store, run_id, run_task_id, attempt, now)
    over = asyncio.Event()
    flusher = asyncio.create_task(_flush_often(stored, over), name=f"log:{run_task_id}")
    try:
        yield stored
    finally:
        over.set()
        await flusher
        await stored.close()


async def _flush_often(stored: StoredLog, over: asyncio.Event) -> None:
    while not over.is_set():
        await wait_or_stop(over, _FLUSH_SECONDS)
        try:
            await stored.flush()
        except StoreUnavailable:
            log.debug("store.unavailable", part="run log")
