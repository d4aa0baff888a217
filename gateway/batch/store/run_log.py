"""What an attempt of a task leaves: lines of its log, in batches while it runs, and files, kept with its run."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Final

import structlog
from asyncpg import Connection

from gateway.batch.statements import run_log_sql
from gateway.batch.statements.run_log_sql import RunFile
from gateway.db.open import Store
from gateway.db.waiting import wait_or_stop
from gateway.kernel.errors import FileNotKept, StoreUnavailable
from gateway.kernel.ids import RunId, RunTaskId
from gateway.kernel.text import clean

log = structlog.get_logger()

MOST_LINES: Final = 10_000
"""Lines of one attempt that are kept; errors and warnings may be a tenth more."""
LONGEST_LINE: Final = 4_000
_FLUSH_SECONDS: Final = 1.0

Place = tuple[RunId, RunTaskId, int]
"""Below which run, task and attempt lines belong."""


@dataclass(frozen=True, slots=True)
class Line:
    """What a task said."""

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
        self._lines: list[Line] = []
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
        line = Line(self._now(), severity, clean(text, limit=LONGEST_LINE))
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
            await write_lines(connection, [(self._place, lines)])
        with self._lock:
            del self._lines[: len(lines)]

    def rest(self) -> Sequence[Line]:
        """Return what is not written yet, and how much was left out: it is written with the end of the attempt."""
        with self._lock:
            if self._dropped:
                text = f"{self._dropped} further lines were not kept: an attempt may write {MOST_LINES}."
                self._lines.append(Line(self._now(), "warning", text))
                self._dropped = 0
            return tuple(self._lines)


async def write_lines(connection: Connection, logs: Sequence[tuple[Place, Sequence[Line]]]) -> None:
    """Write lines of several attempts, those of each in their order."""
    rows = [(*place, line.at, line.severity, line.text) for place, lines in logs for line in lines]
    if rows:
        await run_log_sql.insert_log(connection, *map(list, zip(*rows, strict=True)))


@asynccontextmanager
async def flushed_often(stored: StoredLog) -> AsyncIterator[None]:
    """Write the lines every second until the end of the block; the `rest` is written with the end of the attempt.

    Rule: a database that is away while the task runs costs nothing; lines wait for it.
    """
    over = asyncio.Event()
    flusher = asyncio.create_task(_flush_often(stored, over), name="run log")
    try:
        yield
    finally:
        over.set()
        await flusher


async def _flush_often(stored: StoredLog, over: asyncio.Event) -> None:
    while True:
        await wait_or_stop(over, _FLUSH_SECONDS)
        if over.is_set():
            return
        try:
            await stored.flush()
        except StoreUnavailable:
            log.debug("store.unavailable", part="run log")


MOST_FILE_BYTES: Final = 64_000_000
MOST_RUN_BYTES: Final = 256_000_000
"""All files of one run together."""
LONGEST_NAME: Final = 200


async def keep_file(store: Store, run_id: RunId, run_task_id: RunTaskId, name: str, content: bytes) -> None:
    """Keep a file of a task; the same name again, also of a later attempt, replaces it.

    Raises: FileNotKept when the name is not one plain file name, or the limits are passed.
    """
    check_file(name, content)
    async with store.transaction(long=True) as connection:
        others = await run_log_sql.bytes_of_run_files(connection, run_id, run_task_id, name)
        if others is None:
            raise FileNotKept(f"The file {name} is not kept: the run {run_id} is gone.")
        if others + len(content) > MOST_RUN_BYTES:
            raise FileNotKept(
                f"The file {name} is not kept: the run has {others:,} bytes of files already, and may have "
                f"{MOST_RUN_BYTES:,}."
            )
        digest = sha256(content).digest()
        await run_log_sql.put_run_file(connection, run_id, run_task_id, name, len(content), digest, content)


def check_file(name: str, content: bytes) -> None:
    """Make sure that a run could keep a file, whatever it has already. Raises: FileNotKept."""
    if not name or len(name) > LONGEST_NAME or name in {".", ".."} or "/" in name or not name.isprintable():
        raise FileNotKept(
            f"{name[:LONGEST_NAME]!a} cannot be the name of a file of a run: use up to {LONGEST_NAME} printable "
            "characters without '/'."
        )
    if len(content) > MOST_FILE_BYTES:
        raise FileNotKept(f"The file {name} has {len(content):,} bytes; a run keeps files up to {MOST_FILE_BYTES:,}.")


async def list_run_files(store: Store, run_id: RunId) -> list[RunFile]:
    """Return the files of a run in the order they were first made."""
    async with store.transaction() as connection:
        return await run_log_sql.run_files(connection, run_id)


async def read_run_file(store: Store, number: int) -> tuple[str, bytes] | None:
    """Return name and content of a file; None when there is none of that number.

    Raises: FileNotKept when the content is not what was kept.
    """
    async with store.transaction(long=True) as connection:
        row = await run_log_sql.read_run_file(connection, number)
    if row is None:
        return None
    if sha256(row.content).digest() != row.sha256:
        raise FileNotKept(f"The content of the file {row.name} was changed in the database.", code="file.changed")
    return row.name, row.content
