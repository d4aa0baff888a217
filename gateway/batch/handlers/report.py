"""The runnable `report`: what a day brought, as text for people and as JSON."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Any

from pydantic import Field

from gateway.batch.statements import day_report_sql
from gateway.batch.statements.day_report_sql import JobDay
from gateway.config.models_base import Options
from gateway.config.models_jobs import Zone
from gateway.contracts.task import Runnable, TaskContext
from gateway.db.open import Store
from gateway.kernel.local_time import zone_named


@dataclass(frozen=True, slots=True, kw_only=True)
class PortDay:
    """A port on one day. The last three count what is not finished when the report is made."""

    port: str
    files: int = 0
    refused: int = 0
    bytes: int = 0
    requests: int = 0
    processed: int = 0
    sent: int = 0
    faults: int = 0
    failures: int = 0
    unfinished: int = 0
    in_error: int = 0
    held: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DayReport:
    """Everything between two moments (aware; the second is not in it)."""

    begin: datetime
    end: datetime
    ports: Sequence[PortDay] = field(default_factory=tuple)
    jobs: Sequence[JobDay] = field(default_factory=tuple)


async def read_day(store: Store, begin: datetime, end: datetime) -> DayReport:
    """Return what happened from *begin* until just before *end*, as far as it is still kept."""
    ports: dict[str, PortDay] = {}
    async with store.transaction(long=True) as connection:
        for rows in (
            await day_report_sql.report_files(connection, begin, end),
            await day_report_sql.report_messages(connection, begin, end),
            await day_report_sql.report_failures(connection, begin, end),
            await day_report_sql.report_waiting(connection),
        ):
            for row in rows:
                _add(ports, row._asdict())
        jobs = await day_report_sql.report_jobs(connection, begin, end)
    return DayReport(begin=begin, end=end, ports=[ports[name] for name in sorted(ports)], jobs=jobs)


def _add(ports: dict[str, PortDay], found: Mapping[str, object]) -> None:
    port = str(found["port"])
    ports[port] = replace(ports.get(port, PortDay(port=port)), **found)  # type: ignore[arg-type] # columns are fields


class Day(StrEnum):
    """Which day, seen from the planned start of the run."""

    TODAY = "today"  # so far
    YESTERDAY = "yesterday"


class ReportParameters(Options):
    """Which day, in which zone."""

    day: Day = Field(default=Day.YESTERDAY, description="today | yesterday, seen from the planned start.")
    zone: Zone = Field(default="UTC", description="Time zone of the day.")


class ReportTask:
    """One report (`gateway.contracts.task.TaskHandler`): two files of the run, and its main numbers in the log."""

    def __init__(self, store: Store, parameters: ReportParameters) -> None:
        self._store = store
        self._parameters = parameters

    async def run(self, context: TaskContext) -> None:
        """Make the report and keep it. Raises: StoreUnavailable, FileNotKept."""
        planned = context.planned_at or datetime.now(UTC)
        day, begin, end = bounds(planned, self._parameters)
        report = await read_day(self._store, begin, end)
        text = as_text(report, day, self._parameters.zone)
        await context.keep_file(f"report-{day}.txt", text.encode())
        await context.keep_file(f"report-{day}.json", as_json(report, day, self._parameters.zone))
        requests, failures = sum(x.requests for x in report.ports), sum(x.failures for x in report.ports)
        failed = sum(x.failed for x in report.jobs)
        context.log.info(f"{day}: {requests} requests, {failures} failures, {failed} failed runs of jobs.")
        context.tally.add("reports")


def bounds(planned: datetime, parameters: ReportParameters) -> tuple[date, datetime, datetime]:
    """Return the day, its first moment and that of the next one; a day of a clock change has 23 or 25 hours."""
    zone = zone_named(parameters.zone)
    day = planned.astimezone(zone).date()
    if parameters.day is Day.YESTERDAY:
        day -= timedelta(days=1)
    first, last = (datetime.combine(d, time(), zone).astimezone(UTC) for d in (day, day + timedelta(days=1)))
    return day, first, last


_PORT_COLUMNS = (
    "files", "refused", "requests", "processed", "sent", "faults", "failures", "unfinished", "in_error", "held",
)  # fmt: skip
_JOB_COLUMNS = ("runs", "ended", "failed", "canceled")


def as_text(report: DayReport, day: date, zone: str) -> str:
    """Write it for people."""
    ports = [("port", *(name.replace("_", " ") for name in _PORT_COLUMNS))]
    ports += [(x.port, *(str(getattr(x, name)) for name in _PORT_COLUMNS)) for x in report.ports]
    jobs: list[tuple[str, ...]] = [("job", *_JOB_COLUMNS, "longest")]
    jobs += [
        (x.job, *(str(getattr(x, name)) for name in _JOB_COLUMNS), f"{x.longest_seconds or 0:.0f} s")
        for x in report.jobs
    ]
    errors = [f"  {x.job}: {x.last_error}" for x in report.jobs if x.last_error]
    parts = [f"Report of {day} ({zone})", "", "Ports", *_table(ports), "", "Jobs", *_table(jobs)]
    if errors:
        parts += ["", "Last errors of jobs", *errors]
    return "\n".join(parts) + "\n"


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    if len(rows) == 1:
        return ["  none"]
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = []
    for name, *numbers in rows:
        cells = [cell.rjust(width) for cell, width in zip(numbers, widths[1:], strict=True)]
        lines.append("  ".join(["", name.ljust(widths[0]), *cells]))
    return lines


def as_json(report: DayReport, day: date, zone: str) -> bytes:
    """Write it for machines."""
    content = {
        "day": day.isoformat(), "zone": zone, "begin": report.begin.isoformat(), "end": report.end.isoformat(),
        "ports": [asdict(port) for port in report.ports], "jobs": [job._asdict() for job in report.jobs],
    }  # fmt: skip
    return json.dumps(content, ensure_ascii=False, indent=1).encode()


def report_runnable(store: Callable[[], Store]) -> Runnable:
    """Describe it; *store* is asked when it runs."""

    def make(parameters: Any) -> ReportTask:
        return ReportTask(store(), parameters)

    return Runnable(
        name="report",
        description="makes the report of a day",
        parameters=ReportParameters,
        make=make,
        idempotent=True,
        retryable=True,
    )
