"""Functions of one's own: called with what was written, on the loop or in a thread, and ended when need be."""

import asyncio
import threading
import time
from typing import Any

import pytest

from gateway.contracts.task import SpawnedTask, TaskContext
from gateway.domain.errors import TaskFailed, TaskRefused
from gateway.scheduler.tasks.python import PythonParameters, PythonTask, ThreadContext
from tests.occasion import Occasion
from tests.site import until

HERE = "tests.unit.scheduler.tasks.test_python"
seen: dict[str, Any] = {}


async def run(call: str, occasion: Occasion | None = None, **arguments: object) -> Occasion:
    occasion = occasion or Occasion()
    await PythonTask(PythonParameters(call=f"{HERE}:{call}", arguments=arguments)).run(occasion.context)
    return occasion


async def on_the_loop(context: TaskContext, name: str) -> dict[str, int]:
    context.log.info(f"hello {name}")
    await context.keep_file("a.txt", b"a")
    return {"greetings": 2}


def in_a_thread(context: ThreadContext, name: str) -> str:
    context.log.info(f"{name} {threading.current_thread() is threading.main_thread()} {context.stopping}")
    context.keep_file("a.txt", b"a")
    context.count("greetings", 2)
    assert list(context.spawn([SpawnedTask(name="child", run="http")])) == [171]
    return context.idempotency_key("post")


def plain(number: int) -> None:
    seen["number"] = number


def leaves() -> None:
    raise SystemExit(3)


def fails() -> None:
    raise ValueError("no such day")


def computes_for_ever() -> None:
    seen["thread"] = threading.current_thread()
    while True:
        time.sleep(0.001)


NOT_A_FUNCTION = 1


async def test_an_async_function_runs_on_the_loop_and_its_numbers_are_counted() -> None:
    occasion = await run("on_the_loop", name="Ann")
    assert occasion.log.texts == ["hello Ann"]
    assert occasion.files == {"a.txt": b"a"} and occasion.tally.counts == {"greetings": 2}


async def test_a_plain_function_runs_in_a_thread_with_everything_at_hand() -> None:
    occasion = await run("in_a_thread", name="Ann")
    assert occasion.log.texts == ["Ann False False", "It returned 'nightly/17/170/post'."]
    assert occasion.files == {"a.txt": b"a"} and occasion.tally.counts == {"greetings": 2}
    assert [task.name for task in occasion.spawned] == ["child"]


async def test_a_function_need_not_take_the_context() -> None:
    await run("plain", number=5)
    assert seen["number"] == 5


async def test_what_a_function_raises_comes_out() -> None:
    with pytest.raises(ValueError, match="no such day"):
        await run("fails")


async def test_a_function_cannot_end_the_gateway() -> None:
    with pytest.raises(TaskFailed, match="tried to end the whole gateway"):
        await run("leaves")


@pytest.mark.parametrize(
    ("call", "arguments", "said"),
    [
        ("nowhere", {}, "does not exist"),
        ("NOT_A_FUNCTION", {}, "is not a function"),
        ("plain", {}, "missing a required argument: 'number'"),
        ("plain", {"number": 1, "day": 2}, "unexpected keyword argument 'day'"),
    ],
)
async def test_what_cannot_be_called_so_is_refused(call: str, arguments: dict[str, object], said: str) -> None:
    with pytest.raises(TaskRefused, match=said):
        await run(call, **arguments)


async def test_an_interrupted_plain_function_ends() -> None:
    task = asyncio.create_task(run("computes_for_ever"))

    async def started() -> bool:
        return "thread" in seen

    await until(started, "the function runs")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    async def over() -> bool:
        return not seen["thread"].is_alive()

    await until(over, "its thread has ended")
