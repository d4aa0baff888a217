"""Posting of many documents: which are meant."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import datetime
from typing import Final

from asyncpg import Record
from lxml import etree

from gateway.db.open import Store
from gateway.kernel.ids import RunId
from gateway.queues.posting.form import Unreadable, read_document
from gateway.queues.posting.posting import DocumentName
from gateway.queues.rules.documents import Kind, OwnKind
from gateway.queues.rules.filters import Filter, passes
from gateway.xml.parse import parse_checked

NUMBER: Final = "No"
FIELDS: Final = (NUMBER, "Status", "PostingDate", "Party", "Location", "Currency")
"""What documents of the eight kinds can be filtered by; others by No, and by the fields of their record."""
_PAGE: Final = 200


async def batch_began(store: Store, run: RunId) -> datetime | None:
    """Return when the work of a run began: that of an entry may go on with what a lost or failed one has begun."""
    async with store.reading() as connection:
        began: datetime | None = await connection.fetchval(store.queries.batch_began, run)
    return began


async def open_documents(
    store: Store,
    kind: Kind | OwnKind,
    partition: str,
    company: str,
    filters: Mapping[str, Filter],
    *,
    began: datetime | None = None,
) -> AsyncGenerator[DocumentName]:
    """Yield the documents of a kind of which something is left to post, and that nobody posts now, by number.

    They are looked for page by page, so that many cost no memory; one that comes meanwhile may be among them. One of
    which a part was posted since *began* is not.
    """

    def passing(rows: Sequence[Record]) -> list[str]:
        return [row["key"] for row in rows if _passes(row, kind, filters)]

    def named(number: str) -> DocumentName:
        return DocumentName(kind=kind, partition=partition, company=company, number=number)

    last = ""
    while True:
        async with store.reading() as connection:
            rows = await connection.fetch(store.queries.open_documents, *named(last).address, _PAGE, began)
        for number in await asyncio.to_thread(passing, rows):
            yield named(number)
        if len(rows) < _PAGE:
            return
        last = rows[-1]["key"]


def _passes(row: Record, kind: Kind | OwnKind, filters: Mapping[str, Filter]) -> bool:
    if not filters:
        return True
    try:
        return passes(filters, _values(row["key"], row["content"], kind, filters))
    except Unreadable:
        return False  # it cannot be filtered; `gateway documents show` tells what is wrong


def _values(number: str, content: bytes, kind: Kind | OwnKind, filters: Mapping[str, Filter]) -> Mapping[str, str]:
    if isinstance(kind, OwnKind):
        record = parse_checked(content)
        return {name: number if name == NUMBER else _field(record, name) for name in filters}
    document = read_document(content, kind, number, {})
    day = document.posting_date
    return {
        NUMBER: document.number,
        "Status": "Released" if document.released else "Open",
        "PostingDate": "" if day is None else day.isoformat(),
        "Party": document.party,
        "Location": document.location,
        "Currency": document.currency,
    }


def _field(record: etree._Element, name: str) -> str:
    return (record.findtext(f"{{*}}{name}") or "").strip()
