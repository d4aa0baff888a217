"""A run is done again: whole, from a task on, or what failed and all that comes after."""

from collections.abc import Mapping

import pytest

from gateway.batch.rules.definition import TaskDefinition
from gateway.batch.rules.job import Wanted
from gateway.batch.store.jobs import edit_job, read_job_by_id
from gateway.batch.store.runs import read_run
from gateway.kernel.errors import IllegalTransition, JobRefused
from gateway.kernel.ids import JobId, RunId
from gateway.operations.principal import Principal
from gateway.operations.runs import rerun
from tests.factories import operator
from tests.fakes import World, task

ENDED, ERROR, EITHER = Wanted.ENDED, Wanted.ERROR, Wanted.ENDED_OR_ERROR
ANN = Principal(name="ann", partition="initial")


def seven(*, broken: bool) -> list[TaskDefinition]:
    """The seven tasks of docs/jobs.md; the second fails when it is broken."""
    return [
        task("1"),
        task("2", ("1", EITHER), fails_in=[-1] if broken else []),
        task("3", ("2", ENDED)),
        task("4", ("2", ENDED)),
        task("5", ("2", ERROR)),
        task("6", ("3", ERROR)),
        task("7", ("3", ENDED), ("4", ENDED)),
    ]


async def failed_run(world: World) -> tuple[JobId, RunId]:
    """A job whose second task failed, and its run; the cause is mended."""
    await world.server("A", threads=10)
    job = await world.job("seven", seven(broken=True))
    await world.pass_(minutes=10)
    (run,) = await world.runs(job)
    assert run["status"] == "error"
    definition = (await read_job_by_id(world.store, job)).definition
    mended = type(definition)(name="seven", tasks=tuple(seven(broken=False)), owner="ann")
    await edit_job(world.store, job, mended, now=world.clock.now())
    return job, RunId(run["id"])


async def attempts(world: World, run: RunId) -> Mapping[str, tuple[str, int]]:
    return {one.name: (one.status, one.attempts) for one in (await read_run(world.store, run)).tasks}


async def test_what_failed_is_done_again_with_all_that_comes_after_it(world: World) -> None:
    _, run = await failed_run(world)
    assert (await attempts(world, run))["5"] == ("ended", 1)

    again = await rerun(operator(world.store, now=world.clock.now()), run, failed=True)
    await world.pass_(minutes=10)

    assert await attempts(world, again) == {
        "1": ("ended", 0),  # as it was
        "2": ("ended", 1), "3": ("ended", 1), "4": ("ended", 1),
        "5": ("not_run", 0),  # it was there for the failure
        "6": ("not_run", 0), "7": ("ended", 1),
    }  # fmt: skip
    found = (await read_run(world.store, again)).run
    assert (found.status, found.rerun_of, found.cause) == ("ended", run, "operator")


async def test_from_a_task_on_whatever_came_before_it(world: World) -> None:
    _, run = await failed_run(world)
    again = await rerun(operator(world.store, now=world.clock.now()), run, first="3")
    await world.pass_(minutes=10)
    assert await attempts(world, again) == {
        "1": ("ended", 0), "2": ("error", 0), "3": ("ended", 1), "4": ("not_run", 0), "5": ("ended", 0),
        "6": ("not_run", 0), "7": ("not_run", 0),
    }  # fmt: skip
    assert (await read_run(world.store, again)).run.status == "error"  # the second task still stands as failed


async def test_a_run_is_done_again_whole(world: World) -> None:
    _, run = await failed_run(world)
    again = await rerun(operator(world.store, now=world.clock.now()), run)
    await world.pass_(minutes=10)
    assert {status for status, _ in (await attempts(world, again)).values()} == {"ended", "not_run"}
    assert (await attempts(world, again))["1"] == ("ended", 1)
    with pytest.raises(JobRefused, match=f"no task of the run {again} has failed: there is nothing to do again"):
        await rerun(operator(world.store, now=world.clock.now()), again, failed=True)


async def test_a_refusal_starts_nothing(world: World) -> None:
    job, run = await failed_run(world)
    with pytest.raises(JobRefused, match="the job has no task '8'; it has: 1, 2, 3, 4, 5, 6, 7"):
        await rerun(operator(world.store, now=world.clock.now()), run, first="8")
    assert len(await world.runs(job)) == 1

    again = await rerun(operator(world.store, now=world.clock.now()), run, failed=True)
    for number in (run, again):
        with pytest.raises(IllegalTransition):
            await rerun(operator(world.store, now=world.clock.now()), number, failed=True)
    assert len(await world.runs(job)) == 2


async def test_a_task_that_is_new_is_done_with_what_failed(world: World) -> None:
    job, run = await failed_run(world)
    definition = (await read_job_by_id(world.store, job)).definition
    more = type(definition)(name="seven", tasks=(*seven(broken=False), task("8", ("1", ENDED))), owner="ann")
    await edit_job(world.store, job, more, now=world.clock.now())
    again = await rerun(operator(world.store, now=world.clock.now()), run, failed=True)
    await world.pass_(minutes=10)
    assert (await attempts(world, again))["8"] == ("ended", 1)
