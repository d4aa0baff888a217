"""What people want to hear of: events of jobs and ports, who is told, and in which words.

Source: batch reference, section 11; rulings, "Scheduler".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from enum import StrEnum

from gateway.batch.rules.job import HistoryMode
from gateway.kernel.ids import EntryId, JobId, PortName, RunId


class AlertEvent(StrEnum):
    """What a user may ask to be told of."""

    ENDED = "ended"  # an occurrence went well
    ERROR = "error"  # an occurrence failed; a folder of a port cannot be used, or its services do not work
    FINISHED = "finished"  # an occurrence went well or failed; never happens by itself
    CANCELED = "canceled"  # an occurrence was cancelled
    OVERRUN = "overrun"  # an occurrence ended after the next one should have begun
    OVERDUE = "overdue"  # nothing ran, or nothing came in, although it was time
    LONG_RUNNING = "long_running"  # an occurrence takes longer than it should


class Channel(StrEnum):
    """How a user is told."""

    POPUP = "popup"  # an entry in the inbox, to be marked as read
    EMAIL = "email"
    WEBHOOK = "webhook"  # a signed POST to the address of the site
    COMMAND = "command"  # a command of the site, with the alert as JSON on its standard input


OUTCOMES = frozenset({AlertEvent.ENDED, AlertEvent.ERROR, AlertEvent.CANCELED})
"""How an occurrence can come out."""
PORT_EVENTS = frozenset({AlertEvent.OVERDUE, AlertEvent.ERROR})
"""What a port can tell of itself."""
ENTRY_EVENTS = frozenset({AlertEvent.ENDED, AlertEvent.ERROR, AlertEvent.FINISHED})
"""What a job queue entry can tell of itself."""

_ALSO = {AlertEvent.ENDED: AlertEvent.FINISHED, AlertEvent.ERROR: AlertEvent.FINISHED}
_JOB_SAYS = {
    AlertEvent.ENDED: "ended well",
    AlertEvent.ERROR: "failed",
    AlertEvent.FINISHED: "finished",
    AlertEvent.CANCELED: "was cancelled",
    AlertEvent.OVERRUN: "ran into its next start",
    AlertEvent.OVERDUE: "did not start in time",
    AlertEvent.LONG_RUNNING: "takes long",
}
_PORT_SAYS = {AlertEvent.OVERDUE: "received nothing", AlertEvent.ERROR: "does not work"}


@dataclass(frozen=True, slots=True, kw_only=True)
class RaisedEvent:
    """One thing that happened to a job (with `job_id`), a job queue entry (`entry_id`), a port (`port`), or the
    configuration (none of them).

    Shape: `name` is that of the job, port or file; `since` is the moment that tells two happenings of one kind apart
    where there is no run: the planned start, the last file, the begin of the trouble. `text` says why, in one or
    two sentences. Times are aware UTC. `history` is the mode of the job.
    """

    event: AlertEvent
    name: str
    at: datetime
    job_id: JobId | None = None
    entry_id: EntryId | None = None
    port: PortName | None = None
    run_id: RunId | None = None
    since: datetime | None = None
    planned_at: datetime | None = None
    started_at: datetime | None = None
    text: str = ""
    by: str | None = None
    partition: str = ""
    company: str = ""
    category: str | None = None
    is_critical: bool = False
    history: HistoryMode = HistoryMode.ALWAYS

    @property
    def key(self) -> str:
        """Name it once and for all: the same happening, told again, has the same name."""
        if self.run_id is not None:
            return f"run:{self.run_id}:{self.event}"
        about = (
            f"port:{self.port}" if self.port is not None
            else f"job:{self.job_id}" if self.job_id is not None
            else f"entry:{self.entry_id}" if self.entry_id is not None
            else "config"
        )  # fmt: skip
        return f"{about}:{self.event}:{(self.since or self.at).isoformat()}"

    @property
    def asked_as(self) -> tuple[AlertEvent, ...]:
        """Return the events of a rule that this answers."""
        also = _ALSO.get(self.event) if self.port is None else None
        return (self.event,) if also is None else (self.event, also)

    @property
    def subject(self) -> str:
        """Say what happened in one line."""
        critical = "Critical: " if self.is_critical else ""
        if self.port is not None:
            return f"{critical}Port {self.name} {_PORT_SAYS.get(self.event, self.event)}"
        if self.entry_id is not None:
            return f"Job queue: {self.name} {_JOB_SAYS[self.event]}"
        if self.job_id is None:
            return f"The configuration {self.name} was refused"
        by = f" by {self.by}" if self.by is not None and self.event is AlertEvent.CANCELED else ""
        return f"{critical}Job {self.name} {_JOB_SAYS[self.event]}{by}"

    @property
    def body(self) -> str:
        """Say it with everything a person needs to go and look, a line each, but for the times: see `in_words`."""
        lines = [f"{self.subject}.", ""]
        if self.text:
            lines += [self.text, ""]
        about = len(lines)
        if self.partition:
            lines.append(f"Partition {self.partition}, company {self.company}")
        if self.category:
            lines.append(f"Category: {self.category}")
        if len(lines) > about:
            lines.append("")
        lines.append(self._look)
        return "\n".join(lines)

    @property
    def _look(self) -> str:
        if self.port is not None:
            return f"See: port {self.name}"
        if self.entry_id is not None:
            return f"See: job queue entry {self.entry_id}"
        if self.job_id is None:
            return "See: the configuration"
        return f"See: job {self.name}" if self.run_id is None else f"See: run {self.run_id} of job {self.name}"

    @property
    def facts(self) -> Mapping[str, object]:
        """Return the same for machines, as JSON can hold it."""
        moments = {"planned_at": self.planned_at, "started_at": self.started_at, "at": self.at}
        return {
            "event": self.event.value,
            "job": self.name if self.job_id is not None else None,
            "entry": self.name if self.entry_id is not None else None,
            "port": self.port,
            "run_id": self.run_id,
            "text": self.text,
            "by": self.by,
            "partition": self.partition,
            "company": self.company,
            "category": self.category,
            "critical": self.is_critical,
            **{name: None if moment is None else moment.isoformat() for name, moment in moments.items()},
        }

    def is_told(self, *, ax_alerts: bool) -> bool:
        """Tell whether anybody may hear of it.

        Rule: always; with *ax_alerts* the outcome of an occurrence is told only where its history is kept: never
        with `never`, and with `errors` only when it failed or was cancelled. That nothing ran is told regardless.
        Source: batch reference, sections 11.1 and 26 (G20, G33).
        """
        if not ax_alerts or self.event not in OUTCOMES:
            return True
        match self.history:
            case HistoryMode.ALWAYS:
                return True
            case HistoryMode.ERRORS:
                return self.event is not AlertEvent.ENDED
            case HistoryMode.NEVER:
                return False


def in_words(body: str, facts: Mapping[str, object], *, zone: tzinfo, site: str | None = None) -> str:
    """Return the text of an alert for one person: its times in *zone*, and the site that it comes from.

    Shape: body and facts of a `RaisedEvent`, the latter as JSON gives them back.
    """
    lines = [body.rstrip(), ""]
    for what, key in (("Planned", "planned_at"), ("Started", "started_at"), ("Happened", "at")):
        if isinstance(moment := facts.get(key), str):
            lines.append(f"{what}: {datetime.fromisoformat(moment).astimezone(zone):%Y-%m-%d %H:%M:%S %Z}")
    if site is not None:
        lines.append(f"Site: {site}")
    return "\n".join(lines)
