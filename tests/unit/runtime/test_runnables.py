"""What a job names is found, its parameters filled and checked; what comes from outside is not shown."""

import asyncio
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.config.models_base import Count, Options, Text
from gateway.contracts.task import Runnable, TaskContext
from gateway.domain.errors import TaskFailed, TaskRefused
from gateway.runtime.runnables import KnownRunnables, NotRunning, shipped, without_gateway
from gateway.services.standstill import Standstill
from tests.occasion import Occasion


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


@pytest.fixture
def runnables(tmp_path: Path) -> KnownRunnables:
    environ = {"TOKEN": "hunter2-hunter2", "TIMES": "3"}
    return KnownRunnables([*shipped(tmp_path, without_gateway), TELL], environ=environ, base=tmp_path)


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


async def test_what_comes_from_outside_is_filled_and_not_shown(runnables: KnownRunnables) -> None:
    prepared = runnables.prepare("tell", {"token": "${TOKEN}", "times": "${TIMES}"}, 1)
    occasion = Occasion()
    with pytest.raises(TaskFailed, match="hunter2-hunter2 was refused"):
        await prepared.handler.run(occasion.context)
    assert prepared.mask("using hunter2-hunter2, 3 times") == "using ***, 3 times"


class Chokes(Tell):
    def __init__(self, parameters: Parameters) -> None:
        raise KeyError(parameters.token)


def test_a_runnable_that_cannot_be_made_does_not_show_what_it_was_given(tmp_path: Path) -> None:
    chokes = replace(TELL, name="chokes", make=Chokes)
    known = KnownRunnables([chokes], environ={"TOKEN": "hunter2-hunter2"}, base=tmp_path)
    with pytest.raises(TaskRefused, match=r"chokes cannot be made of its parameters: KeyError: '\*\*\*'") as refused:
        known.prepare("chokes", {"token": "${TOKEN}"}, 1)
    assert refused.value.__suppress_context__ and refused.value.code == "task.unpack"


@pytest.mark.parametrize("parameters", [{"token": "${NOT_SET}"}, {}, {"token": "x", "more": 1}])
def test_parameters_that_are_not_in_order_are_refused(runnables: KnownRunnables, parameters: dict[str, object]) -> None:
    for look in (lambda: runnables.prepare("tell", parameters, 1), lambda: runnables.check("tell", parameters)):
        with pytest.raises(TaskRefused) as refused:
            look()
        assert refused.value.code == "task.unpack"


def test_an_unknown_version_is_refused(runnables: KnownRunnables) -> None:
    with pytest.raises(TaskRefused, match="version 2 of command"):
        runnables.prepare("command", {"command": ["true"]}, 2)


def test_paths_are_taken_from_the_folder_of_the_configuration(runnables: KnownRunnables, tmp_path: Path) -> None:
    found = runnables.find("sql").check({"file": "nightly.sql"}, base=tmp_path)
    assert getattr(found, "file") == tmp_path / "nightly.sql"  # noqa: B009


async def computes_on_the_loop() -> None:
    """Never awaits anything, and never ends by itself."""
    while True:
        pass


async def awaits() -> dict[str, int]:
    await asyncio.sleep(0)
    return {"steps": 1}


class Computes:
    """A runnable of one's own that holds the event loop."""

    def __init__(self, parameters: Parameters) -> None:
        pass

    async def run(self, context: TaskContext) -> None:
        """Compute."""
        await computes_on_the_loop()


COMPUTES = Runnable(name="computes", description="computes", parameters=Parameters, make=Computes)
_HERE = __name__


@pytest.mark.parametrize(
    ("name", "parameters", "told"),
    [
        ("python", {"call": f"{_HERE}:computes_on_the_loop"}, f"{_HERE}:computes_on_the_loop"),
        (f"{_HERE}:COMPUTES", {"token": "x"}, f"{_HERE}:COMPUTES"),
    ],
    ids=["function", "runnable"],
)
async def test_code_of_the_users_that_holds_the_event_loop_is_interrupted(
    tmp_path: Path, name: str, parameters: dict[str, object], told: str
) -> None:
    with Standstill(standstill=1.0) as standstill:
        known = KnownRunnables(shipped(tmp_path, without_gateway), environ={}, base=tmp_path, standstill=standstill)
        with pytest.raises(TaskFailed, match=f"{told} held the event loop") as failed:
            await known.prepare(name, parameters, 1).handler.run(Occasion().context)
    assert failed.value.code == "task.blocks"


async def test_code_of_the_users_that_awaits_is_left_alone(tmp_path: Path) -> None:
    occasion = Occasion()
    with Standstill(standstill=1.0) as standstill:
        known = KnownRunnables(shipped(tmp_path, without_gateway), environ={}, base=tmp_path, standstill=standstill)
        await known.prepare("python", {"call": f"{_HERE}:awaits"}, 1).handler.run(occasion.context)
    assert occasion.tally.counts == {"steps": 1}


def test_a_stage_cannot_be_prepared_without_a_gateway(runnables: KnownRunnables) -> None:
    with pytest.raises(NotRunning):
        runnables.prepare("receive", {}, 1)
