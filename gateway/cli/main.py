"""The command `gateway`: puts all commands together and turns bugs into exit code 3."""

import sys
import traceback

import typer

from gateway.cli import (
    alerts,
    db,
    demo,
    doctor,
    exceptions,
    explain,
    groups,
    history,
    init,
    jobs,
    lanes,
    nodes,
    queue,
    run,
    runs,
    send,
    servers,
    status,
    submit,
    tasks,
    watch,
)
from gateway.cli.common import BUG, INTERRUPTED

HELP = (
    "A file gateway: partners drop XML files into folders, every request is processed once, every request gets one "
    "response file.\n\n"
    "Start with `gateway init my-site`, then `gateway run` in that folder. Everything that comes in is kept in a queue "
    "in PostgreSQL (embedded, unless the configuration names another), so nothing is lost when a machine fails."
)
EPILOG = "Exit codes: 0 done, 1 known error, 2 wrong usage, 3 a bug in the gateway, 130 interrupted."

app = typer.Typer(
    name="gateway",
    help=HELP,
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)

START = "Start"
EXCHANGE = "Exchange"
OPERATE = "Operate"
BATCH = "Batch jobs"

app.command("init", rich_help_panel=START)(init.init)
app.command("check", rich_help_panel=START)(run.check)
app.command("run", rich_help_panel=START)(run.run)
app.command("demo", rich_help_panel=START)(demo.demo)
app.command("submit", rich_help_panel=EXCHANGE)(submit.submit)
app.command("send", rich_help_panel=EXCHANGE)(send.send_documents)
app.command("watch", rich_help_panel=EXCHANGE)(watch.watch)
app.command("status", rich_help_panel=OPERATE)(status.status)
app.command("nodes", rich_help_panel=OPERATE)(nodes.nodes)
app.command("ports", rich_help_panel=OPERATE)(status.ports)
app.command("explain", rich_help_panel=OPERATE)(explain.explain)
app.command("doctor", rich_help_panel=OPERATE)(doctor.doctor)
app.add_typer(queue.app, name="queue", rich_help_panel=OPERATE)
app.add_typer(lanes.app, name="lanes", rich_help_panel=OPERATE)
app.add_typer(exceptions.app, name="exceptions", rich_help_panel=OPERATE)
app.add_typer(history.app, name="history", rich_help_panel=OPERATE)
app.add_typer(jobs.app, name="jobs", rich_help_panel=BATCH)
app.add_typer(tasks.app, name="tasks", rich_help_panel=BATCH)
app.add_typer(runs.app, name="runs", rich_help_panel=BATCH)
app.add_typer(alerts.app, name="alerts", rich_help_panel=BATCH)
app.add_typer(groups.app, name="groups", rich_help_panel=BATCH)
app.add_typer(servers.app, name="servers", rich_help_panel=BATCH)
app.add_typer(db.app, name="db", rich_help_panel=OPERATE)
app.command("schema", rich_help_panel=START)(run.schema)
app.command("version", rich_help_panel=START)(run.version)


def main() -> None:
    """Run one command; never returns normally without having set the exit code."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has gone; nobody is left to tell
        sys.exit(0)
    except Exception:  # the last resort: what is not a known error is a bug of ours
        traceback.print_exc()
        sys.stderr.write("\nThis is a bug in the gateway. Please report it with the lines above.\n")
        sys.exit(BUG)


if __name__ == "__main__":
    main()
