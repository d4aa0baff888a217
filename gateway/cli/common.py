"""What all commands share: exit codes, the configuration, and the store on which a person works."""

import asyncio
import os
import pwd
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from contextvars import copy_context
from datetime import UTC
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

import typer
from rich.text import Text

from gateway.cli.remedies import worded
from gateway.cli.render import SHOWN_ZONE, console
from gateway.config.load import load
from gateway.config.models import Level, LogFormat, Logging, Settings
from gateway.contracts.task import Runnables
from gateway.db.clock import database_clock
from gateway.db.data_folder import Use
from gateway.db.open import open_store
from gateway.kernel.errors import ConfigError, GatewayError, StoreBusy, StoreUnavailable
from gateway.operations.principal import OperatorSession, Principal, principal_of, zone_of
from gateway.queues import follow_runs
from gateway.runtime.in_use import SiteConfig, read_site_config
from gateway.runtime.logs import configure_logs, secrets_of
from gateway.runtime.visible import visible, visible_lines

Result = TypeVar("Result")

KNOWN_ERROR: Final = 1
_NO_DATABASE: Final = (
    "Start the PostgreSQL that `store` in the configuration names. An embedded one is started by `gateway run`, and "
    "again when it ends; data/postgres.log tells of it. A running gateway goes on by itself when the database answers, "
    "and nothing is lost."
)
BUG: Final = 3
INTERRUPTED: Final = 130

COMMAND_LOGS: Final = Logging(level=Level.WARNING, format=LogFormat.CONSOLE)


def perform(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a command to its end; trouble that we know becomes one clear message and exit code 1.

    Raises: typer.Exit; anything unknown passes and becomes exit code 3 in `main`.
    """
    context = copy_context()
    try:
        with asyncio.Runner() as runner:
            return runner.run(work, context=context)
    except GatewayError as error:
        fail(error)
    except ExceptionGroup as group:
        known = _known(group)
        if known is None:
            raise
        fail(known)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    finally:
        # What was learned of the person while working counts for showing what came of it.
        SHOWN_ZONE.set(context.get(SHOWN_ZONE, UTC))


def _known(group: ExceptionGroup[Exception]) -> GatewayError | None:
    """Return the known error that ended several tasks together, None when one of them ended by something else."""
    known, unknown = group.split(GatewayError)
    if known is None or unknown is not None:
        return None
    first: Exception = known
    while isinstance(first, ExceptionGroup):
        first = first.exceptions[0]
    return first if isinstance(first, GatewayError) else None


def fail(error: GatewayError) -> NoReturn:
    """Tell a known error and end with exit code 1."""
    out = console(error=True)
    if isinstance(error, ConfigError):
        for problem in error.problems:
            out.print(Text(visible(str(problem))), soft_wrap=True)
        count = len(error.problems)
        out.print(Text(f"The configuration has {count} problem{'s' if count != 1 else ''}.", style="bold red"))
    else:
        out.print(Text.assemble(("Error: ", "bold red"), visible_lines(error.message)), soft_wrap=True)
        if isinstance(error, StoreUnavailable) and not isinstance(error, StoreBusy):
            out.print(Text(_NO_DATABASE), soft_wrap=True)
    if error.remedies:
        out.print(Text(visible(worded(*error.remedies))), soft_wrap=True)
    raise typer.Exit(KNOWN_ERROR)


def consent(question: str) -> None:
    """Ask the person at the terminal. Raises: typer.Exit unless they agree, and where there is no terminal."""
    if not (at_terminal() and typer.confirm(question)):
        console(error=True).print(
            Text("Nothing was changed. --yes does it without asking.", style="bold"), soft_wrap=True
        )
        raise typer.Exit(KNOWN_ERROR)


def at_terminal() -> bool:
    """Tell whether there is somebody who can be asked."""
    return sys.stdin.isatty()


def load_settings(config: Path, runnables: Callable[[Path], Runnables] | None = None) -> Settings:
    """Read the configuration file for a command that needs all of it; only warnings are logged from here on.

    Handlers of one's own are looked for in the folder of the configuration, after the installed packages. Only
    with *runnables* what tasks run is looked up, which imports those of one's own, and their parameters are checked.
    Raises: ConfigError.
    """
    find_handlers_beside(config)
    settings = load(config, os.environ, runnables=None if runnables is None else runnables(config))
    configure_logs(COMMAND_LOGS, secrets_of(settings))
    return settings


def load_site(config: Path) -> SiteConfig:
    """Return what the gateway that runs here uses, else what the file says; tell when the file is broken.

    Only warnings are logged from here on. Raises: ConfigError.
    """
    find_handlers_beside(config)
    found = read_site_config(config)
    configure_logs(COMMAND_LOGS, secrets_of(found.settings))
    if count := len(found.problems):
        text = (
            f"Warning: {visible(found.problems[0])}{f', and {count - 1} more' if count > 1 else ''}. The running "
            "gateway has refused the file and goes on with the configuration from before; so does this command."
        )
        console(error=True).print(Text(text, style="yellow"), soft_wrap=True)
    return found


def find_handlers_beside(config: Path) -> None:
    """Let `module:object` in a configuration mean a module that lies beside it."""
    folder = str(config.absolute().parent)
    if folder not in sys.path:
        sys.path.append(folder)


@asynccontextmanager
async def open_session(
    config: Path, *, partition: str | None = None, mine: bool = False, reason: str | None = None, shared: bool = False
) -> AsyncIterator[OperatorSession]:
    """Open the store for a short visit of the person at the terminal: beside a running gateway, or alone.

    With *shared* they look at what all partitions share, which nobody is refused: the queue, its lanes, the history.
    Raises: ConfigError, StoreRefused, StoreUnavailable; NotAllowed for a partition that is closed to them.
    """
    found = await asyncio.to_thread(load_site, config)
    settings = found.settings
    account = await asyncio.to_thread(account_of, settings)
    SHOWN_ZONE.set(zone_of(settings, account))
    async with open_store(settings.store, settings.data, pool_size=3, use=Use.VISIT) as store:
        follow_runs(store)
        if shared:
            who = Principal(name=account, partition=settings.default_partition, reason=reason)
        else:
            who = principal_of(settings, account, partition=partition, mine=mine, reason=reason)
        now = await database_clock(store)
        yield OperatorSession(store=store, settings=settings, principal=who, now=now, config_problems=found.problems)


def account_of(settings: Settings) -> str:
    """Return who asks: the owner of this process, named as the owner of a file would be."""
    uid = os.getuid()
    try:
        account = pwd.getpwuid(uid).pw_name
    except KeyError:
        account = str(uid)
    return settings.users.get(uid) or settings.users.get(account) or account
