"""Handlers that post time sheets, good ones and bad ones, as a site would write them."""

import asyncio
import os
import sys
from collections.abc import Sequence

from lxml import etree

from gateway.contracts import DocumentToPost, OperationRejected, PostedDocument, ServiceContext

SHEETS = "urn:example:sheets"
SHEET, POSTED_SHEET = f"{{{SHEETS}}}Sheet", f"{{{SHEETS}}}PostedSheet"


async def post(document: DocumentToPost, context: ServiceContext) -> Sequence[PostedDocument]:
    hours = document.entity.findtext("{*}Hours")
    if not hours:
        raise OperationRejected("It has no hours.")
    await context.connection.execute(
        "INSERT INTO hours (sheet, hours) VALUES ($1, $2::int)", document.number, int(hours)
    )
    (number,) = await context.numbers.take(f"HOURS/{document.company}")
    record = etree.Element(f"{{{SHEETS}}}Record", {"class": "entity"}, {None: SHEETS})  # type: ignore[dict-item]
    etree.SubElement(record, f"{{{SHEETS}}}Number").text = f"H-{number:04}"
    etree.SubElement(record, f"{{{SHEETS}}}PostedBy").text = document.user
    return [PostedDocument(document=POSTED_SHEET, number=f"H-{number:04}", entity=record)]


async def raises(document: DocumentToPost, context: ServiceContext) -> Sequence[PostedDocument]:
    await post(document, context)
    raise KeyError("rate")


async def hangs(document: DocumentToPost, context: ServiceContext) -> Sequence[PostedDocument]:
    await post(document, context)
    await asyncio.sleep(10**6)
    return []


async def ends_its_process(document: DocumentToPost, context: ServiceContext) -> Sequence[PostedDocument]:
    await post(document, context)
    os._exit(3)


async def calls_exit(document: DocumentToPost, context: ServiceContext) -> Sequence[PostedDocument]:
    await post(document, context)
    sys.exit(0)


async def commits(document: DocumentToPost, context: ServiceContext) -> Sequence[PostedDocument]:
    made = await post(document, context)
    await context.connection.execute("COMMIT")
    return made


async def goes_on_after_a_failed_statement(
    document: DocumentToPost, context: ServiceContext
) -> Sequence[PostedDocument]:
    made = await post(document, context)
    try:
        await context.connection.execute("SELECT 1 / 0")
    except Exception:
        return made
    return []


def returns_nonsense(document: DocumentToPost, context: ServiceContext) -> object:
    return {"number": 1}
