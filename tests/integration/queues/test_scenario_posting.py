"""Posting in the background: S27 and S28 of the batch reference by name, batch posting, and what is refused."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.batch.handlers.batch_post import batch_post_runnable
from gateway.batch.handlers.post import PostTask, post_runnable
from gateway.batch.rules.definition import TaskDefinition
from gateway.config.models import Settings
from gateway.config.models_posting import Posting
from gateway.contracts.task import TaskContext, TaskHandler
from gateway.operations import documents as operations
from gateway.operations.documents import DocumentRow, DocumentState, HowToPost, PostResult
from gateway.operations.principal import Principal
from gateway.queues import EntryStatus, follow_runs, list_entries
from gateway.queues.posting.posting import DocumentBusy, DocumentName, Poster
from gateway.queues.posting.service import PostingService
from gateway.runtime.check_posting import count_documents
from tests.factories import operator
from tests.fakes import World
from tests.posting import ITEM, document, keep, read, texts

POSTING = Posting.model_validate({
    "via_job_queue": True, "sales_category": "SalesPost", "taxes": {"FULL": 25}, "period": {"first": "2026-01-01"},
})  # fmt: skip
SETTINGS = Settings(posting=POSTING)


def at(hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 3, 6, hour, minute, tzinfo=UTC)


def person(name: str) -> Principal:
    return Principal(name=name, partition="initial")


def service(world: World) -> PostingService:
    return PostingService(store=world.store, settings=SETTINGS, launcher=None)


@pytest.fixture
async def shop(world: World) -> World:
    """A category for sales, and what posts."""
    follow_runs(world.store)
    world.more_runnables |= {
        one.name: one
        for one in (
            post_runnable(lambda: service(world)),
            batch_post_runnable(lambda: service(world)),
        )
    }
    async with world.store.transaction() as connection:
        await connection.execute("INSERT INTO entry_category (name) VALUES ('SalesPost')")
    return world


async def order(world: World, number: str, *, good: bool = True, **fields: str) -> None:
    fields = {"PostingDate": "2026-03-06", **fields}
    await keep(world.store, "SalesOrder", number, document("SalesOrder", *([ITEM] if good else []), **fields))


async def post(world: World, user: str, *numbers: str) -> list[PostResult]:
    return list(
        await operations.post(
            operator(world.store, settings=SETTINGS, principal=person(user), now=world.clock.now()),
            "SalesOrder",
            numbers,
            company="dat",
        )
    )


async def documents(world: World, state: DocumentState = DocumentState.ALL) -> dict[str, DocumentRow]:
    rows = await operations.documents(operator(world.store, settings=SETTINGS, principal=person("ann")), state=state)
    return {row.number: row for row in rows}


async def queue_statuses(world: World) -> dict[str, str | None]:
    return {number: row.queue_status for number, row in (await documents(world)).items()}


async def entries(world: World, user: str | None = None) -> dict[int, EntryStatus]:
    return {one.id: one.status for one in await list_entries(world.store, user=user)}


async def test_s27_background_posting_in_a_queue(shop: World) -> None:
    for number in "12345":
        await order(shop, number, good=number != "3")
    shop.clock.move_to(at(17))
    scheduled = [*await post(shop, "ann", "1", "2"), *await post(shop, "ben", "3", "4"), *await post(shop, "cid", "5")]
    numbers = [one.entry for one in scheduled]
    assert None not in numbers
    assert await queue_statuses(shop) == dict.fromkeys("12345", "scheduled")
    assert (await post(shop, "ann", "1"))[0].error == (
        "Sales order 1 is scheduled for posting; remove it from the queue first."
    )
    assert {len(await entries(shop, user)) for user in ("ann", "ben")} == {2} and len(await entries(shop, "cid")) == 1
    for name in ("A", "B"):
        await shop.server(name, threads=4)
    await shop.settle()
    await shop.pass_(minutes=1)
    runs = await shop.rows("SELECT entry_id, started_at, ended_at, status, run_as FROM run ORDER BY id")
    assert [run["entry_id"] for run in runs] == numbers
    assert [run["status"] for run in runs] == ["ended", "ended", "error", "ended", "ended"]
    assert [run["run_as"] for run in runs] == ["ann", "ann", "ben", "ben", "cid"]
    assert await entries(shop) == {numbers[2]: EntryStatus.ERROR}
    assert await queue_statuses(shop) == {"1": None, "2": None, "3": "error", "4": None, "5": None}
    to_handle = await documents(shop, DocumentState.ERROR)
    assert list(to_handle) == ["3"] and "has nothing to post" in (to_handle["3"].error or "")
    posted = await documents(shop, DocumentState.POSTED)
    assert {number: row.posted_as for number, row in posted.items()} == {
        "1": "SINV-000001", "2": "SINV-000002", "4": "SINV-000003", "5": "SINV-000004",
    }  # fmt: skip


class Hangs(PostTask):
    """Posts order 6 only when it is let, whatever is asked of it."""

    let = asyncio.Event()
    world: World
    late: asyncio.Task[None] | None = None

    async def run(self, context: TaskContext) -> None:
        if self._parameters.number != "6":
            await super().run(context)
            return
        posting = asyncio.create_task(super().run(context))
        type(self).late = posting
        self.world.parked += 1
        try:
            await asyncio.shield(posting)
        finally:
            self.world.parked -= 1


async def test_s28_time_out_and_removal(shop: World, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.clock.move_to(datetime(2026, 3, 7, 13, tzinfo=UTC))
    begun, let = asyncio.Event(), asyncio.Event()
    Hangs.world = shop

    def make(parameters: object) -> TaskHandler:
        return Hangs(service(shop), parameters)  # type: ignore[arg-type]

    runnable = shop.more_runnables["post"]
    shop.more_runnables["post"] = type(runnable)(
        name="post", description="", parameters=runnable.parameters, make=make, idempotent=True
    )
    move = Poster._move_stock

    async def hang(self: Poster, connection: object, name: DocumentName, *rest: object) -> None:
        if name.number == "6":
            begun.set()
            await let.wait()
        await move(self, connection, name, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Poster, "_move_stock", hang)
    for number in "678":
        await order(shop, number)
    six, seven, eight = await post(shop, "ann", "6", "7", "8")
    await shop.server("A", threads=4)
    await asyncio.wait_for(begun.wait(), 60)
    await shop.settle()
    assert await queue_statuses(shop) == {"6": "posting", "7": "scheduled", "8": "scheduled"}
    await shop.pass_(minutes=30)
    await operations.unqueue(
        operator(shop.store, settings=SETTINGS, principal=person("ann"), now=shop.clock.now()),
        "SalesOrder",
        "8",
        company="dat",
    )
    with pytest.raises(DocumentBusy, match="is being posted now; it cannot be removed"):
        await operations.unqueue(
            operator(shop.store, settings=SETTINGS, principal=person("ann"), now=shop.clock.now()),
            "SalesOrder",
            "6",
            company="dat",
        )
    assert await queue_statuses(shop) == {"6": "posting", "7": "scheduled", "8": None}
    assert eight.entry not in await entries(shop)
    await shop.to(datetime(2026, 3, 7, 15, 0, 1, tzinfo=UTC))
    assert await entries(shop) == {six.entry: EntryStatus.ERROR}
    rows = await documents(shop)
    assert rows["6"].queue_status == "error" and rows["7"].posted_as == "SINV-000001"
    (log,) = await shop.rows(
        "SELECT error_code FROM run_task JOIN run ON run.id = run_id WHERE entry_id = $1", six.entry
    )
    assert log["error_code"] == "task.timeout"
    let.set()
    assert Hangs.late is not None
    with pytest.raises(DocumentBusy, match="was given up before it came to its end"):
        await Hangs.late
    assert (await documents(shop))["6"].posted_as is None and seven.entry is not None


async def evening(world: World, **parameters: object) -> list[str]:
    """Let batch posting of released orders run in the evening; returns what its log says."""
    world.clock.move_to(datetime(2099, 1, 1, tzinfo=UTC))  # what is entered by the clock of the database is due then
    wanted = {"kind": "SalesOrder", "filters": {"Status": "Released", "PostingDate": "..today"}, **parameters}
    await world.job(
        "evening", [TaskDefinition(name="post", handler="batch_post", parameters=wanted, parameters_version=1)],
        company="dat",
    )  # fmt: skip
    await world.server("A", threads=4)
    await world.settle()
    await world.pass_(minutes=1)
    return [row["text"] for row in await world.rows("SELECT text FROM run_log ORDER BY id")]


async def test_case_24_of_forty_documents_two_fail_and_that_of_tomorrow_is_untouched(
    shop: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    posting = POSTING.model_copy(update={"via_job_queue": False})
    monkeypatch.setitem(globals(), "SETTINGS", Settings(posting=posting))
    numbers = [f"{number:02}" for number in range(1, 41)]
    for number in numbers:
        await order(shop, number, good=number not in {"07", "23"}, Status="Released")
    await order(shop, "90", Status="Released", PostingDate="2099-12-31")
    await order(shop, "91", Status="Open")
    lines = await evening(shop)
    assert lines[-1] == "38 posted, 2 to handle."
    posted, failed = await documents(shop, DocumentState.POSTED), await documents(shop, DocumentState.ERROR)
    assert (len(posted), list(failed)) == (38, ["07", "23"])
    assert sorted(row.posted_as or "" for row in posted.values()) == [f"SINV-{n:06}" for n in range(1, 39)]
    untouched = await documents(shop, DocumentState.OPEN)
    assert {number: untouched[number].queue_status for number in ("90", "91")} == {"90": None, "91": None}


async def test_a_check_says_how_many_documents_a_batch_matches(shop: World, tmp_path: Path) -> None:
    for number in "123":
        await order(shop, number, Status="Released" if number != "3" else "Open")
    await order(shop, "4", Status="Released")
    await post(shop, "ann", "4")
    batch = {"kind": "SalesOrder", "filters": {"Status": "Released"}}
    settings = Settings.model_validate({
        "posting": {}, "default_company": "dat",
        "jobs": {
            "evening": {"tasks": {"post": {"run": "batch_post", "with": batch}}},
            "elsewhere": {"company": "x", "tasks": {"post": {"run": "batch_post", "with": batch}}},
        },
        "job_queues": {"entries": {"all": {"run": "batch_post", "with": {"kind": "SalesOrder", "all": True}}}},
    })  # fmt: skip
    found = {one.subject: one.text for one in await count_documents(settings, shop.store, tmp_path)}
    assert found == {
        "job evening": "task post: matches 2 documents now", "job elsewhere": "task post: matches 0 documents now",
        "entry all": "matches 3 documents now",
    }  # fmt: skip


@pytest.mark.parametrize("via_job_queue", [True, False])
async def test_batch_posting_may_replace_dates(
    shop: World, monkeypatch: pytest.MonkeyPatch, *, via_job_queue: bool
) -> None:
    """What is posted has the new dates; what cannot be posted keeps its own."""
    posting = POSTING.model_copy(update={"via_job_queue": via_job_queue})
    monkeypatch.setitem(globals(), "SETTINGS", Settings(posting=posting))
    await order(shop, "1", Status="Released")
    await order(shop, "2", Status="Released", DocumentDate="")
    await order(shop, "3", Status="Released", good=False)
    await evening(shop, replace_posting_date="2026-03-31", replace_document_date=True)
    for number in ("SINV-000001", "SINV-000002"):
        invoice = await read(shop.store, "PostedSalesInvoice", number)
        assert (texts(invoice, "PostingDate"), texts(invoice, "DocumentDate")) == (["2026-03-31"], ["2026-03-31"])
    kept = [texts(await read(shop.store, "SalesOrder", number), "PostingDate") for number in "123"]
    assert kept == [["2026-03-31"], ["2026-03-31"], ["2026-03-06"]]


async def test_the_replaced_date_is_judged_and_the_document_date_may_stay(
    shop: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "SETTINGS", Settings(posting=POSTING.model_copy(update={"via_job_queue": False})))
    await order(shop, "1", PostingDate="2020-01-01", Status="Released")
    lines = await evening(shop, replace_posting_date="today")
    assert lines[-1] == "1 posted, 0 to handle."
    invoice = await read(shop.store, "PostedSalesInvoice", "SINV-000001")
    assert texts(invoice, "DocumentDate") == ["2031-02-09"] and texts(invoice, "PostingDate") != ["2020-01-01"]


async def test_batch_posting_via_the_queue_schedules_what_passes_its_filters(shop: World) -> None:
    for number in range(1, 9):
        await order(shop, str(number), good=number != 5, Status="Released" if number != 7 else "Open")
    await order(shop, "9", Status="Released", PostingDate="2099-12-31")
    lines = await evening(shop)
    posted, failed = await documents(shop, DocumentState.POSTED), await documents(shop, DocumentState.ERROR)
    assert (list(posted), list(failed)) == (["1", "2", "3", "4", "6", "8"], ["5"])
    assert "7 scheduled, 0 to handle." in lines


async def test_a_category_that_does_not_exist_is_told_and_nothing_is_scheduled(world: World) -> None:
    follow_runs(world.store)
    await order(world, "1")
    (result,) = await post(world, "ann", "1")
    assert "There is no job queue category 'SalesPost'" in (result.error or "") and result.entry is None
    assert await queue_statuses(world) == {"1": None}


async def test_what_is_not_scheduled_cannot_be_taken_out(shop: World) -> None:
    await order(shop, "1")
    with pytest.raises(DocumentBusy, match="is not scheduled for posting"):
        await operations.unqueue(
            operator(shop.store, settings=SETTINGS, principal=person("ann"), now=shop.clock.now()),
            "SalesOrder",
            "1",
            company="dat",
        )


async def test_posting_now_is_possible_beside_a_queue_but_not_for_what_waits_in_it(shop: World) -> None:
    for number in "12":
        await order(shop, number)
    await post(shop, "ann", "1")
    results = await operations.post(
        operator(shop.store, settings=SETTINGS, principal=person("ann"), now=shop.clock.now()),
        "SalesOrder",
        ["1", "2"],
        company="dat",
        how=HowToPost(now_and_here=True),
    )
    assert "is scheduled for posting" in (results[0].error or "")
    assert [one.number for one in results[1].made] == ["SHIP-000001", "SINV-000001"]
