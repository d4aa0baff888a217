"""Documents that can be posted: the eight kinds, and what of their lines a posting takes. Pure.

One routine posts all kinds; what differs stands in this table. Source: posting reference, section 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Final

from gateway.queues.rules.amounts import NO_DISCOUNT, NOTHING_POSTED, ZERO, InvoiceDiscount, Line, Posted


class Side(StrEnum):
    """With whom a document is."""

    CUSTOMER = "customer"
    VENDOR = "vendor"


class Move(StrEnum):
    """What happens to goods: which way they go."""

    SHIP = "ship"
    RECEIVE = "receive"


class LineType(StrEnum):
    """What a line is about; a comment has text only."""

    ITEM = "Item"
    ACCOUNT = "Account"
    COMMENT = "Comment"


@dataclass(frozen=True, slots=True)
class Made:
    """A posted document that a posting makes, and the number series that names it."""

    document: str
    series: str
    title: str


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of document that can be posted.

    `goods` is made of what is moved and `claim` of what is invoiced or credited. An order is posted in parts; any
    other kind is posted whole, and makes `goods` only where the set-up asks for it.
    """

    name: str
    title: str
    side: Side
    gives_back: bool
    is_order: bool
    move: Move
    goods: Made | None
    claim: Made

    @property
    def undoes(self) -> Made | None:
        """Return what a document of this kind may apply to: the invoices of its side, where it gives back."""
        return (_SALES_INVOICE if self.side is Side.CUSTOMER else _PURCHASE_INVOICE) if self.gives_back else None


@dataclass(frozen=True, slots=True)
class OwnKind:
    """A kind of document that a handler of the site posts.

    `document` is its full name, `handler` what posts it, as `module:object`.
    """

    name: str
    document: str
    handler: str
    category: str | None

    @property
    def title(self) -> str:
        """Name it as the configuration does."""
        return self.name


_SHIPMENT: Final = Made("PostedSalesShipment", "SHIP", "posted sales shipment")
_SALES_INVOICE: Final = Made("PostedSalesInvoice", "SINV", "posted sales invoice")
_RETURN_RECEIPT: Final = Made("PostedReturnReceipt", "RRCT", "posted return receipt")
_SALES_CREDIT: Final = Made("PostedSalesCreditMemo", "SCRM", "posted sales credit memo")
_RECEIPT: Final = Made("PostedPurchaseReceipt", "RCPT", "posted purchase receipt")
_PURCHASE_INVOICE: Final = Made("PostedPurchaseInvoice", "PINV", "posted purchase invoice")
_RETURN_SHIPMENT: Final = Made("PostedReturnShipment", "RSHP", "posted return shipment")
_PURCHASE_CREDIT: Final = Made("PostedPurchaseCreditMemo", "PCRM", "posted purchase credit memo")

_C, _V, _S, _R = Side.CUSTOMER, Side.VENDOR, Move.SHIP, Move.RECEIVE
KINDS: Final = {
    kind.name: kind
    for kind in (
        # name, title, side, gives back, order, goods go, made of goods, made of money
        Kind("SalesOrder", "sales order", _C, False, True, _S, _SHIPMENT, _SALES_INVOICE),
        Kind("SalesInvoice", "sales invoice", _C, False, False, _S, _SHIPMENT, _SALES_INVOICE),
        Kind("SalesReturnOrder", "sales return order", _C, True, True, _R, _RETURN_RECEIPT, _SALES_CREDIT),
        Kind("SalesCreditMemo", "sales credit memo", _C, True, False, _R, _RETURN_RECEIPT, _SALES_CREDIT),
        Kind("PurchaseOrder", "purchase order", _V, False, True, _R, _RECEIPT, _PURCHASE_INVOICE),
        Kind("PurchaseInvoice", "purchase invoice", _V, False, False, _R, None, _PURCHASE_INVOICE),
        Kind("PurchaseReturnOrder", "purchase return order", _V, True, True, _S, _RETURN_SHIPMENT, _PURCHASE_CREDIT),
        Kind("PurchaseCreditMemo", "purchase credit memo", _V, True, False, _S, None, _PURCHASE_CREDIT),
    )
}
"""By name, which is also the name of the document's element."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentLine:
    """A line of a document to post, with what earlier postings took of it.

    `to_move` and `to_invoice` are what the clerk wrote; None means what is outstanding.
    """

    number: int
    type: LineType
    no: str = ""
    description: str = ""
    quantity: Decimal = ZERO
    unit: str = ""
    price: Decimal = ZERO
    discount_percent: Decimal = ZERO
    discount_amount: Decimal | None = None
    allow_invoice_discount: bool = True
    tax_group: str = ""
    to_move: Decimal | None = None
    to_invoice: Decimal | None = None
    moved: Decimal = ZERO
    posted: Posted = NOTHING_POSTED


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A document to post."""

    kind: Kind
    number: str
    party: str
    lines: Sequence[DocumentLine]
    posting_date: date | None
    currency: str
    includes_tax: bool = False
    discount: InvoiceDiscount = NO_DISCOUNT
    location: str = ""
    vendor_document: str = ""
    applies_to: str = ""
    released: bool = False

    @property
    def title(self) -> str:
        """Name it as a clerk does: sales order 1001."""
        return f"{self.kind.title} {self.number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a posting shall do: move goods, make the claim, or both, and under which dates.

    `goods_too`: documents that are no orders also make what they move (`shipment_on_invoice` and its like).
    `posting_date` and `document_date` replace those of the document; None: it keeps its own.
    """

    move: bool = True
    invoice: bool = True
    goods_too: bool = False
    posting_date: date | None = None
    document_date: date | None = None


@dataclass(frozen=True, slots=True)
class Share:
    """What a posting takes of a line."""

    line: DocumentLine
    move: Decimal
    invoice: Decimal


def shares(document: Document, wanted: Wanted) -> Sequence[Share]:
    """Return what a posting takes of each line, in order; comments are taken with nothing.

    What is outstanding is the default: all that was not moved, and of what is moved then, all that was not invoiced.
    """
    return [_share(document.kind, line, wanted) for line in document.lines]


def _share(kind: Kind, line: DocumentLine, wanted: Wanted) -> Share:
    if line.type is LineType.COMMENT:
        return Share(line, ZERO, ZERO)
    if not kind.is_order:
        moves = wanted.goods_too and kind.goods is not None and line.type is LineType.ITEM
        return Share(line, line.quantity if moves else ZERO, line.quantity)
    move = invoice = ZERO
    if wanted.move:
        move = line.quantity - line.moved if line.to_move is None else line.to_move
    if wanted.invoice:
        outstanding = line.moved + move - line.posted.quantity
        invoice = outstanding if line.to_invoice is None else line.to_invoice
    return Share(line, move, invoice)


def priced(shares: Sequence[Share], taxes: dict[str, Decimal]) -> list[Line]:
    """Return the lines to compute with, without the comments; *taxes* are percents by tax group."""
    return [
        Line(
            quantity=share.invoice, whole=share.line.quantity, price=share.line.price,
            discount_percent=share.line.discount_percent, discount_amount=share.line.discount_amount,
            allow_invoice_discount=share.line.allow_invoice_discount, tax_group=share.line.tax_group,
            tax_percent=taxes.get(share.line.tax_group, ZERO), posted=share.line.posted,
        )
        for share in shares
        if share.line.type is not LineType.COMMENT
    ]  # fmt: skip
