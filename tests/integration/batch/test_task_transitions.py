"""The transitions of a task, T1-T14: each row on the engine and the store, with what it refuses.

A trigger notes every change of a task's status. What the rows decide without a database is in
tests/unit/domain/test_transitions.py. Source: batch reference, section 6.3.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby

import pytest

from gateway.batch.rules.job import JobStatus, Location, Wanted
from gateway.batch.rules.transitions import TASK_MOVES, Attempt, JobAction, TaskAction
from gateway.batch.store.cancel import abort_job, cancel_job
from gateway.batch.store.ending import SERVER_LOST, Result, TaskEnd, end_tasks, task_reaper
from gateway.batch.store.jobs import change_status, change_task
from gateway.batch.store.servers import set_draining
from gateway.batch.store.tasks import ClaimedTask, claim_operator_task
from gateway.kernel.errors import IllegalTransition
from gateway.kernel.ids import JobId
from tests.fakes import World, task

JOURNAL = """
CREATE TABLE move (id bigint GENERATED ALWAYS AS IDENTITY, run_id bigint, task text, before text, after text);
CREATE FUNCTION note_move() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO move (run_id, task, before, after)
    VALUES (NEW.run_id, NEW.name, CASE TG_OP WHEN 'UPDATE' THEN OLD.status END, NEW.status);
    RETURN NULL;
END $$;
CREATE TRIGGER born AFTER INSERT ON run_task FOR EACH ROW EXECUTE FUNCTION note_move();
CREATE TRIGGER moved AFTER UPDATE ON run_task FOR EACH ROW WHEN (OLD.status <> NEW.status) EXECUTE FUNCTION note_move();
"""
ENDED = Wanted.ENDED
Paths = Mapping[str, str]
"""The statuses that a task went through in a run, by its name."""


@pytest.fixture(autouse=True)
async def journal(world: World) -> None:
    async with world.store.transaction() as connection:
        await connection.execute(JOURNAL)


async def paths(world: World, run: int = 0) -> Paths:
    """Return the way of each task in the run at this place; each of its steps is one that a task may take."""
    rows = await world.rows("SELECT run_id, task, before, after FROM move ORDER BY run_id, task, id")
    for row in rows:
        assert row["after"] in TASK_MOVES[row["before"]], row
    runs = [list(moves) for _, moves in groupby(rows, lambda row: row["run_id"])]
    return {
        task: " ".join(move["after"] for move in moves) for task, moves in groupby(runs[run], lambda row: row["task"])
    }


async def cancel(world: World, job: JobId) -> None:
    await cancel_job(world.store, job, by="ben", now=world.clock.now())
    await world.settle()


async def claim(world: World) -> ClaimedTask | None:
    return await claim_operator_task(world.store, user="ann", incarnation=9, now=world.clock.now())


async def lose(world: World) -> None:
    """Let the server die that has tasks in work: its leases are taken back."""
    rows = await world.rows("SELECT fence FROM run_task WHERE fence IS NOT NULL")
    fences = [row["fence"] for row in rows]
    async with world.store.transaction() as connection:
        await connection.execute("DELETE FROM lease WHERE fence = ANY($1::bigint[])", fences)
        await task_reaper(world.clock.now)(world.store, connection, fences)


async def column(world: World, name: str) -> Mapping[str, object]:
    """Return a column of the tasks of the first run, by task."""
    rows = await world.rows(f"SELECT name, {name} AS value FROM run_task WHERE run_id = (SELECT min(id) FROM run)")
    return {row["name"]: row["value"] for row in rows}


# --- the rows


async def follows_its_job(world: World) -> Paths:
    parked = await world.job("parked", [task("never")], status=JobStatus.WITHHOLD)
    await world.job("armed", [task("free"), task("child", ("free", ENDED)), task("held", is_withheld=True)])
    await world.server("A")
    await world.settle()
    assert await world.runs(parked) == [], "a parked job has no tasks to run"
    return await paths(world)


async def is_due_and_its_conditions_are_met(world: World) -> Paths:
    start = world.clock.now() + timedelta(hours=1)
    await world.job("later", [task("free"), task("child", ("free", ENDED))], start=start)
    await world.server("A")
    await world.pass_(minutes=59)
    assert await world.rows("SELECT 1 FROM move") == [], "nothing is ready before its job is due"
    await world.pass_(minutes=1, seconds=59)
    assert await paths(world) == {"free": "ready executing", "child": "waiting"}
    await world.pass_(seconds=1)
    return await paths(world)


async def is_claimed_by_one(world: World) -> Paths:
    job = await world.job("claimed", [task("T", location=Location.OPERATOR), task("child", ("T", ENDED))])
    await world.server("A")
    await world.settle()
    claims = [each for each in await asyncio.gather(*(claim(world) for _ in range(5))) if each is not None]
    assert [each.name for each in claims] == ["T"], "one wins, and what waits is taken by nobody"
    assert await world.tasks(job) == {"T": "executing", "child": "waiting"}
    assert await column(world, "attempts") == {"T": 1, "child": 0}
    return await paths(world)


async def is_claimed_by_a_free_thread_of_a_server_that_may(world: World) -> Paths:
    await world.server("full", threads=1, groups=["G"])
    await world.server("other", threads=1, groups=["elsewhere"])
    await world.job("long", [task("long", seconds=120)], batch_group="G")
    await world.settle()
    job = await world.job("claimed", [task("T")], batch_group="G")
    await world.pass_(minutes=1)
    assert await world.tasks(job) == {"T": "ready"}, "one server is full, the other does not serve its group"
    await world.pass_(minutes=1)
    assert await world.executing() == {"T": "full"}
    return await paths(world, 1)


async def returns(world: World) -> Paths:
    job = await world.job("good", [task("T", max_retries=3)])
    await world.server("A")
    await world.pass_(minutes=2)
    assert await world.tasks(job) == {"T": "ended"}
    assert await column(world, "attempts") == {"T": 1}, "what has ended is not carried out again"
    return await paths(world)


async def fails_with_a_retry_left(world: World) -> Paths:
    await world.job("bad", [task("T", fails_in=[1], max_retries=2)])
    await world.server("A")
    await world.pass_(seconds=59)
    assert await column(world, "retries") == {"T": 0}
    await world.pass_(seconds=1)
    assert await column(world, "retries") == {"T": 1}
    await world.pass_(minutes=1)
    return await paths(world)


async def fails_with_no_retry_left(world: World) -> Paths:
    await world.job(
        "bad", [task("T", fails_in=[-1], max_retries=1), task("U", parameters_version=9, max_retries=3)]
    )  # fmt: skip
    await world.server("A", threads=2)
    await world.pass_(minutes=10)
    assert await column(world, "retries") == {"T": 1, "U": 0}, "what no retry can help uses none"
    return await paths(world)


async def loses_its_server_with_a_retry_left(world: World) -> Paths:
    job = await world.job("lost", [task("T", max_retries=2)])
    await world.server("A", threads=2)
    await world.settle()
    await lose(world)
    assert await world.tasks(job) == {"T": "ready"}
    assert await column(world, "retries") == {"T": 1}
    await world.settle()
    await world.stop("A")  # started anew: what it had in work is interrupted
    assert await world.tasks(job) == {"T": "ready"}
    assert await column(world, "retries") == {"T": 2}
    await world.server("B")
    await world.pass_(minutes=1)
    assert await column(world, "attempts") == {"T": 3}
    return await paths(world)


async def loses_its_server_with_no_retry_left(world: World) -> Paths:
    await world.job("lost", [task("T", max_retries=1, location=Location.OPERATOR)])
    await world.server("A")
    await world.settle()
    assert await claim(world) is not None
    await lose(world)
    late = await claim(world)
    assert late is not None
    await lose(world)
    end = TaskEnd(task=late, result=Result(attempt=Attempt.ENDED))
    assert await end_tasks(world.store, [end], world.clock.now()) == [None]
    assert await column(world, "error_code") == {"T": SERVER_LOST}
    assert str((await column(world, "error"))["T"]).startswith("server lost")
    return await paths(world)


async def has_conditions_that_cannot_come_true(world: World) -> Paths:
    await world.job(
        "branches",
        [task("P"), task("if it failed", ("P", Wanted.ERROR)), task("behind", ("if it failed", ENDED)), task("long")],
    )
    await world.server("A", threads=2)
    await world.pass_(minutes=1)
    return await paths(world)


async def has_not_begun_when_its_job_is_cancelled(world: World) -> Paths:
    job = await world.job(
        "cancelled",
        [task("again", fails_in=[1], max_retries=1, retry_seconds=600), task("long", seconds=600),
         task("next", seconds=600), task("more"), task("waiting", ("more", ENDED))],
    )  # fmt: skip
    await world.server("A", threads=2)
    await world.pass_(minutes=2)
    assert await world.tasks(job) == {
        "again": "ready", "long": "executing", "next": "executing", "more": "ready", "waiting": "waiting"
    }  # fmt: skip
    await cancel(world, job)
    assert await claim(world) is None
    assert await column(world, "attempts") == {"again": 1, "long": 1, "next": 1, "more": 0, "waiting": 0}
    return {name: path for name, path in (await paths(world)).items() if name in ("again", "more", "waiting")}


async def runs_when_its_job_is_cancelled(world: World) -> Paths:
    job = await world.job("cancelled", [task("T", handler="stubborn", max_retries=1)])
    await world.server("A")
    await world.settle()
    await cancel(world, job)
    assert list(await world.executing()) == ["T"], "its code runs on"
    return await paths(world)


async def comes_back_after_the_cancel(world: World) -> Paths:
    job = await world.job(
        "cancelled",
        [task("well", handler="stubborn"), task("badly", handler="stubborn", fails_in=[-1], max_retries=3),
         task("aborted", seconds=9999, handler="stubborn"), task("lost", location=Location.OPERATOR, max_retries=3)],
    )  # fmt: skip
    await world.server("A", threads=3)
    await world.settle()
    lost = await claim(world)
    assert lost is not None
    await cancel(world, job)
    async with world.store.transaction() as connection:
        await connection.execute("DELETE FROM lease WHERE fence = $1", lost.fence)
        await task_reaper(world.clock.now)(world.store, connection, [lost.fence])
    await world.pass_(minutes=1)
    assert await world.tasks(job) == {
        "well": "canceled",
        "badly": "canceled",
        "aborted": "cancelling",
        "lost": "canceled",
    }
    await abort_job(world.store, job, by="ben", now=world.clock.now())
    return await paths(world)


async def is_made_at_run_time(world: World) -> Paths:
    await world.job("parent", [task("P", seconds=0, spawns=2)])
    await world.server("A")
    await world.settle()
    assert await world.tasks(JobId(1)) == {"P": "executing", "P 1": "executing", "P 2": "ready"}
    await world.pass_(minutes=2)
    return await paths(world)


async def waits_for_children_that_never_begin(world: World) -> Paths:
    await world.server("A")
    job = await world.job("parent", [task("P", spawns=1)])
    await world.settle()
    await set_draining(world.store, "A", True, now=world.clock.now())
    await world.pass_(minutes=1)
    assert await world.tasks(job) == {"P": "executing", "P 1": "ready"}
    await cancel(world, job)
    assert (await world.read(job)).status is JobStatus.CANCELED
    return await paths(world)


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table: what brings a task there, and the way of each task of the run."""

    happens: Callable[[World], Awaitable[Paths]]
    paths: Paths


READY, AGAIN = "ready executing", "ready executing ready executing"
ROWS = {
    "T1": Row(follows_its_job, {"free": READY, "child": "waiting", "held": "withhold not_run"}),
    "T2": Row(is_due_and_its_conditions_are_met, {"free": f"{READY} ended", "child": f"waiting {READY}"}),
    "T3 one of many": Row(is_claimed_by_one, {"T": READY, "child": "waiting"}),
    "T3 free and eligible": Row(is_claimed_by_a_free_thread_of_a_server_that_may, {"T": READY}),
    "T4": Row(returns, {"T": f"{READY} ended"}),
    "T5": Row(fails_with_a_retry_left, {"T": f"{AGAIN} ended"}),
    "T6": Row(fails_with_no_retry_left, {"T": f"{AGAIN} error", "U": f"{READY} error"}),
    "T7": Row(loses_its_server_with_a_retry_left, {"T": f"{AGAIN} {READY} ended"}),
    "T8": Row(loses_its_server_with_no_retry_left, {"T": f"{AGAIN} error"}),
    "T9": Row(
        has_conditions_that_cannot_come_true,
        {"P": f"{READY} ended", "if it failed": "waiting not_run", "behind": "waiting not_run",
         "long": f"{READY} ended"},
    ),
    "T10": Row(
        has_not_begun_when_its_job_is_cancelled,
        {"again": f"{READY} ready canceled", "more": "ready not_run", "waiting": "waiting not_run"},
    ),
    "T11": Row(runs_when_its_job_is_cancelled, {"T": f"{READY} cancelling"}),
    "T12": Row(
        comes_back_after_the_cancel,
        dict.fromkeys(("well", "badly", "aborted", "lost"), f"{READY} cancelling canceled"),
    ),
    "T11 and T12 at once": Row(
        waits_for_children_that_never_begin, {"P": f"{READY} canceled", "P 1": "ready not_run"}
    ),
    "run time": Row(
        is_made_at_run_time, {"P": f"{READY} ended", "P 1": f"{READY} ended", "P 2": f"{READY} ended"}
    ),
}  # fmt: skip


@pytest.mark.parametrize("row", ROWS)
async def test_task_goes_the_way_of_its_row(world: World, row: str) -> None:
    assert await ROWS[row].happens(world) == ROWS[row].paths


async def test_t13_tasks_of_an_armed_job_start_afresh_whatever_became_of_them(world: World) -> None:
    await world.server("A", threads=9)
    tasks = [
        task("well", seconds=0), task("badly", seconds=0, fails_in=[-1], max_retries=1),
        task("skipped", ("well", Wanted.ERROR)), task("long", handler="stubborn"), task("made", seconds=0, spawns=1),
    ]  # fmt: skip
    job = await world.job("job", tasks)
    await world.settle()
    await cancel(world, job)
    await world.pass_(minutes=1)
    before = {"well": "ended", "badly": "error", "skipped": "not_run", "long": "canceled"}
    assert (await world.tasks(job)).items() >= before.items()

    await change_status(world.store, job, JobAction.ARM, by="ann", now=world.clock.now())
    assert [task.name for task in (await world.read(job)).definition.tasks] == [task.name for task in tasks]
    await world.pass_(minutes=1)
    afresh = await paths(world, 1)
    assert afresh["well"] == f"{READY} ended"
    assert afresh["badly"] == f"{AGAIN} error", "its retries count anew"
    assert (afresh["skipped"], afresh["long"]) == ("waiting not_run", f"{READY} ended")
    assert (await world.tasks(job)).items() >= {"badly": "error", "long": "ended"}.items()
    first = await world.rows("SELECT name, status FROM run_task WHERE run_id = (SELECT min(id) FROM run)")
    assert {row["name"]: row["status"] for row in first}.items() >= before.items(), "what was stays as it was"


async def test_t13_tasks_of_a_recurring_job_start_afresh_by_themselves(world: World) -> None:
    await world.server("A")
    job = await world.job("hourly", [task("T", fails_in=[-1], max_retries=1)], recurrence={"every": "1 hours"})
    await world.pass_(hours=1, minutes=10)
    assert [await paths(world, run) for run in (0, 1)] == [{"T": f"{AGAIN} error"}] * 2
    assert (await world.read(job)).status is JobStatus.WAITING


async def test_t14_a_single_task_is_parked_and_let_go_only_while_its_job_does_not_run(world: World) -> None:
    await world.server("A")
    job = await world.job(
        "job", [task("T", handler="stubborn"), task("U")], start=world.clock.now() + timedelta(hours=1)
    )

    async def ask(action: TaskAction) -> bool:
        return await change_task(world.store, job, "U", action, now=world.clock.now())

    async def refusal(action: TaskAction) -> str:
        with pytest.raises(IllegalTransition) as refused:
            await ask(action)
        return str(refused.value)

    assert await refusal(TaskAction.RELEASE) == "Task 'U' is not on hold already. Possible now: hold."
    assert await ask(TaskAction.HOLD)
    assert await refusal(TaskAction.HOLD) == "Task 'U' is on hold already. Possible now: release."
    await world.pass_(hours=1)
    busy = "Task 'U' cannot be changed while its job is {}. Wait until the occurrence has ended."
    assert await refusal(TaskAction.RELEASE) == busy.format("executing")
    await cancel(world, job)
    assert await refusal(TaskAction.RELEASE) == busy.format("cancelling")
    await world.pass_(minutes=1)
    assert await paths(world) == {"T": f"{READY} cancelling canceled", "U": "withhold not_run"}

    assert not await ask(TaskAction.RELEASE)
    await change_status(world.store, job, JobAction.ARM, by="ann", now=world.clock.now())
    await world.pass_(minutes=2)
    assert await paths(world, 1) == {"T": f"{READY} ended", "U": f"{READY} ended"}
