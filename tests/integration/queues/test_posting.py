"""Posting of documents, each in its transaction: what is made of them, what keeps them from it, and numbers."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from gateway.config.models_posting import CurrencySettings, Kept, Posting, PostingPeriod, Series, TotalRounding
from gateway.db.open import Store
from gateway.queues.posting.form import NAMESPACE, Unreadable
from gateway.queues.posting.posting import (
    DocumentBusy,
    DocumentName,
    DocumentUnknown,
    PostedAs,
    Poster,
    PostingRefused,
)
from gateway.queues.rules.documents import KINDS, Wanted
from tests.posting import ITEM, document, is_valid, keep, read, texts

NOW = datetime(2031, 2, 10, 12, tzinfo=UTC)
POSTING = Posting.model_validate({
    "taxes": {"FULL": 25, "LOW": 12, "NONE": 0},
    "period": {"first": "2031-02-01", "last": "2031-02-28"},
    "periods": {"ann": {"first": "2031-01-15"}},
})  # fmt: skip


async def post(
    store: Store,
    kind: str,
    number: str = "1001",
    posting: Posting = POSTING,
    user: str = "ben",
    *,
    move: bool = True,
    invoice: bool = True,
) -> Sequence[PostedAs]:
    poster = Poster(store.queries, posting)
    name = DocumentName(kind=KINDS[kind], partition="initial", company="dat", number=number)
    async with store.transaction() as connection:
        return await poster.post(connection, name, Wanted(move=move, invoice=invoice), user=user, now=NOW)


def numbers(made: Sequence[PostedAs]) -> list[str]:
    return [one.number for one in made]


@pytest.mark.parametrize(
    ("kind", "made"),
    [
        ("SalesOrder", ["SHIP-000001", "SINV-000001"]),
        ("SalesInvoice", ["SINV-000001"]),
        ("SalesReturnOrder", ["RRCT-000001", "SCRM-000001"]),
        ("SalesCreditMemo", ["SCRM-000001"]),
        ("PurchaseOrder", ["RCPT-000001", "PINV-000001"]),
        ("PurchaseInvoice", ["PINV-000001"]),
        ("PurchaseReturnOrder", ["RSHP-000001", "PCRM-000001"]),
        ("PurchaseCreditMemo", ["PCRM-000001"]),
    ],
)
async def test_each_kind_makes_its_documents_and_all_are_valid(store: Store, kind: str, made: list[str]) -> None:
    comment = {"Type": "Comment", "Description": "Deliver in the morning."}
    await keep(store, kind, "1001", document(kind, ITEM, comment))
    posted = await post(store, kind)
    assert numbers(posted) == made
    sign = "-" if KINDS[kind].gives_back else ""
    for one in posted:
        content = await read(store, one.document, one.number)
        assert texts(content, "SourceDocumentNo") == ["1001"] and texts(content, "PostedBy") == ["ben"]
        assert texts(content, "Line/Type") == ["Item", "Comment"] and texts(content, "Line/Quantity") == ["10"]
        assert texts(content, "Totals/Total") == ([] if one.total is None else [f"{sign}124.88"])
    assert texts(await read(store, kind, "1001"), "Status") == ["Posted"]
    with pytest.raises(DocumentBusy) as busy:
        await post(store, kind)
    title = KINDS[kind].title
    assert busy.value.message == f"{title.capitalize()} 1001 is posted ({made[-1]})."


async def test_an_order_is_posted_in_parts_and_no_cent_is_lost(store: Store) -> None:
    first = {**ITEM, "QtyToShip": "4"}
    line = {name: first[name] for name in ITEM} | {"UnitPrice": "9.99", "LineDiscountPercent": "7.5"}
    ordered = {name: line[name] for name in ("Type", "No", "Quantity", "UnitCode", "UnitPrice", "LineDiscountPercent")}
    await keep(
        store, "SalesOrder", "1001",
        document("SalesOrder", {**ordered, "TaxGroup": "FULL", "QtyToShip": "4"}, InvoiceDiscountAmount="5.00"),
    )  # fmt: skip
    (shipment,) = await post(store, "SalesOrder", invoice=False)
    assert shipment.number == "SHIP-000001"
    order = await read(store, "SalesOrder", "1001")
    assert texts(order, "Line/QtyShipped") == ["4"] and texts(order, "Line/QtyInvoiced") == ["0"]
    assert texts(order, "Status") == [] and texts(order, "Line/QtyToShip") == []
    invoices = [*await post(store, "SalesOrder", move=False), *(await post(store, "SalesOrder"))[1:]]
    contents = [await read(store, "PostedSalesInvoice", one.number) for one in invoices]
    assert [texts(one, "Line/LineAmount") for one in contents] == [["36.96"], ["55.45"]]
    assert [texts(one, "Line/InvoiceDiscountAmount") for one in contents] == [["2.00"], ["3.00"]]
    assert texts(await read(store, "SalesOrder", "1001"), "Status") == ["Posted"]


async def test_nothing_is_invoiced_that_was_not_shipped(store: Store) -> None:
    await keep(store, "SalesOrder", "1001", document("SalesOrder", {**ITEM, "QtyToShip": "4", "QtyToInvoice": "5"}))
    assert numbers(await post(store, "SalesOrder", invoice=False)) == ["SHIP-000001"]
    await keep(store, "SalesOrder", "1002", document("SalesOrder", {**ITEM, "QtyToShip": "4", "QtyToInvoice": "5"}))
    with pytest.raises(PostingRefused) as refused:
        await post(store, "SalesOrder", "1002")
    assert refused.value.findings == ("Line 10000: quantity to invoice 5 is more than the 4 that are shipped.",)


async def test_what_cannot_be_posted_uses_no_number(store: Store) -> None:
    await keep(store, "SalesInvoice", "1001", document("SalesInvoice"))
    await keep(store, "SalesInvoice", "1002", document("SalesInvoice", ITEM))
    with pytest.raises(PostingRefused, match="has nothing to post"):
        await post(store, "SalesInvoice")
    assert numbers(await post(store, "SalesInvoice", "1002")) == ["SINV-000001"]


async def test_a_user_with_a_period_of_his_own(store: Store) -> None:
    await keep(store, "SalesInvoice", "1001", document("SalesInvoice", ITEM, PostingDate="2031-01-31"))
    with pytest.raises(PostingRefused, match=r"is not allowed.*\(for ann from 2031-01-15\)"):
        await post(store, "SalesInvoice", user="ben")
    assert numbers(await post(store, "SalesInvoice", user="ann")) == ["SINV-000001"]


async def test_an_invoice_of_a_vendor_is_posted_once(store: Store) -> None:
    for number in ("1", "2"):
        await keep(store, "PurchaseInvoice", number, document("PurchaseInvoice", ITEM))
    await post(store, "PurchaseInvoice", "1")
    with pytest.raises(PostingRefused, match="Invoice 4711 of vendor 10000 was posted already as PINV-000001"):
        await post(store, "PurchaseInvoice", "2")


async def test_no_more_comes_back_than_was_sold(store: Store) -> None:
    sold = {**ITEM, "Quantity": "3"}
    await keep(store, "SalesInvoice", "1001", document("SalesInvoice", sold))
    await post(store, "SalesInvoice")
    for number, quantity in (("1", "1"), ("2", "3"), ("3", "2")):
        back = {**ITEM, "Quantity": quantity}
        applied = document("SalesReturnOrder", back, AppliesToDocumentNo="SINV-000001")
        await keep(store, "SalesReturnOrder", number, applied)
    assert numbers(await post(store, "SalesReturnOrder", "1", invoice=False)) == ["RRCT-000001"]
    assert numbers(await post(store, "SalesReturnOrder", "1")) == ["SCRM-000001"]
    with pytest.raises(PostingRefused) as refused:
        await post(store, "SalesReturnOrder", "2")
    assert refused.value.findings == (
        "Line 10000: quantity to receive 3 is more than the 2 of item 1996-S that are left of SINV-000001.",
        "Line 10000: quantity to credit 3 is more than the 2 of item 1996-S that are left of SINV-000001.",
    )
    assert numbers(await post(store, "SalesReturnOrder", "3")) == ["RRCT-000002", "SCRM-000002"]


async def test_a_line_that_costs_nothing(store: Store) -> None:
    free = {name: ITEM[name] for name in ("Type", "No", "Quantity", "UnitCode", "UnitPrice")}
    free |= {"LineDiscountPercent": "100", "TaxGroup": "FULL"}
    await keep(store, "SalesInvoice", "1001", document("SalesInvoice", free))
    (posted,) = await post(store, "SalesInvoice")
    assert posted.total == 0


async def keep_master_data(store: Store) -> None:
    item = f'<Header class="entity" xmlns="{NAMESPACE}"><No>1996-S</No><Unit><Code>PCS</Code><Quantity>1</Quantity>'
    item += "</Unit><Unit><Code>BOX</Code><Quantity>12</Quantity></Unit><StockKept>true</StockKept></Header>"
    party = f'<Header class="entity" xmlns="{NAMESPACE}"><No>10000</No></Header>'
    for kind, number, content in (("Item", "1996-S", item), ("Customer", "10000", party), ("Vendor", "10000", party)):
        assert is_valid(content.encode(), kind)
        await keep(store, kind, number, content.encode())


async def test_stock_is_kept(store: Store) -> None:
    posting = POSTING.model_copy(update={"keeps": tuple(Kept)})
    await keep_master_data(store)
    box = {**ITEM, "Quantity": "1", "UnitCode": "BOX"}
    await keep(store, "SalesOrder", "1001", document("SalesOrder", ITEM))
    with pytest.raises(PostingRefused, match="10 PCS of item 1996-S are wanted, 0 are on stock at BLUE"):
        await post(store, "SalesOrder", posting=posting)
    await keep(store, "PurchaseOrder", "1", document("PurchaseOrder", box))
    await post(store, "PurchaseOrder", "1", posting)
    await post(store, "SalesOrder", posting=posting)
    await keep(store, "SalesOrder", "1002", document("SalesOrder", {**ITEM, "Quantity": "3"}))
    with pytest.raises(PostingRefused, match="3 PCS of item 1996-S are wanted, 2 are on stock at BLUE"):
        await post(store, "SalesOrder", "1002", posting)


async def test_what_does_not_exist_is_named(store: Store) -> None:
    posting = POSTING.model_copy(update={"keeps": tuple(Kept)})
    await keep(store, "SalesOrder", "1001", document("SalesOrder", ITEM))
    with pytest.raises(PostingRefused) as refused:
        await post(store, "SalesOrder", posting=posting)
    assert refused.value.findings == (
        "Customer 10000 does not exist.", "Line 10000: item 1996-S does not exist.",
    )  # fmt: skip
    with pytest.raises(DocumentUnknown, match="There is no sales order 7 in company dat"):
        await post(store, "SalesOrder", "7")


async def test_open_documents_may_have_to_be_released(store: Store) -> None:
    posting = POSTING.model_copy(update={"require_released": True})
    await keep(store, "SalesInvoice", "1001", document("SalesInvoice", ITEM))
    with pytest.raises(PostingRefused, match="Its status is Open"):
        await post(store, "SalesInvoice", posting=posting)


async def test_an_invoice_may_ship_as_well(store: Store) -> None:
    posting = POSTING.model_copy(update={"shipment_on_invoice": True, "receipt_on_credit_memo": True})
    await keep(store, "SalesInvoice", "1001", document("SalesInvoice", ITEM))
    await keep(store, "SalesCreditMemo", "1001", document("SalesCreditMemo", ITEM))
    assert numbers(await post(store, "SalesInvoice", posting=posting)) == ["SHIP-000001", "SINV-000001"]
    assert numbers(await post(store, "SalesCreditMemo", posting=posting)) == ["RRCT-000001", "SCRM-000001"]


async def test_a_series_comes_to_its_end(store: Store) -> None:
    posting = POSTING.model_copy(update={"series": {"SINV": Series(format="S{number}", last=1)}})
    for number in ("1", "2"):
        await keep(store, "SalesInvoice", number, document("SalesInvoice", ITEM))
    assert numbers(await post(store, "SalesInvoice", "1", posting)) == ["S1"]
    with pytest.raises(PostingRefused, match=r"Number series SINV is used up \(last number S1\)\."):
        await post(store, "SalesInvoice", "2", posting)


async def test_a_total_is_rounded_to_coins(store: Store) -> None:
    francs = CurrencySettings(total_rounding=TotalRounding(step=Decimal("0.05")))
    posting = POSTING.model_copy(update={"currencies": {"CHF": francs}})
    line = {**ITEM, "Quantity": "1", "UnitPrice": "1073.62", "TaxGroup": "NONE"}
    await keep(store, "SalesInvoice", "1001", document("SalesInvoice", line, CurrencyCode="CHF"))
    (posted,) = await post(store, "SalesInvoice", posting=posting)
    assert posted.total == Decimal("1073.60")
    assert texts(await read(store, "PostedSalesInvoice", posted.number), "Totals/Rounding") == ["-0.02"]


async def test_what_no_port_checked_is_refused_in_words(store: Store) -> None:
    content = document("SalesInvoice", ITEM)
    await keep(store, "SalesInvoice", "1", content.replace(b">9.99<", b">cheap<"))
    await keep(store, "SalesInvoice", "2", content.replace(b">10000</LineNo", b">x</LineNo"))
    await keep(store, "SalesInvoice", "3", content.replace(b">2031-02-10<", b">soon<"))
    for number, text in (("1", "UnitPrice 'cheap' is no number"), ("2", "LineNo"), ("3", "PostingDate 'soon'")):
        with pytest.raises(Unreadable, match=text):
            await post(store, "SalesInvoice", number)


async def test_many_at_once_leave_no_gap(store: Store) -> None:
    many = 20
    for number in range(many):
        content = document("SalesOrder", ITEM) if number % 4 else document("SalesOrder")
        await keep(store, "SalesOrder", str(number), content)

    async def one(number: int) -> Sequence[str]:
        try:
            return numbers(await post(store, "SalesOrder", str(number)))
        except PostingRefused:
            return []

    made = sorted(number for found in await asyncio.gather(*map(one, range(many))) for number in found)
    good = many * 3 // 4
    assert made == [f"{series}-{n:06}" for series in ("SHIP", "SINV") for n in range(1, good + 1)]


async def test_twice_at_once_is_posted_once(store: Store) -> None:
    await keep(store, "SalesInvoice", "1001", document("SalesInvoice", ITEM))
    results = await asyncio.gather(*(post(store, "SalesInvoice") for _ in range(4)), return_exceptions=True)
    assert sorted(type(one).__name__ for one in results) == ["DocumentBusy", "DocumentBusy", "DocumentBusy", "list"]


def test_periods_are_in_order() -> None:
    with pytest.raises(ValueError, match="before it begins"):
        PostingPeriod.model_validate({"first": "2031-02-01", "last": "2031-01-01"})
