"""Posting of documents: periods, currencies, taxes, number series; and printing what was posted."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Annotated

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from gateway.config.models_base import AnyText, Count, Date, Flag, Location, Name, Seconds, Section, Text, Word, reread
from gateway.config.models_services import Handler, NumberFormat, Qualified
from gateway.kernel.rounding import RoundingDirection


def _number(value: object) -> object:
    """Take a number as it is written: 12.5 is no binary fraction."""
    value = reread(value)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return value
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        raise ValueError("must be a number such as 12.5") from None
    if not number.is_finite():
        raise ValueError("must be a number such as 12.5")
    return number


DecimalNumber = Annotated[Decimal, BeforeValidator(_number), WithJsonSchema({"type": "number"})]


class PostingPeriod(Section):
    """The days that may be posted to."""

    first: Date | None = Field(default=None, description="First day that may be posted to. null: no first day.")
    last: Date | None = Field(default=None, description="Last day that may be posted to. null: no last day.")

    @model_validator(mode="after")
    def _in_order(self) -> "PostingPeriod":
        if self.first is not None and self.last is not None and self.last < self.first:
            raise ValueError(f"ends ({self.last}) before it begins ({self.first})")
        return self


class TotalRounding(Section):
    """A total that is paid in coins."""

    step: DecimalNumber = Field(gt=0, description="What totals are multiples of, such as 0.05.")
    direction: RoundingDirection = Field(default=RoundingDirection.NEAREST, description="nearest | up | down.")


class CurrencySettings(Section):
    """How amounts of a currency are rounded."""

    decimals: Count = Field(default=2, ge=0, le=4, description="Digits behind the point of an amount.")
    tax_rounding: RoundingDirection = Field(
        default=RoundingDirection.NEAREST, description="How tax is rounded: nearest | up | down."
    )
    total_rounding: TotalRounding | None = Field(
        default=None, description="Rounds totals to coins, with a row of its own. null: totals stay as they are."
    )


class Series(Section):
    """The numbers of posted documents: without gaps."""

    format: NumberFormat = Field(description="How a number is written, such as SINV-{number:06}.")
    first: Count = Field(default=1, ge=1, le=10**15, description="First number; counts only when the series is new.")
    last: Count = Field(default=999_999, ge=1, le=10**15, description="Last number that may be used.")


class Kept(StrEnum):
    """What documents name, and the gateway keeps as documents of its own."""

    CUSTOMERS = "customers"
    VENDORS = "vendors"
    ITEMS = "items"


class PostingHandler(Section):
    """Posting of one kind of documents of your own, by code of your own."""

    document: Qualified = Field(description="The document as {namespace}Name, as its document service names it.")
    handler: Handler = Field(description="Function that posts one, written module:object.")
    category: Text | None = Field(default=None, description="Job queue category of these documents.")


SERIES: Mapping[str, Series] = {
    name: Series(format=f"{name}-{{number:06}}")
    for name in ("SHIP", "SINV", "RRCT", "SCRM", "RCPT", "PINV", "RSHP", "PCRM")
}


class PaperForm(StrEnum):
    """The size of a page."""

    A4 = "A4"
    LETTER = "Letter"


class PostedKind(StrEnum):
    """What can be printed."""

    SALES_SHIPMENT = "PostedSalesShipment"
    SALES_INVOICE = "PostedSalesInvoice"
    RETURN_RECEIPT = "PostedReturnReceipt"
    SALES_CREDIT_MEMO = "PostedSalesCreditMemo"
    PURCHASE_RECEIPT = "PostedPurchaseReceipt"
    PURCHASE_INVOICE = "PostedPurchaseInvoice"
    RETURN_SHIPMENT = "PostedReturnShipment"
    PURCHASE_CREDIT_MEMO = "PostedPurchaseCreditMemo"


class Letterhead(Section):
    """Who sends the document."""

    name: Text | None = Field(default=None, description="Name of the company.")
    address: tuple[Text, ...] = Field(default=(), max_length=5, description="Lines below the name.")
    tax_number: Text | None = Field(default=None, description="Stands at the foot of each page.")
    bank: Text | None = Field(default=None, description="Bank and account, likewise.")
    logo: Location | None = Field(default=None, description="A PNG, JPEG or SVG file. null: none.")


class Printer(Section):
    """Where a printed document goes: one of the three."""

    inbox: Flag = Field(default=False, description="true: into the report inbox of who prints it.")
    folder: Location | None = Field(default=None, description="Folder that gets a PDF file for each document.")
    command: tuple[AnyText, ...] | None = Field(
        default=None, min_length=1, description="Program and arguments; {file} is the PDF, {printer} this name."
    )
    timeout_seconds: Seconds = Field(
        default=60.0, gt=0, le=3600, description="With `command`: seconds it may take; then it is ended."
    )

    @model_validator(mode="after")
    def _one_target(self) -> "Printer":
        if (self.folder is not None) + (self.command is not None) + self.inbox != 1:
            raise ValueError("needs one of `folder`, `command` and `inbox: true`")
        if self.command is not None and not any("{file}" in part for part in self.command):
            raise ValueError("its `command` must say where the file stands: {file}")
        return self


class Selection(Section):
    """Which printer a document goes to. The most specific row counts: user and document, user, document, neither."""

    user: Text | None = Field(default=None, description="Only what this user prints. null: everybody.")
    document: PostedKind | None = Field(
        default=None, description="Only this kind, such as PostedSalesInvoice. null: all."
    )
    printer: Text = Field(description="Name of a printer.")


class Printing(Section):
    """Printing of posted documents. Absent: nothing is printed."""

    after_posting: Flag = Field(default=False, description="Every posting also prints what it made.")
    letterhead: Letterhead = Field(default_factory=Letterhead, description="Who sends the documents.")
    paper: PaperForm = Field(default=PaperForm.A4, description="A4 | Letter.")
    fonts: tuple[Location, ...] = Field(
        default=(), description="Font files for letters that are not Latin, Greek or Cyrillic; the first that has one."
    )
    printers: Mapping[Name, Printer] = Field(default_factory=dict, description="Where documents can go.")
    selections: tuple[Selection, ...] = Field(default=(), description="Which document goes to which printer.")


class Posting(Section):
    """Posting of documents. Absent: nothing is posted."""

    period: PostingPeriod = Field(default_factory=PostingPeriod, description="The days that may be posted to.")
    periods: Mapping[Text, PostingPeriod] = Field(
        default_factory=dict, description="Users with a period of their own, which replaces the common one."
    )
    via_job_queue: Flag = Field(
        default=False, description="Documents are posted by entries of job queues, in the background."
    )
    sales_category: Text | None = Field(default=None, description="Job queue category of sales documents.")
    purchase_category: Text | None = Field(default=None, description="Job queue category of purchase documents.")
    timeout_seconds: Seconds = Field(
        default=7200.0, gt=0, le=172_800, description="Seconds that the posting of one document may take."
    )
    require_released: Flag = Field(
        default=False, description="true: documents with the status Open are refused. false: posting releases them."
    )
    shipment_on_invoice: Flag = Field(
        default=False, description="A sales invoice also makes a posted shipment of its items."
    )
    receipt_on_credit_memo: Flag = Field(
        default=False, description="A sales credit memo also makes a posted return receipt of its items."
    )
    currencies: Mapping[Text, CurrencySettings] = Field(
        default_factory=lambda: {"EUR": CurrencySettings(), "USD": CurrencySettings()},
        description="Currencies by code.",
    )
    taxes: Mapping[Text, Annotated[DecimalNumber, Field(ge=0, le=1000)]] = Field(
        default_factory=dict, description="Tax groups and their percents."
    )
    keeps: tuple[Kept, ...] = Field(
        default=(),
        description="What must exist as a document of its own before it is named: customers, vendors, items.",
    )
    series: Mapping[Text, Series] = Field(
        default_factory=dict, description="Number series that differ from the usual ones."
    )
    handlers: Mapping[Word, PostingHandler] = Field(
        default_factory=dict, description="Documents of your own that can be posted, by the name of their kind."
    )
    print: Printing | None = Field(default=None, description="Printing of posted documents. null: nothing is printed.")

    def numbers(self, series: str) -> Series:
        """Return a number series: as configured, else the usual one."""
        return self.series.get(series, SERIES[series])

    @model_validator(mode="after")
    def _known_series(self) -> "Posting":
        for name in self.series:
            if name not in SERIES:
                raise ValueError(f"there is no number series {name}; there are {', '.join(SERIES)}")
        return self
