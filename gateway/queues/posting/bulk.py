"""Posting of many documents: which are meant, and one after another, each in a transaction of its own."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Final

from asyncpg import Record

from gateway.config.models import Settings
from gateway.db.open import Store
from gateway.kernel.faultpoints import reach
from gateway.kernel.ids import EntryId, RunId
from gateway.queues.posting.form import Unreadable, qualified, read_document
from gateway.queues.posting.offers import send_posted
from gateway.queues.posting.posting import DocumentName, PostedAs, Poster, PostingRefused, Work
from gateway.queues.posting.scheduling import schedule
from gateway.queues.rules.documents import Document, Kind
from gateway.queues.rules.filters import Filter, passes

FIELDS: Final = ("No", "Status", "PostingDate", "Party", "Location", "Currency")
"""What documents can be filtered by."""
_PAGE: Final = 200
FAULT_POINTS: Final = ("posting.before_numbers", "posting.before_commit", "posting.after_commit")
"""Every name that a posting reaches, in the order of its way."""


async def open_documents(
    store: Store, kind: Kind, partition: str, company: str, filters: Mapping[str, Filter], run: RunId
) -> AsyncIterator[DocumentName]:
    """Yield the documents of a kind of which something is left to post, and that nobody posts now, by number.

    They are looked for page by page, so that many cost no memory; one that comes meanwhile may be among them. One of
    which a part was posted since *run* began is not.
    """

    def passing(rows: Sequence[Record]) -> list[str]:
        return [row["key"] for row in rows if _passes(row, kind, filters)]

    last = ""
    while True:
        async with store.reading() as connection:
            rows = await connection.fetch(
                store.queries.open_documents, qualified(kind.name), partition, company, last, _PAGE, run
            )
        for number in await asyncio.to_thread(passing, rows):
            yield DocumentName(kind=kind, partition=partition, company=company, number=number)
        if len(rows) < _PAGE:
            return
        last = rows[-1]["key"]


async def post_or_schedule(
    store: Store, settings: Settings, poster: Poster, name: DocumentName, *, move: bool, invoice: bool, user: str,
    now: datetime, printed: bool = False,
) -> Sequence[PostedAs] | EntryId:  # fmt: skip
    """Post a document, or let an entry do so where the set-up says that; one that fails is in the list to be handled.

    An entry also lets it be *printed*. Raises: as `Poster.post` and `schedule`.
    """
    if poster.posting.via_job_queue:
        async with store.transaction() as connection:
            return await schedule(
                connection, poster, name, move=move, invoice=invoice, user=user, now=now, printed=printed
            )
    try:
        return await post_now(store, settings, poster, name, move=move, invoice=invoice, user=user, now=now)
    except (PostingRefused, Unreadable) as error:
        async with store.transaction() as connection:
            await connection.execute(
                store.queries.note_failed_posting, qualified(name.kind.name), name.partition, name.company, name.number,
                error.message,
            )  # fmt: skip
        raise


async def post_now(
    store: Store, settings: Settings, poster: Poster, name: DocumentName, *, move: bool, invoice: bool, user: str,
    now: datetime, work: Work | None = None,
) -> Sequence[PostedAs]:  # fmt: skip
    """Post a document in a transaction of its own, with what is sent of it. Raises: as `Poster.post`."""
    async with store.transaction() as connection:
        wanted = poster.wanted(name.kind, move=move, invoice=invoice)
        made = await poster.post(connection, name, wanted, user=user, now=now, work=work)
        await send_posted(connection, store.queries, settings, name, made, user)
        reach("posting.before_commit")
    reach("posting.after_commit")
    return made


def _passes(row: Record, kind: Kind, filters: Mapping[str, Filter]) -> bool:
    try:
        return passes(filters, _values(read_document(row["content"], kind, row["key"], {})))
    except Unreadable:
        return False  # it cannot be filtered; `gateway documents show` tells what is wrong


def _values(document: Document) -> Mapping[str, str]:
    day = document.posting_date
    return {
        "No": document.number,
        "Status": "Released" if document.released else "Open",
        "PostingDate": "" if day is None else day.isoformat(),
        "Party": document.party,
        "Location": document.location,
        "Currency": document.currency,
    }
