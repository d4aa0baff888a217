"""What stands on the paper of a posted document: read from its XML, written in its language."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Final

from lxml import etree

from gateway.queues.printing.words import Language, language
from gateway.queues.rules.documents import LineType
from gateway.xml.parse import parse_checked

_ZERO: Final = Decimal(0)
_ADDRESSES: Final = ("BillTo", "SellTo", "PayTo", "BuyFrom")
_OF_GOODS: Final = ("ShipTo", *_ADDRESSES)


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table. `cells`: position, description, quantity, unit, price, discount, tax, amount."""

    cells: tuple[str, ...]
    amount: Decimal = _ZERO


@dataclass(frozen=True, slots=True, kw_only=True)
class Paper:
    """A document as it is written. `facts` and `totals` are pairs of a word and its value; goods have no totals."""

    title: str
    number: str
    address: Sequence[str]
    facts: Sequence[tuple[str, str]]
    rows: Sequence[Row]
    totals: Sequence[tuple[str, str]]
    terms: Sequence[str]
    language: Language
    code: str
    posted_at: datetime
    copy: bool


def read_paper(content: bytes, document: str, *, copy: bool = False, card: bytes = b"") -> Paper:
    """Return what a posted document says on paper; *document* is its kind, such as PostedSalesInvoice.

    Without an address of its own it has that of *card*, the document of its customer or vendor.
    """
    header = parse_checked(content)
    words = language(_text(header, "LanguageCode"))
    totals = header.find("{*}Totals")
    return Paper(
        title=words.titles[document],
        number=_text(header, "DocumentNo"),
        address=_address(header, _OF_GOODS if totals is None else _ADDRESSES)
        or (_address(parse_checked(card), ("Address",)) if card else ()),
        facts=list(_facts(header, words)),
        rows=list(_rows(header, words, priced=totals is not None)),
        totals=[] if totals is None else list(_totals(totals, words, _text(header, "CurrencyCode"))),
        terms=[f"{words.words['terms']}: {terms}"] if (terms := _text(header, "PaymentTerms")) else [],
        language=words,
        code=_text(header, "LanguageCode") or "en",
        posted_at=datetime.fromisoformat(_text(header, "PostedAt")),
        copy=copy,
    )


def _facts(header: etree._Element, words: Language) -> Iterator[tuple[str, str]]:
    """Yield the block at the right: a word and its value."""
    day, due = _text(header, "DocumentDate") or _text(header, "PostingDate"), _text(header, "DueDate")
    found = {
        "number": _text(header, "DocumentNo"),
        "date": words.date(date.fromisoformat(day[:10])) if day else "",
        "due": words.date(date.fromisoformat(due[:10])) if due else "",
        "party": _text(header, "CustomerNo"),
        "vendor": _text(header, "VendorNo"),
        "reference": _text(header, "YourReference"),
        "source": _text(header, "SourceDocumentNo"),
        "vendor_document": _text(header, "VendorDocumentNo"),
        "applies_to": _text(header, "AppliesToDocumentNo"),
    }
    return ((words.words[name], text) for name, text in found.items() if text)


def _address(header: etree._Element, names: Sequence[str]) -> Sequence[str]:
    for name in names:
        found = header.find(f"{{*}}{name}")
        if found is not None:
            town = " ".join(filter(None, (_text(found, "PostCode"), _text(found, "City"))))
            lines = [" ".join((line.text or "").split()) for line in found.iterchildren("{*}AddressLine")]
            return [line for line in (_text(found, "Name"), *lines, town, _text(found, "CountryCode")) if line]
    return ()


def _rows(header: etree._Element, words: Language, *, priced: bool) -> Iterator[Row]:
    position = 0
    for line in header.iterchildren("{*}Line"):
        if _text(line, "Type") == LineType.COMMENT:
            yield Row(("", _text(line, "Description"), "", "", "", "", "", ""))
            continue
        position += 1
        described = "  ".join(filter(None, (_text(line, "No"), _text(line, "Description"))))
        moved = (str(position), described, words.plain(_number(line, "Quantity")), _text(line, "UnitCode"))
        if not priced:
            yield Row((*moved, "", "", "", ""))
            continue
        amount, discount = _number(line, "LineAmount"), _number(line, "LineDiscountAmount")
        yield Row(
            (
                *moved, words.amount(_cents(_number(line, "UnitPrice"))), words.amount(discount) if discount else "",
                words.plain(_number(line, "TaxPercent")), words.amount(amount),
            ),
            amount,
        )  # fmt: skip


def _totals(totals: etree._Element, words: Language, currency: str) -> Iterator[tuple[str, str]]:
    yield words.words["subtotal"], words.amount(_number(totals, "Subtotal"))
    if discount := _number(totals, "InvoiceDiscountAmount"):
        yield words.words["invoice_discount"], words.amount(-discount)
    for tax in totals.iterchildren("{*}Tax"):
        percent, base = words.plain(_number(tax, "TaxPercent")), words.amount(_number(tax, "TaxBase"))
        yield words.words["tax_row"].format(percent=percent, base=base), words.amount(_number(tax, "TaxAmount"))
    if rounding := _number(totals, "Rounding"):
        yield words.words["rounding"], words.amount(rounding)
    yield words.words["total"].format(currency=currency), words.amount(_number(totals, "Total"))


def _cents(price: Decimal) -> Decimal:
    """Return a price with two decimals at least, and all that it has."""
    exponent = price.as_tuple().exponent
    return price if isinstance(exponent, int) and exponent <= -2 else price.quantize(Decimal("0.01"))


def _text(element: etree._Element, name: str) -> str:
    return " ".join((element.findtext(f"{{*}}{name}") or "").split())


def _number(element: etree._Element, name: str) -> Decimal:
    return Decimal(_text(element, name) or "0")
