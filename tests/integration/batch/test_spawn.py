"""Tasks that a running task adds to its run, and graphs that could never end."""

from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from gateway.batch.rules.conditions import GraphError
from gateway.batch.rules.definition import ConditionDefinition, JobDefinition, TaskDefinition
from gateway.batch.rules.job import JobStatus, Wanted
from gateway.batch.store.jobs import create_job, list_jobs
from gateway.batch.store.starting import start_due
from gateway.batch.store.tasks import ClaimedTask, claim_tasks, spawn_tasks
from gateway.contracts.task import SpawnedTask
from gateway.db.open import Store
from gateway.kernel.errors import TaskRefused

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def job(**after: tuple[str, ...]) -> JobDefinition:
    return JobDefinition(
        name="nightly",
        tasks=tuple(
            TaskDefinition(
                name=name,
                handler="work",
                conditions=tuple(ConditionDefinition(parent=parent, wanted=Wanted.ENDED) for parent in parents),
            )
            for name, parents in after.items()
        ),
    )


@pytest.fixture
async def running(store: Store) -> ClaimedTask:
    """The task `first` of a run, claimed; `second` waits for it."""
    await create_job(store, job(first=(), second=("first",)), by="ann", now=NOW, status=JobStatus.WAITING)
    await start_due(store, NOW)
    (claimed,) = await claim_tasks(
        store, server="A", incarnation=1, groups=[""], free=9, reserved=0, idempotent=(), chance=lambda: 0.5, now=NOW
    )
    return claimed


async def spawn(store: Store, by: ClaimedTask, **after: Mapping[str, Wanted]) -> list[int]:
    tasks = [SpawnedTask(name=name, run="work", after=parents) for name, parents in after.items()]
    return list(await spawn_tasks(store, by, tasks, versions={"work": 1}, now=NOW))


async def tasks_of_runs(store: Store) -> list[str]:
    async with store.transaction() as connection:
        return [row["name"] for row in await connection.fetch("SELECT name FROM run_task ORDER BY id")]


REFUSED = {
    "a circle": ({"x": {"y": Wanted.ENDED}, "y": {"x": Wanted.ENDED}}, "x → y → x"),
    "the task that makes them": ({"x": {"first": Wanted.ENDED}}, "no task 'first'"),
    "somebody unknown": ({"x": {"z": Wanted.ENDED}}, "no task 'z'"),
    "a name that is taken": ({"second": {}}, "has a task named second already"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_children_that_could_never_end_are_refused_and_none_is_made(
    store: Store, running: ClaimedTask, case: str
) -> None:
    after, text = REFUSED[case]

    with pytest.raises(TaskRefused, match=text):
        await spawn(store, running, good={}, **after)

    assert await tasks_of_runs(store) == ["first", "second"]


async def test_a_second_attempt_finds_the_children_of_the_first(store: Store, running: ClaimedTask) -> None:
    made = await spawn(store, running, x={}, y={"x": Wanted.ENDED})

    assert await spawn(store, running, x={}, y={"x": Wanted.ENDED}) == made
    assert await tasks_of_runs(store) == ["first", "second", "x", "y"]


@pytest.mark.parametrize(
    ("after", "text"),
    [
        ({"a": ("b",), "b": ("a",)}, "a → b → a"),
        ({"a": ("a",)}, "waits for itself"),
        ({"a": ("nobody",)}, "no task 'nobody'"),
    ],
)
async def test_a_job_whose_tasks_could_never_end_is_not_saved(
    store: Store, after: dict[str, tuple[str, ...]], text: str
) -> None:
    with pytest.raises(GraphError, match=text):
        await create_job(store, job(**after), by="ann", now=NOW)

    assert not await list_jobs(store)
