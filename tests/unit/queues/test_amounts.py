"""What documents come to: the computed cases of the posting reference, and what always holds."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.kernel.rounding import RoundingDirection, rounded
from gateway.queues.rules.amounts import (
    Amounts,
    Currency,
    InvoiceDiscount,
    InvoiceRounding,
    Line,
    Posted,
    compute,
    mirrored,
)

CENT = Decimal("0.01")
EURO = Currency()


def line(quantity: str, price: str, **more: object) -> Line:
    known = {
        name: Decimal(value) if isinstance(value, str) and name != "tax_group" else value
        for name, value in more.items()
    }
    return Line(**{"quantity": Decimal(quantity), "whole": Decimal(quantity), "price": Decimal(price), **known})  # type: ignore[arg-type]


def texts(*values: Decimal) -> list[str]:
    return [f"{value:f}" for value in values]


def taxed(quantity: str, price: str, percent: str, **more: object) -> Line:
    return line(quantity, price, tax_percent=percent, tax_group=f"T{percent}", **more)


@pytest.mark.parametrize(
    ("quantity", "price", "percent", "gross", "discount", "amount"),
    [
        ("3", "33.335", "0", "100.01", "0.00", "100.01"),
        ("7", "19.99", "12.5", "139.93", "17.49", "122.44"),
        ("3", "0.335", "10", "1.01", "0.10", "0.91"),
        ("4", "49.7536", "0", "199.01", "0.00", "199.01"),
        ("5", "20", "100", "100.00", "100.00", "0.00"),
    ],
)
def test_a_line_is_rounded_twice(
    quantity: str, price: str, percent: str, gross: str, discount: str, amount: str
) -> None:
    (only,) = compute([taxed(quantity, price, "25", discount_percent=percent)], EURO).lines
    assert texts(only.gross, only.discount, only.amount) == [gross, discount, amount]


@pytest.mark.parametrize(("value", "nearest"), [("2.345", "2.35"), ("-2.345", "-2.35"), ("2.344", "2.34"), ("0", "0")])
def test_half_goes_away_from_zero(value: str, nearest: str) -> None:
    assert rounded(Decimal(value), CENT) == Decimal(nearest)


def test_what_is_rounded_to_nothing_has_no_sign() -> None:
    assert f"{rounded(Decimal('-0.001'), CENT)}" == "0.00"


@pytest.mark.parametrize(("direction", "up", "down"), [("up", "1.24", "-1.24"), ("down", "1.23", "-1.23")])
def test_directions_are_mirrored(direction: str, up: str, down: str) -> None:
    found = [rounded(Decimal(value), CENT, RoundingDirection(direction)) for value in ("1.234", "-1.234")]
    assert texts(*found) == [up, down]


def test_tax_is_rounded_once_for_a_group_and_spread() -> None:
    ten = compute([taxed("1", "1.02", "19")] * 10, EURO)
    assert texts(ten.taxes[0].tax) == ["1.94"]
    assert texts(*(one.tax for one in ten.lines)) == [
        "0.19", "0.20", "0.19", "0.20", "0.19", "0.19", "0.20", "0.19", "0.19", "0.20",
    ]  # fmt: skip
    assert texts(compute([taxed("1", "0.33", "25")] * 3, EURO).taxes[0].tax) == ["0.25"]


def test_a_discount_is_spread_with_the_remainder_carried_on() -> None:
    three = compute([taxed("1", "100", "0")] * 3, EURO, discount=InvoiceDiscount(amount=Decimal(10)))
    assert texts(*(one.invoice_discount for one in three.lines)) == ["3.33", "3.34", "3.33"]


def test_a_whole_invoice() -> None:
    whole = compute(
        [taxed("2", "499.95", "25"), taxed("10", "4.49", "25", discount_percent="5"), taxed("3", "12.345", "12")],
        EURO,
        discount=InvoiceDiscount(percent=Decimal(3)),
    )
    assert texts(*(one.amount + one.invoice_discount for one in whole.lines)) == ["999.90", "42.65", "37.04"]
    assert texts(*(one.invoice_discount for one in whole.lines)) == ["30.00", "1.28", "1.11"]
    assert texts(whole.subtotal, whole.invoice_discount) == ["1079.59", "32.39"]
    assert [texts(one.percent, one.base, one.tax) for one in whole.taxes] == [
        ["25", "1011.27", "252.82"],
        ["12", "35.93", "4.31"],
    ]
    assert texts(whole.rounding, whole.total) == ["0.00", "1304.33"]


def test_prices_may_include_tax() -> None:
    found = compute([taxed("3", "9.99", "25")], EURO, includes_tax=True)
    assert texts(found.taxes[0].base, found.taxes[0].tax, found.total) == ["23.98", "5.99", "29.97"]


@pytest.mark.parametrize(
    ("price", "total", "rounding"), [("1073.62", "1073.60", "-0.02"), ("1073.63", "1073.65", "0.02")]
)
def test_a_total_that_is_paid_in_coins(price: str, total: str, rounding: str) -> None:
    francs = Currency(invoice_rounding=InvoiceRounding(step=Decimal("0.05")))
    found = compute([taxed("1", price, "0")], francs)
    assert texts(found.total, found.rounding) == [total, rounding]


@pytest.mark.parametrize(
    ("decimals", "quantity", "price", "percent", "amount", "tax"),
    [(0, "3", "333.4", "10", "1000", "100"), (3, "7", "1.2345", "5", "8.642", "0.432")],
)
def test_decimals_of_a_currency(decimals: int, quantity: str, price: str, percent: str, amount: str, tax: str) -> None:
    found = compute([taxed(quantity, price, percent)], Currency(decimals=decimals))
    assert texts(found.lines[0].amount, found.taxes[0].tax) == [amount, tax]


def test_a_credit_memo_mirrors_its_invoice() -> None:
    invoice = compute([taxed("7", "19.99", "25", discount_percent="12.5")], EURO)
    memo = mirrored(invoice)
    assert texts(memo.lines[0].amount, memo.taxes[0].tax, memo.total) == ["-122.44", "-30.61", "-153.05"]
    assert invoice.total + memo.total == 0


def test_the_last_part_of_a_line_gets_what_is_left() -> None:
    order = {"whole": "10", "discount_percent": "7.5"}
    discount = InvoiceDiscount(amount=Decimal(5))
    (first,) = compute([taxed("4", "9.99", "25", **order)], EURO, discount=discount).lines
    assert texts(first.gross - first.discount, first.invoice_discount) == ["36.96", "2.00"]
    posted = Posted(Decimal(4), first.gross, first.discount, first.invoice_discount)
    (second,) = compute([taxed("6", "9.99", "25", posted=posted, **order)], EURO, discount=discount).lines
    assert texts(second.gross - second.discount, second.invoice_discount) == ["55.45", "3.00"]


def test_a_line_of_which_nothing_is_posted_bears_its_part_of_the_discount() -> None:
    lines = [taxed("1", "100", "0"), taxed("0", "100", "0", whole="1")]
    found = compute(lines, EURO, discount=InvoiceDiscount(amount=Decimal(10)))
    assert [one.invoice_discount for one in found.lines] == [5, 0]


def test_a_discount_that_no_line_allows_is_none() -> None:
    found = compute(
        [taxed("1", "100", "0", allow_invoice_discount=False)], EURO, discount=InvoiceDiscount(percent=Decimal(3))
    )
    assert found.total == 100


MONEY = st.decimals("0", "9999.99999", places=5)


@given(
    data=st.data(), includes_tax=st.booleans(), percent=st.sampled_from(["0", "3", "12.5"]), decimals=st.integers(0, 3)
)
def test_parts_add_up(data: st.DataObject, includes_tax: bool, percent: str, decimals: int) -> None:
    currency = Currency(decimals=decimals)
    discount = InvoiceDiscount(percent=Decimal(percent))
    lines = [
        Line(
            quantity=Decimal(first), whole=Decimal(whole), price=price, discount_percent=Decimal(off),
            tax_group=group, tax_percent=Decimal(19 if group == "a" else 7),
        )
        for first, whole, price, off, group in data.draw(
            st.lists(
                st.tuples(
                    st.integers(0, 9), st.integers(9, 20), MONEY, st.sampled_from(["0", "7.5", "33.33", "100"]),
                    st.sampled_from("ab"),
                ),
                min_size=1,
                max_size=6,
            )
        )
    ]  # fmt: skip

    def post(lines: list[Line]) -> Amounts:
        found = compute(lines, currency, discount=discount, includes_tax=includes_tax)
        for tax in found.taxes:
            parts = [one for one, line in zip(found.lines, lines, strict=True) if line.tax_group == tax.group]
            assert sum(one.base for one in parts) == tax.base and sum(one.tax for one in parts) == tax.tax
        assert found.total == sum(one.base + one.tax for one in found.lines)
        assert all(one.amount == one.gross - one.discount - one.invoice_discount for one in found.lines)
        assert found.subtotal - found.invoice_discount == sum(one.amount for one in found.lines)
        assert all(value == rounded(value, currency.unit) for one in found.lines for value in (one.base, one.tax))
        return found

    first = post(lines)
    rest = [
        Line(
            quantity=line.whole - line.quantity, whole=line.whole, price=line.price,
            discount_percent=line.discount_percent, tax_group=line.tax_group, tax_percent=line.tax_percent,
            posted=Posted(line.quantity, one.gross, one.discount, one.invoice_discount),
        )
        for line, one in zip(lines, first.lines, strict=True)
    ]  # fmt: skip
    second = post(rest)
    at_once = compute(
        [
            Line(
                quantity=line.whole, whole=line.whole, price=line.price, discount_percent=line.discount_percent,
                tax_group=line.tax_group, tax_percent=line.tax_percent,
            )
            for line in lines
        ],
        currency,
        discount=discount,
        includes_tax=includes_tax,
    )  # fmt: skip
    assert [a.amount + b.amount for a, b in zip(first.lines, second.lines, strict=True)] == [
        one.amount for one in at_once.lines
    ]
