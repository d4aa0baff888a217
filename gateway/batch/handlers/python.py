"""The runnable `python`: a function of one's own, `async` or plain. It runs in a process of its own, see `inside`."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol, cast

from pydantic import Field

from gateway.batch.rules.definition import EntryDefinition
from gateway.config.models_base import Options, Text
from gateway.contracts.task import RunLog, Runnable, SpawnedTask, TaskContext
from gateway.kernel.errors import TaskRefused
from gateway.kernel.ids import RunTaskId
from gateway.messaging.services.python import HandlerNotFound, load_object

PYTHON = "python"
_SHOWN_CHARACTERS = 500


class PythonParameters(Options):
    """What to call, and with what."""

    call: Text = Field(description="The function, written module:function.")
    arguments: Mapping[Text, object] = Field(default_factory=dict, description="Its keyword arguments.")


class Asking(Protocol):
    """Asks the gateway for what only it can do. The answer comes later; it is awaited, or waited for."""

    def keep_file(self, name: str, content: bytes) -> Future[None]:
        """Keep a file with the run. Raises: FileNotKept."""
        ...

    def spawn(self, tasks: Sequence[SpawnedTask]) -> Future[Sequence[RunTaskId]]:
        """Add tasks to the run. Raises, with the answer: TaskRefused."""
        ...

    def enqueue(self, entry: EntryDefinition) -> Future[None]:
        """Let an entry be added when the task has ended well. Raises, with the answer: EntryRefused, TaskRefused."""
        ...


@dataclass(frozen=True, slots=True)
class PlainContext:
    """What a plain function gets as its `context`: a task's context that nobody has to await."""

    of: TaskContext
    asking: Asking

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
        self.of.tally.add(what, number)

    def keep_file(self, name: str, content: bytes) -> None:
        """Keep a file with the run. Raises: FileNotKept."""
        self.asking.keep_file(name, content).result()

    def spawn(self, tasks: Sequence[SpawnedTask]) -> Sequence[RunTaskId]:
        """Add tasks to the run. Raises: TaskRefused."""
        return self.asking.spawn(tasks).result()

    def enqueue(self, entry: EntryDefinition) -> None:
        """Let an entry be added to the job queue when the task has ended well. Raises: EntryRefused, TaskRefused."""
        self.asking.enqueue(entry).result()

    def idempotency_key(self, step: str = "") -> str:
        """Name one step of this task for systems outside."""
        return self.of.idempotency_key(step)


class PythonTask:
    """One call of a function: by `run` when it is `async` (`gateway.contracts.task.TaskHandler`), else by `call`.

    A parameter named `context` gets the task's context, a plain function a `PlainContext`. A mapping of names to whole
    numbers that comes back is counted; anything else but None is told in the log. Raises: TaskRefused when there is no
    such function.
    """

    def __init__(self, parameters: PythonParameters) -> None:
        self._parameters = parameters
        self._function = _load(parameters.call)

    @property
    def is_async(self) -> bool:
        """Tell whether the function wants an event loop."""
        return inspect.iscoroutinefunction(self._function)

    async def run(self, context: TaskContext) -> None:
        """Call an `async` function to its end. Raises: TaskRefused when it cannot be called so; whatever it raises."""
        _tell(await self._function(**self._arguments(context)), context)

    def call(self, context: TaskContext, asking: Asking) -> None:
        """Call a plain function to its end. Raises: TaskRefused when it cannot be called so; whatever it raises."""
        _tell(self._function(**self._arguments(PlainContext(context, asking))), context)

    def _arguments(self, context: object) -> Mapping[str, object]:
        signature = inspect.signature(self._function)
        arguments = dict(self._parameters.arguments)
        if "context" in signature.parameters:
            arguments["context"] = context
        try:
            signature.bind(**arguments)
        except TypeError as error:
            raise TaskRefused(f"'{self._parameters.call}' cannot be called so: {error}.", code="python.call") from None
        return arguments


def _load(call: str) -> Callable[..., Any]:
    try:
        function = load_object(call)
    except HandlerNotFound as error:
        raise TaskRefused(error.message, code="python.call") from error
    if not callable(function):
        raise TaskRefused(f"'{call}' is not a function.", code="python.call")
    return cast("Callable[..., Any]", function)


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
