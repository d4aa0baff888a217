"""`gateway explain` and `gateway doctor` on documents that can be posted."""

import pytest

from gateway.batch.handlers.post import post_runnable
from gateway.batch.rules.definition import CategoryDefinition, QueueDefinition
from gateway.config.models import Settings
from gateway.explanations.facts import Explanation, GatewayFacts
from gateway.operations import documents as operations
from gateway.operations.attention import find_documents
from gateway.operations.explain_documents import explain_documents
from gateway.operations.principal import Principal
from gateway.queues import follow_runs, start_queue
from gateway.queues.posting.service import PostingService
from gateway.queues.starting import start_entries
from gateway.queues.sync import sync_queues
from tests.factories import operator
from tests.fakes import World
from tests.posting import ITEM, document, keep

SETTINGS = Settings.model_validate({
    "posting": {
        "via_job_queue": True, "sales_category": "SalesPost", "taxes": {"FULL": 25}, "period": {"first": "2026-01-01"},
    },
    "services": {
        "Invoices": {"kind": "document", "document": "{urn:gateway:posting}PostedSalesInvoice", "entity": "Header",
                     "key": "DocumentNo"},
    },
    "ports": {"out": {"direction": "outbound", "send": {"folder": "./out"}, "operations": ["Invoices.read"]}},
})  # fmt: skip
ANN = Principal(name="ann", partition="initial")


async def explain(world: World, text: str, settings: Settings = SETTINGS) -> list[Explanation]:
    return await explain_documents(
        operator(world.store, settings=settings), text, GatewayFacts(running=["here:1"], jobs={})
    )


async def why(world: World, text: str) -> tuple[str, str]:
    found = (await explain(world, text))[0]
    return found.code, found.why


async def post(world: World, *numbers: str) -> list[int | None]:
    results = await operations.post(
        operator(world.store, settings=SETTINGS, now=world.clock.now()), "SalesOrder", numbers, company="dat"
    )
    return [one.entry for one in results]


@pytest.fixture
async def shop(world: World) -> World:
    """Orders 1 and 2 can be posted, 3 cannot; the queue of sales is not started."""
    follow_runs(world.store)
    world.more_runnables["post"] = post_runnable(
        lambda: PostingService(store=world.store, settings=SETTINGS, launcher=None)
    )
    queue = QueueDefinition(name="SPPOST", categories=("SalesPost",), starts_automatically=False)
    async with world.store.transaction() as connection:
        categories = [CategoryDefinition(name="SalesPost")]
        await sync_queues(world.store, connection, categories, [queue], [], now=world.clock.now())
    for number in "123":
        line = ITEM if number != "3" else {**ITEM, "TaxGroup": "GONE"}
        await keep(world.store, "SalesOrder", number, document("SalesOrder", line, PostingDate="2026-03-06"))
    return world


@pytest.mark.parametrize("text", ["SalesOrder/1", "SalesOrder 1", "sales order 1", "sales-order/1"])
async def test_it_is_found_as_people_name_it(shop: World, text: str) -> None:
    (found,) = await explain(shop, text)
    assert (found.subject, found.code) == ("sales order 1 of company dat", "document.open") and not found.wrong


@pytest.mark.parametrize("text", ["SalesOrder/9", "SalesQuote/1", "1", "STORE-12/7", "SalesOrder"])
async def test_what_is_no_such_document_may_be_something_else(shop: World, text: str) -> None:
    assert await explain(shop, text) == []


async def test_where_nothing_is_posted_nothing_is_explained(shop: World) -> None:
    assert await explain(shop, "SalesOrder/1", Settings()) == []


async def test_each_place_on_the_way_is_explained(shop: World) -> None:
    assert await why(shop, "SalesOrder/3") == (
        "document.refused", "It is open, and cannot be posted now. Line 10000: tax group GONE is not set up."
    )  # fmt: skip
    one, two, three = await post(shop, "1", "2", "3")
    assert await why(shop, "SalesOrder/1") == (
        "document.scheduled",
        f"It is scheduled for posting by ann, in entry {one}. It is the next of the category SalesPost.",
    )
    document_, entry = await explain(shop, "SalesOrder/3")
    assert document_.why == (
        f"It is scheduled for posting by ann, in entry {three}. Before it in the category SalesPost: entries "
        f"{one} (Post sales order 1), {two} (Post sales order 2)."
    )
    assert entry.code == "entry.queue-stopped", "and why that does not move"
    places = await find_documents(shop.store, SETTINGS)
    assert [(place.code, place.what, place.target) for place in places] == [
        ("documents-wait-for-queue", "job queue SPPOST: 3 documents", "SPPOST")
    ]
    await shop.server("A", threads=4)
    await start_queue(shop.store, "SPPOST", True, by="ann", now=shop.clock.now())
    await shop.pass_(minutes=1)
    code, said = await why(shop, "SalesOrder/1")
    assert code == "document.posted"
    assert said.startswith("It is posted. SINV-000001 was posted by ann at ")
    assert "; message 1 waits to be sent. SHIP-000001 was posted by ann at " in said, "a port offers the first one"
    found = (await explain(shop, "SalesOrder/3"))[0]
    assert found.code == "document.failed" and found.wrong
    assert found.why == (
        "Its posting failed: Sales order 3 cannot be posted. Line 10000: tax group GONE is not set up."
    )
    assert found.remedies[0].target == ("SalesOrder", "3", "dat")
    (place,) = await find_documents(shop.store, SETTINGS)
    assert (place.code, place.target) == ("document-failed", "SalesOrder/3")
    assert place.what.startswith("sales order 3 of company dat (Sales order 3 cannot be posted.")


async def test_one_that_is_being_posted_says_since_when_and_by_whom(shop: World) -> None:
    (entry,) = await post(shop, "1")
    await start_queue(shop.store, "SPPOST", True, by="ann", now=shop.clock.now())
    await start_entries(shop.store, shop.clock.now())
    code, said = await why(shop, "SalesOrder/1")
    assert code == "document.posting"
    assert said.startswith(f"It is being posted by ann, in entry {entry}, since 2026-03-06 16:05")
