"""Everything a job can run: what comes with the gateway, and what its people bring, written `module:object`."""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from gateway.batch.handlers.batch_post import batch_post_runnable
from gateway.batch.handlers.command import command_runnable
from gateway.batch.handlers.http import http_runnable
from gateway.batch.handlers.own import make_handler, own_runnable
from gateway.batch.handlers.post import post_runnable
from gateway.batch.handlers.print import print_runnable
from gateway.batch.handlers.python import PYTHON, python_runnable
from gateway.batch.handlers.report import report_runnable
from gateway.batch.handlers.sql import sql_runnable
from gateway.batch.handlers.status_messages import status_messages_runnable
from gateway.batch.housekeeping.task import housekeeping_runnable
from gateway.batch.processes.process import TaskProcess, Work
from gateway.config.environment import Filled, fill
from gateway.config.masks import masking, passwords_in
from gateway.config.models import Logging, Settings
from gateway.config.models_base import Options
from gateway.config.suggest import did_you_mean
from gateway.contracts.adapter import ReceiveAdapter
from gateway.contracts.task import UNPACK, Prepared, Runnable, TaskHandler
from gateway.db.open import Store
from gateway.exchange import MessageStores
from gateway.kernel.errors import GatewayError, TaskRefused
from gateway.kernel.ids import PortName
from gateway.messaging.rules.states import Stage
from gateway.queues.posting.service import PostingService
from gateway.workers.launcher import Launcher


class NotRunning(GatewayError):
    """Something that only a running gateway has was asked for beside one."""

    code = "gateway.not-running"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependencies:
    """What the built-in runnables need of a running gateway. `launcher` None: for checks, which run nothing."""

    store: Store
    stages: Mapping[Stage, TaskHandler]
    settings: Callable[[], Settings]
    archives: Callable[[], Mapping[PortName, ReceiveAdapter]]
    message_stores: MessageStores
    launcher: Launcher | None = None


def shipped(base: Path, parts: Callable[[], Dependencies]) -> tuple[Runnable, ...]:
    """Return the runnables that come with the gateway; *base* is the folder of the configuration.

    *parts* is asked when one of them is about to run.
    """

    def stage(which: Stage) -> Callable[[], TaskHandler]:
        return lambda: parts().stages[which]

    def posting() -> PostingService:
        return PostingService(store=parts().store, settings=parts().settings(), launcher=parts().launcher)

    return (
        *(service_runnable(which, stage(which)) for which in Stage),
        python_runnable(),
        command_runnable(base),
        http_runnable(),
        sql_runnable(lambda: parts().store),
        report_runnable(lambda: parts().store),
        housekeeping_runnable(lambda: parts().store, lambda: parts().settings().retention, lambda: parts().archives()),
        post_runnable(posting),
        batch_post_runnable(posting),
        print_runnable(posting),
        status_messages_runnable(lambda: parts().store, lambda: parts().message_stores),
    )


def without_gateway() -> Dependencies:
    """Stand for the parts where nothing is going to run: for checks and lists. Raises: NotRunning."""
    raise NotRunning("only a running gateway runs tasks")


class KnownRunnables:
    """The runnables of one gateway, for those who check (`gateway.contracts.task.Runnables`).

    *base*: the folder of the configuration.
    """

    def __init__(self, runnables: Iterable[Runnable], *, environ: Mapping[str, str], base: Path) -> None:
        self._runnables = {runnable.name: runnable for runnable in runnables}
        self._environ = environ
        self._base = base

    def known(self) -> Sequence[Runnable]:
        """Return those that have a name of their own, sorted by it."""
        return [self._runnables[name] for name in sorted(self._runnables)]

    def find(self, name: str) -> Runnable:
        """Return the runnable that *name* stands for; one of the users' own is imported now.

        Raises: TaskRefused with the code `task.unknown`.
        """
        return own_runnable(name) if self._is_own(name) else self._runnables[name]

    def check(self, name: str, parameters: Mapping[str, object], version: int | None = None) -> None:
        """Make sure that a task could be prepared. Raises: TaskRefused."""
        self.find(name).check(self._filled(name, parameters).value, version, base=self._base)

    async def examine(self, name: str, parameters: Mapping[str, object]) -> Sequence[str]:
        """Say why a task could not work here and now. Raises: TaskRefused when it is not even in order."""
        runnable = self.find(name)
        if runnable.examine is None:
            return ()
        filled = self._filled(name, parameters)
        mask = masking(filled.secrets)
        return [mask(text) for text in await runnable.examine(runnable.check(filled.value, base=self._base))]

    def _is_own(self, name: str) -> bool:
        """Tell whether *name* stands for a runnable of the users. Raises: TaskRefused when it stands for nothing."""
        if name in self._runnables or ":" in name:
            return name not in self._runnables
        known = ", ".join(sorted(self._runnables))
        hint = did_you_mean(name, self._runnables) or f"; known are {known}, and module:object of your own."
        raise TaskRefused(f"There is nothing named {name!a} to run{hint}", code="task.unknown")

    def _filled(self, name: str, parameters: Mapping[str, object]) -> Filled:
        """Fill references; what they brought in, and passwords in addresses, are the secrets."""
        try:
            filled = fill(parameters, self._environ, self._base)
        except ValueError as error:
            raise TaskRefused(f"The parameters of {name} cannot be filled: {error}.", code=UNPACK) from None
        return replace(filled, secrets=(*filled.secrets, *passwords_in(filled.value)))


class PreparedRunnables(KnownRunnables):
    """The runnables of one gateway, for the one who runs them (`gateway.contracts.task.Preparing`).

    Code of the users runs, and is imported, in processes that *launcher* starts. *logging* is asked at each start.
    """

    def __init__(
        self, runnables: Iterable[Runnable], *, environ: Mapping[str, str], base: Path, launcher: Launcher,
        logging: Callable[[], Logging],
    ) -> None:  # fmt: skip
        super().__init__(runnables, environ=environ, base=base)
        self._launcher = launcher
        self._logging = logging

    async def version_of(self, name: str) -> int:
        """Return the version of the parameters that a runnable takes. Raises: TaskRefused."""
        if not self._is_own(name):
            return self._runnables[name].version
        async with TaskProcess.launch(self._launcher) as process:
            return (await process.load(name)).version

    @asynccontextmanager
    async def prepare(
        self, name: str, parameters: Mapping[str, object], version: int | None
    ) -> AsyncIterator[Prepared]:
        """Return a handler for one execution, in the block; its mask knows what references brought in.

        Raises: TaskRefused with the code `task.unknown` or `task.unpack`; NotRunning; NotLaunched.
        """
        is_own = self._is_own(name)
        filled = self._filled(name, parameters)
        mask = masking(filled.secrets)
        if not is_own and name != PYTHON:
            runnable = self._runnables[name]
            handler = make_handler(runnable, filled.value, version, mask=mask, base=self._base)
            yield Prepared(runnable, handler, mask)
            return
        async with TaskProcess.launch(self._launcher) as process:
            runnable = await process.load(name) if is_own else self._runnables[name]
            work = Work(
                name=name, parameters=filled.value, version=version, base=self._base, secrets=filled.secrets,
                logging=self._logging(),
            )  # fmt: skip
            yield Prepared(runnable, process.handler(work), mask)


_DOES = {
    Stage.RECEIVE: "takes files from inbound folders into the queue",
    Stage.INBOUND: "runs the services that requests call",
    Stage.OUTBOUND: "makes messages of send requests",
    Stage.SEND: "delivers responses and other messages as files",
}


class NoParameters(Options):
    """A service handles what it finds: there is nothing to say."""


def service_runnable(stage: Stage, handler: Callable[[], TaskHandler]) -> Runnable:
    """Describe a stage; *handler* returns the one of this gateway.

    An interruption costs nothing: every stage goes on from the store.
    """
    return Runnable(
        name=stage.value,
        description=_DOES[stage],
        parameters=NoParameters,
        make=lambda _: handler(),
        idempotent=True,
        retryable=True,
        timeout_seconds=None,
    )
