"""The runnable `python`: a function of one's own, `async` or plain."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, cast

from pydantic import Field

from gateway.config.models_base import Options, Text
from gateway.contracts.task import RunLog, Runnable, SpawnedTask, TaskContext
from gateway.domain.errors import TaskFailed, TaskRefused
from gateway.domain.ids import RunTaskId
from gateway.services.own_thread import OwnThread
from gateway.services.python import HandlerNotFound, load_object

PYTHON = "python"
_SHOWN_CHARACTERS = 500


class PythonParameters(Options):
    """What to call, and with what."""

    call: Text = Field(description="The function, written module:function.")
    arguments: Mapping[Text, object] = Field(default_factory=dict, description="Its keyword arguments.")


@dataclass(frozen=True, slots=True)
class ThreadContext:
    """What a plain function gets as its `context`: a task's context for use from its own thread."""

    of: TaskContext
    loop: asyncio.AbstractEventLoop

    @property
    def log(self) -> RunLog:
        """Return the log of the run."""
        return self.of.log

    @property
    def stopping(self) -> bool:
        """Tell whether the function should end at its next safe point."""
        return self.of.stopping.is_set()

    def count(self, what: str, number: int = 1) -> None:
        """Count something that was done."""
        self.loop.call_soon_threadsafe(self.of.tally.add, what, number)

    def keep_file(self, name: str, content: bytes) -> None:
        """Keep a file with the run. Raises: FileNotKept."""
        self._wait(self.of.keep_file(name, content))

    def spawn(self, tasks: Sequence[SpawnedTask]) -> Sequence[RunTaskId]:
        """Add tasks to the run. Raises: TaskRefused."""
        return cast("Sequence[RunTaskId]", self._wait(self.of.spawn(tasks)))

    def idempotency_key(self, step: str = "") -> str:
        """Name one step of this task for systems outside."""
        return self.of.idempotency_key(step)

    def _wait(self, work: Awaitable[Any]) -> Any:
        future: Future[Any] = asyncio.run_coroutine_threadsafe(_as_coroutine(work), self.loop)
        return future.result()


async def _as_coroutine(work: Awaitable[Any]) -> Any:
    return await work


class PythonTask:
    """One call of a function (`gateway.contracts.task.TaskHandler`).

    An `async` function runs on the event loop and must not block it (see `watched`); a plain one has a thread of its
    own. A parameter named `context` gets the task's context, a `ThreadContext` in the thread. A mapping of names to
    whole numbers that comes back is counted; anything else but None is told in the log. An interrupted plain function
    gets an exception and is left behind when it does not end by that.
    """

    def __init__(self, parameters: PythonParameters) -> None:
        self._parameters = parameters

    async def run(self, context: TaskContext) -> None:
        """Call the function to its end.

        Raises: TaskRefused when it cannot be imported or called so; whatever it raises.
        """
        function = self._load()
        if inspect.iscoroutinefunction(function):
            result = await function(**self._arguments(function, context))
        else:
            held = ThreadContext(context, asyncio.get_running_loop())
            result = await _in_thread(lambda: function(**self._arguments(function, held)), self._parameters.call)
        _tell(result, context)

    def _load(self) -> Callable[..., Any]:
        try:
            function = load_object(self._parameters.call)
        except HandlerNotFound as error:
            raise TaskRefused(error.message, code="python.call") from error
        if not callable(function):
            raise TaskRefused(f"'{self._parameters.call}' is not a function.", code="python.call")
        return cast("Callable[..., Any]", function)

    def _arguments(self, function: Callable[..., Any], context: object) -> Mapping[str, object]:
        signature = inspect.signature(function)
        arguments = dict(self._parameters.arguments)
        if "context" in signature.parameters:
            arguments["context"] = context
        try:
            signature.bind(**arguments)
        except TypeError as error:
            raise TaskRefused(f"'{self._parameters.call}' cannot be called so: {error}.", code="python.call") from None
        return arguments


async def _in_thread(function: Callable[[], object], name: str) -> object:
    thread = OwnThread(function, name=name)
    try:
        await asyncio.wait({thread.ended})
    finally:
        if not thread.ended.done():
            thread.leave_behind()
    result, error = thread.ended.result()
    if isinstance(error, SystemExit | KeyboardInterrupt):
        raise TaskFailed(f"'{name}' tried to end the whole gateway ({type(error).__name__}).", code="python.exit")
    if error is not None:
        raise error
    return result


def _tell(result: object, context: TaskContext) -> None:
    if isinstance(result, Mapping) and all(type(number) is int for number in result.values()):
        for what, number in result.items():
            context.tally.add(str(what), number)
    elif result is not None:
        context.log.info(f"It returned {context.mask(repr(result))[:_SHOWN_CHARACTERS]}.")


def python_runnable() -> Runnable:
    """Describe it."""
    return Runnable(
        name=PYTHON, description="calls a function in Python", parameters=PythonParameters, make=_make, retryable=True
    )


def _make(parameters: Any) -> PythonTask:
    return PythonTask(parameters)
