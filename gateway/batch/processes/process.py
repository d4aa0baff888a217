"""Tasks that run code of the users: each in a process of its own, as the gateway sees it. `inside` is the other side.

The process is launched for one execution and ends with it, whatever the code does: a block, a crash, memory without
end, `os._exit` cost this execution and nothing else. What the task runs with goes over the link, so that no secret
stands in arguments, in the environment or on the disk.
"""

import asyncio
import pickle
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, time
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from gateway.batch.rules.definition import EntryDefinition
from gateway.batch.rules.job import ConditionType, Priority, Wanted
from gateway.config.models import Logging
from gateway.contracts.task import CodeRaised, Runnable, SpawnedTask, TaskContext, TaskHandler
from gateway.kernel.errors import GatewayError, TaskFailed, TaskRefused, TransientError
from gateway.kernel.ids import RunTaskId
from gateway.workers.launcher import Child, Launcher, ending, launched
from gateway.workers.link import Link

TASK: Final = "task"
"""The role of these processes."""
EXIT: Final = "task.exit"
LOAD_SECONDS: Final = 60.0
"""Longest time for importing a runnable of the users; how long it may run is known only then."""
_END_SECONDS: Final = 5.0
"""Between SIGTERM and SIGKILL."""
_LAST_WORDS_SECONDS: Final = 1.0
_KNOWN: Final = ("task", "job", "run_id", "run_task_id", "attempt", "planned_at", "company", "partition", "user")
"""What a context knows; the rest of it does something, which has to come back here."""
ENDED, STOPPED = "ended", "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What the process is given: what to run, and with which filled parameters."""

    name: str
    parameters: Mapping[str, object]
    version: int | None
    base: Path
    secrets: Sequence[str]
    logging: Logging


class TaskProcess:
    """A process for one task."""

    def __init__(self, child: Child, link: Link) -> None:
        self._child = child
        self._link = link

    @classmethod
    @asynccontextmanager
    async def launch(cls, launcher: Launcher) -> AsyncIterator["TaskProcess"]:
        """Start one; it is gone at the end of the block. Raises: NotLaunched."""
        async with launched(launcher, TASK) as (child, link):
            yield cls(child, link)

    async def load(self, name: str) -> Runnable:
        """Let it import a runnable of the users; returns one that says of itself what that does, and makes nothing.

        Raises: TaskRefused as `own_runnable`; TaskFailed when it does not come back.
        """
        self._link.tell("load", name)
        try:
            async with asyncio.timeout(LOAD_SECONDS):
                message = await self._link.receive()
        except TimeoutError:
            raise TaskFailed(f"{name} was not imported within {LOAD_SECONDS:g} seconds.", code="task.load") from None
        if message is None:
            status = await self._child.end(seconds=_LAST_WORDS_SECONDS)
            raise TaskFailed(f"The process that imported {name} {ending(status)}.", code=EXIT)
        if message.kind == "failed":
            raise _error(*message.fields)
        return Runnable(name=name, description="", parameters=BaseModel, make=_makes_nothing, **message.fields[0])

    def handler(self, work: Work) -> TaskHandler:
        """Return what runs this work in the process, once."""
        return _Running(self._child, self._link, work)


@dataclass(frozen=True, slots=True)
class _Running:
    """One execution (`gateway.contracts.task.TaskHandler`).

    Interrupted, the process gets SIGTERM, by which an `async` function is cancelled and a plain one left by an
    exception; five seconds later SIGKILL.
    """

    child: Child
    link: Link
    work: Work

    async def run(self, context: TaskContext) -> None:
        """Let the process run it to its end.

        Raises: what the code raised, as TransientError, TaskRefused, TaskFailed or CodeRaised; TaskFailed when the
        process ended without a result.
        """
        self.link.tell("run", body=pickle.dumps((self.work, {name: getattr(context, name) for name in _KNOWN})))
        hearing = asyncio.create_task(self._hear(context), name="task:hear")
        stopping = asyncio.create_task(self._pass_on(context.stopping), name="task:stopping")
        try:
            try:
                either: set[asyncio.Future[Any]] = {hearing, self.child.ended}
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
                interrupted = False
            except asyncio.CancelledError:
                interrupted = True
                self.child.send_signal(signal.SIGTERM)
                await asyncio.wait({hearing}, timeout=_END_SECONDS)
            if self.child.ended.done():  # something that it started may hold its end of the link open
                await asyncio.wait({hearing}, timeout=_LAST_WORDS_SECONDS)
            said = hearing.result() if hearing.done() else None
            if said == ENDED:
                return
            if interrupted:
                raise asyncio.CancelledError
            status = -signal.SIGTERM if said == STOPPED else await self.child.end(seconds=_LAST_WORDS_SECONDS)
            raise TaskFailed(f"Its process {ending(status)} and gave no result.", code=EXIT)
        finally:
            hearing.cancel()
            stopping.cancel()

    async def _pass_on(self, stopping: asyncio.Event) -> None:
        await stopping.wait()
        self.link.tell("stop")

    async def _hear(self, context: TaskContext) -> str | None:
        """Do for the code what it asks for; returns how it has ended, None when its process did so without a word.

        Raises: what it raised.
        """
        say = {"info": context.log.info, "warning": context.log.warning, "error": context.log.error}
        async for message in self.link.messages():
            match message.kind, message.fields:
                case "line", (str(severity), str(text)):
                    say[severity](text)
                case "counts", (dict(counts),):
                    context.tally.counts.update(counts)
                case "keep", (int(number), str(name)):
                    await self._answer(number, context.keep_file(name, message.body))
                case "spawn", (int(number), list(tasks)):
                    await self._answer(number, _spawn(context, tasks))
                case "enqueue", (int(number), dict(entry)):
                    await self._answer(number, context.enqueue(_entry(entry)))
                case "failed", fields:
                    raise _error(*fields)
                case _:
                    return message.kind
        return None

    async def _answer(self, number: int, work: Awaitable[object]) -> None:
        result, error = None, None
        try:
            result = await work
        except Exception as caught:  # it is for the code that asked
            error = caught
        self.link.tell("answer", number, body=pickle.dumps((result, error)))


async def _spawn(context: TaskContext, tasks: Sequence[Mapping[str, Any]]) -> Sequence[RunTaskId]:
    def spawned(fields: Mapping[str, Any]) -> SpawnedTask:
        priority = fields["priority"]
        return SpawnedTask(**{
            **fields,
            "priority": None if priority is None else Priority(priority),
            "after": {name: Wanted(wanted) for name, wanted in fields["after"].items()},
            "condition_type": ConditionType(fields["condition_type"]),
        })  # fmt: skip

    return await context.spawn([spawned(fields) for fields in tasks])


def _entry(fields: Mapping[str, Any]) -> EntryDefinition:
    """Return an entry as the code made it; values that it cannot have are refused by whoever adds it."""
    read: Mapping[str, Callable[[Any], Any]] = {
        "earliest": datetime.fromisoformat, "expires": datetime.fromisoformat, "starting": time.fromisoformat,
        "ending": time.fromisoformat, "weekdays": tuple, "wakes_on": tuple,
    }  # fmt: skip
    return EntryDefinition(**{
        name: value if value is None or name not in read else read[name](value) for name, value in fields.items()
    })  # fmt: skip


def _error(kind: str, code: str, text: str, traceback: str) -> Exception:
    """Return what stands here for an error there."""
    kinds: Mapping[str, type[GatewayError]] = {
        "transient": TransientError, "refused": TaskRefused, "known": TaskFailed,
    }  # fmt: skip
    return kinds[kind](text, code=code) if kind in kinds else CodeRaised(text, traceback)


def _makes_nothing(_: object) -> TaskHandler:
    raise AssertionError("its handler is made in the process that has imported it")
