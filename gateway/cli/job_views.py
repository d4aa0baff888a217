"""How jobs are shown to people."""

from datetime import datetime

from rich.console import Group
from rich.text import Text

from gateway.batch.rules.job import JobMode
from gateway.cli.graph import task_tree
from gateway.cli.render import console, job_status, print_fields, print_rows
from gateway.cli.timeline import shown_duration
from gateway.operations.jobs import JobReport, JobRow


def print_job(found: JobReport, now: datetime) -> None:
    """Print everything about a job: what it is, its tasks as a tree, its last runs."""
    out = console()
    print_fields(_fields(found), title=found.job.name)
    statuses = {name: task.status for name, task in found.tasks.items()}
    shown = f"  as in run {found.runs[0].id}" if statuses and found.runs else ""
    title = Text.assemble(("Tasks", "bold"), (shown, "dim"))
    out.print(Group(Text(), task_tree(title, found.definition.tasks, statuses)))
    if found.runs:
        rows = [
            (run.id, job_status(run.status), run.planned_at, run.started_at,
             shown_duration((run.ended_at or now) - run.started_at), run.cause, run.counts, run.error)
            for run in found.runs
        ]  # fmt: skip
        columns = ("run", "status", "planned", "started", "took", "cause", "counts", "error")
        narrow = ("run", "status", "started", "took", "error")
        print_rows(columns, rows, nothing="", title="\nLast runs", narrow=narrow)


def _fields(found: JobReport) -> list[tuple[str, object]]:
    job, definition = found.job, found.definition
    parents = [f"{one.parent} ({one.wanted.value.replace('_', ' ')})" for one in definition.dependencies]
    alerts = [f"{one.user}: {', '.join(one.events)} by {', '.join(one.channels)}" for one in definition.alerts]
    return [
        ("description", job.description if job.description != job.name else None),
        ("status", status_of(job)),
        ("repeats", repeats_in_words(job)),
        ("next starts", found.next_starts),
        ("after", parents or None),
        ("active period", definition.active_period),
        ("company", job.company),
        ("partition", job.partition),
        ("owner", job.owner),
        ("runs as", definition.run_as),
        ("group", job.group),
        ("priority", definition.priority),
        ("history", definition.history),
        ("category", job.category),
        ("critical", "yes" if job.critical else None),
        ("private", "yes" if job.private else None),
        ("from", job.source),
        ("alerts", alerts or None),
        ("runs", f"{job.runs}, {job.failures} failed"),
    ]


def repeats_in_words(job: JobRow) -> str:
    """Return how a job repeats."""
    return job.repeats or ("when work appears" if job.mode is JobMode.EVENT else "once")


def status_of(job: JobRow) -> Text:
    """Return the status of a job, with what will become of it after its run."""
    return job_status(job.status, ", then on hold" if job.held_after else "")


def due(job: JobRow, now: datetime) -> object:
    """Return when a job starts next; None when nothing is planned as it stands."""
    if job.next_start is None:
        return None
    return "now" if job.next_start <= now else job.next_start
