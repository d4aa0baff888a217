"""Posting in the background: a document waits for an entry of a job queue, and its status follows that entry.

Source: batch reference, section 20.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from asyncpg import Connection

from gateway.batch.rules.definition import EntryDefinition
from gateway.batch.rules.job import ReportOutput
from gateway.config.models_posting import Posting
from gateway.db.open import Store
from gateway.kernel.ids import EntryId
from gateway.queues.adding import enqueue
from gateway.queues.changes import Became, EntryChange
from gateway.queues.posting.posting import DocumentName, Poster
from gateway.queues.rules.documents import Kind, OwnKind, Side, Wanted

POST: Final = "post"
"""The runnable that posts one document."""
PRINT: Final = "print"
"""The runnable that prints what its run has posted."""
_STATUS: Final = {
    Became.READIED: "scheduled",
    Became.STARTED: "posting",
    Became.RETRIED: "scheduled",
    Became.FAILED: "error",
}
"""Blank where none is named."""


async def schedule(
    connection: Connection, poster: Poster, name: DocumentName, wanted: Wanted, *, user: str, now: datetime,
    printed: bool, output: ReportOutput,
) -> EntryId:  # fmt: skip
    """Let a document be posted by an entry, as *user*, and then *printed* by it, to *output*; returns its number.

    Rule: a time-out is not tried again: posting may have come half way outside of the database.
    Raises: DocumentUnknown, DocumentBusy; EntryRefused for a category that does not exist.
    """
    held = await poster.lock(connection, name)
    await connection.execute(poster.sql.delete_failed_entry, held.rec_id)
    dates = {"posting_date": wanted.posting_date, "document_date": wanted.document_date}
    entry = EntryDefinition(
        run=POST,
        parameters={
            "kind": name.kind.name, "number": name.number, "move": wanted.move, "invoice": wanted.invoice,
            "print": False,  # its second task does that
            **{option: day.isoformat() for option, day in dates.items() if day is not None},
        },
        parameters_version=1,
        description=f"Post {name.title}",
        record=f"{name.kind.name}/{name.partition}/{name.company}/{name.number}",
        partition=name.partition,
        company=name.company,
        category=_category(poster.posting, name),
        timeout_seconds=poster.posting.timeout_seconds,
        retries_timeout=False,
        output=output,
        then_run=PRINT if printed and isinstance(name.kind, Kind) else None,
    )  # fmt: skip
    (number,) = await enqueue(connection, poster.sql, [entry], user=user, now=now)
    await connection.execute(poster.sql.schedule_posting, held.rec_id, number)
    return number


def _category(posting: Posting, name: DocumentName) -> str | None:
    if isinstance(name.kind, OwnKind):
        return name.kind.category
    return posting.sales_category if name.kind.side is Side.CUSTOMER else posting.purchase_category


async def follow_documents(store: Store, connection: Connection, changes: Sequence[EntryChange], _: datetime) -> None:
    """Let documents follow (`gateway.queues.follow.Follower`)."""
    about = [change for change in changes if change.record is not None]
    if about:
        await connection.execute(
            store.queries.follow_entries, [change.entry for change in about],
            [_STATUS.get(change.became) for change in about],
            [change.error if change.became is Became.FAILED else None for change in about],
        )  # fmt: skip
