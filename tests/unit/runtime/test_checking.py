"""A configuration is checked with the runnables of its jobs, which the process that asks never imports."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.kernel.errors import ConfigError
from gateway.runtime import checking
from gateway.runtime.checking import parse_checked
from gateway.workers.launcher import Launcher

CONFIG = """ports: {}
jobs:
  nightly:
    tasks:
      copy: {run: "asked:COPY", with: {table: stock}}
"""
CODE = """
from pydantic import BaseModel
from gateway.contracts.task import Runnable

class Parameters(BaseModel):
    table: str

COPY = Runnable(name="copy", description="copies", parameters=Parameters, make=print)
"""


@pytest.fixture
def module(tmp_path: Path) -> Iterator[Path]:
    """The file of a module that nobody has imported; ask for `launcher` after it."""
    sys.path.append(str(tmp_path))
    yield tmp_path / "asked.py"
    sys.path.remove(str(tmp_path))
    assert "asked" not in sys.modules


async def test_good_configuration_comes_back_as_settings(module: Path, launcher: Launcher) -> None:
    module.write_text(CODE)
    settings = await parse_checked(launcher, module.with_name("config.yaml"), CONFIG.encode())
    assert settings.jobs["nightly"].tasks["copy"].run == "asked:COPY"


async def test_everything_that_is_wrong_is_told_with_its_line(module: Path, launcher: Launcher) -> None:
    module.write_text(CODE)
    content = CONFIG.replace("table: stock", "name: stock").replace("ports: {}", "port: {}")
    with pytest.raises(ConfigError) as refused:
        await parse_checked(launcher, module.with_name("config.yaml"), content.encode())
    found = [(problem.line, problem.path) for problem in refused.value.problems]
    assert (1, "port") in found and (5, "jobs.nightly.tasks.copy.with.table") in found


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import os; os._exit(3)", "ended the process that did it, which ended with exit status 3"),
        ("while True: pass", "took more than 0.5 seconds"),
        ("raise RuntimeError('no')", "RuntimeError: no"),
    ],
)
async def test_code_that_cannot_be_imported_is_a_problem_of_the_configuration(
    module: Path, launcher: Launcher, monkeypatch: pytest.MonkeyPatch, code: str, said: str
) -> None:
    monkeypatch.setattr(checking, "CHECK_SECONDS", 0.5 if "while" in code else 60.0)
    module.write_text(code)
    with pytest.raises(ConfigError, match=said) as refused:
        await parse_checked(launcher, module.with_name("config.yaml"), CONFIG.encode())
    (problem,) = refused.value.problems
    assert problem.path.startswith("jobs")
