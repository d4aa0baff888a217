"""How commands are made of coroutine functions: their options, and what they ask before."""

from dataclasses import dataclass
from typing import Annotated, Any

import pytest
import typer
from typer.main import get_command
from typer.testing import CliRunner

from gateway.cli.commands import Answer, Commands
from gateway.cli.options import PortOption
from gateway.operations.principal import OperatorSession

app = Commands("Things.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What somebody wants; the first is no option."""

    inner: str = "kept"
    port: PortOption = None
    sizes: Annotated[list[int] | None, typer.Option("--size")] = None

    def __post_init__(self) -> None:
        if self.sizes and self.port is None:
            raise typer.BadParameter("a size needs --port")


@app.query("list", "partition", "mine")
async def list_things(session: OperatorSession, wanted: Wanted) -> Answer:
    """List things."""
    return Answer([session.actor, wanted])


@app.action("drop", "yes")
async def drop(session: OperatorSession, name: Annotated[str, typer.Argument()]) -> Answer:
    """Drop a thing."""
    return Answer([session.actor, name])


def options_of(name: str) -> list[str]:
    command: Any = get_command(app)
    return [parameter.name for parameter in command.commands[name].params]


def test_a_record_stands_for_the_options_of_its_fields() -> None:
    assert options_of("list") == ["port", "sizes", "partition", "mine", "config", "as_json"]


def test_an_action_takes_a_reason() -> None:
    assert options_of("drop") == ["name", "yes", "reason", "config", "as_json"]


def test_a_record_refuses_what_does_not_go_together_before_anything_is_opened(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # there is no configuration here
    result = CliRunner().invoke(app, ["list", "--size", "3"])
    assert result.exit_code == 2 and "a size needs --port" in result.output
