"""How job queue entries and their log are shown to people."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from rich.text import Text

from gateway.cli.render import Fields, Part, Rows, dim
from gateway.cli.timeline import shown_duration
from gateway.operations.entries import EntryReport, EntryRow
from gateway.queues import EntryRun, EntryStatus, KeptBy, standing

_STYLES: Final = {
    EntryStatus.READY: "cyan", EntryStatus.WAITING: "cyan", EntryStatus.IN_PROCESS: "bold green",
    EntryStatus.ERROR: "bold red", EntryStatus.FINISHED: "green",
}  # fmt: skip
_KEPT: Final = {
    KeptBy.STOPPED: "the queue {row.queue} is stopped",
    KeptBy.NO_QUEUE: "no queue takes it any more; {row.last_queue} did",
    KeptBy.USER: "{row.user} has as many in process as a user may have",
}
_LOG: Final = {"executing": "in process", "cancelling": "in process", "ended": "success", "error": "error",
               "canceled": "cancelled"}  # fmt: skip
_LOG_STYLES: Final = {"success": "green", "error": "bold red", "in process": "bold green"}


def entries_table(rows: Sequence[EntryRow], now: datetime, *, nothing: str = "", title: str = "") -> Rows:
    """Return entries as a table."""
    return Rows(
        ("entry", "name", "runs", "status", "why", "category", "priority", "next start", "attempts", "user", "from"),
        [
            (row.id, row.name, row.description or row.run, status_of(row), why(row), row.category, row.priority,
             _due(row, now), f"{row.attempts}/{row.max_attempts}" if row.max_attempts else None, row.user, row.source)
            for row in rows
        ],
        nothing, title, narrow=("entry", "name", "runs", "status", "why", "next start"),
    )  # fmt: skip


def entry_parts(found: EntryReport, now: datetime) -> list[Part]:
    """Return everything about an entry, with its last runs."""
    row, said = found.entry, found.definition
    fields = Fields(
        [
            ("description", row.description if row.description not in {row.name, row.run} else None),
            ("status", status_of(row)),
            ("why", why(row)),
            ("runs", row.run),
            ("with", dict(said.parameters) or None),
            ("about", row.record),
            ("as", row.user),
            ("made by", row.created_by if row.created_by != row.user else None),
            ("repeats", row.repeats),
            ("next start", _due(row, now)),
            ("expires", row.expires),
            ("category", row.category),
            ("priority", row.priority),
            ("queue", row.queue),
            ("attempts", f"{row.attempts} of {row.max_attempts} further ones" if row.max_attempts else None),
            ("rerun delay", f"{said.rerun_delay_seconds:g} s" if said.rerun_delay_seconds else None),
            ("sleeps", f"{said.inactivity_minutes} minutes after nothing to do" if said.inactivity_minutes else None),
            ("wakes on", list(said.wakes_on) or None),
            ("time-out", f"{said.timeout_seconds:g} s" if said.timeout_seconds is not None else None),
            ("output", said.output if said.output != "print" else None),
            ("company", row.company),
            ("partition", row.partition),
            ("from", row.source),
            ("run under way", row.run_id),
            ("last error", row.error if row.status is not EntryStatus.ERROR else None),
        ],
        title=row.name or f"Entry {row.id}",
    )  # fmt: skip
    return [fields, log_table(found.runs, now, nothing="It has not run yet.", title="\nLast runs")]


def log_table(rows: Sequence[EntryRun], now: datetime, *, nothing: str, title: str = "") -> Rows:
    """Return the log of entries as a table."""
    return Rows(
        ("run", "entry", "category", "runs", "user", "server", "started", "took", "status", "error"),
        [
            (row.run_id, row.entry, row.category, row.description or row.run, row.user, row.server, row.started_at,
             shown_duration((row.ended_at or now) - row.started_at), _outcome(row.status), row.error)
            for row in rows
        ],
        nothing, title, narrow=("run", "runs", "started", "took", "status", "error"),
    )  # fmt: skip


def stacks(runs: Sequence[EntryRun]) -> list[Part]:
    """Return where runs failed."""
    return [dim(run.traceback.rstrip()) for run in runs if run.traceback]


def status_of(row: EntryRow) -> Text:
    """Return the status of an entry, with what will become of it after its run."""
    return Text(
        standing(row.status) + (", then on hold" if row.held_after else ""), style=_STYLES.get(row.status, "yellow")
    )


def why(row: EntryRow) -> str | None:
    """Say what an entry waits for, or why it failed; None when the status says it all."""
    match row.status:
        case EntryStatus.READY | EntryStatus.WAITING | EntryStatus.INACTIVE if row.kept_by is not None:
            return _KEPT[row.kept_by].format(row=row)
        case EntryStatus.WAITING:
            return f"entry {row.held_by} of {row.category} is in process" if row.held_by else "woken in a moment"
        case EntryStatus.READY | EntryStatus.ERROR:
            return row.error
        case EntryStatus.IN_PROCESS:
            return f"run {row.run_id}"
    return None


def _due(row: EntryRow, now: datetime) -> object:
    if row.next_start is None or row.next_start > now:
        return row.next_start
    return "now"


def _outcome(status: str) -> Text:
    word = _LOG.get(status, status)
    return Text(word, style=_LOG_STYLES.get(word, "yellow"))
