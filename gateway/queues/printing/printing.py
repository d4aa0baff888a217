"""Prints one posted document: which printer, its page, and there it goes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.batch.rules.definition import INITIAL_PARTITION
from gateway.batch.rules.job import ReportOutput
from gateway.config.models_posting import Printer, Printing, Selection
from gateway.contracts.task import KeepFile
from gateway.db.open import Store
from gateway.kernel.errors import GatewayError, StoreUnavailable
from gateway.kernel.ids import RunId
from gateway.queues.posting.form import qualified
from gateway.queues.posting.posting import DocumentName, PostedAs
from gateway.queues.printing.process import PrintFailed, draw
from gateway.queues.printing.targets import deliver
from gateway.queues.rules.documents import KINDS, Side
from gateway.workers.launcher import Launcher

_CARDS: Final = {
    made.document: "Customer" if kind.side is Side.CUSTOMER else "Vendor"
    for kind in KINDS.values()
    for made in (kind.goods, kind.claim)
    if made is not None
}
"""What is kept of whom a posted document is with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """A posted document that is to be printed; *document* is its kind, such as PostedSalesInvoice."""

    document: str
    partition: str
    company: str
    number: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PrintResult:
    """Where a document was printed, and the letters in it that no font has."""

    document: str
    number: str
    printer: str
    place: str
    missing: str

    @property
    def warning(self) -> str | None:
        """Say which letters are missing on the paper."""
        if not self.missing:
            return None
        letters = " ".join(self.missing[:40])
        return f"No font has these letters of {self.number}: {letters}. Name one that does in `posting.print.fonts`."


def choose_printer(selections: Sequence[Selection], document: str, user: str) -> str | None:
    """Return the printer for a document of a user: user and document first, then user, then document, then neither."""
    fitting = [one for one in selections if one.user in {None, user} and one.document in {None, document}]
    if not fitting:
        return None
    return max(fitting, key=lambda one: (one.user is not None, one.document is not None)).printer


async def output_of_run(store: Store, run: RunId) -> ReportOutput:
    """Return where what a run prints goes, as its entry says."""
    async with store.reading() as connection:
        output = await connection.fetchval(store.queries.output_of_run, run)
    return ReportOutput.PRINT if output is None else ReportOutput(output)


def printing_to(output: ReportOutput, printing: Printing) -> Printing | None:
    """Return how documents are printed that go to *output*; None: they are not."""
    match output:
        case ReportOutput.NONE:
            return None
        case ReportOutput.PDF:
            inbox = {"printers": {"inbox": Printer(inbox=True)}, "selections": (Selection(printer="inbox"),)}
            return printing.model_copy(update=inbox)
        case ReportOutput.PRINT:
            return printing


async def print_sheet(
    store: Store, launcher: Launcher, printing: Printing, sheet: Sheet, *, user: str, copy: bool = False,
    printer: str | None = None, run: RunId | None = None, keep: KeepFile | None = None,
) -> PrintResult:  # fmt: skip
    """Print a posted document for *user*, on *printer* if one is named.

    In a *run*, *keep* keeps the PDF with it. Raises: PrintFailed, FileNotKept, NotLaunched.
    """
    wanted = printer or choose_printer(printing.selections, sheet.document, user)
    if wanted is None:
        raise PrintFailed(
            f"No printer is selected for {sheet.document} of {user}: add a row to `posting.print.selections`.",
            code="print.no-printer",
        )
    if wanted not in printing.printers:
        raise PrintFailed(f"There is no printer {wanted!a} in `posting.print.printers`.", code="print.no-printer")
    async with store.reading() as connection:
        row = await connection.fetchrow(
            store.queries.sheet_to_print, sheet.partition, sheet.company, sheet.document, sheet.number,
            qualified(_CARDS[sheet.document]),
        )  # fmt: skip
    if row is None:
        raise PrintFailed(
            f"There is no {sheet.document} {sheet.number} in company {sheet.company}.", code="print.unknown"
        )
    drawn = await draw(launcher, printing, sheet.document, row["content"], copy=copy, card=row["card"] or b"")
    file = _file_name(sheet, copy=copy)
    if keep is not None:
        await keep(file, drawn.content)
    target = printing.printers[wanted]
    place = f"the inbox of {user}" if target.inbox else await deliver(wanted, target, file, drawn.content)
    async with store.transaction() as connection:  # who is lost before this prints again: the same file, or more paper
        if target.inbox:
            await connection.execute(store.queries.put_report, sheet.partition, user, file, drawn.content, run)
        await connection.execute(
            store.queries.note_printed, sheet.partition, sheet.company, sheet.document, sheet.number
        )
    return PrintResult(document=sheet.document, number=sheet.number, printer=wanted, place=place, missing=drawn.missing)


async def print_each(
    store: Store, launcher: Launcher, printing: Printing, sheets: Iterable[Sheet], *, user: str,
    run: RunId | None = None, keep: KeepFile | None = None,
) -> tuple[Sequence[PrintResult], Sequence[GatewayError]]:  # fmt: skip
    """Print those documents for which there is a page and a printer is selected; one that fails keeps no other.

    Returns what was printed, and what went wrong. Raises: StoreUnavailable.
    """
    printed: list[PrintResult] = []
    failed: list[GatewayError] = []
    for sheet in sheets:
        if sheet.document not in _CARDS or choose_printer(printing.selections, sheet.document, user) is None:
            continue
        try:
            printed.append(await print_sheet(store, launcher, printing, sheet, user=user, run=run, keep=keep))
        except StoreUnavailable:
            raise
        except GatewayError as error:
            failed.append(error)
    return printed, failed


def sheets_of(name: DocumentName, made: Sequence[PostedAs]) -> Sequence[Sheet]:
    """Return what was made of a document, to be printed."""
    return [
        Sheet(document=one.document, partition=name.partition, company=name.company, number=one.number) for one in made
    ]


def _file_name(sheet: Sheet, *, copy: bool) -> str:
    """Return a name that no other document has: every company of a partition counts by itself."""
    places = [] if sheet.partition == INITIAL_PARTITION else [sheet.partition]
    name = "-".join([*places, sheet.document, sheet.company, sheet.number, *(["copy"] if copy else [])])
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in name) + ".pdf"
