"""What a job names is found, its parameters filled and checked; what comes from outside is not shown."""

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.batch.processes import process as task_process
from gateway.config.models import Logging
from gateway.config.models_base import Count, Options, Text
from gateway.contracts.task import Runnable, SpawnedTask, TaskContext
from gateway.kernel.errors import TaskFailed, TaskRefused
from gateway.runtime.runnables import KnownRunnables, NotRunning, PreparedRunnables, shipped, without_gateway
from gateway.workers.launcher import Launcher
from tests.task_contexts import Occasion


class Parameters(Options):
    token: Text
    times: Count = 1


class Tell:
    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters

    async def run(self, context: TaskContext) -> None:
        """Say too much, then fail."""
        context.log.info(f"using {self.parameters.token}")
        raise TaskFailed(f"{self.parameters.token} was refused")


TELL = Runnable(name="tell", description="tells", parameters=Parameters, make=Tell)
NO_RUNNABLE = object()


ENVIRON = {"TOKEN": "hunter2-hunter2", "TIMES": "3"}


def prepared(base: Path, launcher: Launcher, *more: Runnable) -> PreparedRunnables:
    runnables = [*shipped(base, without_gateway), TELL, *more]
    return PreparedRunnables(runnables, environ=ENVIRON, base=base, launcher=launcher, logging=Logging)


@pytest.fixture
def runnables(tmp_path: Path) -> KnownRunnables:
    return KnownRunnables([*shipped(tmp_path, without_gateway), TELL], environ=ENVIRON, base=tmp_path)


@pytest.fixture
def runs(tmp_path: Path, launcher: Launcher) -> PreparedRunnables:
    return prepared(tmp_path, launcher)


def test_everything_that_comes_with_the_gateway_is_known(runnables: KnownRunnables) -> None:
    assert {"command", "http", "sql", "receive", "inbound", "outbound", "send"} <= {x.name for x in runnables.known()}


def test_an_unknown_name_is_refused_with_the_nearest(runnables: KnownRunnables) -> None:
    with pytest.raises(TaskRefused, match=r"comand.*command") as refused:
        runnables.find("comand")
    assert refused.value.code == "task.unknown"


def test_a_runnable_of_ones_own_is_found_by_module_and_object(runnables: KnownRunnables) -> None:
    sys.modules[__name__] = sys.modules[TELL.make.__module__]
    assert runnables.find(f"{__name__}:TELL") is TELL


@pytest.mark.parametrize("name", ["no.such.module:thing", f"{__name__}:nothing", f"{__name__}:NO_RUNNABLE"])
def test_what_cannot_be_imported_or_is_no_runnable_is_refused(runnables: KnownRunnables, name: str) -> None:
    with pytest.raises(TaskRefused) as refused:
        runnables.find(name)
    assert refused.value.code == "task.unknown"


async def test_what_comes_from_outside_is_filled_and_not_shown(runs: PreparedRunnables) -> None:
    async with runs.prepare("tell", {"token": "${TOKEN}", "times": "${TIMES}"}, 1) as prepared:
        with pytest.raises(TaskFailed, match="hunter2-hunter2 was refused"):
            await prepared.handler.run(Occasion().context)
    assert prepared.mask("using hunter2-hunter2, 3 times") == "using ***, 3 times"


class Chokes(Tell):
    def __init__(self, parameters: Parameters) -> None:
        raise KeyError(parameters.token)


CHOKES = replace(TELL, name="chokes", make=Chokes)


@pytest.mark.parametrize("name", ["chokes", f"{__name__}:CHOKES"])
async def test_a_runnable_that_cannot_be_made_does_not_show_what_it_was_given(
    tmp_path: Path, launcher: Launcher, name: str
) -> None:
    with pytest.raises(TaskRefused, match=r"chokes cannot be made of its parameters: KeyError: '\*\*\*'") as refused:
        async with prepared(tmp_path, launcher, CHOKES).prepare(name, {"token": "${TOKEN}"}, 1) as found:
            await found.handler.run(Occasion().context)
    assert refused.value.code == "task.unpack"


@pytest.mark.parametrize("name", ["tell", f"{__name__}:TELL"])
@pytest.mark.parametrize("parameters", [{"token": "${NOT_SET}"}, {}, {"token": "x", "more": 1}])
async def test_parameters_that_are_not_in_order_are_refused(
    runnables: KnownRunnables, runs: PreparedRunnables, name: str, parameters: dict[str, object]
) -> None:
    with pytest.raises(TaskRefused) as refused:
        runnables.check(name, parameters)
    assert refused.value.code == "task.unpack"
    with pytest.raises(TaskRefused) as refused:
        async with runs.prepare(name, parameters, 1) as found:
            await found.handler.run(Occasion().context)
    assert refused.value.code == "task.unpack"


async def test_an_unknown_version_is_refused(runs: PreparedRunnables) -> None:
    with pytest.raises(TaskRefused, match="version 2 of command"):
        async with runs.prepare("command", {"command": ["true"]}, 2):
            pass


def test_paths_are_taken_from_the_folder_of_the_configuration(runnables: KnownRunnables, tmp_path: Path) -> None:
    found = runnables.find("sql").check({"file": "nightly.sql"}, base=tmp_path)
    assert getattr(found, "file") == tmp_path / "nightly.sql"  # noqa: B009


class Slow(Options):
    rows: Count


class Copy:
    """A runnable of one's own: holds its event loop, adds a task of its own kind, waits for a sign to stop."""

    def __init__(self, parameters: Slow) -> None:
        self.parameters = parameters

    async def run(self, context: TaskContext) -> None:
        """Copy."""
        context.tally.add("rows", self.parameters.rows)
        context.log.info(str(os.getpid()))
        await context.spawn([SpawnedTask(name="rest", run=f"{__name__}:COPY", parameters={"rows": 1})])
        await context.stopping.wait()


COPY = Runnable(
    name="copy", description="copies", parameters=Slow, make=Copy, version=3, upgrade=lambda _, given: given,
    cancellable=False, idempotent=True, timeout_seconds=77,
)  # fmt: skip


async def test_a_runnable_of_ones_own_runs_elsewhere_and_is_known_here_for_what_it_says(
    runs: PreparedRunnables,
) -> None:
    occasion = Occasion()
    async with runs.prepare(f"{__name__}:COPY", {"rows": "${TIMES}"}, 2) as prepared:
        of = prepared.runnable
        assert (of.version, of.cancellable, of.idempotent, of.retryable, of.timeout_seconds) == (
            3,
            False,
            True,
            False,
            77,
        )
        occasion.stopping.set()
        await prepared.handler.run(occasion.context)
    assert occasion.tally.counts == {"rows": 3} and occasion.log.texts != [str(os.getpid())]
    assert [task.run for task in occasion.spawned] == [f"{__name__}:COPY"]
    assert await runs.version_of(f"{__name__}:COPY") == 3 and await runs.version_of("http") == 1


@pytest.fixture
def imported(tmp_path: Path) -> Iterator[Path]:
    """The folder of a module `brought` that nobody has imported; `launcher` must be asked for after it."""
    folder = tmp_path / "modules"
    folder.mkdir()
    sys.path.append(str(folder))
    yield folder / "brought.py"
    sys.path.remove(str(folder))
    assert "brought" not in sys.modules


@pytest.mark.parametrize(
    ("code", "code_of_error", "said"),
    [
        ("1/0", "task.unknown", "ZeroDivisionError"),
        ("THING = 1", "task.unknown", "is no Runnable"),
        ("raise SystemExit(3)", "task.unknown", "SystemExit: 3"),
        ("import os; os._exit(3)", "task.exit", "The process that imported brought:THING ended with exit status 3"),
        ("while True: pass", "task.load", "was not imported within 0.5 seconds"),
    ],
)
async def test_code_that_cannot_even_be_imported_costs_its_task_alone(
    imported: Path, runs: PreparedRunnables, monkeypatch: pytest.MonkeyPatch, code: str, code_of_error: str, said: str
) -> None:
    monkeypatch.setattr(task_process, "LOAD_SECONDS", 0.5 if "while" in code else 60.0)
    imported.write_text(code)
    with pytest.raises((TaskRefused, TaskFailed), match=said) as failed:
        async with runs.prepare("brought:THING", {}, 1):
            pass
    assert failed.value.code == code_of_error


async def test_a_name_that_stands_for_nothing_starts_no_process(runs: PreparedRunnables) -> None:
    for look in (runs.version_of("comand"), _prepared(runs, "comand")):
        with pytest.raises(TaskRefused, match=r"comand.*command"):
            await look


async def _prepared(runs: PreparedRunnables, name: str) -> None:
    async with runs.prepare(name, {}, 1):
        pass


async def test_a_stage_cannot_be_prepared_without_a_gateway(runs: PreparedRunnables) -> None:
    with pytest.raises(NotRunning):
        await _prepared(runs, "receive")
