"""Entries that a task adds: they are there exactly when it is recorded that the task has ended well."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from pydantic import BaseModel

from gateway.batch.rules.definition import EntryDefinition
from gateway.contracts.task import Runnable, TaskContext
from gateway.kernel.errors import TaskRefused
from gateway.queues import Entry, EntryStatus, add_entry, list_entries
from tests.fakes import World, task

S = EntryStatus
LATER = EntryDefinition(run="work", name="later", parameters={"seconds": 0}, weekdays=(0,), record="SalesOrder/SO-1")


class Adds(BaseModel):
    """What a task does after it has asked for an entry: it takes its time, then fails in these attempts."""

    seconds: float = 0.0
    fails_in: tuple[int, ...] = ()


class _Adder:
    def __init__(self, world: World, entry: EntryDefinition, parameters: Adds) -> None:
        self.world, self.entry, self.parameters = world, entry, parameters

    async def run(self, context: TaskContext) -> None:
        await context.enqueue(self.entry)
        if self.parameters.seconds:
            self.world.parked += 1
            try:
                await self.world.clock.wait(self.parameters.seconds)
            finally:
                self.world.parked -= 1
        if context.attempt in self.parameters.fails_in:
            raise RuntimeError("after all")


def adding(world: World, name: str, entry: EntryDefinition) -> None:
    world.more_runnables[name] = Runnable(
        name=name, description="", parameters=Adds, make=lambda given: _Adder(world, entry, given)
    )


@pytest.fixture
async def server(world: World) -> AsyncIterator[World]:
    adding(world, "adds", LATER)
    await world.server("A", threads=4)
    yield world


def adds(name: str = "adds", **options: Any) -> Any:
    given = {key: options.pop(key) for key in ("seconds", "fails_in") if key in options}
    return replace(task(name, handler=name, parameters_version=None, **options), parameters=given)


async def entries(world: World) -> list[Entry]:
    return list(await list_entries(world.store))


async def test_an_entry_is_there_when_its_task_has_ended_well(server: World) -> None:
    await server.job("nightly", [adds(seconds=60)])
    await server.settle()
    assert await entries(server) == []  # the task works still
    await server.pass_(minutes=1)
    (entry,) = await entries(server)
    assert (entry.definition.name, entry.status, entry.user_name, entry.source) == ("later", S.READY, "ann", "code")
    assert entry.definition.parameters_version == 2  # of `work`, as it is now


async def test_an_attempt_that_fails_adds_nothing_and_the_next_one_adds_once(server: World) -> None:
    await server.job("nightly", [adds(seconds=1, fails_in=[1], max_retries=1, retry_seconds=60.0)])
    await server.pass_(seconds=30)
    assert await entries(server) == []
    await server.pass_(minutes=5)
    assert [entry.shown for entry in await entries(server)] == ["later"]


async def test_a_task_that_is_interrupted_adds_nothing(server: World) -> None:
    await server.job("nightly", [adds(seconds=60, max_retries=1)])
    await server.settle()
    await server.stop("A")
    assert await entries(server) == []
    await server.server("B")
    await server.pass_(minutes=2)
    assert [entry.shown for entry in await entries(server)] == ["later"]


async def test_an_entry_adds_another_one(server: World) -> None:
    number = await add_entry(
        server.store, EntryDefinition(run="adds"), by="ben", now=server.clock.now(), status=S.READY
    )
    await server.settle()
    (entry,) = await entries(server)
    assert entry.id != number
    assert (entry.shown, entry.user_name) == ("later", "ben")


async def test_one_that_is_there_already_fails_its_task_and_no_other(server: World) -> None:
    there = await add_entry(server.store, replace(LATER, name="first"), by="ann", now=server.clock.now())
    adding(server, "fine", replace(LATER, name="fine", record=None))
    job = await server.job("nightly", [adds(seconds=60), adds("fine", seconds=60)])
    await server.pass_(minutes=1)
    assert await server.tasks(job) == {"adds": "error", "fine": "ended"}
    (failed,) = await server.rows("SELECT error_code, error FROM run_task WHERE status = 'error'")
    assert tuple(failed) == ("entry.exists", "There is an entry about SalesOrder/SO-1 already.")
    assert {entry.shown for entry in await entries(server)} == {"first", "fine"}
    assert there in {entry.id for entry in await entries(server)}


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"category": "Sales"}, "entry.category"),
        ({"zone": "Mars/Phobos"}, "entry.refused"),
        ({"run": "nothing"}, "task.unknown"),
        ({"name": "a\0b"}, "entry.refused"),
    ],
)
async def test_what_cannot_be_added_fails_the_task(server: World, wrong: dict[str, Any], code: str) -> None:
    adding(server, "adds", replace(LATER, **wrong))
    job = await server.job("nightly", [adds()])
    await server.settle()
    assert await server.tasks(job) == {"adds": "error"}
    (failed,) = await server.rows("SELECT error_code FROM run_task")
    assert failed["error_code"] == code
    assert await entries(server) == []


async def test_a_task_without_a_run_says_that_it_cannot() -> None:
    context = TaskContext.__dataclass_fields__["enqueue"].default
    with pytest.raises(TaskRefused, match="only by the run of a timed job"):
        await context(LATER)
