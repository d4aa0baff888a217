"""Posting in the background: a document waits for an entry of a job queue, and its status follows that entry.

Source: batch reference, section 20.
"""

from datetime import datetime
from typing import Final

from asyncpg import Connection

from gateway.batch.rules.definition import EntryDefinition
from gateway.kernel.ids import EntryId
from gateway.queues.adding import enqueue
from gateway.queues.posting.posting import DocumentName, Poster
from gateway.queues.rules.documents import Side

POST: Final = "post"
"""The runnable that posts one document."""
PRINT: Final = "print"
"""The runnable that prints what the entry of its run has posted."""


async def schedule(
    connection: Connection, poster: Poster, name: DocumentName, *, move: bool, invoice: bool, user: str, now: datetime,
    printed: bool = False,
) -> EntryId:  # fmt: skip
    """Let a document be posted by an entry, as *user*, and then *printed* by it; returns its number.

    Rule: a time-out is not tried again: posting may have come half way outside of the database.
    Raises: DocumentUnknown, DocumentBusy; EntryRefused for a category that does not exist.
    """
    row, *_ = await poster.lock(connection, name)
    await connection.execute(poster.sql.delete_failed_entry, row["rec_id"])
    posting = poster.posting
    entry = EntryDefinition(
        run=POST,
        parameters={"kind": name.kind.name, "number": name.number, "move": move, "invoice": invoice},
        parameters_version=1,
        description=f"Post {name.title}",
        record=f"{name.kind.name}/{name.partition}/{name.company}/{name.number}",
        partition=name.partition,
        company=name.company,
        category=posting.sales_category if name.kind.side is Side.CUSTOMER else posting.purchase_category,
        timeout_seconds=posting.timeout_seconds,
        retries_timeout=False,
        then_run=PRINT if printed else None,
    )
    (number,) = await enqueue(connection, poster.sql, [entry], user=user, now=now)
    await connection.execute(poster.sql.schedule_posting, row["rec_id"], number)
    return number
