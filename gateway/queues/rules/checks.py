"""What keeps a document from being posted, in sentences for a clerk. Pure.

All findings of a document are told at once, in the order of the posting reference, section 2.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from enum import StrEnum

from gateway.queues.rules.amounts import ZERO, Amounts, Currency, compute, mirrored
from gateway.queues.rules.documents import Document, DocumentLine, LineType, Move, Share, Side, Wanted, priced, shares

_DONE = {Move.SHIP: "shipped", Move.RECEIVE: "received"}


class Blocked(StrEnum):
    """What a customer or vendor may not be used for."""

    NOTHING = ""
    INVOICES = "invoices"
    EVERYTHING = "everything"


@dataclass(frozen=True, slots=True)
class Window:
    """The days that may be posted to; either end may be open."""

    first: date | None = None
    last: date | None = None

    def allows(self, day: date) -> bool:
        """Tell whether a day lies inside."""
        return (self.first is None or self.first <= day) and (self.last is None or day <= self.last)

    def __str__(self) -> str:
        return " ".join(part for part in (self.first and f"from {self.first}", self.last and f"to {self.last}") if part)


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """What is known of an item: how much of its first unit each unit is, and whether its stock is kept."""

    units: Mapping[str, Decimal]
    stock_kept: bool = False

    @property
    def base_unit(self) -> str:
        """The unit that stock is counted in."""
        return next(iter(self.units))


@dataclass(frozen=True, slots=True)
class Applied:
    """The posted document that a credit memo applies to: whose it is, and what of it was not yet given back.

    `left` is money; `moved` and `credited` are the quantities by item that are left to move and to credit.
    """

    party: str
    left: Decimal
    moved: Mapping[str, Decimal] = field(default_factory=dict)
    credited: Mapping[str, Decimal] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the store and the set-up know of what a document names.

    `parties` and `items` are None where the site keeps none; then they are not checked. `windows` are those of users
    who have one of their own. `stock` is by item and location, in the item's first unit.
    """

    parties: Mapping[str, Blocked] | None = None
    items: Mapping[str, Item] | None = None
    stock: Mapping[tuple[str, str], Decimal] = field(default_factory=dict)
    taxes: Mapping[str, Decimal] = field(default_factory=dict)
    currencies: Mapping[str, Currency] = field(default_factory=dict)
    window: Window = Window()
    windows: Mapping[str, Window] = field(default_factory=dict)
    vendor_invoice: str | None = None
    applied: Applied | None = None


def findings(document: Document, wanted: Wanted, facts: Facts, user: str) -> list[str]:
    """Return what keeps *user* from posting this; nothing when it can be posted."""
    taken = shares(document, wanted)
    found = [
        *_numbers(document),
        *_nothing(document, taken),
        *_party(document, facts),
        *_date(document, facts, user),
        *_vendor_document(document, taken, facts),
    ]
    for share in taken:
        if share.line.type is not LineType.COMMENT:
            found += [f"Line {share.line.number}: {text}" for text in _line(document, share, facts)]
    found += _stock(document, taken, facts)
    found += _applied_quantities(document, taken, facts)
    currency = facts.currencies.get(document.currency)
    if not found and currency is not None:  # amounts of lines that are wrong say nothing
        found += _totals(document, amounts_of(document, taken, facts, currency), facts, currency)
    if currency is None:
        found.append(f"Currency {document.currency or '(none)'} has no decimals set up.")
    return found


def amounts_of(document: Document, taken: Sequence[Share], facts: Facts, currency: Currency) -> Amounts:
    """Return what a posting comes to; positive for documents that give money back as well."""
    return compute(
        priced(taken, dict(facts.taxes)), currency, discount=document.discount, includes_tax=document.includes_tax
    )


def signed(document: Document, amounts: Amounts) -> Amounts:
    """Return the amounts as the books see them: what gives money back is negative."""
    return mirrored(amounts) if document.kind.gives_back else amounts


def _numbers(document: Document) -> Iterator[str]:
    for number, times in Counter(line.number for line in document.lines).items():
        if times > 1:
            yield f"Line number {number} is used {times} times: give each line a number of its own."


def _nothing(document: Document, taken: Sequence[Share]) -> Iterator[str]:
    if any(share.move or share.invoice for share in taken):
        return
    kind = document.kind
    what = f"no line has a quantity to {kind.move} or to invoice" if kind.is_order else "no line has a quantity"
    yield f"{_capital(document.title)} has nothing to post: {what}."


def _party(document: Document, facts: Facts) -> Iterator[str]:
    if facts.parties is None:
        return
    who = f"{_capital(document.kind.side)} {document.party or '(none)'}"
    match facts.parties.get(document.party):
        case None:
            yield f"{who} does not exist."
        case Blocked.INVOICES | Blocked.EVERYTHING as blocked:
            yield f"{who} is blocked for {blocked}."


def _date(document: Document, facts: Facts, user: str) -> Iterator[str]:
    day = document.posting_date
    if day is None:
        yield "Posting date is missing."
        return
    if facts.windows.get(user, facts.window).allows(day):
        return
    open_now = str(facts.windows.get(user, facts.window))
    others = ", ".join(
        f"for {name} {window}".rstrip()
        for name, window in sorted(facts.windows.items())
        if name != user and window.allows(day)
    )
    yield f"Posting date {day} is not allowed: posting is open {open_now}{f' ({others})' if others else ''}."


def _vendor_document(document: Document, taken: Sequence[Share], facts: Facts) -> Iterator[str]:
    if document.kind.side is not Side.VENDOR or not any(share.invoice for share in taken):
        return
    what = "credit memo" if document.kind.gives_back else "invoice"
    if not document.vendor_document:
        yield f"Enter the {what} number of the vendor: without it nobody finds this {what} again."
    elif facts.vendor_invoice is not None:
        yield (
            f"{_capital(what)} {document.vendor_document} of vendor {document.party} was posted already as "
            f"{facts.vendor_invoice}."
        )


def _line(document: Document, share: Share, facts: Facts) -> Iterator[str]:
    line, kind = share.line, document.kind
    if line.type is LineType.ITEM and facts.items is not None:
        if (item := facts.items.get(line.no)) is None:
            yield f"item {line.no or '(none)'} does not exist."
        elif line.unit not in item.units:
            yield f"unit {line.unit or '(none)'} is not a unit of item {line.no} ({', '.join(item.units)})."
    yield from _quantities(line, share, kind.move if kind.is_order else None)
    most = abs(line.quantity * line.price)
    if not (0 <= line.discount_percent <= 100 and 0 <= (line.discount_amount or ZERO) <= most):
        yield "line discount must be between 0 and 100 %."
    if share.invoice and line.tax_group not in facts.taxes:
        yield f"tax group {line.tax_group or '(none)'} is not set up."


def _quantities(line: DocumentLine, share: Share, move: Move | None) -> Iterator[str]:
    if line.quantity <= 0:
        yield "quantity must be above 0."
        return
    if move is None:
        return
    left = line.quantity - line.moved
    if share.move < 0 or share.invoice < 0:
        yield f"a quantity to {move if share.move < 0 else 'invoice'} must not be below 0."
    if share.move > left:
        yield f"quantity to {move} {plain(share.move)} is more than the {plain(left)} that are left."
    there = line.moved + max(share.move, ZERO) - line.posted.quantity
    if share.invoice > there:
        yield f"quantity to invoice {plain(share.invoice)} is more than the {plain(there)} that are {_DONE[move]}."


def _stock(document: Document, taken: Sequence[Share], facts: Facts) -> Iterator[str]:
    if document.kind.move is not Move.SHIP or facts.items is None:
        return
    used: dict[str, Decimal] = {}
    for share in taken:
        item = facts.items.get(share.line.no) if share.line.type is LineType.ITEM else None
        if item is None or not item.stock_kept or share.line.unit not in item.units or share.move <= 0:
            continue
        wanted = share.move * item.units[share.line.unit]
        left = facts.stock.get((share.line.no, document.location), ZERO) - used.get(share.line.no, ZERO)
        used[share.line.no] = used.get(share.line.no, ZERO) + wanted
        if wanted > left:
            at = f" at {document.location}" if document.location else ""
            yield (
                f"Line {share.line.number}: {plain(wanted)} {item.base_unit} of item {share.line.no} are wanted, "
                f"{plain(max(left, ZERO))} are on stock{at}."
            )


def _applied_quantities(document: Document, taken: Sequence[Share], facts: Facts) -> Iterator[str]:
    """No more of an item comes back than was on what it applies to."""
    if not document.applies_to or facts.applied is None or facts.applied.party != document.party:
        return
    moved = [(share, share.move) for share in taken]
    credited = [(share, share.invoice) for share in taken]
    yield from _more_than(document, moved, facts.applied.moved, f"to {document.kind.move}")
    yield from _more_than(document, credited, facts.applied.credited, "to credit")


def _more_than(
    document: Document, wanted: Sequence[tuple[Share, Decimal]], left: Mapping[str, Decimal], verb: str
) -> Iterator[str]:
    used: dict[str, Decimal] = {}
    for share, quantity in wanted:
        item = share.line.no
        if share.line.type is not LineType.ITEM or quantity <= 0:
            continue
        there = left.get(item, ZERO) - used.get(item, ZERO)
        used[item] = used.get(item, ZERO) + quantity
        if quantity > there:
            yield (
                f"Line {share.line.number}: quantity {verb} {plain(quantity)} is more than the "
                f"{plain(max(there, ZERO))} of item {item} that are left of {document.applies_to}."
            )


def _totals(document: Document, amounts: Amounts, facts: Facts, currency: Currency) -> Iterator[str]:
    if document.applies_to and document.kind.gives_back:
        memo, whose = _capital(document.title), document.kind.side
        if facts.applied is None:
            yield f"{memo} applies to {document.applies_to}, which does not exist."
        elif facts.applied.party != document.party:
            yield f"{memo} applies to {document.applies_to}, which belongs to another {whose}."
        # tax is rounded in each part: all that was sold, given back in parts, may come to a little more
        elif amounts.total - facts.applied.left > currency.unit * len(amounts.taxes):
            yield f"{memo} would credit {amounts.total:f}, but only {facts.applied.left:f} is left."
    if amounts.total < 0:
        opposite = "an invoice" if document.kind.gives_back else "a credit memo"
        yield f"The total of {document.title} is negative ({amounts.total:f}): post it as {opposite}."


def plain(number: Decimal) -> str:
    """Write a quantity without zeros that say nothing: 6, 2.5, 100."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def mentioned_items(document: Document) -> set[str]:
    """Return the items that a document names."""
    return {line.no for line in document.lines if line.type is LineType.ITEM}
