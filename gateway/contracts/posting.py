"""Posting of documents of the site's own: what a handler gets, and what it makes.

A handler is a function, `async` or not, of a `DocumentToPost` and a `gateway.contracts.service.ServiceContext`; it
returns the posted documents. It runs in a process of its own, in the transaction that posts the document: what it
does by `context.connection` and `context.numbers` holds together with the posting, or not at all.
"""

from dataclasses import dataclass
from decimal import Decimal

from lxml import etree


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentToPost:
    """A document that is posted now; nobody else posts it meanwhile. `entity` is its record as it is kept."""

    kind: str
    number: str
    company: str
    partition: str
    user: str
    entity: etree._Element


@dataclass(frozen=True, slots=True, kw_only=True)
class PostedDocument:
    """What a posting makes: a record that is kept under its number, and never changed.

    Shape: `document` is the full name of its document, `{namespace}Name`, and `entity` the record as its document
    service keeps it. `total` and `currency` are shown to people.
    Rule: at least one is made, and one of each document at most; a number is used once in a company.
    """

    document: str
    number: str
    entity: etree._Element
    total: Decimal | None = None
    currency: str = ""
