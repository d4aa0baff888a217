"""Parameters of a runnable: checked, brought up to its version, refused without a retry otherwise."""

import asyncio
from collections.abc import Mapping

import pytest
from pydantic import BaseModel, ConfigDict

from gateway.batch.engine.executor import OneShotFeed
from gateway.contracts.task import Runnable, Tally, TaskContext
from gateway.kernel.errors import TaskRefused
from gateway.kernel.ids import RunId, RunTaskId


class Greeting(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    secret: int = 1


class Nothing:
    async def run(self, context: TaskContext) -> None:
        """Do nothing."""


def upgrade(version: int, parameters: Mapping[str, object]) -> Mapping[str, object]:
    return {"name": parameters["who"]}


def greet(version: int = 1, *, upgrades: bool = True) -> Runnable:
    return Runnable(
        name="greet", description="greets", parameters=Greeting, make=lambda _: Nothing(), version=version,
        upgrade=upgrade if upgrades else None,
    )  # fmt: skip


def test_parameters_of_the_present_version_are_checked() -> None:
    assert greet(2).check({"name": "Ann"}, 2) == Greeting(name="Ann")
    assert greet(2).check({"name": "Ann"}) == Greeting(name="Ann")


def test_parameters_of_an_older_version_are_upgraded() -> None:
    assert greet(2).check({"who": "Ann"}, 1) == Greeting(name="Ann")


@pytest.mark.parametrize("version", [0, 3])
def test_an_unknown_version_is_refused(version: int) -> None:
    with pytest.raises(TaskRefused, match=f"version {version} of greet") as refused:
        greet(2).check({"name": "Ann"}, version)
    assert refused.value.code == "task.unpack"


def test_an_older_version_without_an_upgrade_is_refused() -> None:
    with pytest.raises(TaskRefused, match="cannot read them"):
        greet(2, upgrades=False).check({"who": "Ann"}, 1)


def test_an_upgrade_that_does_not_find_what_it_needs_is_refused() -> None:
    with pytest.raises(TaskRefused, match="cannot be brought to version 2") as refused:
        greet(2).check({"nobody": "Ann"}, 1)
    assert refused.value.code == "task.unpack"


def test_wrong_parameters_are_named_without_their_values() -> None:
    with pytest.raises(TaskRefused) as refused:
        greet().check({"name": "Ann", "secret": "hunter2", "other": "hunter3"})
    assert "secret" in refused.value.message and "other" in refused.value.message
    assert "hunter" not in refused.value.message


async def test_a_task_outside_a_run_cannot_spawn() -> None:
    context = TaskContext(task="t", feed=OneShotFeed(), stopping=asyncio.Event(), tally=Tally())
    with pytest.raises(TaskRefused):
        await context.spawn([])


def test_a_step_has_one_key_in_every_attempt_and_another_in_every_run() -> None:
    def key(run: int, attempt: int) -> str:
        return TaskContext(
            task="t", job="j", run_id=RunId(run), run_task_id=RunTaskId(7), attempt=attempt, feed=OneShotFeed(),
            stopping=asyncio.Event(), tally=Tally(),
        ).idempotency_key("post")  # fmt: skip

    assert key(1, 1) == key(1, 2) == "j/1/7/post"
    assert key(2, 1) != key(1, 1)
