"""Posting when things go wrong: kills at every point, two at once, what is renamed, removed or unreadable meanwhile."""

import asyncio
import threading
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal

import pytest

from gateway.batch.handlers.batch_post import batch_post_runnable
from gateway.batch.handlers.post import post_runnable
from gateway.batch.rules.definition import CategoryDefinition, EntryDefinition, JobDefinition, TaskDefinition
from gateway.batch.rules.job import JobStatus
from gateway.batch.store.jobs import create_job
from gateway.config.models import Settings
from gateway.config.models_posting import Posting
from gateway.kernel.errors import StoreUnavailable
from gateway.kernel.faultpoints import switched_on
from gateway.kernel.ids import EntryId
from gateway.operations import documents as operations
from gateway.operations.documents import DocumentRow, DocumentState, HowToPost, PostResult
from gateway.operations.principal import Principal
from gateway.queues import EntryAction, EntryStatus, add_entry, change_entry, follow_runs, list_entries, run_once
from gateway.queues.posting import posting
from gateway.queues.posting.posting import Poster
from gateway.queues.posting.service import PostingService
from gateway.queues.sync import sync_queues
from tests.factories import operator
from tests.fakes import World
from tests.posting import ITEM, document, keep

POSTING = Posting.model_validate({
    "via_job_queue": True, "sales_category": "SalesPost", "taxes": {"FULL": 25}, "period": {"first": "2026-01-01"},
})  # fmt: skip
ANN = Principal(name="ann", partition="initial")
PART = {
    **{name: ITEM[name] for name in ("Type", "No", "Quantity", "UnitCode", "UnitPrice", "TaxGroup")},
    "QtyToShip": "4",
}


class Shop:
    """A world with a category for sales, whose set-up a test may change."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.settings = Settings(posting=POSTING)

    def service(self) -> PostingService:
        return PostingService(store=self.world.store, settings=self.settings, launcher=None)

    async def order(self, number: str, *lines: dict[str, str], kind: str = "SalesOrder", **fields: str) -> None:
        content = document(kind, *(lines or (ITEM,)), **{"PostingDate": "2026-03-06", **fields})
        await keep(self.world.store, kind, number, content)

    async def post(self, *numbers: str, kind: str = "SalesOrder", here: bool | None = None) -> list[PostResult]:
        session = operator(self.world.store, settings=self.settings, now=self.world.clock.now())
        how = HowToPost(now_and_here=here)
        return list(await operations.post(session, kind, numbers, how, company="dat"))

    async def documents(self, state: DocumentState = DocumentState.ALL) -> dict[str, DocumentRow]:
        rows = await operations.documents(operator(self.world.store, settings=self.settings), state=state)
        return {row.number: row for row in rows}

    async def entries(self) -> dict[EntryId, EntryStatus]:
        return {one.id: one.status for one in await list_entries(self.world.store)}

    async def act(self, entry: EntryId, action: EntryAction) -> None:
        await change_entry(self.world.store, entry, action, by="ann", now=self.world.clock.now())

    async def made(self) -> list[str]:
        rows = await self.world.rows("SELECT number FROM posted_document ORDER BY number")
        return [row["number"] for row in rows]


@pytest.fixture
async def shop(world: World) -> Shop:
    follow_runs(world.store)
    shop = Shop(world)
    world.more_runnables |= {
        one.name: one
        for one in (
            post_runnable(shop.service),
            batch_post_runnable(shop.service),
        )
    }
    async with world.store.transaction() as connection:
        await connection.execute("INSERT INTO entry_category (name) VALUES ('SalesPost')")
    return shop


def shop_entry(results: list[PostResult]) -> EntryId:
    (result,) = results
    assert result.entry is not None, result.error
    return result.entry


async def test_what_failed_can_be_posted_again_and_its_entry_goes(shop: Shop) -> None:
    """Posting again is allowed from Error; the entry that failed would say that there is one already."""
    await shop.order("1", CurrencyCode="XXX")
    await shop.world.server("A", threads=4)
    failed = shop_entry(await shop.post("1"))
    await shop.world.pass_(minutes=1)
    assert await shop.entries() == {failed: EntryStatus.ERROR}
    again = shop_entry(await shop.post("1"))
    assert await shop.entries() == {again: EntryStatus.READY}
    assert (await shop.documents())["1"].queue_status == "scheduled"
    await shop.world.pass_(minutes=1)
    assert (await shop.documents())["1"].queue_status == "error"
    (result,) = await shop.post("1", here=True)
    assert "has no decimals set up" in (result.error or "")
    await shop.world.rows("UPDATE entity SET content = $1", document("SalesOrder", ITEM, PostingDate="2026-03-06"))
    await shop.post("1", here=True)
    assert await shop.entries() == {} and (await shop.documents())["1"].posted_as == "SINV-000001"


async def test_the_status_follows_an_entry_that_somebody_starts_again(shop: Shop) -> None:
    await shop.order("1", CurrencyCode="XXX")
    await shop.world.server("A", threads=4)
    entry = shop_entry(await shop.post("1"))
    await shop.world.pass_(minutes=1)
    await shop.world.stop("A")
    await shop.act(entry, EntryAction.READY)
    row = (await shop.documents())["1"]
    assert (row.queue_status, row.error) == ("scheduled", None)
    (busy,) = await shop.post("1")
    assert busy.error == "Sales order 1 is scheduled for posting; remove it from the queue first."
    await shop.world.rows("UPDATE entity SET content = $1", document("SalesOrder", ITEM, PostingDate="2026-03-06"))
    await shop.world.server("A", threads=4)
    await shop.world.pass_(minutes=1)
    assert (await shop.documents())["1"].posted_as == "SINV-000001" and await shop.entries() == {}


async def test_who_removes_a_failed_entry_has_not_handled_the_document(shop: Shop) -> None:
    await shop.order("1", CurrencyCode="XXX")
    await shop.world.server("A", threads=4)
    entry = shop_entry(await shop.post("1"))
    await shop.world.pass_(minutes=1)
    await shop.act(entry, EntryAction.DELETE)
    assert list(await shop.documents(DocumentState.ERROR)) == ["1"]
    assert shop_entry(await shop.post("1")) != entry


async def test_a_try_of_a_scheduled_posting_that_fails_leaves_the_document_scheduled(shop: Shop) -> None:
    """Its entry is still to run: whoever could post it beside that would post it twice."""
    await shop.order("1", CurrencyCode="XXX")
    entry = shop_entry(await shop.post("1"))
    now = shop.world.clock.now()
    await shop.world.rows("UPDATE queue_entry SET earliest = $1", now + timedelta(hours=1))
    await run_once(shop.world.store, entry, by="ann", now=now)
    await shop.world.server("A", threads=4)
    await shop.world.pass_(minutes=1)
    assert await shop.entries() == {entry: EntryStatus.READY}
    assert (await shop.documents())["1"].queue_status == "scheduled"
    (busy,) = await shop.post("1", here=True)
    assert "is scheduled for posting" in (busy.error or "")
    await shop.world.pass_(hours=2)
    assert (await shop.documents())["1"].queue_status == "error"


async def test_a_posted_document_that_is_posted_again_is_nothing_to_handle(shop: Shop) -> None:
    await shop.order("1")
    for _ in range(2):
        results = await shop.post("1", here=True)
    assert results[0].error == "Sales order 1 is posted (SINV-000001)."
    assert await shop.documents(DocumentState.ERROR) == {}


async def test_one_number_of_a_vendor_at_the_same_moment_is_posted_once_and_the_other_is_told(shop: Shop) -> None:
    """Both look before either has posted."""
    for number in "12":
        await shop.order(number, kind="PurchaseInvoice", VendorDocumentNo="4711")
    results = [
        one for both in await asyncio.gather(*(shop.post(n, kind="PurchaseInvoice", here=True) for n in "12"))
        for one in both
    ]  # fmt: skip
    (said,) = [one.error for one in results if one.error is not None]
    assert said.endswith("cannot be posted. Invoice 4711 of vendor 10000 was posted already as PINV-000001.")
    assert await shop.made() == ["PINV-000001"]


async def test_who_asks_does_not_wait_for_one_whose_posting_hangs(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    await shop.order("1")
    begun, let = asyncio.Event(), asyncio.Event()
    make = Poster._make

    async def hang(self: Poster, *arguments: object) -> object:
        begun.set()
        await let.wait()
        return await make(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Poster, "_make", hang)
    shop_entry(await shop.post("1"))
    await shop.world.server("A", threads=4)
    await asyncio.wait_for(begun.wait(), 60)
    (busy,) = await shop.post("1", here=True)
    assert busy.error == "Sales order 1 is being posted now."
    report = await operations.document(
        operator(shop.world.store, settings=shop.settings), "SalesOrder", "1", company="dat"
    )
    assert report.document.queue_status == "posting"
    let.set()
    await shop.world.settle()
    assert await shop.made() == ["SHIP-000001", "SINV-000001"]


# --- what changes while documents are scheduled


async def test_posting_that_is_taken_out_of_the_configuration_fails_with_the_reason(shop: Shop) -> None:
    await shop.order("1")
    entry = shop_entry(await shop.post("1"))
    with_posting, shop.settings = shop.settings, Settings()
    await shop.world.server("A", threads=4)
    await shop.world.pass_(minutes=1)
    shop.settings = with_posting
    row = (await shop.documents())["1"]
    assert (row.queue_status, row.error) == ("error", "Posting is not set up here: there is no section `posting`.")
    await shop.act(entry, EntryAction.READY)
    await shop.world.pass_(minutes=1)
    assert (await shop.documents())["1"].posted_as == "SINV-000001"


async def test_parameters_that_no_longer_fit_fail_with_the_reason(shop: Shop) -> None:
    await shop.order("1")
    shop_entry(await shop.post("1"))
    await shop.world.rows('UPDATE queue_entry SET parameters = \'{"kind": "SalesQuote", "number": "1"}\'')
    await shop.world.server("A", threads=4)
    await shop.world.pass_(minutes=1)
    row = (await shop.documents())["1"]
    assert row.queue_status == "error" and "must be one of SalesOrder" in (row.error or "")


@pytest.mark.parametrize(
    ("was", "bad", "said"),
    [
        (
            b"<LineNo>10000<",
            b"<LineNo>3000000000<",
            "LineNo 3000000000 is no number of a line: they go from 1 to 21474",
        ),
        (b"<LineNo>10000<", b"<LineNo>0<", "LineNo 0 is no number of a line"),
        (b"<Quantity>10<", b"<Quantity>NaN<", "Quantity 'NaN' is no number."),
        (b"<Quantity>10<", b"<Quantity>1E+999999<", "Quantity '1E+999999' has more than 18 digits."),
        (b"<UnitPrice>9.99<", b"<UnitPrice>1E-999999<", "UnitPrice '1E-999999' has more than 18 digits."),
        (b"<UnitPrice>9.99<", b"<UnitPrice>" + b"9" * 100 + b"<", "has more than 18 digits."),
        (b"<Type>Item<", b"<Type>Thing<", "Item, Account or Comment as Type"),
        (b"<PostingDate>2026-03-06<", b"<PostingDate>soon<", "PostingDate 'soon' is no date."),
    ],
)
async def test_what_no_schema_has_checked_is_told_and_is_to_be_handled(
    shop: Shop, was: bytes, bad: bytes, said: str
) -> None:
    content = document("SalesOrder", ITEM, PostingDate="2026-03-06")
    assert was in content
    await keep(shop.world.store, "SalesOrder", "1", content.replace(was, bad))
    (result,) = await shop.post("1", here=True)
    assert said in (result.error or "")
    row = (await shop.documents(DocumentState.ERROR))["1"]
    assert said in (row.error or "")


async def test_a_document_that_is_gone_leaves_its_entry_in_error(shop: Shop) -> None:
    await shop.order("1")
    entry = shop_entry(await shop.post("1"))
    await shop.world.rows("DELETE FROM entity")
    await shop.world.server("A", threads=4)
    await shop.world.pass_(minutes=1)
    (failed,) = await list_entries(shop.world.store)
    assert (failed.id, failed.status) == (entry, EntryStatus.ERROR)
    assert failed.error == "There is no sales order 1 in company dat."


async def test_a_category_that_is_renamed_keeps_those_who_wait_in_it_apart(shop: Shop) -> None:
    """What is scheduled stays in the old one, which excludes as before; what comes is in the new one."""
    for number in "123":
        await shop.order(number)
    await shop.post("1", "2")
    async with shop.world.store.transaction() as connection:
        await sync_queues(
            shop.world.store, connection, [CategoryDefinition(name="Selling")], [], [], now=shop.world.clock.now()
        )
    (refused,) = await shop.post("3")
    assert "There is no job queue category 'SalesPost'" in (refused.error or "")
    shop.settings = Settings(posting=POSTING.model_copy(update={"sales_category": "Selling"}))
    shop_entry(await shop.post("3"))
    await shop.world.server("A", threads=4)
    await shop.world.pass_(minutes=1)
    assert {row.posted_as is not None for row in (await shop.documents()).values()} == {True}
    assert await shop.entries() == {}


async def test_a_database_that_is_away_in_the_middle_is_waited_for(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    await shop.order("1", PART)
    post_there, tries = PostingService.post, []

    async def post(*arguments: object, **options: object) -> object:
        made = await post_there(*arguments, **options)  # type: ignore[arg-type]
        tries.append(made)
        raise StoreUnavailable("the reply to the commit got lost", outcome_unknown=True)

    monkeypatch.setattr(PostingService, "post", post)
    shop_entry(await shop.post("1"))
    await shop.world.server("A", threads=4)
    await shop.world.pass_(minutes=10)
    assert len(tries) == 1, "it was committed: the second try finds that"
    assert await shop.made() == ["SHIP-000001", "SINV-000001"] and await shop.entries() == {}
    assert (await shop.documents(DocumentState.OPEN))["1"].queue_status is None


async def test_a_batch_that_comes_again_takes_no_second_part(shop: Shop) -> None:
    shop.settings = Settings(posting=POSTING.model_copy(update={"via_job_queue": False}))
    for number in "12":
        await shop.order(number, PART)
    shop.world.clock.jump(-timedelta(days=3_650).total_seconds())  # what the database's clock stamps comes after it
    task = TaskDefinition(
        name="post", handler="batch_post", parameters={"kind": "SalesOrder", "all": True}, parameters_version=1,
        max_retries=1,
    )  # fmt: skip
    job = JobDefinition(name="evening", tasks=(task,), company="dat")
    await create_job(shop.world.store, job, by="ann", now=shop.world.clock.now(), status=JobStatus.WAITING)
    await shop.world.server("A", threads=4)
    with switched_on("posting.before_commit:2:raise"):
        await shop.world.pass_(minutes=10)
    (run,) = await shop.world.rows("SELECT status FROM run")
    assert run["status"] == "ended"
    assert await shop.made() == ["SHIP-000001", "SHIP-000002", "SINV-000001", "SINV-000002"]


async def test_a_batch_of_an_entry_that_comes_again_takes_no_second_part(shop: Shop) -> None:
    """Its second run goes on with the work of the first; one after that, which ended well, takes what is left."""
    shop.settings = Settings(posting=POSTING.model_copy(update={"via_job_queue": False}))
    for number in "12":
        await shop.order(number, PART)
    shop.world.clock.jump(-timedelta(days=3_650).total_seconds())  # what the database's clock stamps comes after it
    batch = EntryDefinition(
        run="batch_post", parameters={"kind": "SalesOrder", "all": True}, company="dat", max_attempts=1
    )
    entry = await add_entry(shop.world.store, batch, by="ann", now=shop.world.clock.now(), status=EntryStatus.READY)
    await shop.world.server("A", threads=4)
    with switched_on("posting.before_commit:2:raise"):
        await shop.world.pass_(minutes=10)
    assert await shop.entries() == {}, entry
    runs = await shop.world.rows("SELECT status FROM run WHERE entry_id = $1 ORDER BY id", entry)
    assert [run["status"] for run in runs] == ["error", "ended"]
    assert await shop.made() == ["SHIP-000001", "SHIP-000002", "SINV-000001", "SINV-000002"]


async def test_a_task_of_a_job_whose_posting_was_committed_posts_no_second_part(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.order("1", PART)
    post_there, tries = PostingService.post, []

    async def post(*arguments: object, **options: object) -> object:
        tries.append(await post_there(*arguments, **options))  # type: ignore[arg-type]
        raise StoreUnavailable("the reply to the commit got lost", outcome_unknown=True)

    monkeypatch.setattr(PostingService, "post", post)
    task = TaskDefinition(
        name="post", handler="post", parameters={"kind": "SalesOrder", "number": "1"}, parameters_version=1,
        max_retries=1,
    )  # fmt: skip
    await shop.world.job("evening", [task], company="dat")
    await shop.world.server("A", threads=4)
    await shop.world.pass_(minutes=10)
    assert len(tries) == 1 and await shop.made() == ["SHIP-000001", "SINV-000001"]
    (run,) = await shop.world.rows("SELECT status FROM run")
    assert run["status"] == "ended"


async def test_a_document_of_5_000_lines_is_read_computed_and_written_beside_the_loop(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes seconds, in which the loop has messages and signs of life to see to."""
    at: dict[str, set[int]] = {}

    def noting(name: str, there: Callable[..., object]) -> Callable[..., object]:
        def work(*arguments: object, **options: object) -> object:
            at.setdefault(name, set()).add(threading.get_ident())
            return there(*arguments, **options)

        return work

    for name in ("read_document", "findings", "amounts_of", "write_progress", "write_claim", "write_goods"):
        monkeypatch.setattr(posting, name, noting(name, getattr(posting, name)))
    await shop.order("1", *([ITEM] * 5_000))
    (result,) = await shop.post("1", here=True)
    assert result.error is None and result.made[-1].total == Decimal("624375.00")
    assert len(at) == 6 and not any(threading.get_ident() in threads for threads in at.values())
