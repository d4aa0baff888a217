"""Queues and entries of the configuration, and what people do to them."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gateway.batch.rules.alert import AlertEvent
from gateway.batch.rules.definition import EntryDefinition
from gateway.cli.remedies import worded
from gateway.config.load import parse
from gateway.config.models import Settings
from gateway.config.section import parse_entry
from gateway.kernel.errors import ConfigError, GatewayError, IllegalTransition
from gateway.operations import entries
from gateway.operations.explain_entries import explain_entry
from gateway.operations.principal import NotAllowed, Principal
from gateway.operations.reads.doctor_jobs import find_stuck_jobs
from gateway.operations.references import NotFound
from gateway.queues import EntryAction, EntryStatus, KeptBy, enqueue
from gateway.runtime.alerts import Alerting
from gateway.runtime.jobs import keep_jobs, runnables_to_check
from tests.factories import operator
from tests.fakes import World

S = EntryStatus
ANN, BEN = Principal(name="ann", partition="initial"), Principal(name="ben", partition="initial")
SITE = """
jobs: {gateway: {active: false}}
groups: {posting: {}}
job_queues:
  categories: {SalesPost: {width: 1}}
  queues: {SPPOST: {categories: SalesPost, start_automatically: false, group: posting}}
  entries:
    once: {run: work, with: {seconds: 0}, category: SalesPost}
    nightly: {run: work, with: {seconds: 0}, status: on_hold, on: [monday, friday], from: "22:00", to: "02:00"}
"""


def settings(text: str = SITE) -> Settings:
    return parse(text.encode(), file="config.yaml", base=Path("/nowhere"), environ={})


MONDAY = datetime(2026, 3, 9, 22, tzinfo=UTC)
SECTION = settings().job_queues.entries["once"]


@pytest.fixture
async def site(world: World) -> AsyncIterator[World]:
    """A site of one server that serves all groups."""
    await keep_jobs(world.store, settings())
    await world.rows("UPDATE queue_entry SET earliest = $1", world.clock.now())
    await world.server("A", groups=["", "posting"])
    yield world


async def test_a_queue_runs_its_entries_once_somebody_starts_it(site: World) -> None:
    store, now = site.store, site.clock.now()
    (row,) = await entries.list_queues(operator(store))
    assert (row.name, row.started, row.in_queue, row.group) == ("SPPOST", False, 1, "posting")
    started = await entries.start_queue(operator(store, principal=ANN, now=now), "SPPOST", True)
    assert (started.started, started.changed_by) == (True, "ann")
    with pytest.raises(IllegalTransition, match="started already"):
        await entries.start_queue(operator(store, principal=ANN, now=now), "SPPOST", True)
    await site.settle()
    shown = await entries.show_queue(operator(store, principal=ANN), "SPPOST")
    assert [(one.name, one.status) for one in shown.entries] == [("once", S.FINISHED)]
    assert [(one.name, one.held_by, one.waiting) for one in shown.categories] == [("SalesPost", (), 0)]
    assert [(run.entry, run.status) for run in await entries.entry_log(operator(store, principal=ANN))] == [
        ("once", "ended")
    ]
    with pytest.raises(NotFound, match="did you mean 'SPPOST'"):
        await entries.show_queue(operator(store, principal=ANN), "SPPOTS")


async def test_what_operators_made_stays_and_what_the_file_no_longer_says_goes(site: World) -> None:
    store, now = site.store, site.clock.now()
    await entries.start_queue(operator(store, principal=ANN, now=now), "SPPOST", True)
    await entries.change_entry(operator(store, principal=ANN, now=now), "nightly", EntryAction.READY)
    await site.settle()
    await keep_jobs(store, settings())
    await site.settle()
    stands = {row.name: row.status for row in await entries.list_entries(operator(store, principal=ANN))}
    assert stands == {"once": S.FINISHED, "nightly": S.READY}
    assert (await entries.list_queues(operator(store)))[0].started
    changed = SITE.replace('from: "22:00"', 'from: "21:00"')
    once = "    once: {run: work, with: {seconds: 0}, category: SalesPost}\n"
    await keep_jobs(store, settings(changed.replace(once, "")))
    (left,) = await entries.list_entries(operator(store, principal=ANN))
    assert (left.name, left.status, left.repeats) == ("nightly", S.READY, "Mon, Fri, once a day, 21:00-02:00 UTC")
    await keep_jobs(store, settings("jobs: {gateway: {active: false}}"))
    assert await entries.list_entries(operator(store, principal=ANN)) == []
    assert await entries.list_queues(operator(store)) == []


async def test_a_changed_section_starts_its_entry_anew_only_where_its_work_or_start_changes(site: World) -> None:
    store = site.store
    await keep_jobs(store, settings(SITE.replace("status: on_hold, on", "earliest: 2026-03-01, on")))
    before = {row.name: row for row in await entries.list_entries(operator(store, principal=ANN))}["nightly"]
    await site.rows(
        "UPDATE queue_entry SET status = 'ready', attempts = 1, earliest = $1 WHERE id = $2", MONDAY, before.id
    )
    described = SITE.replace("status: on_hold, on", "earliest: 2026-03-01, description: Quiet work, on")
    await keep_jobs(store, settings(described))
    row = (await entries.show_entry(operator(store, principal=ANN), "nightly")).entry
    assert (row.description, row.next_start, row.attempts) == ("Quiet work", MONDAY, 1)
    await keep_jobs(store, settings(described.replace("2026-03-01", "2026-03-02")))
    row = (await entries.show_entry(operator(store, principal=ANN), "nightly")).entry
    assert (row.next_start, row.attempts) == (datetime(2026, 3, 2, tzinfo=UTC), 0)


RENAMED = SITE.replace("SalesPost", "Sales").replace(
    "  entries:\n", "  entries:\n    again: {run: work, category: Sales}\n"
)


async def test_what_no_queue_takes_any_more_waits(site: World) -> None:
    """Its category was renamed while its queue was stopped."""
    store, now = site.store, site.clock.now()
    work = EntryDefinition(run="work", parameters={"seconds": 0}, category="SalesPost")
    async with store.transaction() as connection:
        waits, runs = await enqueue(connection, store.queries, [work, work], user="ann", now=now)
    await keep_jobs(store, settings(RENAMED))
    await site.pass_(minutes=10)
    assert await site.rows("SELECT 1 FROM run") == []
    shown = (await entries.show_entry(operator(store, principal=ANN), str(waits))).entry
    assert (shown.status, shown.queue, shown.last_queue, shown.kept_by) == (S.READY, None, "SPPOST", KeptBy.NO_QUEUE)
    (told,) = await explain_entry(operator(store, principal=ANN), f"entry:{waits}", running=True)
    assert (told.code, told.wrong) == ("entry.no-queue", True)
    assert "The job queue SPPOST took it. Now no job queue takes the category SalesPost" in told.why
    found = await find_stuck_jobs(store, now)
    assert [(place.what, place.target) for place in found if place.code == "entry-no-queue"] == [
        (f"entry {number} of the category SalesPost, which SPPOST took", f"entry:{number}") for number in (waits, runs)
    ]
    with pytest.raises(GatewayError, match="no job queue category 'SalesPost'"):
        await entries.add_entry(
            operator(store, settings=settings(), principal=ANN, now=now), SECTION, name=None, ready=True
        )

    # A person lets one run by itself; the other one goes on when a queue takes its category again.
    await entries.change_entry(operator(store, principal=ANN, now=now), str(runs), EntryAction.HOLD)
    await entries.change_entry(operator(store, principal=ANN, now=now), str(runs), EntryAction.READY)
    await site.settle()
    assert [run.entry_id for run in await entries.entry_log(operator(store, principal=ANN))] == [runs]
    await keep_jobs(store, settings(SITE))
    await entries.start_queue(operator(store, principal=ANN, now=now), "SPPOST", True)
    await site.settle()
    assert waits in [run.entry_id for run in await entries.entry_log(operator(store, principal=ANN))]


async def test_an_entry_goes_on_waiting_when_its_queue_is_removed(site: World) -> None:
    store = site.store
    without = SITE.replace(
        "queues: {SPPOST: {categories: SalesPost, start_automatically: false, group: posting}}", "queues: {}"
    )
    await keep_jobs(store, settings(without))
    await site.pass_(minutes=10)
    row = (await entries.show_entry(operator(store, principal=ANN), "once")).entry
    assert (row.status, row.kept_by) == (S.READY, KeptBy.NO_QUEUE)
    await keep_jobs(
        store,
        settings(
            without.replace(
                "    once: {run: work, with: {seconds: 0}, category: SalesPost}",
                "    once: {run: work, with: {seconds: 0}}",
            )
        ),
    )
    await site.settle()
    assert (await entries.show_entry(operator(store, principal=ANN), "once")).entry.status is S.FINISHED


async def test_an_entry_whose_section_goes_ends_first(site: World) -> None:
    store = site.store
    await keep_jobs(store, settings(SITE.replace("seconds: 0}, category", "seconds: 60}, category")))
    await site.rows("UPDATE queue_entry SET earliest = $1", site.clock.now())
    await entries.start_queue(operator(store, principal=ANN, now=site.clock.now()), "SPPOST", True)
    await site.settle()
    await keep_jobs(store, settings("jobs: {gateway: {active: false}}"))
    (row,) = await entries.list_entries(operator(store, principal=ANN))
    assert (row.name, row.status) == ("once", S.IN_PROCESS)
    await site.pass_(minutes=2)
    assert await entries.list_entries(operator(store, principal=ANN)) == []
    assert [run.status for run in await entries.entry_log(operator(store, principal=ANN), entry="once")] == ["ended"]


async def test_people_add_change_and_remove_entries_of_their_own(site: World) -> None:
    store, now = site.store, site.clock.now()
    section = parse(b"job_queues: {entries: {e: {run: work, on: monday}}}", file="f", base=Path("/"), environ={})
    written = section.job_queues.entries["e"]
    row = await entries.add_entry(
        operator(store, settings=settings(), principal=ANN, now=now), written, name="mine", ready=False
    )
    assert (row.status, row.user, row.source, row.repeats) == (S.ON_HOLD, "ann", "operator", "Mon, once a day")
    with pytest.raises(GatewayError, match="named mine already"):
        await entries.add_entry(
            operator(store, settings=settings(), principal=ANN, now=now), written, name="mine", ready=False
        )
    changed = written.model_copy(update={"attempts": 3})
    assert (
        await entries.edit_entry(operator(store, settings=settings(), principal=ANN, now=now), "mine", changed)
    ).max_attempts == 3
    ready = await entries.change_entry(operator(store, principal=BEN, now=now), str(row.id), EntryAction.READY)
    assert ready is not None
    assert (ready.status, ready.user) == (S.READY, "ben")
    own = Principal(name="ben", partition="initial", mine=True)
    assert [one.name for one in await entries.list_entries(operator(store, principal=own))] == ["mine"]
    with pytest.raises(NotAllowed, match="belongs to ben"):
        await entries.change_entry(
            operator(store, principal=Principal(name="ann", partition="initial", mine=True), now=now),
            "mine",
            EntryAction.HOLD,
        )
    with pytest.raises(NotAllowed, match="only one in error is restarted"):
        await entries.restart_entry(operator(store, principal=BEN, now=now), "mine")
    with pytest.raises(NotFound, match="There is no entry 'mien'"):
        await entries.show_entry(operator(store, principal=ANN), "mien")
    assert await entries.change_entry(operator(store, principal=BEN, now=now), "mine", EntryAction.DELETE) is None
    with pytest.raises(NotAllowed, match="stands in the configuration"):
        await entries.change_entry(operator(store, principal=ANN, now=now), "once", EntryAction.DELETE)
    with pytest.raises(NotAllowed, match="edit its section there"):
        await entries.edit_entry(operator(store, settings=settings(), principal=ANN, now=now), "once", changed)


async def test_a_final_failure_is_told_once_to_whose_it_is_and_to_who_asked(site: World) -> None:
    store, now = site.store, site.clock.now()
    asked = settings(SITE + "\nalerts: {entries: {carl: {on: finished, by: [popup]}}}")
    await Alerting(store, lambda: asked, Path("/")).keep_rules(asked)
    text = "job_queues: {entries: {e: {run: work, with: {seconds: 0, fails_in: [-1]}, attempts: 1}}}"
    written = parse(text.encode(), file="f", base=Path("/"), environ={}).job_queues.entries["e"]
    row = await entries.add_entry(
        operator(store, settings=settings(), principal=ANN, now=now), written, name="failing", ready=False
    )
    await entries.change_entry(operator(store, principal=ANN, now=now), "failing", EntryAction.READY)
    await site.pass_(minutes=1)
    told = await site.rows("SELECT user_name, event, subject, body FROM alert ORDER BY user_name")
    assert [(one["user_name"], one["event"], one["subject"]) for one in told] == [
        (user, AlertEvent.ERROR, "Job queue: failing failed") for user in ("ann", "carl")
    ]
    assert f"job queue entry {row.id}" in told[0]["body"]
    (failed,) = await entries.list_entries(operator(store, principal=ANN), statuses=[S.ERROR])
    log = await entries.entry_log(operator(store, principal=ANN), entry=str(failed.id))
    assert [run.error for run in log] == ["RuntimeError: attempt 1 goes wrong"] * 2
    assert all("raise RuntimeError" in str(run.traceback) for run in log)
    restarted = await entries.restart_entry(operator(store, principal=BEN, now=site.clock.now()), "failing")
    assert (restarted.status, restarted.user, restarted.attempts) == (S.READY, "ben", 0)


async def test_an_entry_explains_itself(site: World) -> None:
    store = site.store

    async def told(text: str, *, running: bool = True) -> tuple[str, str, bool]:
        (one,) = await explain_entry(operator(store, principal=ANN), text, running=running)
        return one.code, worded(*one.remedies), one.wrong

    code, way_out, wrong = await told("once")
    assert (code, wrong) == ("entry.queue-stopped", True)
    assert "`gateway queues start SPPOST`" in way_out
    code, way_out, wrong = await told("nightly")
    assert (code, wrong) == ("entry.on-hold", True)
    assert "`gateway entries ready nightly`" in way_out
    await entries.change_entry(operator(store, principal=ANN, now=site.clock.now()), "nightly", EntryAction.READY)
    assert (await told("nightly"))[::2] == ("entry.ready", False)
    assert "gateway run" in (await told("nightly", running=False))[1]
    number = (await entries.show_entry(operator(store, principal=ANN), "nightly")).entry.id
    assert (await told(f"entry:{number}"))[0] == "entry.ready"
    assert await explain_entry(operator(store, principal=ANN), str(number), running=True) == []
    await site.rows("UPDATE queue_entry SET status = 'error', error = 'no paper' WHERE id = $1", number)
    (failed,) = await explain_entry(operator(store, principal=ANN), "nightly", running=True)
    assert (failed.code, "no paper" in failed.why) == ("entry.failed", True)
    await site.rows("UPDATE queue_entry SET error_code = 'task.unpack' WHERE id = $1", number)
    (failed,) = await explain_entry(operator(store, principal=ANN), "nightly", running=True)
    assert failed.code == "entry.unpack"
    assert [worded(one).split(":")[0] for one in failed.remedies] == [
        "`gateway entries hold nightly`", "`gateway entries edit nightly FILE`", "`gateway entries ready nightly`"
    ]  # fmt: skip


async def test_a_new_document_wakes_an_entry_that_sleeps(site: World) -> None:
    store, now = site.store, site.clock.now()
    text = """
services: {SalesOrder: {kind: document, document: "{urn:sales}Order", entity: Order, key: Number}}
job_queues:
  entries:
    e: {run: work, with: {seconds: 0}, on: friday, minutes: 5, inactivity_minutes: 60, wakes_on: SalesOrder}
"""
    read = parse(text.encode(), file="f", base=Path("/"), environ={})
    written = read.job_queues.entries["e"]
    await entries.add_entry(operator(store, settings=read, principal=ANN, now=now), written, name="sync", ready=False)
    await entries.change_entry(operator(store, principal=ANN, now=now), "sync", EntryAction.READY)
    await site.settle()
    assert (await entries.show_entry(operator(store, principal=ANN), "sync")).entry.status is S.INACTIVE
    insert = (
        "INSERT INTO entity (rec_id, document, partition_key, company, key, content, request_id) "
        "VALUES (nextval('rec_id'), $1, 'initial', 'DAT', $2, '', 1)"
    )
    await site.rows(insert, "{urn:other}Order", "1")
    await site.settle()
    assert len(await entries.entry_log(operator(store, principal=ANN), entry="sync")) == 1
    await site.rows(insert, "{urn:sales}Order", "2")
    await site.settle()
    assert len(await entries.entry_log(operator(store, principal=ANN), entry="sync")) == 2
    assert (await entries.show_entry(operator(store, principal=ANN), "sync")).entry.status is S.INACTIVE


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ({"run": "python", "category": "Sales"}, "there is no category 'Sales'"),
        ({"run": "python", "formula": "soon"}, "'soon' is no date formula"),
        ({"run": "python", "formula": "1D", "minutes": 5, "on": "monday"}, "goes without formula"),
        ({"run": "python", "minutes": 5}, "goes with `on`"),
        ({"run": "python", "attempts": 11}, "10"),
        ({"run": "python", "rerun_delay_seconds": 3601}, "3600"),
        ({"run": "python", "inactivity_minutes": 3, "on": "monday"}, "must be 0, or at least 5"),
        ({"run": "python", "inactivity_minutes": 30}, "what runs once ends"),
        ({"run": "python", "wakes_on": "Orders"}, "goes with inactivity_minutes"),
        ({"run": "python", "location": "operator", "on": "monday"}, "a person runs it once"),
        ({"run": "python", "priority": "urgent"}, "must be high, normal, low, or a number"),
        ({"run": "python", "timeout_seconds": 172801}, "must be at most 172800"),
    ],
)
def test_what_does_not_fit_is_told_with_its_place(entry: dict[str, Any], problem: str) -> None:
    lines = "".join(f"      {key}: {value}\n" for key, value in entry.items())
    with pytest.raises(ConfigError) as refused:
        settings(f"job_queues:\n  entries:\n    e:\n{lines}")
    (found, *_) = [one for one in refused.value.problems if problem.split("`", maxsplit=1)[0].rstrip() in one.text]
    assert found.path.startswith("job_queues.entries.e")


def test_a_section_by_itself_knows_for_which_version_it_is_written(tmp_path: Path) -> None:
    content = b'run: "tests.unit.runtime.test_runnables:COPY"\nwith: {rows: 2}\n'
    found = parse_entry(
        content, file="e.yaml", base=tmp_path, environ={}, settings=settings(),
        runnables=runnables_to_check(tmp_path / "config.yaml"),
    )  # fmt: skip
    assert found.parameters_version == 3
    assert SECTION.parameters_version is None


def test_a_section_by_itself_is_checked_as_in_the_file(tmp_path: Path) -> None:
    content = b'run: python\nwith: {cal: "a:b"}\ncategory: Sales\n'
    with pytest.raises(ConfigError) as refused:
        parse_entry(
            content, file="e.yaml", base=tmp_path, environ={}, settings=settings(),
            runnables=runnables_to_check(tmp_path / "config.yaml"),
        )  # fmt: skip
    found = [(one.line, one.path) for one in refused.value.problems]
    assert found == [(2, "with.cal"), (2, "with.call"), (3, "category")]
