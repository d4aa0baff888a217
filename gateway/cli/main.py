"""The command `gateway`: puts all commands together and turns bugs into exit code 3."""

import os
import sys
import traceback
from collections.abc import Mapping
from importlib import import_module
from typing import Annotated, Final

import typer
from typer.main import get_command

from gateway.cli.common import BUG, INTERRUPTED, KNOWN_ERROR
from gateway.cli.guard import guard, trouble_of_machine
from gateway.runtime.visible import visible
from gateway.workers.limits import forbid_core_dumps

HELP = (
    "A file gateway. Partners drop XML files into folders. Each request is processed once and gets one response file."
    "\n\nStart with `gateway init my-site`, then `gateway run` in that folder. All unfinished messages are kept in "
    "PostgreSQL (embedded, unless the configuration names another), so nothing is lost when a machine fails."
)
EPILOG = "Exit codes: 0 done, 1 known error, 2 wrong usage, 3 a bug in the gateway, 130 interrupted."

START: Final = "Start"
EXCHANGE: Final = "Exchange"
OPERATE: Final = "Operate"
BATCH: Final = "Batch jobs"
POSTING: Final = "Posting"
_COMMANDS: Final[Mapping[str, tuple[str, str, str]]] = {
    "init": (START, "init", "init"),
    "check": (START, "check", "check"),
    "run": (START, "run", "run"),
    "demo": (START, "demo", "demo"),
    "submit": (EXCHANGE, "submit", "submit"),
    "send": (EXCHANGE, "send", "send_documents"),
    "watch": (EXCHANGE, "watch", "watch"),
    "status": (OPERATE, "status", "status"),
    "nodes": (OPERATE, "status", "nodes"),
    "ports": (OPERATE, "status", "ports_app"),
    "explain": (OPERATE, "explain", "explain"),
    "doctor": (OPERATE, "explain", "doctor"),
    "queue": (OPERATE, "queue", "app"),
    "lanes": (OPERATE, "lanes", "app"),
    "exceptions": (OPERATE, "exceptions", "app"),
    "history": (OPERATE, "history", "app"),
    "audit": (OPERATE, "audit", "audit"),
    "jobs": (BATCH, "jobs", "app"),
    "tasks": (BATCH, "tasks", "app"),
    "runs": (BATCH, "runs", "app"),
    "queues": (BATCH, "entries", "queues_app"),
    "entries": (BATCH, "entries", "app"),
    "alerts": (BATCH, "alerts", "app"),
    "groups": (BATCH, "servers", "groups_app"),
    "sessions": (EXCHANGE, "sessions", "app"),
    "status-messages": (EXCHANGE, "sessions", "messages_app"),
    "servers": (BATCH, "servers", "app"),
    "documents": (POSTING, "documents", "app"),
    "inbox": (POSTING, "inbox", "app"),
    "db": (OPERATE, "db", "app"),
    "schema": (START, "check", "schema"),
    "version": (START, "version", "version"),
}
"""Each command: where the help shows it, its module in this package, and what stands for it there."""


def commands(only: str | None = None) -> typer.Typer:
    """Put the commands together: all, or that one, because to import all takes longer than most of them run."""
    app = typer.Typer(
        name="gateway", help=HELP, epilog=EPILOG, no_args_is_help=True, add_completion=True,
        pretty_exceptions_enable=False, invoke_without_command=True,
        context_settings={"help_option_names": ["--help", "-h"]},
    )  # fmt: skip
    app.callback()(_any)  # a single command stays one that is named
    for name, (panel, module, attribute) in _COMMANDS.items():
        if only in (None, name):
            found = getattr(import_module(f"gateway.cli.{module}"), attribute)
            if isinstance(found, typer.Typer):
                app.add_typer(found, name=name, rich_help_panel=panel)
            else:
                app.command(name, rich_help_panel=panel)(found)
    return app


def _any(
    version: Annotated[bool, typer.Option("--version", help="Print the version and end.", is_eager=True)] = False,
) -> None:
    if version:
        import_module("gateway.cli.version").version()
        raise typer.Exit


def main() -> None:
    """Run one command; never returns normally without having set the exit code."""
    forbid_core_dumps()
    asked = sys.argv[1] if len(sys.argv) > 1 else None
    os.umask(os.umask(0o022) | 0o002)  # whatever the account's habit: nothing that everybody may write
    try:
        guard(get_command(commands(asked if asked in _COMMANDS else None)))()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has gone; nobody is left to tell
        sys.exit(0)
    except Exception as error:  # the last resort: what is not a known error is a bug of ours
        if (trouble := trouble_of_machine(error)) is not None:
            sys.stderr.write(f"Error: {visible(trouble)}\n")
            sys.exit(KNOWN_ERROR)
        traceback.print_exc()
        sys.stderr.write("\nThis is a bug in the gateway. Please report it with the lines above.\n")
        sys.exit(BUG)


if __name__ == "__main__":
    main()
