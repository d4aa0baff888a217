"""Documents to post, for tests: written, kept, read, and judged by their schema."""

from collections.abc import Mapping
from functools import cache

from lxml import etree

import schemas
from gateway.db.open import Store
from gateway.kernel.ids import MessageKey
from gateway.messaging.services.entities import NewEntity, insert_entities, read_entities
from gateway.queues.posting.form import NAMESPACE, qualified
from gateway.xml.catalog import Catalog
from gateway.xml.verdict import Checker

ITEM = {"Type": "Item", "No": "1996-S", "Quantity": "10", "UnitCode": "PCS", "UnitPrice": "9.99", "TaxGroup": "FULL"}

Line = Mapping[str, str]


@cache
def checker() -> Checker:
    return Checker(Catalog([schemas.FOLDER]))


def is_valid(content: bytes, document: str) -> bool:
    root = etree.Element(qualified(document), nsmap={None: NAMESPACE})  # type: ignore[dict-item]
    root.append(etree.fromstring(content))
    problems = checker().check(etree.fromstring(etree.tostring(root)))
    assert not problems, problems
    return True


def document(kind: str, *lines: Line, **fields: str) -> bytes:
    """Write a document; *fields* stand in the header, in the order of the schema."""
    party = "CustomerNo" if kind.startswith("Sales") else "VendorNo"
    known = {
        "DocumentDate": "2031-02-09", "PostingDate": "2031-02-10", "Status": "", "CurrencyCode": "EUR",
        "InvoiceDiscountPercent": "", "InvoiceDiscountAmount": "", "LocationCode": "BLUE", party: "10000",
        "VendorDocumentNo": "4711" if party == "VendorNo" else "", "AppliesToDocumentNo": "", **fields,
    }  # fmt: skip
    header = etree.Element(f"{{{NAMESPACE}}}Header", {"class": "entity"}, {None: NAMESPACE})  # type: ignore[dict-item]
    for name, text in known.items():
        if text:
            etree.SubElement(header, f"{{{NAMESPACE}}}{name}").text = text
    for number, line in enumerate(lines, start=1):
        element = etree.SubElement(header, f"{{{NAMESPACE}}}Line", {"class": "entity"})
        for name, text in {"LineNo": str(10_000 * number), **line}.items():
            etree.SubElement(element, f"{{{NAMESPACE}}}{name}").text = text
    content = etree.tostring(header, encoding="utf-8")
    return content if is_valid(content, kind) else b""


async def keep(store: Store, kind: str, number: str, content: bytes) -> None:
    one = NewEntity(
        key=number, partition="initial", company="dat", content=content, size=content.count(b'class="entity"'),
        request=MessageKey(1),
    )  # fmt: skip
    async with store.transaction() as connection:
        await insert_entities(connection, qualified(kind), [one])


async def read(store: Store, kind: str, number: str) -> etree._Element:
    async with store.transaction() as connection:
        found = await read_entities(connection, qualified(kind), "initial", "dat", [number])
    assert is_valid(found[number].content, kind)
    return etree.fromstring(found[number].content)


def texts(element: etree._Element, path: str) -> list[str]:
    found = element.xpath("/".join(f"*[local-name()='{name}']" for name in path.split("/")))
    assert isinstance(found, list)
    return [one.text or "" for one in found if isinstance(one, etree._Element)]
