"""Acceptance scenarios S09, S18, S19, S20, S21: retries, cancel, run-time tasks, operator tasks, identity."""

import asyncio
import itertools
from contextlib import suppress
from dataclasses import replace

import pytest

from gateway.batch.rules.definition import AlertDefinition
from gateway.batch.rules.job import JobStatus, Location, Wanted
from gateway.batch.rules.transitions import Attempt, JobAction
from gateway.batch.statements import runs_sql, tasks_sql
from gateway.batch.store.cancel import abort_job, cancel_job, requeue_job
from gateway.batch.store.ending import Result, TaskEnd, end_tasks, task_reaper
from gateway.batch.store.jobs import change_status, edit_job, list_jobs
from gateway.batch.store.run_log import Line
from gateway.batch.store.runs import read_run, waiting_for_operator
from gateway.batch.store.servers import set_draining
from gateway.batch.store.tasks import claim_operator_task
from gateway.kernel.errors import IllegalTransition
from gateway.operations.reads.history import Search, search_runs
from tests.fakes import World, task

ENDED, ERROR, EITHER = Wanted.ENDED, Wanted.ERROR, Wanted.ENDED_OR_ERROR


async def test_s09_maximum_retries(world: World) -> None:
    await world.server("A", threads=10)
    job = await world.job(
        "retries",
        [
            task("first", fails_in=[1, 2], max_retries=3),
            task("second", fails_in=[-1], max_retries=3),
            task("third", max_retries=3, parameters_version=9),
            task("C", ("second", ERROR)),
        ],
    )
    await world.pass_(minutes=3, seconds=30)
    assert (await world.tasks(job))["C"] == "waiting"
    await world.pass_(minutes=10)
    assert await world.tasks(job) == {"first": "ended", "second": "error", "third": "error", "C": "ended"}
    details = await read_run(world.store, (await world.runs(job))[0]["id"])
    name_of = {t.id: t.name for t in details.tasks}
    attempts = [(name_of[a.run_task_id], a.number, a.outcome) for a in details.attempts]
    assert [a for a in attempts if a[0] == "first"] == [
        ("first", 1, "error"),
        ("first", 2, "error"),
        ("first", 3, "ended"),
    ]
    assert [a[1] for a in attempts if a[0] == "second"] == [1, 2, 3, 4]
    assert [(t.attempts, t.retries, t.error_code) for t in details.tasks if t.name == "third"] == [
        (1, 0, "task.unpack")
    ]
    began = [a.started_at for a in details.attempts if name_of[a.run_task_id] == "second"]
    assert [(later - before).total_seconds() for before, later in itertools.pairwise(began)] == [60, 60, 60]
    log = await world.rows("SELECT attempt FROM run_log WHERE text = 'second: it went wrong' ORDER BY id")
    assert [line["attempt"] for line in log] == [1, 2, 3, 4]


async def test_retries_wait_longer_and_longer_when_asked_to(world: World) -> None:
    await world.server("A")
    job = await world.job("patient", [task("T", seconds=0, fails_in=[-1], max_retries=3, retry_seconds=10)])
    await world.pass_(minutes=5)
    details = await read_run(world.store, (await world.runs(job))[0]["id"])
    began = [attempt.started_at for attempt in details.attempts]
    assert [(later - before).total_seconds() for before, later in itertools.pairwise(began)] == [10, 20, 40]


async def test_s09_between_attempts_a_task_is_ready_and_may_change_the_server(world: World) -> None:
    await world.server("A")
    job = await world.job("moving", [task("T", fails_in=[1], max_retries=1)])
    await world.settle()
    await set_draining(world.store, "A", True, now=world.clock.now())
    await world.pass_(minutes=1)
    assert await world.tasks(job) == {"T": "ready"}
    await world.server("B")
    await world.pass_(minutes=1)
    details = await read_run(world.store, (await world.runs(job))[0]["id"])
    assert [(a.server, a.outcome) for a in details.attempts] == [("A", "error"), ("B", "ended")]


async def test_an_interruption_takes_a_retry(world: World) -> None:
    await world.server("A")
    job = await world.job("moving", [task("T", max_retries=1)])
    await world.settle()
    await world.stop("A")  # it is interrupted there
    await world.server("B")
    await world.pass_(minutes=1)
    details = await read_run(world.store, (await world.runs(job))[0]["id"])
    assert [(a.server, a.outcome) for a in details.attempts] == [("A", "lost"), ("B", "ended")]


async def running_job(world: World) -> int:
    """A Ended, B and C executing, D waiting on B, E ready; B ends in two minutes, C fails in three."""
    await world.server("A", threads=2)
    job = await world.job(
        "running",
        [
            task("A", seconds=0),
            task("B", seconds=120, handler="stubborn"),
            task("C", seconds=180, fails_in=[-1], handler="stubborn"),
            task("D", ("B", ENDED)),
            task("E"),
        ],
        alerts=(AlertDefinition(user="ann", events=("error", "canceled"), channels=("popup",)),),
    )
    await world.settle()
    assert await world.tasks(job) == {"A": "ended", "B": "executing", "C": "executing", "D": "waiting", "E": "ready"}
    return job


async def test_s18_cancel(world: World) -> None:
    job = await running_job(world)
    assert await cancel_job(world.store, job, by="ben", now=world.clock.now()) is JobStatus.CANCELLING
    await world.settle()
    assert await world.tasks(job) == {
        "A": "ended", "B": "cancelling", "C": "cancelling", "D": "not_run", "E": "not_run"
    }  # fmt: skip
    await world.pass_(minutes=2)
    assert (await world.read(job)).status is JobStatus.CANCELLING
    await world.pass_(minutes=1)
    after = await world.tasks(job)
    assert (after["B"], after["C"]) == ("canceled", "canceled")
    assert (await world.read(job)).status is JobStatus.CANCELED
    (run,) = await world.runs(job)
    assert (run["status"], run["canceled_by"]) == ("canceled", "ben")
    assert [row["event"] for row in await world.rows("SELECT event FROM alert")] == ["canceled"]
    await change_status(world.store, job, JobAction.ARM, by="ben", now=world.clock.now())
    await world.settle()
    assert len(await world.runs(job)) == 2  # afresh, all five
    assert set((await world.tasks(job)).values()) == {"ended", "executing", "waiting", "ready"}


async def test_s18_a_cancelled_recurring_job_does_not_come_back(world: World) -> None:
    await world.server("A")
    job = await world.job("hourly", [task("T", seconds=60, handler="stubborn")], recurrence={"every": "1 hours"})
    await world.settle()
    await cancel_job(world.store, job, by="ben", now=world.clock.now())
    await world.pass_(hours=3)
    assert (await world.read(job)).status is JobStatus.CANCELED
    assert len(await world.runs(job)) == 1


async def test_only_this_occurrence_can_be_cancelled(world: World) -> None:
    await world.server("A")
    job = await world.job("hourly", [task("T", seconds=60)], recurrence={"every": "1 hours"})
    await world.settle()
    await cancel_job(world.store, job, by="ben", now=world.clock.now(), only_this=True)
    await world.pass_(hours=1, seconds=61)
    assert [run["status"] for run in await world.runs(job)] == ["canceled", "ended"]
    assert (await world.read(job)).status is JobStatus.WAITING


async def test_s18_a_system_job_refuses_cancel(world: World) -> None:
    job = await world.job("needed", is_system=True)
    with pytest.raises(IllegalTransition, match="the gateway itself needs it"):
        await cancel_job(world.store, job, by="ben", now=world.clock.now())


async def test_code_that_can_be_cancelled_is_interrupted_after_a_grace(world: World) -> None:
    await world.server("A")
    job = await world.job("long", [task("T", seconds=3600)])
    await world.settle()
    await cancel_job(world.store, job, by="ben", now=world.clock.now())
    await world.pass_(seconds=10)
    assert (await world.read(job)).status is JobStatus.CANCELED
    assert ("T", "returned") not in world.log


async def test_abort_does_not_wait_and_the_late_result_is_refused(world: World) -> None:
    job = await running_job(world)
    await cancel_job(world.store, job, by="ben", now=world.clock.now())
    assert await abort_job(world.store, job, by="ben", now=world.clock.now()) is JobStatus.CANCELED
    before = await world.tasks(job)
    await world.pass_(minutes=5)
    assert await world.tasks(job) == before
    assert before["B"] == before["C"] == "canceled"


WAITING = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


class Undone(Exception):
    """Takes a transaction back."""


async def test_an_abort_waits_for_an_end_that_is_just_being_recorded(world: World) -> None:
    job = await running_job(world)
    await cancel_job(world.store, job, by="ben", now=world.clock.now())
    with suppress(Undone):
        async with world.store.transaction() as recording:
            fences = [row["fence"] for row in await recording.fetch("SELECT fence FROM lease")]
            await tasks_sql.drop_task_leases(recording, fences)
            aborting = asyncio.create_task(abort_job(world.store, job, by="ben", now=world.clock.now()))
            async with asyncio.timeout(60):
                while not await world.rows(WAITING):
                    await asyncio.sleep(0.01)
            assert await runs_sql.lock_runs(recording, [(await world.read(job)).run_id])  # nobody else holds it
            raise Undone
    assert await aborting is JobStatus.CANCELED


async def test_a_late_result_among_others_changes_nothing_and_the_others_count(world: World) -> None:
    await world.server("A")
    jobs = [await world.job(f"person {n}", [task("T", location=Location.OPERATOR, max_retries=1)]) for n in range(3)]
    await world.settle()
    claimed = [
        await claim_operator_task(world.store, user="ann", incarnation=9, now=world.clock.now()) for _ in range(3)
    ]
    late = claimed[1]
    assert late is not None
    async with world.store.transaction() as connection:
        await connection.execute("DELETE FROM lease WHERE fence = $1", late.fence)
        await task_reaper(world.clock.now)(world.store, connection, [late.fence])
    line = Line(world.clock.now(), "info", "done")
    ends = [TaskEnd(task=each, result=Result(attempt=Attempt.ENDED), lines=[line]) for each in claimed if each]
    first, none, third = await end_tasks(world.store, ends, world.clock.now())
    assert first is not None and none is None and third is not None
    assert [await world.tasks(job) for job in jobs] == [{"T": "ended"}, {"T": "ready"}, {"T": "ended"}]
    said = await world.rows("SELECT run_id FROM run_log ORDER BY run_id")
    assert [row["run_id"] for row in said] == [claimed[0].run_id, claimed[2].run_id]  # type: ignore[union-attr]  # both


async def test_a_task_ends_at_its_time_out(world: World) -> None:
    await world.server("A")
    job = await world.job("slow", [task("T", seconds=3600, timeout_seconds=30)])
    await world.pass_(minutes=1)
    details = await read_run(world.store, (await world.runs(job))[0]["id"])
    assert [(t.status, t.error_code) for t in details.tasks] == [("error", "task.timeout")]
    assert details.run.ended_at is not None and (details.run.ended_at - details.run.started_at).total_seconds() == 30


async def test_s18_a_claim_and_a_cancel_never_both_win(world: World) -> None:
    engine = await world.server("A", threads=50)
    jobs = [await world.job(f"j{n}", [task("T", seconds=600, handler="stubborn")]) for n in range(20)]
    engine.wake()
    cancels = [cancel_job(world.store, job, by="ben", now=world.clock.now()) for job in jobs]
    await asyncio.gather(*cancels)
    await world.settle()
    for job in jobs:
        runs = await world.runs(job)
        if runs:  # the cancel came after the start
            assert (await world.tasks(job))["T"] in {"not_run", "cancelling"}
    await world.pass_(minutes=10)
    assert {(await world.read(job)).status for job in jobs} == {JobStatus.CANCELED}


@pytest.mark.parametrize("waits", [True, False])
async def test_s19_run_time_tasks(world: World, waits: bool) -> None:
    await world.server("A", threads=5)
    await world.server("B", threads=5)
    job = await world.job(
        "parallel",
        [task("P", seconds=0, spawns=50, failing_child=17, wait_for_children=waits), task("N", ("P", ENDED))],
        max_retries=3,
    )
    await world.settle()
    where = await world.executing()
    assert len(where) == 10 and set(where.values()) == {"A", "B"}
    assert ("N" in where) is not waits  # without waiting it starts as soon as its parent has returned
    statuses = await world.tasks(job)
    assert statuses["P"] == ("executing" if waits else "ended")
    await world.pass_(minutes=10)
    details = await read_run(world.store, (await world.runs(job))[0]["id"])
    by_name = {t.name: t for t in details.tasks}
    assert len(by_name) == 52
    assert (by_name["P 17"].status, by_name["P 17"].attempts) == ("error", 1)
    assert by_name["P"].attempts == 1
    assert (by_name["P"].status, by_name["N"].status) == (("error", "not_run") if waits else ("ended", "ended"))
    await change_status(world.store, job, JobAction.ARM, by="ann", now=world.clock.now())
    assert len((await world.read(job)).definition.tasks) == 2
    assert len((await read_run(world.store, details.run.id)).tasks) == 52


async def test_s20_operator_and_private_tasks(world: World) -> None:
    await world.server("A", threads=10)
    job = await world.job(
        "with a person",
        [task("S"), task("C", ("S", ENDED), location=Location.OPERATOR, max_retries=1)],
    )
    await world.job("ann's", [task("X", location=Location.OPERATOR, is_private=True)], by="ann")
    await world.job("ben's", [task("Y", location=Location.OPERATOR, is_private=True)], by="ben")
    await world.pass_(minutes=1)
    assert await world.executing() == {}
    await world.pass_(minutes=9)
    waiting = await waiting_for_operator(world.store, "ben")
    assert [(each.name, (world.clock.now() - each.ready_at).total_seconds()) for each in waiting] == [
        ("Y", 600), ("C", 540)
    ]  # fmt: skip

    async def claim(*, private_only: bool, ends: Attempt = Attempt.ENDED) -> str | None:
        claimed = await claim_operator_task(
            world.store, user="ben", incarnation=9, now=world.clock.now(), private_only=private_only
        )
        if claimed is None:
            return None
        await end_tasks(world.store, [TaskEnd(task=claimed, result=Result(attempt=ends))], world.clock.now())
        return claimed.name

    assert [await claim(private_only=True), await claim(private_only=True)] == ["Y", None]
    assert (await world.read(job)).status is JobStatus.EXECUTING
    assert await claim(private_only=False, ends=Attempt.ERROR) == "C"  # its retry is left
    assert (await world.tasks(job))["C"] == "ready"
    assert [await claim(private_only=False), await claim(private_only=False)] == ["C", None]
    assert (await world.read(job)).status is JobStatus.ENDED
    details = await read_run(world.store, (await world.runs(job))[0]["id"])
    assert [(t.name, t.status, t.run_by) for t in details.tasks] == [("S", "ended", None), ("C", "ended", "ben")]
    assert [(a.server, a.outcome) for a in details.attempts][1:] == [("operator", "error"), ("operator", "ended")]


async def test_s21_partition_company_user(world: World) -> None:
    await world.server("A")
    job = await world.job(
        "two companies", [task("1", company="C1", max_retries=2), task("2", ("1", EITHER), company="C2")],
        recurrence={"every": "1 hours"}, partition="P1",
    )  # fmt: skip
    await world.pass_(minutes=5)
    details = await read_run(world.store, (await world.runs(job))[0]["id"])
    assert [(t.name, t.company, t.status) for t in details.tasks] == [("1", "C1", "ended"), ("2", "C2", "ended")]
    assert details.run.run_as == "ann"
    assert await list_jobs(world.store, partition="P2") == []
    assert (await search_runs(world.store, Search(partition="P2"))).hits == []
    world.disabled.add("ann")
    await world.pass_(hours=1)
    second = await read_run(world.store, (await world.runs(job))[1]["id"])
    assert second.run.status == "error"
    assert [(t.error_code, t.attempts, t.retries) for t in second.tasks] == [("identity", 1, 0), ("identity", 1, 0)]
    now = await world.read(job)
    await edit_job(world.store, job, replace(now.definition, run_as="service"), now=world.clock.now())
    await world.pass_(hours=1)
    third = await world.runs(job)
    assert [(run["status"], run["run_as"]) for run in third] == [
        ("ended", "ann"), ("error", "ann"), ("ended", "service")
    ]  # fmt: skip


async def test_s10_what_a_lost_server_had_in_work(world: World) -> None:
    """The bookkeeping of S10; the death of a real process is in tests/crash."""
    await world.server("A", threads=10)
    await world.server("B", groups=["elsewhere"])
    await world.job("other", [task("O", seconds=600)], batch_group="elsewhere")
    job = await world.job(
        "lost",
        [
            task("T", seconds=600, max_retries=1), task("U", seconds=600), task("P", seconds=0, spawns=1),
            task("I", seconds=600, handler="idempotent"),
        ],
    )  # fmt: skip
    await world.settle()
    rows = await world.rows("SELECT fence FROM run_task WHERE fence IS NOT NULL AND server = 'A'")
    fences = [row["fence"] for row in rows]
    async with world.store.transaction() as connection:
        await connection.execute("DELETE FROM lease WHERE fence = ANY($1::bigint[])", fences)
        await task_reaper(world.clock.now)(world.store, connection, fences)
    assert await world.tasks(job) == {"T": "ready", "U": "error", "P": "error", "P 1": "error", "I": "ready"}
    details = await read_run(world.store, (await world.runs(job))[0]["id"])
    assert {t.name: t.error_code for t in details.tasks if t.status == "error"} == {
        "U": "task.server_lost", "P 1": "task.server_lost", "P": "task.children",
    }  # fmt: skip
    await world.pass_(minutes=20)  # the first executions come back late: nothing changes
    after = await read_run(world.store, (await world.runs(job))[0]["id"])
    assert {t.name: (t.status, t.attempts, t.retries) for t in after.tasks} == {
        "T": ("ended", 2, 1), "U": ("error", 1, 0), "P": ("error", 1, 0), "P 1": ("error", 1, 0), "I": ("ended", 2, 0),
    }  # fmt: skip
    (row,) = await world.rows("SELECT attempts, status FROM run_task WHERE name = 'O'")
    assert (row["attempts"], row["status"]) == (1, "ended")  # nobody else's work is touched


async def test_a_result_of_a_lost_lease_is_refused(world: World) -> None:
    await world.server("A", threads=0 + 1)
    await world.job("person", [task("T", location=Location.OPERATOR)])
    await world.settle()
    claimed = await claim_operator_task(world.store, user="ann", incarnation=9, now=world.clock.now())
    assert claimed is not None
    async with world.store.transaction() as connection:
        await connection.execute("DELETE FROM lease WHERE fence = $1", claimed.fence)
        await task_reaper(world.clock.now)(world.store, connection, [claimed.fence])
    end = TaskEnd(task=claimed, result=Result(attempt=Attempt.ENDED))
    assert await end_tasks(world.store, [end], world.clock.now()) == [None]


async def test_a_job_that_nobody_works_on_can_be_requeued_by_force(world: World) -> None:
    job = await world.job("stuck", [task("T", location=Location.OPERATOR)])
    await world.server("A")
    await world.settle()
    assert await requeue_job(world.store, job, by="ann", now=world.clock.now()) is JobStatus.WAITING
    await world.settle()
    assert [run["status"] for run in await world.runs(job)] == ["canceled", "executing"]
    claimed = await claim_operator_task(world.store, user="ann", incarnation=9, now=world.clock.now())
    assert claimed is not None
    with pytest.raises(IllegalTransition, match="alive works on it"):
        await requeue_job(world.store, job, by="ann", now=world.clock.now())


async def test_an_error_with_characters_that_no_database_takes_is_told(world: World) -> None:
    await world.job("person", [task("T", location=Location.OPERATOR)])
    await world.server("A")
    await world.settle()
    claimed = await claim_operator_task(world.store, user="ann", incarnation=9, now=world.clock.now())
    assert claimed is not None
    result = Result(attempt=Attempt.ERROR, code="task.error", error="bad \x00 and \ud800", traceback="\x00")
    await end_tasks(world.store, [TaskEnd(task=claimed, result=result)], world.clock.now())
    (row,) = await world.rows("SELECT error FROM run_task")
    assert row["error"] == "bad � and �"
