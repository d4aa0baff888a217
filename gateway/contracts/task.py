"""The seam between the scheduler and everything it runs: one task, one call."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, ValidationError

from gateway.batch.rules.definition import EntryDefinition
from gateway.batch.rules.job import ConditionType, Priority, Wanted
from gateway.kernel.errors import TaskRefused
from gateway.kernel.ids import RunId, RunTaskId

UNPACK = "task.unpack"
"""Code of a task whose stored parameters cannot be read: trying again cannot help, so it uses no retries."""

_NO_RUN = RunId(0)
_NO_TASK = RunTaskId(0)


class Feed(Protocol):
    """Tells a task whether more input may come while it runs.

    Two implementations: in a timed occurrence the earlier task has already ended, so nothing more comes; in an
    event-driven job the earlier tasks stream beside this one.
    """

    async def more(self) -> bool:
        """Wait for a hint that there is new input (True).

        False when none can come or none has come for a while, or a stop was asked for: the task ends. It runs again
        at the next hint.
        """
        ...

    async def hinted(self) -> None:
        """Wait for the next hint only, while this task still has work of its own under way."""
        ...

    def produced(self) -> None:
        """Tell the tasks behind this one that there is input for them."""
        ...

    @property
    def closed(self) -> bool:
        """Tell whether the job was put on hold: a task that brings in new work ends here."""
        ...

    @property
    def once(self) -> bool:
        """Tell whether a task that brings in new work takes only what is there at its start."""
        ...


@dataclass(slots=True, kw_only=True)
class Tally:
    """What a run did, counted while it goes; shown live and kept in history.

    Rule: keys are words of the glossary in the plural, e.g. `files`, `messages`, `failed`, `responses`.
    """

    counts: dict[str, int] = field(default_factory=dict)

    def add(self, what: str, number: int = 1) -> None:
        """Count *number* more of *what*."""
        if number:
            self.counts[what] = self.counts.get(what, 0) + number

    @property
    def idle(self) -> bool:
        """True while nothing at all was done: such a run leaves no history."""
        return not self.counts


class RunLog(Protocol):
    """The lines a task says about its work; kept below its run and its attempt. May be called from any thread."""

    def info(self, text: str) -> None:
        """Say what was done."""
        ...

    def warning(self, text: str) -> None:
        """Say what somebody may want to look at."""
        ...

    def error(self, text: str) -> None:
        """Say what went wrong; the task goes on, and ends well unless it raises."""
        ...


class NullRunLog:
    """The log of a task whose run is not kept (`RunLog`)."""

    def info(self, text: str) -> None:
        """Drop the line."""

    def warning(self, text: str) -> None:
        """Drop the line."""

    def error(self, text: str) -> None:
        """Drop the line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpawnedTask:
    """A task that a running task adds to its own run.

    Rule: its name is unique in the run. It inherits company, group, priority and user of the task that spawns it
    where it names none, is tried once, and is gone when the run has ended. `after` are conditions on tasks of the
    same call, by name. Everything that waits for the spawning task waits for it too.
    Source: batch reference, section 9.
    """

    name: str
    run: str
    parameters: Mapping[str, object] = field(default_factory=dict)
    description: str = ""
    company: str | None = None
    batch_group: str | None = None
    priority: Priority | None = None
    after: Mapping[str, Wanted] = field(default_factory=dict)
    condition_type: ConditionType = ConditionType.ALL
    ignore_failure: bool = False
    timeout_seconds: float | None = None


Mask = Callable[[str], str]
"""Write `***` in a text for what must not be shown."""


def unmasked(text: str) -> str:
    """Return the text as it is: nothing in it is secret."""
    return text


KeepFile = Callable[[str, bytes], Awaitable[None]]
"""Keep a file with the run, under a name; the same name again replaces it.

Raises: FileNotKept when the name or the size is not allowed.
"""

Spawn = Callable[[Sequence[SpawnedTask]], Awaitable[Sequence[RunTaskId]]]
"""Add tasks to the run, all of them visible at once; returns their numbers in the order given.

Raises: TaskRefused when one cannot be added; then none is.
"""


Enqueue = Callable[[EntryDefinition], Awaitable[None]]
"""Let an entry be added to the job queue when the task has ended well, in the transaction that records this end.

Rule: it runs as the user of the task. An attempt that fails, is interrupted or loses its server adds nothing. Where the
entry cannot be added any more by then, because there is one about the same record, the attempt has failed.
Raises: EntryRefused, TaskRefused for what cannot be an entry, or runs nothing that is known.
"""


async def _keep_nothing(name: str, content: bytes) -> None:
    """Drop the file: nobody keeps the run."""


async def _spawn_nothing(tasks: Sequence[SpawnedTask]) -> Sequence[RunTaskId]:
    raise TaskRefused("Tasks can be added only to a run of a timed job.", code="task.spawn")


async def _enqueue_nothing(entry: EntryDefinition) -> None:
    raise TaskRefused("Entries can be added only by the run of a timed job, or of an entry.", code="task.enqueue")


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskContext:
    """What a task may know of its run, and what it may do with it.

    `stopping` is set when the task should end at its next safe point: the gateway stops, or the job was cancelled.
    `attempt` counts executions from 1. `planned_at` is when the run should have started (aware UTC), None when
    nothing planned it. `mask` goes over a text before it is cut: the log and errors are masked anyway, but half a
    secret is not known as one. `run_id` and `run_task_id` are 0 in an event-driven job.
    """

    task: str
    feed: Feed
    stopping: asyncio.Event
    tally: Tally
    job: str = ""
    run_id: RunId = _NO_RUN
    run_task_id: RunTaskId = _NO_TASK
    attempt: int = 1
    planned_at: datetime | None = None
    company: str = ""
    partition: str = ""
    user: str = ""
    log: RunLog = field(default_factory=NullRunLog)
    mask: Mask = unmasked
    keep_file: KeepFile = _keep_nothing
    spawn: Spawn = _spawn_nothing
    enqueue: Enqueue = _enqueue_nothing

    def idempotency_key(self, step: str = "") -> str:
        """Name one step of this task for systems outside: the same in every attempt, another in every run."""
        return f"{self.job}/{self.run_id}/{self.run_task_id}" + (f"/{step}" if step else "")


class TaskHandler(Protocol):
    """The code behind a task.

    Before: conditions of the task are met, its batch group may run here. After a normal return the task is
    Ended; any exception makes it Error. A crash in the middle may run it again: a handler keeps its progress
    in the store, not in itself.
    """

    async def run(self, context: TaskContext) -> None:
        """Do the task's work until its input is empty and no more can come, or a stop is asked for."""
        ...


Examine = Callable[[Any], Awaitable[Sequence[str]]]  # Any: each takes its own model
"""Say why parameters that are in order cannot work here and now, without doing anything: a sentence each."""
Upgrade = Callable[[int, Mapping[str, object]], Mapping[str, object]]
"""Turn parameters of an older version (its number first) into those of the present one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runnable:
    """A kind of task: what a job may run, with the parameters it takes.

    Parameters are stored with the version they were written for, as they were written: `${…}` in them is filled
    when the task runs, so that no secret is stored. `make` gets the parameters, checked, and returns a handler for
    one execution. `timeout_seconds` is for tasks that set no limit of their own; None: no limit.

    Rule: a task that is not `cancellable` is asked to stop and never interrupted, but for its time-out. An
    `idempotent` one may be run again after an interruption at no cost; a `retryable` one decides with its error:
    a TransientError is tried again without using up the task's retries. One that does not `allows_recurrence`
    belongs into jobs that run once.
    Source: batch reference, sections 5 and 8.
    """

    name: str
    description: str
    parameters: type[BaseModel]
    make: Callable[[Any], TaskHandler]  # Any: each takes its own model
    version: int = 1
    upgrade: Upgrade | None = None
    examine: Examine | None = None
    cancellable: bool = True
    idempotent: bool = False
    retryable: bool = False
    allows_recurrence: bool = True
    timeout_seconds: float | None = 12 * 3600.0

    def check(
        self, parameters: Mapping[str, object], version: int | None = None, *, base: Path | None = None
    ) -> BaseModel:
        """Return the parameters as a record of the present version; paths in them are taken from *base*.

        Raises: TaskRefused with the code `task.unpack` when the version is unknown or they are not in order.
        """
        given = self.version if version is None else version
        if given != self.version:
            parameters = self._upgraded(parameters, given)
        try:
            return self.parameters.model_validate(dict(parameters), context={"base": base})
        except ValidationError as error:
            raise TaskRefused(
                f"The parameters of {self.name} are not in order: {_problems(error)}.", code=UNPACK
            ) from None

    def _upgraded(self, parameters: Mapping[str, object], given: int) -> Mapping[str, object]:
        if given > self.version or given < 1 or self.upgrade is None:
            raise TaskRefused(
                f"The parameters were stored for version {given} of {self.name}; this gateway has version "
                f"{self.version} and cannot read them. Enter them again.",
                code=UNPACK,
            )
        try:
            return self.upgrade(given, parameters)
        except (KeyError, TypeError, ValueError) as error:
            raise TaskRefused(
                f"The parameters of {self.name}, version {given}, cannot be brought to version {self.version}: "
                f"{type(error).__name__}: {error}.",
                code=UNPACK,
            ) from error


def _problems(error: ValidationError) -> str:
    """List what is wrong without showing values: they may be secrets."""
    found = [
        (".".join(str(part) for part in problem["loc"]), problem["msg"]) for problem in error.errors(include_url=False)
    ]
    return "; ".join(f"{place}: {text}" if place else text for place, text in found)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A handler for one execution, of which kind it is, and what must be taken out of everything that it says."""

    runnable: Runnable
    handler: TaskHandler
    mask: Mask = unmasked


class CodeRaised(Exception):
    """What code raised in a process of its own: the text and the traceback, as they were there."""

    def __init__(self, text: str, traceback: str) -> None:
        super().__init__(text)
        self.traceback = traceback


class Runnables(Protocol):
    """Everything that can be run, by name, for those who check what is written."""

    def find(self, name: str) -> Runnable:
        """Return the runnable that *name* stands for: a built-in name, or `module:object`, which is imported.

        Raises: TaskRefused with the code `task.unknown` saying what exists.
        """
        ...


class Preparing(Protocol):
    """Everything that can be run, for those who run it: no code of the users gets into their process."""

    def prepare(
        self, name: str, parameters: Mapping[str, object], version: int | None
    ) -> AbstractAsyncContextManager[Prepared]:
        """Return a handler for one execution, in the block: references filled, everything checked that can be here.

        Raises: TaskRefused with the code `task.unknown` or `task.unpack`.
        """
        ...

    async def version_of(self, name: str) -> int:
        """Return the version of the parameters that the runnable of this name takes. Raises: TaskRefused."""
        ...

    def known(self) -> Sequence[Runnable]:
        """Return those that have a name of their own, sorted by it."""
        ...
