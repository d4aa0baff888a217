"""Services: the business functions that the actions of messages name."""

import re
from collections.abc import Mapping
from string import Formatter
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    Field,
    GetJsonSchemaHandler,
    Tag,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from gateway.config.models_base import Count, Flag, Seconds, Section, Text, Word, chosen_by, matching
from gateway.kernel.namespaces import SERVICES, canonical

DocumentOperation = Literal["create", "read"]
DOCUMENT_OPERATIONS: tuple[DocumentOperation, ...] = ("create", "read")
DOCUMENTS = "http://schemas.microsoft.com/dynamics/2008/01/documents/"

_XML_NAME = r"[^\W\d][\w.-]*"
_QUALIFIED = re.compile(r"\{([^{}\s]+)\}([^\W\d][\w.-]*)")
_HANDLER = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*:[^\W\d]\w*(?:\.[^\W\d]\w*)*"


def _qualified(value: str) -> str:
    match = _QUALIFIED.fullmatch(value)
    if match is None:
        raise ValueError("must be written {namespace}Name")
    return canonical(value)


def _document(value: str) -> str:
    """Expand a short document name to its documented namespace."""
    if re.fullmatch(_XML_NAME, value):
        return f"{{{DOCUMENTS}{value}}}{value}"
    try:
        return _qualified(value)
    except ValueError:
        raise ValueError("must be a document name such as SalesOrder, or be written {namespace}Name") from None


def _namespace(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s{}]+", value):
        raise ValueError("must be a namespace such as http://tempuri.org")
    return canonical(value).rstrip("/")


def _number_format(value: str) -> str:
    try:
        parts = [
            (field, spec, conversion) for _, field, spec, conversion in Formatter().parse(value) if field is not None
        ]
    except ValueError:
        raise ValueError("has a brace without its partner") from None
    if [field for field, _, _ in parts] != ["number"]:
        raise ValueError("must hold {number} exactly once and no other placeholder, such as SO-{number:06}")
    _, spec, conversion = parts[0]
    if conversion or (spec and not re.fullmatch(r"0?[0-9]{1,2}d?", spec)):
        raise ValueError("may give {number} a width only, such as {number:06}")
    return value


XmlName = Annotated[Text, matching(_XML_NAME, "must be the name of an XML element, without a namespace")]
Handler = Annotated[Text, matching(_HANDLER, "must be written module:object, such as my_company.orders:create")]
NumberFormat = Annotated[Text, AfterValidator(_number_format)]
"""How a running number is written, such as SO-{number:06}."""
Qualified = Annotated[Text, AfterValidator(_qualified)]
Namespaces = Annotated[tuple[Annotated[Text, AfterValidator(_namespace)], ...], Field(min_length=1)]


class NumberSequence(Section):
    """Running numbers for the keys of new documents."""

    name: Text = Field(description="Name of the sequence; services that name the same one share its numbers.")
    format: NumberFormat = Field(default="{number}", description="How a number is written, such as SO-{number:06}.")
    first: Count = Field(default=1, ge=0, le=10**15, description="First number; counts only when the sequence is new.")
    step: Count = Field(default=1, ge=1, le=10**6, description="Distance between two numbers.")
    continuous: Flag = Field(
        default=True, description="No gaps, so requests wait for one another. false: gaps are allowed, nobody waits."
    )
    accept_sent: Flag = Field(
        default=False, description="A partner may send a key of another form; then no number is taken for it."
    )


class DocumentService(Section):
    """A built-in service that stores the documents of one schema; needs no code."""

    kind: Literal["document"] = Field(description="document: the built-in service for documents of a schema.")
    namespaces: Namespaces = Field(default=(SERVICES,), description="Namespaces of its actions; several are allowed.")
    document: Annotated[Text, AfterValidator(_document)] = Field(
        description="Root of the document as {namespace}Name; a short name means the documented namespace."
    )
    entity: XmlName = Field(description="Element under the root that holds one record, such as SalesTable.")
    key: XmlName = Field(description="Field of the entity that names a record, such as SalesId.")
    number_sequence: NumberSequence | None = Field(
        default=None, description="Makes the keys of new documents. Without it the partner must send the key."
    )
    operations: Annotated[tuple[DocumentOperation, ...], Field(min_length=1)] = Field(
        default=DOCUMENT_OPERATIONS, description="Operations that exist: create, read. Default: all."
    )

    @property
    def operation_names(self) -> tuple[str, ...]:
        """Return the operations of this service."""
        return self.operations


class PythonOperation(Section):
    """One operation of a service written in Python; a plain text in its place is the handler."""

    handler: Handler = Field(description="Function or class that does the work, written module:object.")
    expects: tuple[Qualified, ...] | None = Field(
        default=None, description="The parts of a request as {namespace}Name, in order. Default: anything."
    )
    undoable: Flag = Field(
        default=True,
        description="All effects go through the transaction it gets; if not, on_error: rollback needs compensate.",
    )
    compensate: Handler | None = Field(
        default=None,
        description="Function that takes back what the operation did elsewhere, written module:object. For undoable: "
        "false.",
    )
    idempotent: Flag = Field(default=False, description="Refuse a MessageId that was processed before as a duplicate.")
    timeout_seconds: Seconds = Field(default=60.0, gt=0, le=3600, description="Seconds one call may take.")

    @model_validator(mode="before")
    @classmethod
    def _plain_text_is_the_handler(cls, value: object) -> object:
        return {"handler": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _only_what_lasts_is_compensated(self) -> "PythonOperation":
        if self.compensate is not None and self.undoable:
            raise ValueError("compensate is for effects outside the database: say undoable: false, or leave it out")
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Describe both forms: the handler alone, or a mapping."""
        return {"anyOf": [{"type": "string", "description": "The handler, written module:object."}, handler(core)]}


class PythonService(Section):
    """A service whose operations are Python functions or classes of your own."""

    kind: Literal["python"] = Field(description="python: operations are functions or classes of your own.")
    namespaces: Namespaces = Field(default=(SERVICES,), description="Namespaces of its actions; several are allowed.")
    operations: Mapping[Word, PythonOperation] = Field(min_length=1, description="Operations by name.")

    @property
    def operation_names(self) -> tuple[str, ...]:
        """Return the operations of this service."""
        return tuple(self.operations)


Service = Annotated[
    Annotated[DocumentService, Tag("<document>")] | Annotated[PythonService, Tag("<python>")],
    chosen_by("kind", "document", "python"),
]
