"""Carrying out one claimed task: from its handler's name to a recorded result.

Whatever the code does, the attempt ends: with its return or its error, at its time-out, or when its run is cancelled.
Code that does not come back although it was interrupted is left behind, and its late result changes nothing.
"""

import asyncio
import traceback
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Final

import structlog
from asyncpg import Connection

from gateway.batch.engine.clock import Clock
from gateway.batch.engine.recording import Recorder
from gateway.batch.rules.definition import EntryDefinition
from gateway.batch.rules.transitions import Attempt
from gateway.batch.store.ending import LONGEST_TRACEBACK, Result, TaskEnd
from gateway.batch.store.run_log import StoredLog, flushed_often, keep_file
from gateway.batch.store.tasks import ClaimedTask, spawn_tasks
from gateway.contracts.task import (
    CodeRaised,
    Mask,
    Prepared,
    Preparing,
    RunLog,
    Runnable,
    SpawnedTask,
    Tally,
    TaskContext,
    TaskHandler,
    unmasked,
)
from gateway.db.open import Store
from gateway.db.waiting import uninterrupted
from gateway.kernel.errors import GatewayError, TaskRefused, TransientError
from gateway.kernel.ids import RunTaskId
from gateway.queues import check_entries, enqueue


class OneShotFeed:
    """Nothing comes while the task runs (`gateway.contracts.task.Feed`). `told` hears that it has made something."""

    def __init__(self, told: Callable[[], None] = lambda: None) -> None:
        self._told = told

    async def more(self) -> bool:
        """Return False: what there is, is there."""
        return False

    async def hinted(self) -> None:
        """Wait for ever: nobody hints."""
        await asyncio.Event().wait()

    def produced(self) -> None:
        """Tell those who work on what comes."""
        self._told()

    @property
    def closed(self) -> bool:
        """Return False: a run that has begun goes on to its end, unless it is stopped."""
        return False

    @property
    def once(self) -> bool:
        """Return True: what comes later belongs to the next occurrence. Source: batch reference, section 21."""
        return True


log = structlog.get_logger()

LONGEST_ERROR: Final = 4_000
GRACE_SECONDS: Final = 10.0
"""How long code that was asked to stop, and then code that was interrupted, may take to come back."""
TIMEOUT: Final = "task.timeout"
INTERRUPTED: Final = "task.interrupted"
IDENTITY: Final = "identity"
_FIRST_FREE_SECONDS: Final = (5.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)
"""Pauses before repetitions that cost nothing. Source: batch reference, section 8, transient faults."""

Identity = Callable[[ClaimedTask], str | None]
"""Says why a task must not run as its user in its company, None when it may."""


def everybody(_: ClaimedTask) -> None:
    """Let every task run."""


@dataclass(slots=True, kw_only=True, eq=False)
class Execution:
    """A task in work. `cancelled` is set when its run is being cancelled, `interrupted` when the server must end.

    `entries` are to be added to the job queue if it ends well.
    """

    task: ClaimedTask
    entries: list[EntryDefinition] = field(default_factory=list)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    interrupted: asyncio.Event = field(default_factory=asyncio.Event)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    work: asyncio.Task[None] | None = None


class Executor:
    """Carries tasks out, each on its own; `left_behind` are those whose code does not come back.

    `produced` is told the name of what made input for others.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        runnables: Preparing,
        *,
        identity: Identity = everybody,
        grace_seconds: float = GRACE_SECONDS,
        produced: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._runnables = runnables
        self._identity = identity
        self._grace_seconds = grace_seconds
        self._produced = produced
        self._recorder = Recorder(store, clock)
        self.left_behind: set[asyncio.Task[None]] = set()

    def idempotent(self) -> Collection[str]:
        """Return the names of what an interruption costs nothing."""
        return [runnable.name for runnable in self._runnables.known() if runnable.idempotent]

    async def carry_out(self, execution: Execution, stopping: asyncio.Event) -> bool:
        """Run a task and record how it ended, however long the database is away; *stopping* ends that wait.

        Returns whether something else may start, or stop, because of it.
        """
        task = execution.task
        bound = {"job": task.job, "run_id": task.run_id, "task": task.name}
        with structlog.contextvars.bound_contextvars(**bound):
            log.debug("task.started", attempt=task.attempt, handler=task.handler)
            began = self._clock.elapsed()
            lines = StoredLog(self._store, task.run_id, task.id, task.attempt, self._clock.now)
            result = await self._result(execution, lines)
            adding = partial(self._add, task.user, execution.entries) if execution.entries else None
            end = TaskEnd(task=task, result=result, add_entries=adding, lines=lines.rest())
            ended = await uninterrupted(self._recorder.record(end, stopping))
            if ended is None:
                return True
            seconds = round(self._clock.elapsed() - began, 3)
            if result.attempt is Attempt.ENDED:
                log.info("task.ended", attempt=task.attempt, status=ended.status, seconds=seconds)
            else:
                log.warning(
                    "task.failed", attempt=task.attempt, status=ended.status, code=result.code, error=result.error,
                    seconds=seconds,
                )  # fmt: skip
            return ended.led_on

    async def _result(self, execution: Execution, lines: StoredLog) -> Result:
        """Return how the attempt ended. Never raises but for our own cancellation."""
        task = execution.task
        tally = Tally()
        try:
            if reason := self._identity(task):
                raise TaskRefused(reason, code=IDENTITY)
            async with (
                self._runnables.prepare(task.handler, task.parameters, task.parameters_version) as prepared,
                flushed_often(lines),
            ):
                context = TaskContext(
                    task=task.name, feed=OneShotFeed(partial(self._produced, task.handler)),
                    stopping=execution.stopping, tally=tally, job=task.job,
                    run_id=task.run_id, run_task_id=task.id, attempt=task.attempt,
                    planned_at=task.planned_at, company=task.company, partition=task.partition, user=task.user,
                    log=MaskedLog(lines, prepared.mask), mask=prepared.mask, spawn=partial(self._spawn, task),
                    keep_file=partial(keep_file, self._store, task.run_id, task.id),
                    enqueue=partial(self._enqueue, execution.entries, {}),
                )  # fmt: skip
                return await self._supervise(execution, prepared, context)
        except TaskRefused as error:
            return Result(attempt=Attempt.ERROR, code=error.code, error=error.message, can_help=False)
        except Exception as error:  # of the code's making, or of ours: the task has failed, the server goes on
            return _failed(error, tally, unmasked)

    async def _supervise(self, execution: Execution, prepared: Prepared, context: TaskContext) -> Result:
        """Wait for the code, its time-out, or a wish that it ends; take it back gently, then less so."""
        task, clock, runnable = execution.task, self._clock, prepared.runnable
        done = asyncio.Event()
        work = asyncio.create_task(_run(prepared.handler, context), name=f"task:{task.job}:{task.name}")
        work.add_done_callback(lambda _: done.set())
        wished = task.timeout_seconds if task.timeout_seconds is not None else runnable.timeout_seconds
        seconds = min((one for one in (wished, task.most_seconds) if one is not None), default=None)
        began = clock.elapsed()
        try:
            await clock.wait(seconds, done, execution.cancelled, execution.interrupted)
            if not done.is_set() and execution.cancelled.is_set():
                context.stopping.set()
                if runnable.cancellable:
                    await clock.wait(self._grace_seconds, done, execution.interrupted)
                else:
                    left = None if seconds is None else max(0.0, seconds - (clock.elapsed() - began))
                    await clock.wait(left, done, execution.interrupted)
            if not done.is_set():
                context.stopping.set()
                work.cancel()
                await clock.wait(self._grace_seconds, done)
        except asyncio.CancelledError:
            work.cancel()
            raise
        finally:
            if not done.is_set():
                self._leave(work, task)
        if done.is_set() and not work.cancelled():
            error = work.exception()
            if error is None:
                return Result(attempt=Attempt.ENDED, counts=context.tally.counts)
            if not isinstance(error, _Returned):
                return _failed(error, context.tally, context.mask, runnable, task)
        return self._returned(execution, seconds, context.tally)

    def _returned(self, execution: Execution, seconds: float | None, tally: Tally) -> Result:
        if execution.interrupted.is_set():
            text = "interrupted: its server was stopped while it worked on this"
            return Result(attempt=Attempt.LOST, code=INTERRUPTED, error=text, counts=tally.counts)
        if execution.cancelled.is_set():
            return Result(attempt=Attempt.CANCELED, error="stopped because its run was cancelled", counts=tally.counts)
        text = f"not done after {seconds:g} seconds, its time-out" if seconds is not None else "it was cancelled"
        return Result(attempt=Attempt.ERROR, code=TIMEOUT, error=text, counts=tally.counts)

    def _leave(self, work: asyncio.Task[None], task: ClaimedTask) -> None:
        """Do not wait any longer: its result will not count."""
        log.error("task.left_behind", handler=task.handler)
        self.left_behind.add(work)
        work.add_done_callback(self._came_back)

    def _came_back(self, work: asyncio.Task[None]) -> None:
        self.left_behind.discard(work)
        if not work.cancelled():
            work.exception()  # seen: nobody waits for it

    async def _spawn(self, task: ClaimedTask, tasks: Sequence[SpawnedTask]) -> Sequence[RunTaskId]:
        versions = {name: await self._runnables.version_of(name) for name in {spawned.run for spawned in tasks}}
        return await spawn_tasks(self._store, task, tasks, versions=versions, now=self._clock.now())

    async def _enqueue(
        self, entries: list[EntryDefinition], versions: dict[str, int], entry: EntryDefinition
    ) -> None:  # fmt: skip
        """Keep an entry until the end; *versions* are those that were asked for already."""
        if entry.parameters_version is None:
            if entry.run not in versions:
                versions[entry.run] = await self._runnables.version_of(entry.run)
            entry = replace(entry, parameters_version=versions[entry.run])
        async with self._store.reading() as connection:
            await check_entries(connection, self._store.queries, [entry])
        entries.append(entry)

    async def _add(
        self, user: str, entries: Sequence[EntryDefinition], connection: Connection, now: datetime
    ) -> None:  # fmt: skip
        await enqueue(connection, self._store.queries, entries, user=user, now=now)


class _Returned(Exception):
    """The code was interrupted by us."""


async def _run(handler: TaskHandler, context: TaskContext) -> None:
    """Run the code; nothing it raises ends more than its task."""
    try:
        await handler.run(context)
    except asyncio.CancelledError:
        raise _Returned from None
    except (SystemExit, KeyboardInterrupt) as error:
        raise RuntimeError(f"the code tried to end the whole process ({type(error).__name__})") from error


def _failed(
    error: BaseException, tally: Tally, mask: Mask, runnable: Runnable | None = None, task: ClaimedTask | None = None
) -> Result:
    """Return how the attempt failed; texts are masked whole, before they are cut."""
    code, stack = "task.error", None
    match error:
        case GatewayError():
            code, text = error.code, error.message
        case CodeRaised():
            text, stack = str(error), error.traceback
        case _:
            text, stack = f"{type(error).__name__}: {error}", "".join(traceback.format_exception(error))
    return Result(
        attempt=Attempt.ERROR,
        code=code,
        error=mask(text)[:LONGEST_ERROR],
        traceback=None if stack is None else mask(stack)[-LONGEST_TRACEBACK:],
        counts=tally.counts,
        can_help=not isinstance(error, TaskRefused),
        free_after_seconds=_free_after(error, runnable, task),
    )


def _free_after(error: BaseException, runnable: Runnable | None, task: ClaimedTask | None) -> float | None:
    """Return the pause before a repetition that costs nothing, None when the failure counts."""
    if runnable is None or task is None or not isinstance(error, TransientError):
        return None
    if not (runnable.idempotent or runnable.retryable) or task.attempt > len(_FIRST_FREE_SECONDS):
        return None
    return _FIRST_FREE_SECONDS[task.attempt - 1]


@dataclass(frozen=True, slots=True)
class MaskedLog:
    """Lines go through a mask, whole, before the log below cuts them (`gateway.contracts.task.RunLog`)."""

    below: RunLog
    mask: Mask

    def info(self, text: str) -> None:
        """Say what was done."""
        self.below.info(self.mask(text))

    def warning(self, text: str) -> None:
        """Say what somebody may want to look at."""
        self.below.warning(self.mask(text))

    def error(self, text: str) -> None:
        """Say what went wrong."""
        self.below.error(self.mask(text))
