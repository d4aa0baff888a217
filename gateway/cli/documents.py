"""Commands on documents that can be posted."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated

import typer
from rich.text import Text

from gateway.cli.commands import Answer, Commands
from gateway.cli.options import LimitOption
from gateway.cli.render import Fields, Notice, Part, Rows
from gateway.operations import documents as operations
from gateway.operations.documents import DocumentReport, DocumentRow, DocumentState, HowToPost, PostResult
from gateway.operations.principal import OperatorSession
from gateway.queues.printing.printing import PrintResult
from gateway.queues.rules.checks import plain
from gateway.queues.rules.documents import DocumentLine, Wanted
from gateway.workers.launcher import Launcher

app = Commands("Documents that can be posted: sales and purchase orders, invoices, …")

KindArgument = Annotated[str, typer.Argument(metavar="KIND", help="Such as SalesOrder, or 'sales order'.")]
NumberArgument = Annotated[str, typer.Argument(metavar="NUMBER", help="The number of the document.")]
CompanyOption = Annotated[
    str | None, typer.Option("--company", help="The company of the documents. Default: `default_company`.")
]
OnlyCompanyOption = Annotated[str | None, typer.Option("--company", help="Only of this company.")]


@app.query("list", "partition")
async def list_documents(
    session: OperatorSession,
    kind: Annotated[str | None, typer.Argument(metavar="KIND", help="Only this kind, such as SalesOrder.")] = None,
    state: Annotated[
        DocumentState, typer.Option("--state", help="Which: open means that something is left to post.")
    ] = DocumentState.OPEN,
    company: OnlyCompanyOption = None,
    limit: LimitOption = 50,
) -> Answer:
    """List documents that can be posted, by kind and number."""
    found = await operations.documents(session, kind=kind, company=company, state=state, limit=limit)
    return _list(found, "No such document.")


@app.query("to-handle", "partition")
async def to_handle(session: OperatorSession, company: OnlyCompanyOption = None, limit: LimitOption = 50) -> Answer:
    """List documents whose posting failed: somebody must handle them."""
    found = await operations.documents(session, company=company, state=DocumentState.ERROR, limit=limit)
    return _list(found, "No posting has failed.")


@app.query("show", "partition")
async def show(
    session: OperatorSession, kind: KindArgument, number: NumberArgument, company: CompanyOption = None
) -> Answer:
    """Show a document: its lines, what was made of it, and what a posting now would find and come to."""
    found = await operations.document(session, kind, number, company=company)
    return Answer(found, *_document(found))


@dataclass(frozen=True, slots=True, kw_only=True)
class _HowToPost:
    ship: Annotated[
        bool, typer.Option("--ship/--no-ship", "--receive/--no-receive", help="Orders: post what is shipped, received.")
    ] = True
    invoice: Annotated[bool, typer.Option("--invoice/--no-invoice", help="Orders: post what is invoiced.")] = True
    here: Annotated[
        bool | None,
        typer.Option("--now/--queue", help="Now, or by an entry of a job queue. Default: `posting.via_job_queue`."),
    ] = None
    printed: Annotated[
        bool | None,
        typer.Option("--print/--no-print", help="Print what is made. Default: `posting.print.after_posting`."),
    ] = None
    company: CompanyOption = None


@app.action("post", "partition")
async def post(
    session: OperatorSession,
    launcher: Launcher,
    kind: KindArgument,
    numbers: Annotated[list[str], typer.Argument(metavar="NUMBER...", help="The numbers of the documents.")],
    how: _HowToPost,
) -> Answer:
    """Post documents, now or in the background. One that cannot be posted does not keep the others from it."""
    results = await operations.post(
        session,
        kind,
        numbers,
        HowToPost(wanted=Wanted(move=how.ship, invoice=how.invoice), now_and_here=how.here, printed=how.printed),
        company=how.company,
        launcher=launcher,
    )
    failed = any(result.error or result.print_error for result in results)
    return Answer({"results": results}, *_results(results), failed=failed)


@app.action("print", "partition")
async def print_(
    session: OperatorSession,
    launcher: Launcher,
    kind: Annotated[str, typer.Argument(metavar="KIND", help="Such as PostedSalesInvoice, or 'posted sales invoice'.")],
    number: Annotated[str, typer.Argument(metavar="NUMBER", help="The number of the posted document.")],
    copy: Annotated[bool, typer.Option("--copy", help="The paper says that it is a copy.")] = False,
    printer: Annotated[
        str | None, typer.Option("--printer", help="To which printer. Default: `posting.print.selections`.")
    ] = None,
    company: CompanyOption = None,
) -> Answer:
    """Print a posted document."""
    result = await operations.print_document(
        session, launcher, kind, number, company=company, copy=copy, printer=printer
    )
    return Answer(result, *_print(result))


@app.action("unqueue", "partition")
async def unqueue(
    session: OperatorSession, kind: KindArgument, number: NumberArgument, company: CompanyOption = None
) -> Answer:
    """Remove a document from its job queue before it is posted."""
    await operations.unqueue(session, kind, number, company=company)
    return Answer({"number": number}, f"{number} will not be posted; `gateway documents post` schedules it again.")


def _list(rows: Sequence[DocumentRow], nothing: str) -> Answer:
    columns = ("kind", "number", "company", "party", "posting date", "status", "job queue", "posted as", "error")
    cells = [
        (row.kind, row.number, row.company, row.party, row.posting_date, row.status, row.queue_status, row.posted_as,
         row.error)
        for row in rows
    ]  # fmt: skip
    narrow = ("kind", "number", "status", "job queue", "error")
    return Answer({"documents": rows}, Rows(columns, cells, nothing, narrow=narrow, cut=("error",)))


def _document(found: DocumentReport) -> Iterator[Part]:
    one = found.document
    yield Fields(
        [
            ("kind", one.kind), ("number", one.number), ("company", one.company), ("party", one.party),
            ("posting date", one.posting_date), ("status", one.status), ("job queue", one.queue_status),
            ("error", one.error), ("posted as", one.posted_as),
        ]
    )  # fmt: skip
    if found.lines is not None:
        yield _lines(found.lines)
    if found.posted:
        made = [
            (row.document, row.number, row.total, row.currency, row.posted_by, row.posted_at, row.printed_at)
            for row in found.posted
        ]
        columns = ("posted document", "number", "total", "currency", "by", "at", "printed")
        yield Rows(columns, made, title="Posted")
    if one.posted_as is not None:
        return
    if found.findings:
        yield Text("It cannot be posted now:", style="bold")
        yield from (f"  {sentence}" for sentence in found.findings)
    elif found.amounts is not None:
        taxes = sum(tax.tax for tax in found.amounts.taxes)
        yield Text(f"It can be posted now: {found.amounts.total:f} with {taxes:f} tax.", style="bold")


def _lines(found: Sequence[DocumentLine]) -> Rows:
    lines = [
        (line.number, line.type, line.no, line.description, _quantity(line.quantity), line.unit, _quantity(line.price),
         _quantity(line.moved), _quantity(line.posted.quantity))
        for line in found
    ]  # fmt: skip
    columns = ("line", "type", "no", "description", "quantity", "unit", "price", "moved", "invoiced")
    return Rows(columns, lines, "It has no lines.", title="Lines", cut=("description",))


def _print(result: PrintResult) -> Iterator[Part]:
    yield f"{result.number} printed: {result.place}"
    if result.warning is not None:
        yield Notice(f"Warning: {result.warning}")


def _results(results: Sequence[PostResult]) -> Iterator[Part]:
    for result in results:
        if result.error is not None:
            yield Text(f"{result.number}: {result.error}", style="red")
            continue
        if result.entry is not None:
            yield f"{result.number}: scheduled for posting, entry {result.entry}"
            continue
        made = ", ".join(
            f"{one.title} {one.number}" + ("" if one.total is None else f" ({one.total:f})") for one in result.made
        )
        yield f"{result.number}: {made}"
        for paper in result.printed:
            yield from _print(paper)
        if result.print_error is not None:
            yield Text(f"{result.number} is posted, but not all was printed: {result.print_error}", style="red")
    if len(results) > 1:
        failed = sum(result.error is not None for result in results)
        verb = "scheduled" if any(result.entry for result in results) else "posted"
        yield Text(f"{len(results) - failed} {verb}, {failed} not", style="bold")


def _quantity(number: Decimal) -> str:
    return plain(number) if number else ""
