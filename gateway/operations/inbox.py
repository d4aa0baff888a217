"""The report inbox of a person: documents that were printed for them to read."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from gateway.kernel.remedy import Action, do
from gateway.operations.audit import recorded
from gateway.operations.principal import OperatorSession
from gateway.operations.references import NotFound


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A report. `run_id` is the run that made it, None: none did. `opened_at` None: nobody has read it."""

    id: int
    name: str
    size_bytes: int
    run_id: int | None
    made_at: datetime
    opened_at: datetime | None


async def reports(session: OperatorSession, *, limit: int = 50) -> Sequence[Report]:
    """Return the reports of a person, newest first."""
    async with session.store.reading() as connection:
        rows = await connection.fetch(session.store.queries.list_reports, session.partition, session.actor, limit)
    return [Report(**dict(row)) for row in rows]


async def open_report(session: OperatorSession, number: int) -> tuple[str, bytes]:
    """Return name and content of a report, which counts as opened then. Raises: NotFound."""
    async with session.store.transaction() as connection:
        row = await connection.fetchrow(session.store.queries.open_report, session.partition, session.actor, number)
    if row is None:
        raise _unknown(session, number)
    return row["name"], row["content"]


async def delete_report(session: OperatorSession, number: int) -> str:
    """Remove a report; the document can be printed again. Returns its name. Raises: NotFound."""
    async with recorded(session, "report.delete", str(number)) as note:
        async with session.store.transaction() as connection:
            name: str | None = await connection.fetchval(
                session.store.queries.delete_report, session.partition, session.actor, number
            )
        if name is None:
            raise _unknown(session, number)
        note.text = name
    return name


def _unknown(session: OperatorSession, number: int) -> NotFound:
    missing = NotFound(f"there is no report {number} in the inbox of {session.actor}")
    return missing.remedied(do(Action.LIST_REPORTS, then="It shows those there."))
