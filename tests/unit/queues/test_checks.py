"""What keeps a document from being posted: every sentence of the posting reference, and the table of the kinds."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from gateway.queues.rules.amounts import Currency, InvoiceDiscount, Posted
from gateway.queues.rules.checks import Applied, Blocked, Facts, Item, Window, amounts_of, findings, plain, signed
from gateway.queues.rules.documents import KINDS, Document, DocumentLine, LineType, Wanted, shares

D = Decimal
FACTS = Facts(
    parties={"10000": Blocked.NOTHING, "20000": Blocked.INVOICES},
    items={"1996-S": Item(units={"PCS": D(1), "BOX": D(12)}, stock_kept=True), "S-100": Item(units={"HR": D(1)})},
    stock={("1996-S", "BLUE"): D(30)},
    taxes={"FULL": D(25), "HALF": D("12.5")},
    currencies={"EUR": Currency(), "JPY": Currency(decimals=0)},
    window=Window(date(2031, 2, 1), date(2031, 2, 28)),
    windows={"ann": Window(date(2031, 1, 15))},
)
LINE = DocumentLine(
    number=10000, type=LineType.ITEM, no="1996-S", quantity=D(10), unit="PCS", price=D("9.99"), tax_group="FULL"
)
COMMENT = DocumentLine(number=20000, type=LineType.COMMENT, description="Deliver in the morning.")
BOTH = Wanted()


def document(kind: str = "SalesOrder", *lines: DocumentLine, **more: object) -> Document:
    known = {
        "kind": KINDS[kind], "number": "1001", "party": "10000", "lines": lines or (LINE,), "currency": "EUR",
        "posting_date": date(2031, 2, 10), "location": "BLUE", "vendor_document": "4711",
    }  # fmt: skip
    return Document(**{**known, **more})  # type: ignore[arg-type]


def found(one: Document, wanted: Wanted = BOTH, user: str = "ben", **facts: object) -> list[str]:
    return findings(one, wanted, replace(FACTS, **facts), user)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
def test_a_document_without_fault_can_be_posted(kind: str) -> None:
    assert found(document(kind, LINE, COMMENT)) == []


@pytest.mark.parametrize(
    ("one", "sentence"),
    [
        (document(lines=()), "Sales order 1001 has nothing to post: no line has a quantity to ship or to invoice."),
        (document("PurchaseOrder", COMMENT),
         "Purchase order 1001 has nothing to post: no line has a quantity to receive or to invoice."),
        (document("SalesInvoice", COMMENT), "Sales invoice 1001 has nothing to post: no line has a quantity."),
        (document(party="1"), "Customer 1 does not exist."),
        (document("PurchaseOrder", party="1"), "Vendor 1 does not exist."),
        (document(party="20000"), "Customer 20000 is blocked for invoices."),
        (document(posting_date=None), "Posting date is missing."),
        (document(posting_date=date(2031, 1, 31)),
         "Posting date 2031-01-31 is not allowed: posting is open from 2031-02-01 to 2031-02-28 "
         "(for ann from 2031-01-15)."),
        (document("PurchaseInvoice", vendor_document=""),
         "Enter the invoice number of the vendor: without it nobody finds this invoice again."),
        (document(lines=(replace(LINE, no="1"),)), "Line 10000: item 1 does not exist."),
        (document(lines=(replace(LINE, unit="BX"),)), "Line 10000: unit BX is not a unit of item 1996-S (PCS, BOX)."),
        (document("SalesInvoice", replace(LINE, quantity=D(0))), "Line 10000: quantity must be above 0."),
        (document(lines=(replace(LINE, moved=D(6), to_move=D(6), to_invoice=D(0)),)),
         "Line 10000: quantity to ship 6 is more than the 4 that are left."),
        (document(lines=(replace(LINE, moved=D(3), to_move=D(0), to_invoice=D(5)),)),
         "Line 10000: quantity to invoice 5 is more than the 3 that are shipped."),
        (document("PurchaseOrder", replace(LINE, moved=D(3), to_move=D(0), to_invoice=D(5))),
         "Line 10000: quantity to invoice 5 is more than the 3 that are received."),
        (document(lines=(replace(LINE, to_move=D(-1)),)), "Line 10000: a quantity to ship must not be below 0."),
        (document(lines=(replace(LINE, discount_percent=D(101)),)),
         "Line 10000: line discount must be between 0 and 100 %."),
        (document(lines=(replace(LINE, discount_amount=D("99.91")),)),
         "Line 10000: line discount must be between 0 and 100 %."),
        (document(lines=(replace(LINE, tax_group="NONE"),)), "Line 10000: tax group NONE is not set up."),
        (document(lines=(replace(LINE, unit="BOX"),)),
         "Line 10000: 120 PCS of item 1996-S are wanted, 30 are on stock at BLUE."),
        (document(location=""), "Line 10000: 10 PCS of item 1996-S are wanted, 0 are on stock."),
        (document("SalesInvoice", replace(LINE, price=D("-1.20"))),
         "The total of sales invoice 1001 is negative (-15.00): post it as a credit memo."),
        (document(lines=(LINE, LINE)), "Line number 10000 is used 2 times: give each line a number of its own."),
        (document(currency="XXX"), "Currency XXX has no decimals set up."),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(one: Document, sentence: str) -> None:
    assert sentence in found(one)


def test_all_is_said_at_once_and_in_order() -> None:
    wrong = document(
        "PurchaseOrder", replace(LINE, unit="BX", tax_group="NONE"), party="1", posting_date=None, vendor_document=""
    )
    assert [text.split()[0:2] for text in found(wrong)] == [
        ["Vendor", "1"], ["Posting", "date"], ["Enter", "the"], ["Line", "10000:"], ["Line", "10000:"],
    ]  # fmt: skip


def test_a_user_may_have_a_window_of_his_own() -> None:
    early = document(posting_date=date(2031, 1, 31))
    assert found(early, user="ann") == [] and found(early, user="ben") != []
    assert found(document(posting_date=date(2031, 1, 1)), user="ann") == [
        "Posting date 2031-01-01 is not allowed: posting is open from 2031-01-15."
    ]


def test_an_invoice_of_a_vendor_is_posted_once() -> None:
    assert found(document("PurchaseInvoice"), vendor_invoice="PINV-000017") == [
        "Invoice 4711 of vendor 10000 was posted already as PINV-000017."
    ]
    assert found(document("PurchaseOrder"), Wanted(invoice=False), vendor_invoice="PINV-000017") == []


@pytest.mark.parametrize(
    ("applied", "sentences"),
    [
        (None, ["Sales credit memo 1001 applies to SINV-000009, which does not exist."]),
        (Applied("30000", D(500)),
         ["Sales credit memo 1001 applies to SINV-000009, which belongs to another customer."]),
        (Applied("10000", D("122.44"), {}, {"1996-S": D(10)}),
         ["Sales credit memo 1001 would credit 124.88, but only 122.44 is left."]),
        (Applied("10000", D("124.88"), {}, {"1996-S": D(10)}), []),
        (Applied("10000", D("124.87"), {}, {"1996-S": D(10)}), []),
        (Applied("10000", D(500), {}, {"1996-S": D(9)}),
         ["Line 10000: quantity to credit 10 is more than the 9 of item 1996-S that are left of SINV-000009."]),
    ],
)  # fmt: skip
def test_a_credit_memo_takes_back_no_more_than_there_is(applied: Applied | None, sentences: list[str]) -> None:
    assert found(document("SalesCreditMemo", applies_to="SINV-000009"), applied=applied) == sentences


def test_lines_of_one_item_share_its_stock() -> None:
    lines = [replace(LINE, number=number, quantity=D(20)) for number in (1, 2)]
    assert found(document(lines=lines)) == ["Line 2: 20 PCS of item 1996-S are wanted, 10 are on stock at BLUE."]
    assert found(document("PurchaseOrder", *lines)) == []  # it brings some


def test_what_a_site_does_not_keep_is_not_checked() -> None:
    unknown = document(lines=(replace(LINE, no="?", unit="?"),), party="?")
    assert found(unknown, parties=None, items=None) == []


def test_what_a_posting_takes_by_default() -> None:
    def taken(wanted: Wanted, line: DocumentLine, kind: str = "SalesOrder") -> tuple[int, int]:
        (share,) = shares(document(kind, line), wanted)
        return int(share.move), int(share.invoice)

    begun = replace(LINE, moved=D(4), posted=Posted(D(1)))
    assert taken(BOTH, LINE) == (10, 10)
    assert taken(BOTH, begun) == (6, 9)
    assert taken(Wanted(invoice=False), begun) == (6, 0)
    assert taken(Wanted(move=False), begun) == (0, 3)
    assert taken(BOTH, replace(begun, to_move=D(2), to_invoice=D(1))) == (2, 1)
    assert taken(BOTH, COMMENT) == (0, 0)
    assert taken(BOTH, LINE, "SalesInvoice") == (0, 10)
    assert taken(Wanted(goods_too=True), LINE, "SalesInvoice") == (10, 10)
    assert taken(Wanted(goods_too=True), LINE, "PurchaseInvoice") == (0, 10)


def test_amounts_of_what_gives_back_are_negative_in_the_books() -> None:
    memo = document("SalesCreditMemo", replace(LINE, quantity=D(7), price=D("19.99"), discount_percent=D("12.5")))
    amounts = amounts_of(memo, shares(memo, BOTH), FACTS, Currency())
    assert amounts.total == D("153.05") and signed(memo, amounts).total == D("-153.05")
    assert signed(document(), amounts) == amounts


def test_an_order_bears_its_discount_on_lines_that_are_posted_later() -> None:
    lines = (replace(LINE, to_move=D(0), to_invoice=D(0)), replace(LINE, number=20000))
    order = document(lines=lines, discount=InvoiceDiscount(amount=D(10)))
    amounts = amounts_of(order, shares(order, BOTH), FACTS, Currency())
    assert [line.invoice_discount for line in amounts.lines] == [0, 5]


@pytest.mark.parametrize(("number", "text"), [("6", "6"), ("2.50", "2.5"), ("100", "100"), ("1E+2", "100"), ("0", "0")])
def test_quantities_are_written_without_zeros_that_say_nothing(number: str, text: str) -> None:
    assert plain(D(number)) == text
