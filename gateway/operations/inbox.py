"""The report inbox of a person: documents that were printed for them to read."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from gateway.db.open import Store
from gateway.operations.audit import recorded
from gateway.operations.person import Principal
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


async def reports(store: Store, who: Principal, *, limit: int = 50) -> Sequence[Report]:
    """Return the reports of a person, newest first."""
    async with store.reading() as connection:
        rows = await connection.fetch(store.queries.list_reports, who.partition, who.name, limit)
    return [Report(**dict(row)) for row in rows]


async def open_report(store: Store, who: Principal, number: int) -> tuple[str, bytes]:
    """Return name and content of a report, which counts as opened then. Raises: NotFound."""
    async with store.transaction() as connection:
        row = await connection.fetchrow(store.queries.open_report, who.partition, who.name, number)
    if row is None:
        raise _unknown(who, number)
    return row["name"], row["content"]


async def delete_report(store: Store, who: Principal, number: int) -> str:
    """Remove a report; the document can be printed again. Returns its name. Raises: NotFound."""
    async with recorded(store, who, "report.delete", str(number)) as note:
        async with store.transaction() as connection:
            name: str | None = await connection.fetchval(store.queries.delete_report, who.partition, who.name, number)
        if name is None:
            raise _unknown(who, number)
        note.text = name
    return name


def _unknown(who: Principal, number: int) -> NotFound:
    return NotFound(f"there is no report {number} in the inbox of {who.name}; `gateway inbox list` shows those there")
