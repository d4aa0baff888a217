"""Acceptance scenarios S01-S03, S05, S07, S08: conditions between the tasks of a job. Source: batch reference, 27."""

import itertools

import pytest

from gateway.batch.rules.conditions import GraphError
from gateway.batch.rules.definition import TaskDefinition
from gateway.batch.rules.job import ConditionType, HistoryMode, JobStatus, Wanted
from tests.fakes import World, task

ENDED, ERROR, EITHER = Wanted.ENDED, Wanted.ERROR, Wanted.ENDED_OR_ERROR


def seven_tasks(
    *, failing: tuple[str, ...] = (), ignored: tuple[str, ...] = (), **seconds: float
) -> list[TaskDefinition]:
    """JOB 1 of the reference, each task a minute long unless said otherwise."""

    def one(name: str, *after: tuple[str, Wanted]) -> TaskDefinition:
        return task(
            name, *after, seconds=seconds.get(name, 60.0), fails_in=[-1] if name in failing else [],
            ignore_failure=name in ignored,
        )  # fmt: skip

    return [
        one("T1"),
        one("T2", ("T1", EITHER)),
        one("T3", ("T2", ENDED)),
        one("T4", ("T2", ENDED)),
        one("T5", ("T2", ERROR)),
        one("T6", ("T3", ERROR)),
        one("T7", ("T3", ENDED), ("T4", ENDED)),
    ]


async def two_servers(world: World) -> None:
    await world.server("Batch1")
    await world.server("Batch2")


async def test_s01_seven_tasks_on_two_servers_all_succeed(world: World) -> None:
    await two_servers(world)
    job = await world.job("JOB 1", seven_tasks())
    await world.settle()
    assert set(await world.executing()) == {"T1"}
    await world.pass_(minutes=1)
    assert set(await world.executing()) == {"T2"}
    await world.pass_(minutes=1)
    side_by_side = await world.executing()
    assert set(side_by_side) == {"T3", "T4"}
    assert set(side_by_side.values()) == {"Batch1", "Batch2"}
    await world.pass_(minutes=1)
    assert set(await world.executing()) == {"T7"}
    await world.pass_(minutes=1)
    assert (await world.read(job)).status is JobStatus.ENDED
    assert await world.tasks(job) == {
        "T1": "ended", "T2": "ended", "T3": "ended", "T4": "ended", "T5": "not_run", "T6": "not_run", "T7": "ended"
    }  # fmt: skip
    assert sorted(name for name, what in world.log if what == "started") == ["T1", "T2", "T3", "T4", "T7"]
    (run,) = await world.runs(job)
    assert (run["ended_at"] - run["started_at"]).total_seconds() == 240
    work = await world.rows("SELECT server, started_at, ended_at FROM attempt ORDER BY server, started_at")
    for one, next_one in itertools.pairwise(work):  # never two tasks at a time
        assert one["server"] != next_one["server"] or one["ended_at"] <= next_one["started_at"]


@pytest.mark.parametrize(("ignored", "status"), [((), JobStatus.ERROR), (("T1", "T2"), JobStatus.ENDED)])
async def test_s02_tasks_one_and_two_fail(world: World, ignored: tuple[str, ...], status: JobStatus) -> None:
    await two_servers(world)
    job = await world.job("JOB 1", seven_tasks(failing=("T1", "T2"), ignored=ignored))
    await world.pass_(minutes=10)
    assert await world.tasks(job) == {
        "T1": "error", "T2": "error", "T3": "not_run", "T4": "not_run", "T5": "ended", "T6": "not_run", "T7": "not_run"
    }  # fmt: skip
    assert (await world.read(job)).status is status


async def test_s03_task_three_fails(world: World) -> None:
    await two_servers(world)
    job = await world.job("JOB 1", seven_tasks(failing=("T3",), T4=300.0))
    await world.pass_(minutes=3)
    assert set(await world.executing()) == {"T4", "T6"}  # beside T4, on the server that is free
    now = await world.tasks(job)
    assert (now["T5"], now["T7"]) == ("not_run", "not_run")  # without waiting for T4
    await world.pass_(minutes=2)
    assert (await world.read(job)).status is JobStatus.EXECUTING
    await world.pass_(minutes=3)
    assert (await world.read(job)).status is JobStatus.ERROR


async def test_s05_one_job_two_groups(world: World) -> None:
    await world.server("A", groups=["PRINT"])
    await world.server("B", groups=["EDOC"])
    job = await world.job("both", [task("P", batch_group="PRINT"), task("E", ("P", ENDED), batch_group="EDOC")])
    await world.settle()
    assert await world.executing() == {"P": "A"}
    await world.pass_(minutes=1)
    assert await world.executing() == {"E": "B"}
    await world.pass_(minutes=1)
    assert (await world.read(job)).status is JobStatus.ENDED
    lines = await world.rows("SELECT text FROM run_log WHERE run_id = $1 ORDER BY id", (await world.runs(job))[0]["id"])
    assert [line["text"] for line in lines] == ["P: attempt 1", "E: attempt 1"]


@pytest.mark.parametrize("b_fails", [True, False])
async def test_s07_all_against_any(world: World, b_fails: bool) -> None:
    await world.server("A", threads=10)
    job = await world.job(
        "joins",
        [
            task("A", seconds=60),
            task("B", seconds=360, fails_in=[-1] if b_fails else []),
            task("X", ("A", ENDED), ("B", ENDED)),
            task("Y", ("A", ENDED), ("B", ENDED), condition_type=ConditionType.ANY),
            task("Z", ("A", ERROR), ("B", ERROR), condition_type=ConditionType.ANY),
        ],
    )
    await world.pass_(minutes=1)
    assert set(await world.executing()) == {"B", "Y"}
    await world.pass_(minutes=5)
    assert set(await world.executing()) == ({"Z"} if b_fails else {"X"})
    await world.pass_(minutes=5)
    now = await world.tasks(job)
    assert (now["X"], now["Z"]) == (("not_run", "ended") if b_fails else ("ended", "not_run"))
    assert [name for name, what in world.log if what == "started"].count("Y") == 1
    with pytest.raises(GraphError, match="wait for one another: "):
        await world.job("circle", [task("A", ("X", ENDED)), task("X", ("A", ENDED))])


@pytest.mark.parametrize("history", [HistoryMode.ALWAYS, HistoryMode.ERRORS])
async def test_s08_an_ignored_failure_leaves_the_job_ended(world: World, history: HistoryMode) -> None:
    await world.server("A", threads=10)
    job = await world.job(
        "ignoring",
        [
            task("A", fails_in=[-1], ignore_failure=True),
            task("B", ("A", ENDED)),
            task("C", ("A", EITHER)),
        ],
        history=history,
    )
    await world.pass_(minutes=1)
    assert await world.tasks(job) == {"A": "error", "B": "not_run", "C": "executing"}
    log = await world.rows("SELECT severity, text FROM run_log WHERE severity = 'error'")
    assert [line["text"] for line in log] == ["A: it went wrong"]
    await world.pass_(minutes=1)
    after = await world.read(job)
    assert (after.status, after.last_outcome, after.runs) == (JobStatus.ENDED, "ended", 1)
    assert len(await world.runs(job)) == (1 if history is HistoryMode.ALWAYS else 0)


async def test_a_withheld_task_is_left_out_with_all_that_waits_for_it(world: World) -> None:
    await world.server("A")
    job = await world.job("parts", [task("A", is_withheld=True), task("B", ("A", ENDED)), task("C")])
    await world.pass_(minutes=5)
    assert await world.tasks(job) == {"A": "not_run", "B": "not_run", "C": "ended"}
    assert (await world.read(job)).status is JobStatus.ENDED


async def test_a_job_without_tasks_ends_at_once(world: World) -> None:
    await world.server("A")
    job = await world.job("empty")
    await world.settle()
    assert (await world.read(job)).status is JobStatus.ENDED
