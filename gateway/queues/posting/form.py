"""The XML of documents to post and of posted ones: the schema `schemas/posting/Posting.xsd`.

A posted document keeps the fields of its source under their names and in their order.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Final

from lxml import etree

from gateway.kernel.errors import GatewayError
from gateway.queues.rules.amounts import NOTHING_POSTED, ZERO, Amounts, InvoiceDiscount, Posted
from gateway.queues.rules.checks import Item, plain
from gateway.queues.rules.documents import Document, DocumentLine, Kind, LineType, Move, Share, Side, Wanted
from gateway.xml.parse import parse_checked

NAMESPACE: Final = "urn:gateway:posting"
ENTITY: Final = "Header"
_LEAD: Final = ("DocumentNo", "DocumentDate", "PostingDate", "DueDate", "Status")
_TERMS: Final = ("PaymentTerms", "LocationCode", "YourReference", "LanguageCode")
_PARTY: Final = {
    Side.CUSTOMER: ("CustomerNo", "SellTo", "BillTo", "ShipTo"),
    Side.VENDOR: ("VendorNo", "VendorDocumentNo", "BuyFrom", "PayTo"),
}
_MOST_DIGITS: Final = 18
_LAST_LINE: Final = 2_147_483_647
_RETURN: Final = ("AppliesToDocumentNo", "ReasonCode")
_QUANTITIES: Final = {Move.SHIP: ("QtyToShip", "QtyShipped"), Move.RECEIVE: ("QtyToReceive", "QtyReceived")}


class Unreadable(GatewayError):
    """A document holds what is no value of its field; a port that validates would have refused it."""

    code = "posting.unreadable"


@dataclass(frozen=True, slots=True)
class Progress:
    """What earlier postings took of a line."""

    moved: Decimal = ZERO
    posted: Posted = NOTHING_POSTED


_NO_PROGRESS: Final = Progress()


def qualified(document: str) -> str:
    """Return the full name of a document of this schema; one that has a namespace keeps it."""
    return document if document.startswith("{") else f"{{{NAMESPACE}}}{document}"


def read_document(content: bytes, kind: Kind, number: str, progress: Mapping[int, Progress]) -> Document:
    """Return what a kept document says, as rules see it. Raises: Unreadable."""
    header = parse_checked(content)
    party, *_ = _PARTY[kind.side]
    percent, amount = _decimal(header, "InvoiceDiscountPercent"), _decimal(header, "InvoiceDiscountAmount")
    return Document(
        kind=kind,
        number=number,
        party=_text(header, party),
        lines=[_line(element, kind, progress) for element in _lines(header)],
        posting_date=_date(header, "PostingDate"),
        currency=_text(header, "CurrencyCode"),
        includes_tax=_flag(header, "PricesIncludingTax"),
        discount=InvoiceDiscount(percent=percent or ZERO, amount=amount),
        location=_text(header, "LocationCode"),
        vendor_document=_text(header, "VendorDocumentNo"),
        applies_to=_text(header, "AppliesToDocumentNo"),
        released=_text(header, "Status") == "Released",
    )


def read_item(content: bytes) -> Item:
    """Return what an item document says. Raises: Unreadable."""
    header = parse_checked(content)
    units = {_text(unit, "Code"): _decimal(unit, "Quantity") or ZERO for unit in header.iterchildren("{*}Unit")}
    return Item(units=units, stock_kept=_flag(header, "StockKept"))


def blocked(content: bytes) -> str:
    """Return what a customer or vendor document says that it may not be used for."""
    return _text(parse_checked(content), "Blocked")


def quantities(content: bytes) -> Iterator[tuple[str, Decimal]]:
    """Yield item and quantity of each line of a posted document that has an item."""
    for line in _lines(parse_checked(content)):
        if _text(line, "Type") == LineType.ITEM:
            yield _text(line, "No"), _decimal(line, "Quantity") or ZERO


def replace_dates(content: bytes, wanted: Wanted) -> bytes:
    """Return a document with the dates that a posting is wanted to have."""
    header = parse_checked(content)
    for name, day, after in (
        ("DocumentDate", wanted.document_date, _LEAD[:1]),
        ("PostingDate", wanted.posting_date, _LEAD[:2]),
    ):
        if day is not None:
            _put(header, name, day.isoformat(), after=after)
    return etree.tostring(header, encoding="utf-8")


def write_progress(content: bytes, kind: Kind, progress: Mapping[int, Progress], *, finished: bool) -> bytes:
    """Return a document with what was posted of each line; what the clerk wrote for this posting is used up."""
    header = parse_checked(content)
    if finished:
        _put(header, "Status", "Posted", after=_LEAD)
    to_move, moved = _QUANTITIES[kind.move]
    for line in _lines(header) if kind.is_order else ():
        for name in (to_move, "QtyToInvoice", moved, "QtyInvoiced"):
            for element in line.findall(f"{{*}}{name}"):
                line.remove(element)
        done = progress.get(int(_text(line, "LineNo")), _NO_PROGRESS)
        if _text(line, "Type") != LineType.COMMENT:
            _add(line, moved, plain(done.moved))
            _add(line, "QtyInvoiced", plain(done.posted.quantity))
    return etree.tostring(header, encoding="utf-8")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """Who posted, when, and from what."""

    kind: Kind
    source: str
    user: str
    at: datetime


def write_goods(content: bytes, number: str, taken: Sequence[Share], stamp: Stamp) -> bytes:
    """Return the posted document of what was moved."""
    header, lines = _posted(content, number, stamp)
    for share in taken:
        if share.move or share.line.type is LineType.COMMENT:
            header.append(_posted_line(lines[share.line.number], share.move))
    return etree.tostring(header, encoding="utf-8")


def write_claim(
    content: bytes, number: str, taken: Sequence[Share], stamp: Stamp, amounts: Amounts, taxes: Mapping[str, Decimal]
) -> bytes:
    """Return the posted document of what was invoiced or credited, with amounts and totals."""
    header, lines = _posted(content, number, stamp)
    computed = iter(amounts.lines)
    for share in taken:
        if share.line.type is LineType.COMMENT:
            header.append(_posted_line(lines[share.line.number], ZERO))
            continue
        one = next(computed)
        if not share.invoice:
            continue
        line = _posted_line(lines[share.line.number], share.invoice)
        _add(line, "UnitPrice", plain(share.line.price))
        _add(line, "LineDiscountAmount", _money(one.discount))
        _add(line, "LineAmount", _money(one.gross - one.discount))
        _add(line, "InvoiceDiscountAmount", _money(one.invoice_discount))
        _add(line, "TaxGroup", share.line.tax_group)
        _add(line, "TaxPercent", plain(taxes[share.line.tax_group]))
        _add(line, "TaxBase", _money(one.base))
        _add(line, "TaxAmount", _money(one.tax))
        header.append(line)
    totals = _add(header, "Totals")
    _add(totals, "Subtotal", _money(amounts.subtotal))
    _add(totals, "InvoiceDiscountAmount", _money(amounts.invoice_discount))
    for tax in amounts.taxes:
        row = _add(totals, "Tax")
        _add(row, "TaxGroup", tax.group)
        _add(row, "TaxPercent", plain(tax.percent))
        _add(row, "TaxBase", _money(tax.base))
        _add(row, "TaxAmount", _money(tax.tax))
    _add(totals, "Rounding", _money(amounts.rounding))
    _add(totals, "Total", _money(amounts.total))
    return etree.tostring(header, encoding="utf-8")


def _posted(content: bytes, number: str, stamp: Stamp) -> tuple[etree._Element, Mapping[int, etree._Element]]:
    source = parse_checked(content)
    header = etree.Element(f"{{{NAMESPACE}}}{ENTITY}", {"class": "entity"}, {None: NAMESPACE})  # type: ignore[dict-item]  # the stubs forget the default namespace
    _add(header, "DocumentNo", number)
    _add(header, "SourceDocument", stamp.kind.name)
    _add(header, "SourceDocumentNo", stamp.source)
    _add(header, "PostedBy", stamp.user)
    _add(header, "PostedAt", stamp.at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"))
    names = ("DocumentDate", "PostingDate", "DueDate", "CurrencyCode", "PricesIncludingTax", *_TERMS)
    _copy(source, header, (*names, *_PARTY[stamp.kind.side], *(_RETURN if stamp.kind.gives_back else ())))
    return header, {int(_text(line, "LineNo")): line for line in _lines(source)}


def _posted_line(source: etree._Element, quantity: Decimal) -> etree._Element:
    line = etree.Element(f"{{{NAMESPACE}}}Line", {"class": "entity"})
    _copy(source, line, ("LineNo", "Type", "No", "Description"))
    if quantity:
        _add(line, "Quantity", plain(quantity))
        _copy(source, line, ("UnitCode",))
    return line


def _copy(source: etree._Element, target: etree._Element, names: Iterable[str]) -> None:
    for name in names:
        for element in source.findall(f"{{*}}{name}"):
            target.append(deepcopy(element))


def _add(parent: etree._Element, name: str, text: str | None = None) -> etree._Element:
    element = etree.SubElement(parent, f"{{{NAMESPACE}}}{name}")
    element.text = text
    return element


def _put(parent: etree._Element, name: str, text: str, *, after: Sequence[str]) -> None:
    """Set a field; a new one stands behind those of *after* that are there."""
    element = parent.find(f"{{*}}{name}")
    if element is None:
        element = etree.Element(f"{{{NAMESPACE}}}{name}")
        parent.insert(sum(etree.QName(child).localname in after for child in parent), element)
    element.text = text


def _lines(header: etree._Element) -> Iterator[etree._Element]:
    return header.iterchildren("{*}Line")


def _line(element: etree._Element, kind: Kind, progress: Mapping[int, Progress]) -> DocumentLine:
    try:
        number, type = int(_text(element, "LineNo")), LineType(_text(element, "Type"))
    except ValueError:
        raise Unreadable("A line needs a whole number as LineNo, and Item, Account or Comment as Type.") from None
    if not 0 < number <= _LAST_LINE:
        raise Unreadable(f"LineNo {number} is no number of a line: they go from 1 to {_LAST_LINE}.")
    done = progress.get(number, _NO_PROGRESS)
    return DocumentLine(
        number=number,
        type=type,
        no=_text(element, "No"),
        description=_text(element, "Description"),
        quantity=_decimal(element, "Quantity") or ZERO,
        unit=_text(element, "UnitCode"),
        price=_decimal(element, "UnitPrice") or ZERO,
        discount_percent=_decimal(element, "LineDiscountPercent") or ZERO,
        discount_amount=_decimal(element, "LineDiscountAmount"),
        allow_invoice_discount=_flag(element, "AllowInvoiceDiscount", default=True),
        tax_group=_text(element, "TaxGroup"),
        to_move=_decimal(element, _QUANTITIES[kind.move][0]),
        to_invoice=_decimal(element, "QtyToInvoice"),
        moved=done.moved,
        posted=done.posted,
    )


def _text(element: etree._Element, name: str) -> str:
    return (element.findtext(f"{{*}}{name}") or "").strip()


def _decimal(element: etree._Element, name: str) -> Decimal | None:
    text = _text(element, name)
    if not text:
        return None
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite():
        raise Unreadable(f"{name} {text[:50]!r} is no number.")
    if number.adjusted() >= _MOST_DIGITS or number.adjusted() < -_MOST_DIGITS or len(text) > 2 * _MOST_DIGITS:
        raise Unreadable(f"{name} {text[:50]!r} has more than {_MOST_DIGITS} digits.")
    return number


def _flag(element: etree._Element, name: str, *, default: bool = False) -> bool:
    return {"true": True, "1": True, "false": False, "0": False}.get(_text(element, name), default)


def _date(element: etree._Element, name: str) -> date | None:
    text = _text(element, name)
    try:
        return date.fromisoformat(text[:10]) if text else None
    except ValueError:
        raise Unreadable(f"{name} {text!r} is no date.") from None


def _money(amount: Decimal) -> str:
    return f"{amount:f}"
