"""Documents of a site's own, posted by its handlers: in one transaction, with numbers and statuses as all others."""

from datetime import UTC, datetime

import pytest

from gateway.batch.handlers.batch_post import batch_post_runnable
from gateway.batch.handlers.post import post_runnable
from gateway.batch.rules.definition import TaskDefinition
from gateway.config.models import Settings
from gateway.explanations.facts import GatewayFacts
from gateway.kernel.ids import MessageKey
from gateway.messaging.services.entities import NewEntity, insert_entities, read_entities
from gateway.operations import documents as operations
from gateway.operations.documents import DocumentState, PostResult
from gateway.operations.explain_documents import explain_documents
from gateway.operations.principal import Principal
from gateway.queues import follow_runs, list_entries
from gateway.queues.posting.service import PostingService
from gateway.workers.launcher import Launcher
from tests.factories import operator
from tests.fakes import World
from tests.posting_handlers import POSTED_SHEET, SHEET, SHEETS

ANN = Principal(name="ann", partition="initial")


class Office:
    """A world that posts time sheets by a handler."""

    def __init__(self, world: World, launcher: Launcher) -> None:
        self.world = world
        self.launcher = launcher
        self.settings = Settings()

    def set_up(self, handler: str = "post", **posting: object) -> None:
        handlers = {"Sheet": {"document": SHEET, "handler": f"tests.posting_handlers:{handler}", "category": "Hours"}}
        self.settings = Settings.model_validate({
            "store": "embedded", "posting": {"handlers": handlers, **posting}, "default_company": "dat",
        })  # fmt: skip

    def service(self) -> PostingService:
        return PostingService(store=self.world.store, settings=self.settings, launcher=self.launcher)

    async def sheet(self, number: str, hours: str = "40") -> None:
        content = f'<Record class="entity" xmlns="{SHEETS}"><Id>{number}</Id><Hours>{hours}</Hours></Record>'
        one = NewEntity(
            key=number, partition="initial", company="dat", content=content.encode(), size=1, request=MessageKey(1)
        )
        async with self.world.store.transaction() as connection:
            await insert_entities(connection, SHEET, [one])

    async def post(self, number: str) -> PostResult:
        (result,) = await operations.post(
            operator(self.world.store, settings=self.settings, now=self.world.clock.now()),
            "Sheet",
            [number],
            launcher=self.launcher,
        )
        return result

    async def hours(self) -> list[tuple[str, int]]:
        return [tuple(row) for row in await self.world.rows("SELECT sheet, hours FROM hours ORDER BY sheet")]

    async def standing(self) -> dict[str, tuple[str | None, str | None]]:
        """Return job queue status and what each sheet was posted as."""
        rows = await operations.documents(operator(self.world.store, settings=self.settings), state=DocumentState.ALL)
        return {row.number: (row.queue_status, row.posted_as) for row in rows}


@pytest.fixture
async def office(world: World, launcher: Launcher) -> Office:
    follow_runs(world.store)
    office = Office(world, launcher)
    office.set_up()
    world.more_runnables |= {
        one.name: one for one in (post_runnable(office.service), batch_post_runnable(office.service))
    }
    world.clock.move_to(datetime(2099, 1, 1, tzinfo=UTC))  # what is entered by the clock of the database is due then
    await world.rows("INSERT INTO entry_category (name) VALUES ('Hours')")
    await world.rows("CREATE TABLE hours (sheet text PRIMARY KEY, hours int NOT NULL)")
    return office


async def test_a_document_of_the_site_is_posted_by_its_handler(office: Office) -> None:
    await office.sheet("1")
    result = await office.post("1")
    assert result.error is None and [(one.document, one.title, one.number) for one in result.made] == [
        (POSTED_SHEET, "PostedSheet", "H-0001")
    ]
    async with office.world.store.transaction() as connection:
        found = await read_entities(connection, POSTED_SHEET, "initial", "dat", ["H-0001"])
    assert b"<PostedBy>ann</PostedBy>" in found["H-0001"].content
    assert await office.hours() == [("1", 40)]
    report = await operations.document(operator(office.world.store, settings=office.settings), "sheet", "1")
    assert report.document.status == "Posted" and report.lines is None
    assert [(row.document, row.number, row.posted_by) for row in report.posted] == [("PostedSheet", "H-0001", "ann")]
    assert (await office.post("1")).error == "Sheet 1 is posted (H-0001)."


async def test_a_handler_may_say_no_and_then_nothing_has_happened(office: Office) -> None:
    await office.sheet("1", hours="")
    await office.sheet("2")
    assert (await office.post("1")).error == "Sheet 1 cannot be posted. It has no hours."
    assert await office.standing() == {"1": ("error", None), "2": (None, None)}
    assert [one.number for one in (await office.post("2")).made] == ["H-0001"]


@pytest.mark.parametrize(
    ("handler", "said"),
    [
        ("raises", "The handler of Sheet 1 failed: KeyError: 'rate'"),
        ("ends_its_process", "The process that posted Sheet 1 ended with exit status 3"),
        ("calls_exit", "The handler of Sheet 1 failed: SystemExit: 0"),
        ("commits", "the transaction belongs to the gateway: a handler must not say 'COMMIT'"),
        ("goes_on_after_a_failed_statement", "current transaction is aborted"),
        ("returns_nonsense", "The handler of Sheet 1 returned dict, not a list of PostedDocument"),
        ("is_not_there", "The handler 'tests.posting_handlers:is_not_there' does not exist"),
    ],
)
async def test_a_handler_that_fails_leaves_nothing_behind(office: Office, handler: str, said: str) -> None:
    office.set_up(handler)
    await office.sheet("1")
    assert said in ((await office.post("1")).error or "")
    assert await office.hours() == [] and (await office.standing())["1"] == ("error", None)
    office.set_up()
    assert [one.number for one in (await office.post("1")).made] == ["H-0001"]


async def test_a_handler_that_hangs_is_ended_at_the_time_out(office: Office) -> None:
    office.set_up("hangs", timeout_seconds=2)
    await office.sheet("1")
    assert (await office.post("1")).error == "Sheet 1 was not posted within 2 seconds."
    office.set_up()
    assert [one.number for one in (await office.post("1")).made] == ["H-0001"]


async def test_documents_of_the_site_are_posted_in_the_background_too(office: Office) -> None:
    office.set_up(via_job_queue=True)
    await office.sheet("1", hours="")
    await office.sheet("2")
    for number in "12":
        assert (await office.post(number)).entry is not None
    assert await office.standing() == {"1": ("scheduled", None), "2": ("scheduled", None)}
    assert {one.definition.category for one in await list_entries(office.world.store)} == {"Hours"}
    await office.world.server("A", threads=4)
    await office.world.settle()
    await office.world.pass_(minutes=1)
    assert await office.standing() == {"1": ("error", None), "2": (None, "H-0001")}
    facts = GatewayFacts(running=["here:1"], jobs={})
    (found, *_) = await explain_documents(operator(office.world.store, settings=office.settings), "Sheet/1", facts)
    assert found.code == "document.failed" and "It has no hours." in found.why


async def test_batch_posting_takes_them_by_their_own_fields(office: Office) -> None:
    for number, hours in (("1", "40"), ("2", "50"), ("30", "60")):
        await office.sheet(number, hours)
    parameters = {"kind": "Sheet", "filters": {"Hours": "45..", "No": "1..9"}}
    task = TaskDefinition(name="post", handler="batch_post", parameters=parameters, parameters_version=1)
    await office.world.job("evening", [task], company="dat")
    await office.world.server("A", threads=4)
    await office.world.settle()
    await office.world.pass_(minutes=1)
    assert await office.standing() == {"1": (None, None), "2": (None, "H-0001"), "30": (None, None)}
