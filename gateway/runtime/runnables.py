"""Everything a job can run: what comes with the gateway, and what its people bring, written `module:object`."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.config.environment import Filled, fill
from gateway.config.masks import masking, passwords_in
from gateway.config.models import Retention
from gateway.config.suggest import did_you_mean
from gateway.contracts.adapter import ReceiveAdapter
from gateway.contracts.task import UNPACK, Mask, Prepared, Runnable, TaskHandler
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
        sql_runnable(lambda: parts().store),
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
        self.find(name).check(self._filled(name, parameters).value, version, base=self._base)

    async def examine(self, name: str, parameters: Mapping[str, object]) -> Sequence[str]:
        """Say why a task could not work here and now. Raises: TaskRefused when it is not even in order."""
        runnable = self.find(name)
        if runnable.examine is None:
            return ()
        filled = self._filled(name, parameters)
        mask = masking((*filled.secrets, *passwords_in(filled.value)))
        return [mask(text) for text in await runnable.examine(runnable.check(filled.value, base=self._base))]

    def prepare(self, name: str, parameters: Mapping[str, object], version: int) -> Prepared:
        """Return a handler for one execution, with references filled; its mask knows what they brought in.

        Raises: TaskRefused with the code `task.unknown` or `task.unpack`; NotRunning.
        """
        runnable = self.find(name)
        filled = self._filled(name, parameters)
        mask = masking((*filled.secrets, *passwords_in(filled.value)))
        handler = self._made(runnable, filled.value, version, mask)
        if self._standstill is not None and (name == PYTHON or ":" in name):
            handler = Watched(handler, str(parameters["call"]) if name == PYTHON else name, self._standstill)
        return Prepared(handler, mask)

    def _made(self, runnable: Runnable, parameters: Mapping[str, object], version: int, mask: Mask) -> TaskHandler:
        """Check the parameters and make the handler; what the code of the users says of it is masked."""
        try:
            return runnable.make(runnable.check(parameters, version, base=self._base))
        except TaskRefused as error:
            raise TaskRefused(mask(error.message), code=error.code) from None
        except GatewayError:
            raise
        except Exception as error:  # of the code of the users: neither its text nor its traceback may be shown as it is
            text = f"{runnable.name} cannot be made of its parameters: {type(error).__name__}: {error}"
            raise TaskRefused(mask(text), code=UNPACK) from None

    def _filled(self, name: str, parameters: Mapping[str, object]) -> Filled:
        try:
            return fill(parameters, self._environ, self._base)
        except ValueError as error:
            raise TaskRefused(f"The parameters of {name} cannot be filled: {error}.", code=UNPACK) from None
