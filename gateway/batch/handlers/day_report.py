"""What a day brought, per port and per job."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from gateway.batch.statements import day_report_sql
from gateway.batch.statements.day_report_sql import JobDay
from gateway.db.open import Store


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
