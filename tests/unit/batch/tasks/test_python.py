"""Code of the users: called with what was written, in a process of its own, which is gone with the task."""

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from gateway.batch.handlers.python import PYTHON, PlainContext
from gateway.batch.processes import process as task_process
from gateway.batch.processes.process import TaskProcess, Work
from gateway.batch.rules.job import Priority, Wanted
from gateway.config.models import Logging
from gateway.contracts.task import CodeRaised, SpawnedTask, TaskContext
from gateway.kernel.errors import FileNotKept, GatewayError, TaskFailed, TaskRefused, TransientError
from gateway.runtime.roles import ROLES
from gateway.workers.launcher import Launcher
from tests.site import until
from tests.task_contexts import Occasion

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECRET = "hunter2-in-the-house"
NOT_A_FUNCTION = 1
kept: list[int] = []

Run = Callable[..., Awaitable[Occasion]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def launcher() -> AsyncIterator[Launcher]:
    """One for all: a launcher does nothing but fork, and a fork knows nothing of the others."""
    launcher = Launcher.start(ROLES)
    yield launcher
    launcher.close()


@pytest.fixture
def run(launcher: Launcher) -> Run:
    async def run(call: str, occasion: Occasion | None = None, **arguments: object) -> Occasion:
        occasion = occasion or Occasion()
        work = Work(
            name=PYTHON, parameters={"call": f"{__name__}:{call}", "arguments": arguments}, version=1, base=Path("/"),
            secrets=(SECRET,), logging=Logging(),
        )  # fmt: skip
        async with TaskProcess.launch(launcher) as process:
            await process.handler(work).run(occasion.context)
        return occasion

    return run


async def on_a_loop(context: TaskContext, name: str) -> dict[str, int]:
    context.log.info(f"hello {name} from {os.getpid()}")
    await context.keep_file("a.txt", b"a")
    context.log.warning(str(await context.spawn([SpawnedTask(name="child", run="http")])))
    return {"greetings": 2}


def plain(context: PlainContext, name: str) -> str:
    context.log.info(f"hello {name} from {os.getpid()}")
    context.log.info(f"{threading.current_thread() is threading.main_thread()} {context.stopping} {context.of.company}")
    context.keep_file("a.txt", b"a")
    for _ in range(1000):
        context.count("greetings", 2)
    children = [
        SpawnedTask(name="child", run="http", parameters={"day": 1}, priority=Priority.HIGH),
        SpawnedTask(name="other", run="http", after={"child": Wanted.ERROR}),
    ]
    assert list(context.spawn(children)) == [171, 172]
    return context.idempotency_key("post")


def without_context(number: int) -> None:
    kept.append(number)
    assert kept == [number]


def with_a_loop_of_its_own() -> dict[str, int]:
    async def count() -> int:
        return 3

    return {"steps": asyncio.run(count())}


async def test_an_async_function_has_everything_at_hand(run: Run) -> None:
    occasion = await run("on_a_loop", name="Ann")
    hello, spawned = occasion.log.texts
    assert hello.startswith("hello Ann from ") and hello != f"hello Ann from {os.getpid()}"
    assert spawned == "[171]" and occasion.log.lines[1][0] == "warning"
    assert occasion.files == {"a.txt": b"a"} and occasion.tally.counts == {"greetings": 2}


async def test_a_plain_function_has_everything_at_hand(run: Run) -> None:
    occasion = await run("plain", name="Ann")
    hello, said, returned = occasion.log.texts
    assert hello.startswith("hello Ann from ") and hello != f"hello Ann from {os.getpid()}"
    assert (said, returned) == ("True False DAT", "It returned 'nightly/17/170/post'.")
    assert occasion.files == {"a.txt": b"a"} and occasion.tally.counts == {"greetings": 2000}
    first, second = occasion.spawned
    assert first == SpawnedTask(name="child", run="http", parameters={"day": 1}, priority=Priority.HIGH)
    assert second == SpawnedTask(name="other", run="http", after={"child": Wanted.ERROR})


async def test_what_a_module_holds_is_gone_with_the_task(run: Run) -> None:
    for number in (5, 6):
        await run("without_context", number=number)
    assert kept == []


async def test_a_plain_function_may_have_a_loop_of_its_own(run: Run) -> None:
    assert (await run("with_a_loop_of_its_own")).tally.counts == {"steps": 3}


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError


def raises(what: str) -> None:
    raise {"value": ValueError("no such day"), "worst": Unspeakable(), "stop": StopIteration(7)}[what]


async def raises_on_a_loop(context: TaskContext, what: str) -> None:
    context.tally.add("tries")
    raise {
        "away": TransientError("the shop is away"),
        "never": TaskRefused("never", code="task.never"),
        "known": TaskFailed("the shop says no", code="shop.no"),
        "connection": ConnectionResetError("gone"),
        "stop": StopIteration(7),
    }[what]


@pytest.mark.parametrize(
    ("what", "text"), [("value", "ValueError: no such day"), ("worst", "Unspeakable"), ("stop", "StopIteration: 7")]
)
async def test_what_a_function_raises_is_told_with_its_place(run: Run, what: str, text: str) -> None:
    with pytest.raises(CodeRaised) as raised:
        await run("raises", what=what)
    assert str(raised.value) == text and "in raises\n" in raised.value.traceback


@pytest.mark.parametrize(
    ("what", "kind", "code"),
    [("away", TransientError, "transient"), ("never", TaskRefused, "task.never"), ("known", TaskFailed, "shop.no")],
)
async def test_errors_that_the_gateway_knows_are_known_again(
    run: Run, what: str, kind: type[GatewayError], code: str
) -> None:
    occasion = Occasion()
    with pytest.raises(kind) as raised:
        await run("raises_on_a_loop", occasion, what=what)
    assert (type(raised.value), raised.value.code) == (kind, code) and occasion.tally.counts == {"tries": 1}


async def test_a_broken_connection_is_an_error_as_any_other(run: Run) -> None:
    with pytest.raises(CodeRaised, match="ConnectionResetError: gone"):
        await run("raises_on_a_loop", what="connection")


def says_too_much(context: PlainContext, token: str) -> str:
    context.log.info("x" * 3_990 + token)
    context.log.info(context.of.mask(f"it is {token}"))
    raise ValueError(token)


async def test_secrets_are_masked_before_texts_are_cut(run: Run) -> None:
    occasion = Occasion()
    with pytest.raises(CodeRaised) as raised:
        await run("says_too_much", occasion, token=SECRET)
    assert "hunter" not in f"{occasion.log.texts} {raised.value} {raised.value.traceback}"
    assert occasion.log.texts[1] == "it is ***" and str(raised.value) == "ValueError: ***"


class Three:
    def __index__(self) -> int:
        return 3


def counts_oddly(context: PlainContext) -> None:
    context.count("rows", Three())  # type: ignore[arg-type]  # numbers of a library for numbers are such
    context.count("prices", Decimal(1))  # type: ignore[arg-type]


async def test_what_cannot_be_counted_is_told_where_it_is_counted(run: Run) -> None:
    occasion = Occasion()
    with pytest.raises(CodeRaised, match=r"TypeError: 'decimal\.Decimal'") as raised:
        await run("counts_oddly", occasion)
    assert "in counts_oddly" in raised.value.traceback and occasion.tally.counts == {"rows": 3}


def ends(how: str) -> None:
    match how:
        case "sys.exit":
            sys.exit(3)
        case "_exit":
            os._exit(7)
        case "abort":
            os.abort()
        case "kill":
            os.kill(os.getpid(), 9)
        case "terminate":
            os.kill(os.getpid(), 15)


async def ends_on_a_loop(how: str) -> None:
    ends(how)
    await asyncio.Event().wait()


async def ends_beside(how: str) -> None:
    beside = asyncio.create_task(ends_on_a_loop(how))
    await asyncio.Event().wait()
    await beside


@pytest.mark.parametrize("call", ["ends", "ends_on_a_loop", "ends_beside"])
@pytest.mark.parametrize(
    ("how", "text"),
    [
        ("sys.exit", r"called sys\.exit\(3\) instead of returning"),
        ("_exit", "ended with exit status 7 and gave no result"),
        ("abort", "ended by SIGABRT"),
        ("kill", r"ended by SIGKILL \(perhaps the machine had no memory left\)"),
        ("terminate", "ended by SIGTERM"),
    ],
)
async def test_code_ends_its_own_process_and_no_other(run: Run, call: str, how: str, text: str) -> None:
    with pytest.raises(TaskFailed, match=text) as failed:
        await run(call, how=how)
    assert failed.value.code == "task.exit"
    assert (await run("without_context", number=1)).log.texts == []


def hoards() -> None:
    hoard = []
    while True:
        hoard.append(bytes(50_000_000))


async def test_memory_of_a_task_has_a_limit(run: Run) -> None:
    with pytest.raises(TaskFailed, match="more memory than the 1 GB that a task may have") as failed:
        await run("hoards")
    assert failed.value.code == "task.memory"


@pytest.mark.parametrize(
    ("call", "arguments", "said"),
    [
        ("nowhere", {}, "does not exist"),
        ("NOT_A_FUNCTION", {}, "is not a function"),
        ("without_context", {}, "missing a required argument: 'number'"),
        ("without_context", {"number": 1, "day": 2}, "unexpected keyword argument 'day'"),
    ],
)
async def test_what_cannot_be_called_so_is_refused(
    run: Run, call: str, arguments: dict[str, object], said: str
) -> None:
    with pytest.raises(TaskRefused, match=said) as refused:
        await run(call, **arguments)
    assert refused.value.code == "python.call"


async def keeps_badly(context: TaskContext) -> None:
    for name, content in (("a/b", b""), ("large", bytes(64_000_001)), ("full", b"x")):
        try:
            await context.keep_file(name, content)
        except FileNotKept as error:
            context.log.info(error.message)


async def test_a_file_that_is_not_kept_is_told_to_the_code(run: Run) -> None:
    class Full(Occasion):
        async def _keep(self, name: str, content: bytes) -> None:
            raise FileNotKept("The run is full.")

    occasion = await run("keeps_badly", Full())
    assert [text.split()[0] for text in occasion.log.texts] == ["'a/b'", "The", "The"]
    assert occasion.log.texts[-1] == "The run is full."


def where_prints_go() -> dict[str, int]:
    return {"to standard error": int(os.path.sameopenfile(1, 2))}


async def test_what_code_prints_stays_out_of_what_a_command_prints(run: Run) -> None:
    assert (await run("where_prints_go")).tally.counts == {"to standard error": 1}


def started(context: PlainContext | TaskContext) -> None:
    context.log.info(str(os.getpid()))


def waits_to_stop(context: PlainContext, token: str = "") -> None:
    started(context)
    while not context.stopping:
        time.sleep(0.01)
    context.log.info("stopped")


async def waits_to_stop_on_a_loop(context: TaskContext) -> None:
    started(context)
    await context.stopping.wait()
    context.log.info("stopped")


def computes_for_ever(context: PlainContext) -> None:
    try:
        started(context)  # inside: from this line on the exception may come
        while True:
            time.sleep(1000)
    finally:
        context.log.info("cleaned up")
        context.count("left")


async def waits_for_ever(context: TaskContext) -> None:
    try:
        started(context)
        await asyncio.Event().wait()
    finally:
        await context.keep_file("left.txt", b"")
        context.log.info("cleaned up")
        context.tally.add("left")


def cannot_be_ended(context: PlainContext) -> None:
    started(context)
    while True:
        try:
            while True:
                pass
        except BaseException:
            context.log.info("no")


async def blocks_its_loop(context: TaskContext) -> None:
    started(context)
    while True:
        pass


def returns_after_all(context: PlainContext) -> dict[str, int]:
    try:
        started(context)
        time.sleep(1000)
    except SystemExit:
        return {"rows": 1}
    return {}


async def begin(run: Run, call: str, occasion: Occasion, **arguments: object) -> tuple[asyncio.Task[Any], int]:
    """Start a function; returns when it runs, with the number of its process."""
    task = asyncio.create_task(run(call, occasion, **arguments))  # type: ignore[arg-type]

    async def says_so() -> bool:
        return bool(occasion.log.texts) or task.done()

    await until(says_so, "the function runs")
    return task, int(occasion.log.texts[0])


@pytest.mark.parametrize("call", ["waits_to_stop", "waits_to_stop_on_a_loop"])
async def test_a_function_hears_that_it_should_stop(run: Run, call: str) -> None:
    occasion = Occasion()
    task, _ = await begin(run, call, occasion)
    occasion.stopping.set()
    await task
    assert occasion.log.texts[1:] == ["stopped"]


@pytest.mark.parametrize("call", ["computes_for_ever", "waits_for_ever"])
async def test_an_interrupted_function_may_clean_up(run: Run, call: str) -> None:
    occasion = Occasion()
    task, pid = await begin(run, call, occasion)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert occasion.log.texts[1:] == ["cleaned up"] and occasion.tally.counts == {"left": 1}
    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("call", ["cannot_be_ended", "blocks_its_loop"])
async def test_one_that_does_not_end_is_ended(run: Run, call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_process, "_END_SECONDS", 0.1)
    task, pid = await begin(run, call, Occasion())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not Path(f"/proc/{pid}").exists()


async def test_a_result_that_comes_after_all_counts(run: Run) -> None:
    occasion = Occasion()
    task, _ = await begin(run, "returns_after_all", occasion)
    task.cancel()
    await task
    assert occasion.tally.counts == {"rows": 1}


async def test_secrets_are_not_seen_by_others_on_the_machine(run: Run, launcher: Launcher) -> None:
    occasion = Occasion()
    task, pid = await begin(run, "waits_to_stop", occasion, token=SECRET)
    for process in (pid, launcher.pid):
        seen = Path(f"/proc/{process}/cmdline").read_bytes() + Path(f"/proc/{process}/environ").read_bytes()
        assert SECRET.encode() not in seen
    assert SECRET not in subprocess.run(["ps", "-ef"], capture_output=True, text=True, check=True).stdout
    occasion.stopping.set()
    await task


def leaves_a_program(context: PlainContext) -> None:
    program = subprocess.Popen(["sleep", "1000"])
    context.log.info(str(program.pid))


async def test_a_program_that_it_left_running_ends_with_it(run: Run) -> None:
    occasion = await run("leaves_a_program")
    (pid,) = occasion.log.texts

    async def gone() -> bool:
        try:
            return " Z " in Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return True

    await until(gone, "the program has ended")


async def leaves_a_thread() -> None:
    """Return while a thread sleeps that a loop would wait for."""
    asyncio.get_running_loop().run_in_executor(None, time.sleep, 1000)


async def test_a_thread_that_it_left_running_holds_up_nobody(run: Run) -> None:
    await run("leaves_a_thread")
