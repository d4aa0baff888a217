"""Printing of posted documents: letterhead, printers, and who prints what where."""

from collections.abc import Mapping
from enum import StrEnum

from pydantic import Field, model_validator

from gateway.config.models_base import AnyText, Flag, Location, Name, Seconds, Section, Text


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
