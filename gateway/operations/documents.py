"""Documents that can be posted, as people see them and post them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Final

from asyncpg import Record

from gateway.config.models import Settings
from gateway.config.models_posting import PostedKind
from gateway.config.suggest import did_you_mean
from gateway.kernel.errors import GatewayError, StoreUnavailable
from gateway.kernel.ids import EntryId
from gateway.operations.audit import recorded
from gateway.operations.principal import NotAllowed, OperatorSession
from gateway.operations.references import NotFound
from gateway.queues import EntryAction, change_entry
from gateway.queues.posting.form import Unreadable, read_document
from gateway.queues.posting.posting import DocumentBusy, DocumentName, PostedAs, Poster, document_of, local_name
from gateway.queues.posting.service import PostingService, kinds_of, posting_of, printing_of
from gateway.queues.printing.printing import PrintResult, Sheet, print_each, print_sheet, sheets_of
from gateway.queues.rules.amounts import Amounts
from gateway.queues.rules.documents import DocumentLine, Kind, OwnKind, Wanted
from gateway.workers.launcher import Launcher


@dataclass(frozen=True, slots=True, kw_only=True)
class HowToPost:
    """How documents are posted.

    Where that is done via job queues each gets an entry; `now_and_here` says otherwise for these. `printed` says
    whether they are printed too. None: as the set-up says.
    """

    wanted: Wanted = Wanted()  # noqa: RUF009 (it is frozen)
    now_and_here: bool | None = None
    printed: bool | None = None


EVERYTHING: Final = HowToPost()


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
    printed_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentReport:
    """A document with its lines, what was made of it, and what a posting now would find and come to.

    `lines` is None for a document that a handler of the site posts: nothing is known of it here.
    """

    document: DocumentRow
    lines: Sequence[DocumentLine] | None
    posted: Sequence[PostedRow]
    findings: Sequence[str]
    amounts: Amounts | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PostResult:
    """What came of posting one document: what was made of it, the entry that will post it, or why neither.

    `printed` is what was printed of it; `print_error` says why something was not. It is posted all the same.
    """

    number: str
    made: Sequence[PostedAs]
    entry: EntryId | None
    error: str | None
    printed: Sequence[PrintResult] = ()
    print_error: str | None = None


def kind_named(settings: Settings, text: str) -> Kind | OwnKind:
    """Return the kind of document that a person means: SalesOrder, sales-order, 'sales order'.

    Raises: NotFound, PostingOff.
    """
    kinds = kinds_of(posting_of(settings))
    return kinds[_meant(text, list(kinds), "posted")]


def _meant(text: str, names: Sequence[str], what: str) -> str:
    plain = {name.lower(): name for name in names}
    found = plain.get("".join(text.lower().replace("-", " ").split()))
    if found is None:
        known = f"known are {', '.join(names)}"
        raise NotFound(f"no documents of the kind {text!a} can be {what}{did_you_mean(text, names) or f'; {known}'}")
    return found


def kinds_by_document(settings: Settings) -> Mapping[str, Kind | OwnKind]:
    """Return the kinds that can be posted by the full names of their documents."""
    kinds = {} if settings.posting is None else kinds_of(settings.posting)
    return {document_of(kind): kind for kind in kinds.values()}


async def documents(
    session: OperatorSession, *, kind: str | None = None, company: str | None = None,
    state: DocumentState = DocumentState.OPEN, limit: int = 50,
) -> Sequence[DocumentRow]:  # fmt: skip
    """Return documents that can be posted, by kind and number. Raises: NotFound, PostingOff."""
    posting = posting_of(session.settings)
    kinds = kinds_of(posting).values() if kind is None else [kind_named(session.settings, kind)]
    known = {document_of(one): one for one in kinds}
    async with session.store.reading() as connection:
        rows = await connection.fetch(
            session.store.queries.list_documents, list(known), session.partition, company, state, limit
        )
    return [_row(known[row["document"]], row) for row in rows]


async def document(session: OperatorSession, kind: str, number: str, *, company: str | None = None) -> DocumentReport:
    """Return one document, and what keeps it from being posted now.

    Raises: NotFound, PostingOff; DocumentUnknown.
    """
    name = _name(session, kind, number, company)
    poster = Poster(session.store.queries, posting_of(session.settings))
    async with session.store.transaction() as connection:
        seen = await poster.look(connection, name, Wanted(), user=session.actor)
        posted = await connection.fetch(session.store.queries.posted_of, *name.address)
    return DocumentReport(
        document=_row(name.kind, seen.row), lines=None if seen.document is None else seen.document.lines,
        posted=[PostedRow(**{**dict(row), "document": local_name(row["document"])}) for row in posted],
        findings=seen.findings, amounts=seen.amounts,
    )  # fmt: skip


async def post(
    session: OperatorSession, kind: str, numbers: Sequence[str], how: HowToPost = EVERYTHING, *,
    company: str | None = None, launcher: Launcher | None = None,
) -> Sequence[PostResult]:  # fmt: skip
    """Post documents, each in a transaction of its own: one that fails does not keep the others.

    What is posted at once needs a *launcher* for being printed, and documents of the site's own for being posted.

    Raises: NotFound, PostingOff; NotAllowed for a company that is closed to them.
    """
    posting, printed = posting_of(session.settings), how.printed
    if how.now_and_here is not None:
        posting = posting.model_copy(update={"via_job_queue": not how.now_and_here})
    settings = session.settings.model_copy(update={"posting": posting})
    service = PostingService(store=session.store, settings=settings, launcher=launcher)
    printing = printing_of(session.settings) if printed else posting.print
    if printed is None:
        printed = printing is not None and printing.after_posting
    results = []
    for number in numbers:
        name = _name(session, kind, number, company)
        try:
            async with recorded(session, "document.post", f"{name.kind.name} {number}") as note:
                done = await service.post_or_schedule(
                    name, how.wanted, user=session.actor, now=session.now, printed=printed
                )
                made, entry = ((), done) if isinstance(done, int) else (done, None)
                note.text = ", ".join(one.number for one in made) or f"entry {entry}"
        except StoreUnavailable:
            raise
        except GatewayError as error:
            results.append(PostResult(number=number, made=(), entry=None, error=error.message))
            continue
        result = PostResult(number=number, made=made, entry=entry, error=None)
        if printed and printing is not None and launcher is not None:
            sheets = sheets_of(name, made)
            papers, failed = await print_each(session.store, launcher, printing, sheets, user=session.actor)
            result = replace(result, printed=papers, print_error=failed[0].message if failed else None)
        results.append(result)
    return results


async def print_document(
    session: OperatorSession, launcher: Launcher, document: str, number: str, *, company: str | None = None,
    copy: bool = False, printer: str | None = None,
) -> PrintResult:  # fmt: skip
    """Print a posted document; *document* is its kind: PostedSalesInvoice, 'posted sales invoice'.

    Raises: NotFound, PostingOff, PrintFailed, NotLaunched; NotAllowed for a company that is closed to them.
    """
    printing = printing_of(session.settings)
    kind = _meant(document, [kind.value for kind in PostedKind], "printed")
    company = _company(session, company)
    sheet = Sheet(document=kind, partition=session.partition, company=company, number=number)
    async with recorded(session, "document.print", f"{kind} {number}") as note:
        result = await print_sheet(
            session.store, launcher, printing, sheet, user=session.actor, copy=copy, printer=printer
        )
        note.text = result.place
    return result


async def unqueue(session: OperatorSession, kind: str, number: str, *, company: str | None = None) -> None:
    """Take a scheduled document out of its job queue; its status is blank then.

    Raises: NotFound; DocumentBusy when it is being posted, or is not in a queue.
    """
    name = _name(session, kind, number, company)
    async with recorded(session, "document.unqueue", f"{name.kind.name} {number}"):
        async with session.store.reading() as connection:
            row = await connection.fetchrow(session.store.queries.entry_of_document, *name.address)
        title = f"{name.title[:1].upper()}{name.title[1:]}"
        if row is None or row["queue_status"] not in {DocumentState.SCHEDULED, DocumentState.POSTING}:
            raise DocumentBusy(f"{title} is not scheduled for posting.")
        if row["queue_status"] == DocumentState.POSTING:
            raise DocumentBusy(f"{title} is being posted now; it cannot be removed from the queue any more.")
        await change_entry(
            session.store, EntryId(row["entry_id"]), EntryAction.DELETE, by=session.actor, now=session.now
        )


def _name(session: OperatorSession, kind: str, number: str, company: str | None) -> DocumentName:
    company = _company(session, company)
    meant = kind_named(session.settings, kind)
    return DocumentName(kind=meant, partition=session.partition, company=company, number=number)


def _company(session: OperatorSession, company: str | None) -> str:
    company = company or session.settings.default_company
    account = session.settings.accounts.get(session.actor)
    if account is not None and account.companies is not None and company not in account.companies:
        raise NotAllowed(f"the account {session.actor} has no access to the company {company}")
    return company


def _row(kind: Kind | OwnKind, row: Record) -> DocumentRow:
    party, day, status = "", None, "Open"
    if isinstance(kind, Kind):
        try:
            found = read_document(row["content"], kind, row["key"], {})
            party, day, status = found.party, found.posting_date, "Released" if found.released else "Open"
        except Unreadable as error:
            party = f"({error.message})"
    return DocumentRow(
        kind=kind.name, number=row["key"], company=row["company"], party=party, posting_date=day,
        status="Posted" if row["posted_as"] else status, queue_status=row["queue_status"], error=row["error"],
        posted_as=row["posted_as"], changed_at=row["changed_at"],
    )  # fmt: skip
