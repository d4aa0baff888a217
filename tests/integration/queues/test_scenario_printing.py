"""Post and print: S29 of the batch reference and case 25 of the posting reference by name, and the report inbox."""

from datetime import UTC, datetime
from decimal import Decimal
from io import BytesIO
from pathlib import Path

import pytest
from pypdf import PdfReader

from gateway.batch.handlers.batch_post import batch_post_runnable
from gateway.batch.handlers.post import post_runnable
from gateway.batch.handlers.print import print_runnable
from gateway.batch.rules.definition import EntryDefinition, TaskDefinition
from gateway.batch.rules.job import ReportOutput
from gateway.config.models import Settings
from gateway.operations import documents as operations
from gateway.operations import inbox
from gateway.operations.documents import DocumentState, PostResult
from gateway.operations.principal import Principal
from gateway.operations.references import NotFound
from gateway.queues import EntryAction, EntryStatus, add_entry, change_entry, follow_runs, list_entries
from gateway.queues.posting.service import PostingOff, PostingService
from gateway.queues.printing.process import PrintFailed
from gateway.workers.launcher import Launcher
from tests.factories import operator
from tests.fakes import World
from tests.fonts import write_font
from tests.posting import ITEM, document, keep

ORDER = (
    "Type", "No", "Description", "Quantity", "UnitCode", "UnitPrice", "LineDiscountPercent", "TaxGroup",
)  # fmt: skip
"""Fields of a line as the schema has them."""
ANN = Principal(name="ann", partition="initial")


class Shop:
    """A world that posts and prints; its printers are what a test says."""

    def __init__(self, world: World, launcher: Launcher) -> None:
        self.world = world
        self.launcher = launcher
        self.settings = Settings()

    def set_up(self, printers: object, *selections: object, via_job_queue: bool = True, after: bool = True) -> None:
        self.settings = Settings.model_validate({
            "posting": {
                "via_job_queue": via_job_queue, "sales_category": "SalesPost", "taxes": {"FULL": 25},
                "print": {"after_posting": after, "printers": printers, "selections": list(selections)},
            }
        })  # fmt: skip

    def service(self) -> PostingService:
        return PostingService(store=self.world.store, settings=self.settings, launcher=self.launcher)

    async def order(self, number: str, **line: str) -> None:
        await keep(
            self.world.store, "SalesOrder", number, document("SalesOrder", ITEM | line, PostingDate="2026-03-06")
        )

    async def post(self, number: str) -> PostResult:
        (result,) = await operations.post(
            operator(self.world.store, settings=self.settings, now=self.world.clock.now()),
            "SalesOrder",
            [number],
            company="dat",
            launcher=self.launcher,
        )
        return result

    async def tasks(self) -> list[tuple[str, str]]:
        rows = await self.world.rows("SELECT name, status FROM run_task ORDER BY run_id, position")
        return [(row["name"], row["status"]) for row in rows]

    async def numbers(self) -> list[str]:
        return [row["number"] for row in await self.world.rows("SELECT number FROM posted_document ORDER BY number")]


@pytest.fixture
async def shop(world: World, launcher: Launcher) -> Shop:
    follow_runs(world.store)
    shop = Shop(world, launcher)
    world.more_runnables |= {
        one.name: one
        for one in (
            post_runnable(shop.service),
            batch_post_runnable(shop.service),
            print_runnable(shop.service),
        )
    }
    async with world.store.transaction() as connection:
        await connection.execute("INSERT INTO entry_category (name) VALUES ('SalesPost')")
    world.clock.move_to(datetime(2026, 3, 6, 17, tzinfo=UTC))
    return shop


def lp(folder: Path, *, hangs: bool) -> dict[str, object]:
    """A printer that notes what it prints, or asks for a password and waits for ever."""
    script = "exec sleep 600" if hangs else 'basename "$0" >> "$1/printed"'
    return {"command": ["/bin/sh", "-c", script, "{file}", str(folder)], "timeout_seconds": 0.5 if hangs else 60}


async def test_s29_post_and_print(shop: Shop, tmp_path: Path) -> None:
    world, invoices = shop.world, {"document": "PostedSalesInvoice", "printer": "HP4"}
    shop.set_up({"HP4": lp(tmp_path, hangs=True)}, invoices)
    await shop.order("1")
    entry = (await shop.post("1")).entry
    assert entry is not None
    await world.server("A", threads=4)
    await world.settle()
    assert await shop.tasks() == [("post", "ended"), ("print", "error")]
    (row,) = await operations.documents(operator(world.store, settings=shop.settings), state=DocumentState.ALL)
    assert (row.posted_as, row.queue_status, row.error) == ("SINV-000001", None, None)
    (failed,) = await list_entries(world.store)
    assert failed.id == entry and failed.status is EntryStatus.ERROR and failed.error_code == "command.timeout"
    assert "Posted, but not printed: The printer HP4 did not print" in (failed.error or "")

    shop.set_up({"HP4": lp(tmp_path, hangs=False)}, invoices)
    await change_entry(world.store, entry, EntryAction.READY, by="ann", now=world.clock.now())
    await world.settle()
    assert await shop.tasks() == [("post", "ended"), ("print", "error"), ("post", "ended"), ("print", "ended")]
    assert (tmp_path / "printed").read_text() == "PostedSalesInvoice-dat-SINV-000001.pdf\n"
    assert await shop.numbers() == ["SHIP-000001", "SINV-000001"] and await list_entries(world.store) == []

    shop.set_up(
        {"HP4": lp(tmp_path, hangs=True), "hers": {"inbox": True}}, invoices, {"user": "ann", "printer": "hers"}
    )
    await shop.order("2")
    await shop.post("2")
    await world.settle()
    shipment, invoice = sorted(await inbox.reports(operator(world.store)), key=lambda one: one.name, reverse=True)
    assert (shipment.name, invoice.name) == (
        "PostedSalesShipment-dat-SHIP-000002.pdf", "PostedSalesInvoice-dat-SINV-000002.pdf",
    )  # fmt: skip
    kept = await world.rows("SELECT name FROM run_file WHERE run_id = $1 ORDER BY name", invoice.run_id)
    assert [one["name"] for one in kept] == [invoice.name, shipment.name]


SCRIPTS = {
    "Latin": "Schreibtisch, Größe 2", "Greek": "Γραφείο δρύινο", "Cyrillic": "Стол дубовый", "Chinese": "橡木书桌",
    "Arabic": "مكتب من خشب", "Thai": "โต๊ะไม้โอ๊ค",
}  # fmt: skip
TAXES = {"FULL": 25, "LOW": 12}
CASE_9 = (
    {"Quantity": "2", "UnitPrice": "499.95"}, {"Quantity": "10", "UnitPrice": "4.49", "LineDiscountPercent": "5"},
    {"Quantity": "3", "UnitPrice": "12.345", "TaxGroup": "LOW"},
)  # fmt: skip


async def test_case_25_a_printer_that_hangs_and_a_document_in_six_scripts(shop: Shop, tmp_path: Path) -> None:
    """Letters that the shipped fonts do not have come from fonts of the site."""
    world, invoices = shop.world, {"document": "PostedSalesInvoice", "printer": "HP4"}
    fonts = [str(write_font(tmp_path / f"{name}.ttf", SCRIPTS[name])) for name in ("Arabic", "Thai", "Chinese")]
    printing = {"after_posting": True, "selections": [invoices], "fonts": fonts}

    def set_up(printer: object) -> None:
        shop.settings = Settings.model_validate({
            "posting": {
                "via_job_queue": True, "sales_category": "SalesPost", "taxes": TAXES,
                "print": {**printing, "printers": {"HP4": printer}},
            }
        })  # fmt: skip

    comments = [{"Type": "Comment", "Description": text} for text in list(SCRIPTS.values()) * 8]
    items = [{"Type": "Item", "No": "1", "UnitCode": "PCS", "TaxGroup": "FULL", **line} for line in CASE_9]
    lines = [{name: line[name] for name in ORDER if name in line} for line in (*comments, *items)]
    content = document("SalesOrder", *lines, PostingDate="2026-03-06", InvoiceDiscountPercent="3")
    await keep(world.store, "SalesOrder", "1", content)
    set_up(lp(tmp_path, hangs=True))
    entry = (await shop.post("1")).entry
    assert entry is not None
    await world.server("A", threads=4)
    await world.settle()
    assert await shop.tasks() == [("post", "ended"), ("print", "error")]
    set_up({"folder": str(tmp_path / "printed")})
    await change_entry(world.store, entry, EntryAction.READY, by="ann", now=world.clock.now())
    await world.settle()
    (path,) = (tmp_path / "printed").iterdir()
    pages = [page.extract_text() for page in PdfReader(path).pages]
    assert len(pages) == 2 and "1,304.33" in pages[1] and "1,304.33" not in pages[0]
    for name, text in SCRIPTS.items():
        assert set(text) <= set(pages[0]), name
    warnings = await world.rows("SELECT text FROM run_log WHERE severity = 'warning'")
    assert [row["text"] for row in warnings] == []


async def test_case_25_one_document_of_two_is_printed_and_a_repeat_prints_only_the_other(
    shop: Shop, tmp_path: Path
) -> None:
    world, archive = shop.world, {"printer": "archive"}
    invoices = {"document": "PostedSalesInvoice", "printer": "HP4"}
    folder = {"folder": str(tmp_path / "archive")}
    shop.set_up({"archive": folder, "HP4": lp(tmp_path, hangs=True)}, archive, invoices)
    await shop.order("1", QtyToShip="4", QtyToInvoice="4")
    entry = (await shop.post("1")).entry
    assert entry is not None
    await world.server("A", threads=4)
    await world.settle()
    assert [path.name for path in (tmp_path / "archive").iterdir()] == ["PostedSalesShipment-dat-SHIP-000001.pdf"]
    # the rest of the order is posted by another entry while the first still waits for its printer
    shop.set_up({"archive": folder}, archive)
    await shop.post("1")
    await world.settle()
    first = sorted(path.name for path in (tmp_path / "archive").iterdir())
    assert len(first) == 3 and "PostedSalesInvoice-dat-SINV-000001.pdf" not in first
    await change_entry(world.store, entry, EntryAction.READY, by="ann", now=world.clock.now())
    await world.settle()
    assert len(list((tmp_path / "archive").iterdir())) == 4 and await list_entries(world.store) == []
    assert await shop.numbers() == ["SHIP-000001", "SHIP-000002", "SINV-000001", "SINV-000002"]


async def test_what_cannot_be_posted_is_not_printed_and_can_be_posted_and_printed_later(
    shop: Shop, tmp_path: Path
) -> None:
    world = shop.world
    shop.set_up({"archive": {"folder": str(tmp_path / "printed")}}, {"printer": "archive"})
    await shop.order("1", TaxGroup="OTHER")
    entry = (await shop.post("1")).entry
    assert entry is not None
    await world.server("A", threads=4)
    await world.settle()
    (failed,) = await list_entries(world.store)
    assert failed.status is EntryStatus.ERROR and "tax group OTHER is not set up" in (failed.error or "")
    (row,) = await operations.documents(operator(world.store, settings=shop.settings), state=DocumentState.ERROR)
    assert row.number == "1" and not (tmp_path / "printed").exists()
    posting = shop.settings.posting
    assert posting is not None
    taxes = {"FULL": Decimal(25), "OTHER": Decimal(0)}
    shop.settings = shop.settings.model_copy(update={"posting": posting.model_copy(update={"taxes": taxes})})
    await change_entry(world.store, entry, EntryAction.READY, by="ann", now=world.clock.now())
    await world.settle()
    assert len(list((tmp_path / "printed").iterdir())) == 2 and await list_entries(world.store) == []


@pytest.mark.parametrize("via_job_queue", [True, False])
async def test_batch_posting_prints_too(shop: Shop, tmp_path: Path, *, via_job_queue: bool) -> None:
    world = shop.world
    shop.set_up({"archive": {"folder": str(tmp_path / "printed")}}, {"printer": "archive"}, via_job_queue=via_job_queue)
    for number in "12":
        await shop.order(number)
    world.clock.move_to(datetime(2099, 1, 1, tzinfo=UTC))  # what is entered by the clock of the database is due then
    parameters = {"kind": "SalesOrder", "all": True}
    task = TaskDefinition(name="post", handler="batch_post", parameters=parameters, parameters_version=1)
    await world.job("evening", [task], company="dat")
    await world.server("A", threads=4)
    await world.settle()
    await world.pass_(minutes=1)
    assert sorted(path.name for path in (tmp_path / "printed").iterdir()) == [
        f"Posted{kind}-00000{number}.pdf"
        for kind in ("SalesInvoice-dat-SINV", "SalesShipment-dat-SHIP")
        for number in "12"
    ]


@pytest.mark.parametrize("how", ["post", "batch", "batch of entries"])
@pytest.mark.parametrize(("output", "places"), [("print", ["folder"]), ("pdf", ["inbox"]), ("none", [])])
async def test_the_output_of_an_entry_says_where_it_prints(
    shop: Shop, tmp_path: Path, how: str, output: str, places: list[str]
) -> None:
    world, archive = shop.world, tmp_path / "printed"
    shop.set_up({"archive": {"folder": str(archive)}}, {"printer": "archive"}, via_job_queue=how == "batch of entries")
    await shop.order("1")
    world.clock.move_to(datetime(2099, 1, 1, tzinfo=UTC))  # what is entered by the clock of the database is due then
    what = {"number": "1", "print": True} if how == "post" else {"all": True}
    entry = EntryDefinition(
        run="post" if how == "post" else "batch_post", parameters={"kind": "SalesOrder", **what},
        output=ReportOutput(output), company="dat",
    )  # fmt: skip
    await add_entry(world.store, entry, by="ann", now=world.clock.now(), status=EntryStatus.READY)
    await world.server("A", threads=4)
    await world.settle()
    await world.pass_(minutes=1)
    assert await list_entries(world.store) == []
    assert await shop.numbers() == ["SHIP-000001", "SINV-000001"]
    found = {
        "folder": list(archive.iterdir()) if archive.exists() else [],
        "inbox": await inbox.reports(operator(world.store)),
    }
    assert {place: len(files) for place, files in found.items()} == {"folder": 0, "inbox": 0} | dict.fromkeys(places, 2)


@pytest.mark.parametrize(("told", "after", "prints"), [(True, False, True), (None, True, True), (False, True, False)])
async def test_a_post_task_of_a_job_prints_when_it_is_told_so_by_a_second_task(
    shop: Shop, tmp_path: Path, *, told: bool | None, after: bool, prints: bool
) -> None:
    world, folder = shop.world, tmp_path / "printed"
    shop.set_up({"archive": {"folder": str(folder)}}, {"printer": "archive"}, via_job_queue=False, after=after)
    await shop.order("1")
    parameters = {"kind": "SalesOrder", "number": "1", "print": told}
    await world.job(
        "evening", [TaskDefinition(name="post", handler="post", parameters=parameters, parameters_version=1)],
        company="dat",
    )  # fmt: skip
    await world.server("A", threads=4)
    await world.settle()
    await world.pass_(minutes=1)
    assert await shop.tasks() == [("post", "ended"), ("print sales order 1", "ended")][: 1 + prints]
    assert len(list(folder.iterdir()) if folder.exists() else []) == 2 * prints


async def test_a_print_that_fails_in_a_job_leaves_the_posting_alone(shop: Shop, tmp_path: Path) -> None:
    world = shop.world
    shop.set_up({"HP4": lp(tmp_path, hangs=True)}, {"document": "PostedSalesInvoice", "printer": "HP4"}, after=False)
    await shop.order("1")
    parameters = {"kind": "SalesOrder", "number": "1", "print": True}
    await world.job(
        "evening", [TaskDefinition(name="post", handler="post", parameters=parameters, parameters_version=1)],
        company="dat",
    )  # fmt: skip
    await world.server("A", threads=4)
    await world.settle()
    await world.pass_(minutes=1)
    assert await shop.tasks() == [("post", "error"), ("print sales order 1", "error")]
    (task,) = await world.rows("SELECT error_code FROM run_task WHERE name = 'post'")
    assert task["error_code"] == "task.children"
    (row,) = await operations.documents(operator(world.store, settings=shop.settings), state=DocumentState.ALL)
    assert (row.posted_as, row.queue_status) == ("SINV-000001", None)


async def test_what_is_posted_at_once_is_printed_at_once_and_a_failed_print_leaves_it_posted(
    shop: Shop, tmp_path: Path
) -> None:
    shop.set_up({"archive": {"folder": str(tmp_path)}}, {"printer": "archive"}, via_job_queue=False)
    await shop.order("1")
    result = await shop.post("1")
    assert [one.number for one in result.printed] == ["SHIP-000001", "SINV-000001"] and result.print_error is None
    text = PdfReader(tmp_path / "PostedSalesInvoice-dat-SINV-000001.pdf").pages[0].extract_text()
    assert "124.88" in text  # 10 × 9.99 and 25 %
    (tmp_path / "file").write_bytes(b"")
    shop.set_up({"archive": {"folder": str(tmp_path / "file")}}, {"printer": "archive"}, via_job_queue=False)
    await shop.order("2")
    result = await shop.post("2")
    assert result.error is None and len(result.made) == 2 and "cannot be written" in (result.print_error or "")


async def test_a_person_prints_reads_and_removes(shop: Shop) -> None:
    store = shop.world.store
    shop.set_up({"mine": {"inbox": True}}, {"user": "ann", "printer": "mine"}, via_job_queue=False, after=False)
    await shop.order("1")
    assert (await shop.post("1")).printed == ()

    async def print_(number: str, **options: str) -> str:
        session = operator(store, settings=shop.settings)
        result = await operations.print_document(
            session, shop.launcher, "posted sales invoice", number, company="dat", copy=True, **options
        )
        return result.place

    assert await print_("SINV-000001") == "the inbox of ann"
    (report,) = await inbox.reports(operator(store))
    assert report.name == "PostedSalesInvoice-dat-SINV-000001-copy.pdf" and (report.opened_at, report.run_id) == (
        None,
        None,
    )
    name, content = await inbox.open_report(operator(store), report.id)
    assert name == report.name and "COPY" in PdfReader(BytesIO(content)).pages[0].extract_text()
    assert (await inbox.reports(operator(store)))[0].opened_at is not None
    with pytest.raises(NotFound, match="no report 1 in the inbox of ben"):
        await inbox.open_report(operator(store, principal=Principal(name="ben", partition="initial")), report.id)
    assert await inbox.delete_report(operator(store), report.id) == name and await inbox.reports(operator(store)) == []
    with pytest.raises(NotFound):
        await inbox.delete_report(operator(store), report.id)
    with pytest.raises(PrintFailed, match="There is no PostedSalesInvoice SINV-000009 in company dat"):
        await print_("SINV-000009")
    with pytest.raises(PrintFailed, match="There is no printer 'HP4'"):
        await print_("SINV-000001", printer="HP4")
    with pytest.raises(PostingOff, match="Printing is not set up here"):
        without = Settings.model_validate({"posting": {}})
        await operations.print_document(operator(store, settings=without), shop.launcher, "posted sales invoice", "1")
