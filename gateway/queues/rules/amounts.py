"""What a document to post comes to: line amounts, discounts, tax, rounding. Pure, and with Decimal alone.

All amounts are rounded to the smallest unit of the currency, half away from zero, so that a credit memo mirrors its
invoice. What is rounded once for many lines is spread over them in order: each line gets what the sum so far, rounded,
has grown by, so that the parts always add up to the whole.

Source: posting reference, section 3 (after Business Central's Sales Line and VAT Amount Line).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import accumulate, pairwise
from typing import Final

from gateway.kernel.rounding import RoundingDirection, rounded

ZERO = Decimal(0)
_HUNDRED = Decimal(100)


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceRounding:
    """A total that is paid in coins: the step that it is rounded to."""

    step: Decimal
    direction: RoundingDirection = RoundingDirection.NEAREST


@dataclass(frozen=True, slots=True, kw_only=True)
class Currency:
    """How amounts of a currency are rounded."""

    decimals: int = 2
    tax_rounding: RoundingDirection = RoundingDirection.NEAREST
    invoice_rounding: InvoiceRounding | None = None

    @property
    def unit(self) -> Decimal:
        """Return the smallest amount, such as 0.01."""
        return Decimal(1).scaleb(-self.decimals)


@dataclass(frozen=True, slots=True)
class Posted:
    """What earlier parts of a line have come to."""

    quantity: Decimal = ZERO
    gross: Decimal = ZERO
    discount: Decimal = ZERO
    invoice_discount: Decimal = ZERO


NOTHING_POSTED: Final = Posted()


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line as it is posted.

    `quantity` is posted now, `whole` is the quantity of the line; what completes a line gets the whole less what was
    posted, so that no cent is lost. A discount is a percent, or an amount for the whole line.
    """

    quantity: Decimal
    whole: Decimal
    price: Decimal
    discount_percent: Decimal = ZERO
    discount_amount: Decimal | None = None
    allow_invoice_discount: bool = True
    tax_group: str = ""
    tax_percent: Decimal = ZERO
    posted: Posted = NOTHING_POSTED

    @property
    def completes(self) -> bool:
        """Tell whether nothing is left to post after this."""
        return self.posted.quantity + self.quantity == self.whole


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceDiscount:
    """A discount on the whole document: a percent of the lines that allow it, or an amount spread over them."""

    percent: Decimal = ZERO
    amount: Decimal | None = None


NO_DISCOUNT: Final = InvoiceDiscount()


@dataclass(frozen=True, slots=True, kw_only=True)
class LineAmounts:
    """What a line comes to: `amount` is gross less its discounts; it includes tax where the prices do."""

    gross: Decimal
    discount: Decimal
    invoice_discount: Decimal
    amount: Decimal
    base: Decimal
    tax: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class TaxAmounts:
    """What the lines of one tax group come to together."""

    group: str
    percent: Decimal
    base: Decimal
    tax: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Amounts:
    """What a document comes to. `total` includes tax and rounding."""

    lines: Sequence[LineAmounts]
    taxes: Sequence[TaxAmounts]
    subtotal: Decimal
    invoice_discount: Decimal
    rounding: Decimal
    total: Decimal


def compute(
    lines: Sequence[Line],
    currency: Currency,
    *,
    discount: InvoiceDiscount = NO_DISCOUNT,
    includes_tax: bool = False,
) -> Amounts:
    """Return what these lines come to, in their order; tax groups in the order of their first line.

    Give all lines of the document, also those of which nothing is posted now: they bear a part of its discount.
    Amounts of documents that give money back are positive here too; `mirrored` turns them.
    """
    unit = currency.unit
    plain = [_gross_and_discount(line, unit) for line in lines]
    nets = [gross - less for gross, less in plain]
    shares = _invoice_discounts(lines, nets, discount, unit)
    amounts = [net - share for net, share in zip(nets, shares, strict=True)]
    taxes = [_Tax.of(lines, amounts, key, currency, includes_tax) for key in dict.fromkeys(map(_tax_key, lines))]
    parts = {index: part for tax in taxes for index, part in tax.parts.items()}
    due = sum((tax.amounts.base + tax.amounts.tax for tax in taxes), ZERO)
    total = due
    if currency.invoice_rounding is not None:
        total = rounded(due, currency.invoice_rounding.step, currency.invoice_rounding.direction)
    return Amounts(
        lines=[
            LineAmounts(
                gross=plain[index][0], discount=plain[index][1], invoice_discount=shares[index],
                amount=amounts[index], base=parts[index][0], tax=parts[index][1],
            )
            for index in range(len(lines))
        ],
        taxes=[tax.amounts for tax in taxes],
        subtotal=sum(nets, ZERO),
        invoice_discount=sum(shares, ZERO),
        rounding=total - due,
        total=total,
    )  # fmt: skip


def mirrored(amounts: Amounts) -> Amounts:
    """Return the same amounts for a document that gives money back."""
    return Amounts(
        lines=[
            LineAmounts(
                gross=-line.gross, discount=-line.discount, invoice_discount=-line.invoice_discount,
                amount=-line.amount, base=-line.base, tax=-line.tax,
            )
            for line in amounts.lines
        ],
        taxes=[
            TaxAmounts(group=tax.group, percent=tax.percent, base=-tax.base, tax=-tax.tax) for tax in amounts.taxes
        ],
        subtotal=-amounts.subtotal, invoice_discount=-amounts.invoice_discount, rounding=-amounts.rounding,
        total=-amounts.total,
    )  # fmt: skip


def _gross_and_discount(line: Line, unit: Decimal) -> tuple[Decimal, Decimal]:
    """Return what a line comes to without and what its own discount takes off: two roundings, as clerks expect."""
    if not line.quantity:
        return ZERO, ZERO
    if line.completes:
        gross, discount = _of_quantity(line, line.whole, unit)
        return gross - line.posted.gross, discount - line.posted.discount
    return _of_quantity(line, line.quantity, unit)


def _of_quantity(line: Line, quantity: Decimal, unit: Decimal) -> tuple[Decimal, Decimal]:
    gross = rounded(quantity * line.price, unit)
    if line.discount_amount is None:
        return gross, rounded(gross * line.discount_percent / _HUNDRED, unit)
    return gross, rounded(line.discount_amount * quantity / line.whole, unit)


def _invoice_discounts(
    lines: Sequence[Line], nets: Sequence[Decimal], discount: InvoiceDiscount, unit: Decimal
) -> list[Decimal]:
    """Return the part of the document's discount for each line: a share by its amount, the rest when it completes."""
    wholes = [
        gross - less if line.allow_invoice_discount else ZERO
        for line in lines
        for gross, less in [_of_quantity(line, line.whole, unit) if line.whole else (ZERO, ZERO)]
    ]
    together = sum(wholes, ZERO)
    if not together:
        return [ZERO] * len(lines)
    amount = discount.amount
    if amount is None:
        amount = rounded(together * discount.percent / _HUNDRED, unit)
    ends = _spread(wholes, amount, together, unit)
    bases = [net if line.allow_invoice_discount else ZERO for line, net in zip(lines, nets, strict=True)]
    parts = _spread(bases, amount, together, unit)
    return [
        end - line.posted.invoice_discount if line.completes and line.quantity else part
        for line, end, part in zip(lines, ends, parts, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class _Tax:
    """The tax of one group, and its parts by the index of the line: base and tax."""

    amounts: TaxAmounts
    parts: dict[int, tuple[Decimal, Decimal]]

    @classmethod
    def of(
        cls, lines: Sequence[Line], amounts: Sequence[Decimal], key: tuple[str, Decimal], currency: Currency,
        includes_tax: bool,
    ) -> "_Tax":  # fmt: skip
        """Compute it once for the group, then spread it."""
        group, percent = key
        members = [index for index, line in enumerate(lines) if _tax_key(line) == key]
        own = [amounts[index] for index in members]
        unit, direction = currency.unit, currency.tax_rounding
        if includes_tax:  # the base is rounded and the tax is the rest: what rounds the one up rounds the other down
            bases = _spread(own, _HUNDRED, _HUNDRED + percent, unit, direction.opposite)
            taxes = [amount - base for amount, base in zip(own, bases, strict=True)]
        else:
            bases, taxes = own, _spread(own, percent, _HUNDRED, unit, direction)
        return cls(
            TaxAmounts(group=group, percent=percent, base=sum(bases, ZERO), tax=sum(taxes, ZERO)),
            dict(zip(members, zip(bases, taxes, strict=True), strict=True)),
        )


def _tax_key(line: Line) -> tuple[str, Decimal]:
    return line.tax_group, line.tax_percent


def _spread(
    values: Sequence[Decimal],
    factor: Decimal,
    divisor: Decimal,
    unit: Decimal,
    direction: RoundingDirection = RoundingDirection.NEAREST,
) -> list[Decimal]:
    """Round the sum of values * factor / divisor once; each gets what the rounded sum so far has grown by."""
    ends = [rounded(end * factor / divisor, unit, direction) for end in accumulate(values, initial=ZERO)]
    return [end - start for start, end in pairwise(ends)]
