"""Documents are posted once and numbered without gaps, whoever dies, and when."""

import asyncio
from collections.abc import Sequence
from random import Random
from signal import SIGQUIT
from time import monotonic
from typing import Any

import pytest

from gateway.queues.posting.form import qualified
from gateway.queues.posting.service import FAULT_POINTS
from tests.crash.cluster import Cluster
from tests.crash.server import OwnServer
from tests.crash.site import KILLED, CrashSite
from tests.posting import ITEM, document
from tests.site import Site, until

SET_UP: dict[str, Any] = {
    "workers": {"xml": 1},
    "posting": {"via_job_queue": True, "sales_category": "SalesPost", "taxes": {"FULL": 25}, "keeps": []},
    "job_queues": {"categories": {"SalesPost": {}}},
}
SIDE_BY_SIDE = {"categories": {"SalesPost": {"width": 4}}}
"""Several postings at once: the numbers have no gap by themselves, not because one comes after the other."""
PART = {
    **{name: ITEM[name] for name in ("Type", "No", "Quantity", "UnitCode", "UnitPrice", "TaxGroup")},
    "QtyToShip": "4",
}
KEEP = """
    INSERT INTO entity (rec_id, document, partition_key, company, key, content, request_id)
    SELECT nextval('rec_id'), $1, 'initial', 'DAT', key, $3, 1 FROM unnest($2::text[]) AS key
"""
IN_WORK = """
    SELECT EXISTS (SELECT 1 FROM attempt JOIN run_task t ON t.id = run_task_id
                   WHERE incarnation = $1 AND attempt.ended_at IS NULL AND t.handler IN ('post', 'print')) AS posts,
           EXISTS (SELECT 1 FROM queue_entry) AS left
"""
STATES = """
    SELECT e.key, d.queue_status, d.posted_as, d.error FROM entity e LEFT JOIN document_posting d USING (rec_id)
    WHERE e.document = $1
"""


async def orders(site: Site, numbers: Sequence[str], line: dict[str, str]) -> None:
    await site.query(KEEP, qualified("SalesOrder"), list(numbers), document("SalesOrder", line))


async def schedule(node: CrashSite, numbers: Sequence[str]) -> None:
    """Post them in the background, as a clerk does."""
    clerk = node.command(f"documents post SalesOrder {' '.join(numbers)}")
    assert await asyncio.wait_for(clerk.wait(), 300) == 0, node.tail()


async def all_are_posted(site: Site, *, seconds: float) -> None:
    async def done() -> bool:
        (row,) = await site.query("SELECT count(*) FROM queue_entry")
        return int(row["count"]) == 0

    await until(done, "all entries have ended", seconds=seconds, tell=site.tail)


async def numbers_of(site: Site, document: str) -> list[str]:
    rows = await site.query("SELECT number FROM posted_document WHERE document = $1 ORDER BY number", document)
    return [row["number"] for row in rows]


@pytest.mark.parametrize(
    "documents",
    [12, pytest.param(1_000, marks=[pytest.mark.full, pytest.mark.timeout(0)])],
)
async def test_two_servers_of_which_one_is_killed_again_and_again_post_and_print_each_document_once(
    cluster: Cluster, chance: Random, documents: int
) -> None:
    """Case 23 of the posting reference, with a PDF of each invoice."""
    printed = cluster.folder / "printed"
    printing = {
        "after_posting": True, "printers": {"archive": {"folder": str(printed)}},
        "selections": [{"document": "PostedSalesInvoice", "printer": "archive"}],
    }  # fmt: skip
    for node in cluster.nodes:
        node.extra = {**SET_UP, "posting": {**SET_UP["posting"], "print": printing}, "job_queues": SIDE_BY_SIDE}
    await cluster.run()
    wanted = [f"{number:04}" for number in range(1, documents + 1)]
    await orders(cluster, wanted, ITEM)
    began = monotonic()
    for start in range(0, documents, 200):
        await schedule(cluster.nodes[0], wanted[start : start + 200])
    dying = chance.choice(cluster.nodes)
    kills = 0

    async def is_posting() -> bool:
        """Tell whether the one that is to die has a posting in work, or there is none left."""
        incarnation = dying.happened("gateway.started")[-1]["incarnation"]
        (row,) = await cluster.query(IN_WORK, incarnation)
        return bool(row["posts"] or not row["left"])

    while kills < max(4, documents // 10):
        await until(is_posting, "it gets something to post", tell=cluster.tail, pause=0.002)
        (row,) = await cluster.query("SELECT count(*) AS left FROM queue_entry")
        if not row["left"]:
            break
        await asyncio.sleep(chance.uniform(0, 0.02))
        await dying.kill()
        await dying.run(build="short_leases")
        kills += 1
    await all_are_posted(cluster, seconds=120 + 2 * documents)
    seconds = monotonic() - began
    states = await cluster.query(STATES, qualified("SalesOrder"))
    assert {row["queue_status"] for row in states} == {None}
    invoices, shipments = [await numbers_of(cluster, name) for name in ("PostedSalesInvoice", "PostedSalesShipment")]
    assert sorted(row["posted_as"] for row in states) == invoices == [f"SINV-{n:06}" for n in range(1, documents + 1)]
    assert shipments == [f"SHIP-{n:06}" for n in range(1, documents + 1)]
    assert sorted(path.name for path in printed.iterdir()) == [f"PostedSalesInvoice-DAT-{one}.pdf" for one in invoices]
    for number in invoices:
        content = (printed / f"PostedSalesInvoice-DAT-{number}.pdf").read_bytes()
        assert content.startswith(b"%PDF") and content.rstrip().endswith(b"%%EOF")
    (left,) = await cluster.query(
        "SELECT count(*) FROM posted_document WHERE document = 'PostedSalesInvoice' AND printed_at IS NULL"
    )
    assert left["count"] == 0
    tries = await cluster.query(
        "SELECT handler, outcome, attempt.server FROM attempt JOIN run_task ON id = run_task_id"
        " WHERE handler IN ('post', 'print')"
    )
    lost = {
        handler: sum((row["handler"], row["outcome"]) == (handler, "lost") for row in tries)
        for handler in ("post", "print")
    }
    print(
        f"{documents} documents by {len({row['server'] for row in tries})} servers in {seconds:.0f} s "
        f"({documents / seconds:.1f}/s), {kills} kills, {lost['post']} postings and {lost['print']} prints "
        "interrupted; each posted and printed once, no gap"
    )
    if documents > 100:  # else it proved nothing
        assert lost["post"] > 0 and lost["print"] > 0
    assert await cluster.stop_all() == [0, 0]


@pytest.mark.parametrize("point", FAULT_POINTS)
async def test_a_kill_at_any_point_of_a_posting_posts_once_and_no_second_part(
    crash_site: CrashSite, point: str
) -> None:
    """The order asks for a part: who posted it a second time would take the rest."""
    crash_site.extra = SET_UP
    dying = await crash_site.run(faults=f"{point}:1:kill", build="short_leases")
    await orders(crash_site, ["1", "2"], PART)
    await schedule(crash_site, ["1", "2"])
    assert await asyncio.wait_for(dying.wait(), 60) in KILLED
    done = point == FAULT_POINTS[-1]
    assert await numbers_of(crash_site, "PostedSalesInvoice") == (["SINV-000001"] if done else [])
    await crash_site.run(build="short_leases")
    await all_are_posted(crash_site, seconds=60)
    states = await crash_site.query(STATES, qualified("SalesOrder"))
    assert {tuple(row) for row in states} == {("1", None, None, None), ("2", None, None, None)}
    assert await numbers_of(crash_site, "PostedSalesInvoice") == ["SINV-000001", "SINV-000002"]
    (lines,) = await crash_site.query("SELECT array_agg(moved) AS moved FROM posted_line")
    assert [int(one) for one in lines["moved"]] == [4, 4]
    assert await crash_site.stop() == 0


async def test_a_kill_after_the_commit_lets_a_task_of_a_job_post_no_second_part_and_print_the_first(
    crash_site: CrashSite,
) -> None:
    """A task that somebody has written into a job is as safe as the entry of a document."""
    printed = crash_site.folder / "printed"
    printing = {"printers": {"archive": {"folder": str(printed)}}, "selections": [{"printer": "archive"}]}
    wanted = {"kind": "SalesOrder", "number": "1", "print": True}
    job = {"status": "withhold", "tasks": {"post": {"run": "post", "with": wanted}}}
    crash_site.extra = {
        "workers": {"xml": 1}, "posting": {"taxes": {"FULL": 25}, "print": printing}, "jobs": {"evening": job},
    }  # fmt: skip
    dying = await crash_site.run(faults=f"{FAULT_POINTS[-1]}:1:kill", build="short_leases")
    await orders(crash_site, ["1"], PART)
    starting = crash_site.command("jobs run evening")
    assert await asyncio.wait_for(starting.wait(), 60) == 0, crash_site.tail()
    assert await asyncio.wait_for(dying.wait(), 60) in KILLED
    await crash_site.run(build="short_leases")

    async def over() -> bool:
        return bool(await crash_site.query("SELECT FROM run WHERE job = 'evening' AND ended_at IS NOT NULL"))

    await until(over, "the run ends", tell=crash_site.tail)
    (run,) = await crash_site.query("SELECT status FROM run WHERE job = 'evening'")
    assert run["status"] == "ended", crash_site.tail()
    assert await numbers_of(crash_site, "PostedSalesInvoice") == ["SINV-000001"]
    (lines,) = await crash_site.query("SELECT array_agg(moved) AS moved FROM posted_line")
    assert [int(one) for one in lines["moved"]] == [4]
    assert sorted(path.name for path in printed.iterdir()) == [
        "PostedSalesInvoice-DAT-SINV-000001.pdf", "PostedSalesShipment-DAT-SHIP-000001.pdf",
    ]  # fmt: skip
    assert await crash_site.stop() == 0


async def test_a_database_that_goes_away_in_the_middle_of_a_posting_is_waited_for(
    away_site: CrashSite, server: OwnServer
) -> None:
    away_site.extra = SET_UP
    point = "posting.before_commit"
    await away_site.run(pauses={point: str(away_site.folder)})
    await orders(away_site, ["1", "2"], PART)
    await schedule(away_site, ["1", "2"])
    await away_site.paused_at(point)
    await server.stop(SIGQUIT)
    away_site.go_on(point)
    await server.start()
    await all_are_posted(away_site, seconds=120)
    assert await numbers_of(away_site, "PostedSalesInvoice") == ["SINV-000001", "SINV-000002"]
    assert {row["queue_status"] for row in await away_site.query(STATES, qualified("SalesOrder"))} == {None}
    assert await away_site.stop() == 0
