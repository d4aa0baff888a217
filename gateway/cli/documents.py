"""Commands on documents that can be posted."""

from collections.abc import Sequence
from contextlib import closing
from decimal import Decimal
from typing import Annotated

import typer
from rich.text import Text

from gateway.cli.common import KNOWN_ERROR, perform
from gateway.cli.desk import open_session
from gateway.cli.options import DEFAULT_CONFIG, ConfigOption, JsonOption, LimitOption, PartitionOption, ReasonOption
from gateway.cli.render import console, print_fields, print_json, print_rows
from gateway.operations import documents as operations
from gateway.operations.documents import DocumentReport, DocumentRow, DocumentState, PostResult
from gateway.queues.printing.printing import PrintResult
from gateway.queues.rules.checks import plain
from gateway.queues.rules.documents import DocumentLine, Wanted
from gateway.runtime.roles import ROLES
from gateway.workers.launcher import Launcher

app = typer.Typer(no_args_is_help=True, help="Documents that can be posted: sales and purchase orders, invoices, …")

KindArgument = Annotated[str, typer.Argument(metavar="KIND", help="Such as SalesOrder, or 'sales order'.")]
CompanyOption = Annotated[
    str | None, typer.Option("--company", help="The company of the documents. Default: `default_company`.")
]


@app.command("list")
def list_documents(
    kind: Annotated[str | None, typer.Argument(metavar="KIND", help="Only this kind, such as SalesOrder.")] = None,
    state: Annotated[
        DocumentState, typer.Option("--state", help="Which: open means that something is left to post.")
    ] = DocumentState.OPEN,
    company: Annotated[str | None, typer.Option("--company", help="Only of this company.")] = None,
    partition: PartitionOption = None,
    limit: LimitOption = 50,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """List documents that can be posted, by kind and number."""
    _tell_list(perform(_list(config, partition, kind, company, state, limit)), "No document is so.", as_json=as_json)


@app.command("to-handle")
def to_handle(
    company: Annotated[str | None, typer.Option("--company", help="Only of this company.")] = None,
    partition: PartitionOption = None,
    limit: LimitOption = 50,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """List documents whose posting failed: somebody must handle them."""
    found = perform(_list(config, partition, None, company, DocumentState.ERROR, limit))
    _tell_list(found, "Nothing is to be handled.", as_json=as_json)


@app.command("show")
def show(
    kind: KindArgument,
    number: Annotated[str, typer.Argument(metavar="NUMBER", help="The number of the document.")],
    company: CompanyOption = None,
    partition: PartitionOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Show a document: its lines, what was made of it, and what a posting now would find and come to."""
    found = perform(_show(config, partition, kind, number, company))
    if as_json:
        print_json(found)
    else:
        _tell_document(found)


@app.command("post")
def post(
    kind: KindArgument,
    numbers: Annotated[list[str], typer.Argument(metavar="NUMBER...", help="The numbers of the documents.")],
    ship: Annotated[
        bool, typer.Option("--ship/--no-ship", "--receive/--no-receive", help="Orders: post what is shipped, received.")
    ] = True,
    invoice: Annotated[bool, typer.Option("--invoice/--no-invoice", help="Orders: post what is invoiced.")] = True,
    here: Annotated[
        bool | None,
        typer.Option("--now/--queue", help="Now, or by an entry of a job queue. Default: `posting.via_job_queue`."),
    ] = None,
    printed: Annotated[
        bool | None,
        typer.Option("--print/--no-print", help="Print what is made. Default: `posting.print.after_posting`."),
    ] = None,
    company: CompanyOption = None,
    partition: PartitionOption = None,
    reason: ReasonOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Post documents, now or in the background. One that cannot be posted does not keep the others from it."""
    launcher = Launcher.start(ROLES)  # now: this process has no event loop yet, no thread, no connection
    results = perform(_post(launcher, config, partition, reason, kind, numbers, company, ship, invoice, here, printed))
    if as_json:
        print_json({"results": results})
    else:
        _tell_results(results)
    if any(result.error or result.print_error for result in results):
        raise typer.Exit(KNOWN_ERROR)


@app.command("print")
def print_(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="Such as PostedSalesInvoice, or 'posted sales invoice'.")],
    number: Annotated[str, typer.Argument(metavar="NUMBER", help="The number of the posted document.")],
    copy: Annotated[bool, typer.Option("--copy", help="The paper says that it is a copy.")] = False,
    printer: Annotated[
        str | None, typer.Option("--printer", help="To which printer. Default: `posting.print.selections`.")
    ] = None,
    company: CompanyOption = None,
    partition: PartitionOption = None,
    reason: ReasonOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Print a posted document."""
    launcher = Launcher.start(ROLES)  # now: this process has no event loop yet, no thread, no connection
    result = perform(_print(launcher, config, partition, reason, kind, number, company, copy, printer))
    if as_json:
        print_json(result)
        return
    _tell_print(result)


@app.command("unqueue")
def unqueue(
    kind: KindArgument,
    number: Annotated[str, typer.Argument(metavar="NUMBER", help="The number of the document.")],
    company: CompanyOption = None,
    partition: PartitionOption = None,
    reason: ReasonOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Remove a document from its job queue before it is posted."""
    perform(_unqueue(config, partition, reason, kind, number, company))
    if as_json:
        print_json({"number": number})
    else:
        console().print(Text(f"{number} will not be posted; `gateway documents post` schedules it again."))


async def _list(
    config: ConfigOption, partition: str | None, kind: str | None, company: str | None, state: DocumentState, limit: int
) -> Sequence[DocumentRow]:
    async with open_session(config, partition) as desk:
        return await operations.documents(
            desk.store, desk.settings, desk.who, kind=kind, company=company, state=state, limit=limit
        )


async def _show(
    config: ConfigOption, partition: str | None, kind: str, number: str, company: str | None
) -> DocumentReport:
    async with open_session(config, partition) as desk:
        return await operations.document(desk.store, desk.settings, desk.who, kind, number, company=company)


async def _post(
    launcher: Launcher, config: ConfigOption, partition: str | None, reason: str | None, kind: str,
    numbers: Sequence[str], company: str | None, move: bool, invoice: bool, here: bool | None, printed: bool | None,
) -> Sequence[PostResult]:  # fmt: skip
    with closing(launcher):
        async with open_session(config, partition, reason=reason) as desk:
            return await operations.post(
                desk.store, desk.settings, desk.who, kind, numbers, wanted=Wanted(move=move, invoice=invoice),
                company=company, now_and_here=here, printed=printed, launcher=launcher, now=desk.now,
            )  # fmt: skip


async def _print(
    launcher: Launcher, config: ConfigOption, partition: str | None, reason: str | None, kind: str, number: str,
    company: str | None, copy: bool, printer: str | None,
) -> PrintResult:  # fmt: skip
    with closing(launcher):
        async with open_session(config, partition, reason=reason) as desk:
            return await operations.print_document(
                desk.store, launcher, desk.settings, desk.who, kind, number, company=company, copy=copy, printer=printer
            )


async def _unqueue(
    config: ConfigOption, partition: str | None, reason: str | None, kind: str, number: str, company: str | None
) -> None:
    async with open_session(config, partition, reason=reason) as desk:
        await operations.unqueue(desk.store, desk.settings, desk.who, kind, number, company=company, now=desk.now)


def _tell_list(rows: Sequence[DocumentRow], nothing: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"documents": rows})
        return
    columns = ("kind", "number", "company", "party", "posting date", "status", "job queue", "posted as", "error")
    print_rows(
        columns,
        [
            (row.kind, row.number, row.company, row.party, row.posting_date, row.status, row.queue_status,
             row.posted_as, row.error)
            for row in rows
        ],
        nothing=nothing,
        narrow=("kind", "number", "status", "job queue", "error"),
        cut=("error",),
    )  # fmt: skip


def _tell_document(found: DocumentReport) -> None:
    one = found.document
    print_fields(
        [
            ("kind", one.kind), ("number", one.number), ("company", one.company), ("party", one.party),
            ("posting date", one.posting_date), ("status", one.status), ("job queue", one.queue_status),
            ("error", one.error), ("posted as", one.posted_as),
        ]
    )  # fmt: skip
    if found.lines is not None:
        _tell_lines(found.lines)
    if found.posted:
        made = [
            (row.document, row.number, row.total, row.currency, row.posted_by, row.posted_at, row.printed_at)
            for row in found.posted
        ]
        print_rows(
            ("posted document", "number", "total", "currency", "by", "at", "printed"), made, nothing="", title="Posted"
        )
    if one.posted_as is None:
        _tell_outlook(found)


def _tell_lines(found: Sequence[DocumentLine]) -> None:
    lines = [
        (line.number, line.type, line.no, line.description, _quantity(line.quantity), line.unit, _quantity(line.price),
         _quantity(line.moved), _quantity(line.posted.quantity))
        for line in found
    ]  # fmt: skip
    columns = ("line", "type", "no", "description", "quantity", "unit", "price", "moved", "invoiced")
    print_rows(columns, lines, nothing="It has no lines.", title="Lines", cut=("description",))


def _tell_outlook(found: DocumentReport) -> None:
    out = console()
    if found.findings:
        out.print(Text("It cannot be posted now:", style="bold"))
        for sentence in found.findings:
            out.print(Text(f"  {sentence}"))
    elif found.amounts is not None:
        taxes = sum(tax.tax for tax in found.amounts.taxes)
        out.print(Text(f"It can be posted now: {found.amounts.total:f} with {taxes:f} tax.", style="bold"))


def _tell_print(result: PrintResult) -> None:
    console().print(Text(f"{result.number} printed: {result.place}"), soft_wrap=True)
    if result.warning is not None:
        console(error=True).print(Text(f"Warning: {result.warning}", style="yellow"), soft_wrap=True)


def _tell_results(results: Sequence[PostResult]) -> None:
    out = console()
    for result in results:
        if result.error is not None:
            out.print(Text(f"{result.number}: {result.error}", style="red"))
            continue
        if result.entry is not None:
            out.print(Text(f"{result.number}: scheduled for posting, entry {result.entry}"))
            continue
        made = ", ".join(
            f"{one.title} {one.number}" + ("" if one.total is None else f" ({one.total:f})") for one in result.made
        )
        out.print(Text(f"{result.number}: {made}"))
        for paper in result.printed:
            _tell_print(paper)
        if result.print_error is not None:
            text = f"{result.number} is posted, but not all was printed: {result.print_error}"
            out.print(Text(text, style="red"), soft_wrap=True)
    if len(results) > 1:
        failed = sum(result.error is not None for result in results)
        verb = "scheduled" if any(result.entry for result in results) else "posted"
        out.print(Text(f"{len(results) - failed} {verb}, {failed} not", style="bold"))


def _quantity(number: Decimal) -> str:
    return plain(number) if number else ""
