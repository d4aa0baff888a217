"""Documents that can be posted, as people see them and post them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Final

from asyncpg import Record

from gateway.config.models import Settings
from gateway.config.models_posting import Posting
from gateway.config.suggest import did_you_mean
from gateway.domain.errors import GatewayError
from gateway.operations.audit import recorded
from gateway.operations.person import NotAllowed, Person
from gateway.operations.references import NotFound
from gateway.queues.posting.form import Unreadable, qualified, read_document
from gateway.queues.posting.offers import send_posted
from gateway.queues.posting.posting import DocumentName, PostedAs, Poster
from gateway.queues.rules.amounts import Amounts
from gateway.queues.rules.documents import KINDS, DocumentLine, Kind
from gateway.store.open import Store

_BY_DOCUMENT: Final = {qualified(kind.name): kind for kind in KINDS.values()}


class PostingOff(GatewayError):
    """Posting is not set up at this site."""

    code = "posting.off"


class DocumentState(StrEnum):
    """Which documents are meant."""

    OPEN = "open"  # something of them is left to post
    SCHEDULED = "scheduled"
    POSTING = "posting"
    ERROR = "error"
    POSTED = "posted"
    ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentRow:
    """A document that can be posted. `queue_status` is blank, scheduled, posting or error; `error` says why."""

    kind: str
    number: str
    company: str
    party: str
    posting_date: date | None
    status: str
    queue_status: str | None
    error: str | None
    posted_as: str | None
    changed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PostedRow:
    """What was made of a document. `total` is None where goods were moved."""

    document: str
    number: str
    total: Decimal | None
    currency: str
    posted_by: str
    posted_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentReport:
    """A document with its lines, what was made of it, and what a posting now would find and come to."""

    document: DocumentRow
    lines: Sequence[DocumentLine]
    posted: Sequence[PostedRow]
    findings: Sequence[str]
    amounts: Amounts | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PostResult:
    """What came of posting one document: what was made of it, or why nothing was."""

    number: str
    made: Sequence[PostedAs]
    error: str | None


def kind_named(text: str) -> Kind:
    """Return the kind of document that a person means: SalesOrder, sales-order, 'sales order'. Raises: NotFound."""
    plain = {name.lower(): kind for name, kind in KINDS.items()}
    found = plain.get("".join(text.lower().replace("-", " ").split()))
    if found is None:
        known = f"known are {', '.join(KINDS)}"
        raise NotFound(f"no documents of the kind {text!a} can be posted{did_you_mean(text, KINDS) or f'; {known}'}")
    return found


async def documents(
    store: Store,
    settings: Settings,
    who: Person,
    *,
    kind: str | None = None,
    company: str | None = None,
    state: DocumentState = DocumentState.OPEN,
    limit: int = 50,
) -> Sequence[DocumentRow]:
    """Return documents that can be posted, by kind and number. Raises: NotFound, PostingOff."""
    _posting(settings)
    kinds = list(KINDS.values()) if kind is None else [kind_named(kind)]
    async with store.reading() as connection:
        rows = await connection.fetch(
            store.queries.list_documents, [qualified(one.name) for one in kinds], who.partition, company, state, limit
        )
    return [_row(row) for row in rows]


async def document(
    store: Store, settings: Settings, who: Person, kind: str, number: str, *, company: str | None = None
) -> DocumentReport:
    """Return one document, and what keeps it from being posted now.

    Raises: NotFound, PostingOff; DocumentUnknown.
    """
    name = _name(settings, who, kind, number, company)
    poster = Poster(store.queries, _posting(settings))
    async with store.transaction() as connection:
        seen = await poster.look(connection, name, poster.wanted(name.kind), user=who.name)
        posted = await connection.fetch(
            store.queries.posted_of, qualified(name.kind.name), name.partition, name.company, name.number
        )
    return DocumentReport(
        document=_row(seen.row), lines=seen.document.lines, posted=[PostedRow(**dict(row)) for row in posted],
        findings=seen.findings, amounts=seen.amounts,
    )  # fmt: skip


async def post(
    store: Store,
    settings: Settings,
    who: Person,
    kind: str,
    numbers: Sequence[str],
    *,
    company: str | None = None,
    move: bool = True,
    invoice: bool = True,
    now: datetime,
) -> Sequence[PostResult]:
    """Post documents now, each in a transaction of its own: one that fails does not keep the others.

    Raises: NotFound, PostingOff; NotAllowed for a company that is closed to them.
    """
    poster = Poster(store.queries, _posting(settings))
    results = []
    for number in numbers:
        name = _name(settings, who, kind, number, company)
        try:
            async with recorded(store, who, "document.post", f"{name.kind.name} {number}") as note:
                async with store.transaction() as connection:
                    wanted = poster.wanted(name.kind, move=move, invoice=invoice)
                    made = await poster.post(connection, name, wanted, user=who.name, now=now)
                    await send_posted(connection, store.queries, settings, name, made, who.name)
                note.text = ", ".join(one.number for one in made)
            results.append(PostResult(number=number, made=made, error=None))
        except GatewayError as error:
            results.append(PostResult(number=number, made=(), error=error.message))
    return results


def _posting(settings: Settings) -> Posting:
    if settings.posting is None:
        raise PostingOff("posting is not set up here: add a section `posting` to the configuration")
    return settings.posting


def _name(settings: Settings, who: Person, kind: str, number: str, company: str | None) -> DocumentName:
    company = company or settings.default_company
    account = settings.accounts.get(who.name)
    if account is not None and account.companies is not None and company not in account.companies:
        raise NotAllowed(f"the account {who.name} has no access to the company {company}")
    return DocumentName(kind=kind_named(kind), partition=who.partition, company=company, number=number)


def _row(row: Record) -> DocumentRow:
    kind = _BY_DOCUMENT[row["document"]]
    try:
        found = read_document(row["content"], kind, row["key"], {})
        party, day, status = found.party, found.posting_date, "Released" if found.released else "Open"
    except Unreadable as error:
        party, day, status = f"({error.message})", None, "Open"
    return DocumentRow(
        kind=kind.name, number=row["key"], company=row["company"], party=party, posting_date=day,
        status="Posted" if row["posted_as"] else status, queue_status=row["queue_status"], error=row["error"],
        posted_as=row["posted_as"], changed_at=row["changed_at"],
    )  # fmt: skip
