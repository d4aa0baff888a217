"""Everything a job can run: what comes with the gateway, and what its people bring, written `module:object`."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from gateway.config.environment import fill
from gateway.config.models import Retention
from gateway.config.suggest import did_you_mean
from gateway.contracts.adapter import ReceiveAdapter
from gateway.contracts.task import UNPACK, RunLog, Runnable, TaskContext, TaskHandler
from gateway.domain.errors import GatewayError, TaskRefused
from gateway.domain.ids import PortName
from gateway.domain.states import Stage
from gateway.scheduler.tasks.command import command_runnable
from gateway.scheduler.tasks.housekeeping import housekeeping_runnable
from gateway.scheduler.tasks.http import http_runnable
from gateway.scheduler.tasks.python import PYTHON, python_runnable
from gateway.scheduler.tasks.report import report_runnable
from gateway.scheduler.tasks.services import service_runnable
from gateway.scheduler.tasks.sql import sql_runnable
from gateway.scheduler.tasks.watched import Watched
from gateway.services.python import HandlerNotFound, load_object
from gateway.services.standstill import Standstill
from gateway.store.open import Store

_MASK = "***"
_SHORTEST_SECRET = 6


class NotRunning(GatewayError):
    """Something that only a running gateway has was asked for beside one."""

    code = "gateway.not-running"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the built-in runnables need of a running gateway."""

    store: Store
    stages: Mapping[Stage, TaskHandler]
    retention: Callable[[], Retention]
    archives: Callable[[], Mapping[PortName, ReceiveAdapter]]


def shipped(base: Path, parts: Callable[[], Parts]) -> tuple[Runnable, ...]:
    """Return the runnables that come with the gateway; *base* is the folder of the configuration.

    *parts* is asked when one of them is about to run.
    """

    def stage(which: Stage) -> Callable[[], TaskHandler]:
        return lambda: parts().stages[which]

    return (
        *(service_runnable(which, stage(which)) for which in Stage),
        python_runnable(),
        command_runnable(base),
        http_runnable(),
        sql_runnable(lambda: parts().store.url),
        report_runnable(lambda: parts().store),
        housekeeping_runnable(lambda: parts().store, lambda: parts().retention(), lambda: parts().archives()),
    )


def without_gateway() -> Parts:
    """Stand for the parts where nothing is going to run: for checks and lists. Raises: NotRunning."""
    raise NotRunning("only a running gateway runs tasks")


class KnownRunnables:
    """The runnables of one gateway (`gateway.contracts.task.Runnables`). *base*: the folder of the configuration.

    *standstill* watches over the event loop while code of the users runs on it; None where nothing else would suffer.
    """

    def __init__(
        self, runnables: Iterable[Runnable], *, environ: Mapping[str, str], base: Path,
        standstill: Standstill | None = None,
    ) -> None:  # fmt: skip
        self._runnables = {runnable.name: runnable for runnable in runnables}
        self._environ = environ
        self._base = base
        self._standstill = standstill

    def known(self) -> Sequence[Runnable]:
        """Return those that have a name of their own, sorted by it."""
        return [self._runnables[name] for name in sorted(self._runnables)]

    def find(self, name: str) -> Runnable:
        """Return the runnable that *name* stands for; one of the users' own is imported now.

        Raises: TaskRefused with the code `task.unknown`.
        """
        found = self._runnables.get(name)
        if found is not None:
            return found
        if ":" not in name:
            known = ", ".join(sorted(self._runnables))
            hint = did_you_mean(name, self._runnables) or f"; known are {known}, and module:object of your own."
            raise TaskRefused(f"There is nothing named {name!a} to run{hint}", code="task.unknown")
        try:
            thing = load_object(name)
        except HandlerNotFound as error:
            raise TaskRefused(error.message, code="task.unknown") from error
        if not isinstance(thing, Runnable):
            raise TaskRefused(
                f"'{name}' is no Runnable of gateway.contracts.task; to call a function write "
                f"`run: python, with: {{call: {name}}}`.",
                code="task.unknown",
            )
        return thing

    def check(self, name: str, parameters: Mapping[str, object], version: int | None = None) -> None:
        """Make sure that a task could be prepared. Raises: TaskRefused."""
        self.find(name).check(self._filled(name, parameters)[0], version, base=self._base)

    def prepare(self, name: str, parameters: Mapping[str, object], version: int) -> TaskHandler:
        """Return a handler for one execution, with references filled; what they brought in is masked in its log.

        Raises: TaskRefused with the code `task.unknown` or `task.unpack`.
        """
        runnable = self.find(name)
        filled, secrets = self._filled(name, parameters)
        handler: TaskHandler = runnable.make(runnable.check(filled, version, base=self._base))
        if self._standstill is not None and (name == PYTHON or ":" in name):
            handler = Watched(handler, str(parameters.get("call", name)), self._standstill)
        return _Discreet(handler, secrets) if secrets else handler

    def _filled(self, name: str, parameters: Mapping[str, object]) -> tuple[Mapping[str, object], tuple[str, ...]]:
        try:
            filled = fill(parameters, self._environ, self._base)
        except ValueError as error:
            raise TaskRefused(f"The parameters of {name} cannot be filled: {error}.", code=UNPACK) from None
        return filled.value, tuple(secret for secret in filled.secrets if len(secret) >= _SHORTEST_SECRET)


class _Discreet:
    """A handler whose log and errors do not show what came from outside (`gateway.contracts.task.TaskHandler`)."""

    def __init__(self, handler: TaskHandler, secrets: tuple[str, ...]) -> None:
        self._handler = handler
        self._secrets = sorted(secrets, key=len, reverse=True)

    async def run(self, context: TaskContext) -> None:
        """Run the handler."""
        try:
            await self._handler.run(replace(context, log=_MaskedLog(context.log, self._masked)))
        except GatewayError as error:
            error.message = self._masked(error.message)
            error.args = (error.message,)
            raise

    def _masked(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, _MASK)
        return text


class _MaskedLog:
    """A log whose lines go through a mask (`gateway.contracts.task.RunLog`)."""

    def __init__(self, log: RunLog, mask: Callable[[str], str]) -> None:
        self._below = log
        self._mask = mask

    def info(self, text: str) -> None:
        """Say what was done."""
        self._below.info(self._mask(text))

    def warning(self, text: str) -> None:
        """Say what somebody may want to look at."""
        self._below.warning(self._mask(text))

    def error(self, text: str) -> None:
        """Say what went wrong."""
        self._below.error(self._mask(text))
