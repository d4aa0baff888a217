"""What somebody can do is said as a command that exists."""

import shlex
from typing import Any

import pytest
from typer.main import get_command

from gateway.cli import main
from gateway.cli.remedies import COMMANDS, command, worded
from gateway.kernel.remedy import Action, Remedy, do, mend, wait

TARGETS = ("1", "2", "3")
OUTSIDE = {Action.NOTHING, Action.MEND}


def test_every_action_of_somebody_has_a_command() -> None:
    assert COMMANDS.keys() == set(Action) - OUTSIDE


@pytest.mark.parametrize("action", COMMANDS)
def test_every_command_exists_with_its_options(action: Action) -> None:
    most = COMMANDS[action].count("{")
    for targets in {most, most - COMMANDS[action].count("[")}:
        typed = command(Remedy(action=action, target=TARGETS[:targets], reason=""))
        assert typed is not None and not set("{}[]") & set(typed)
        words = shlex.split(typed)[1:]
        found: Any = get_command(main.commands())
        while words and words[0] in getattr(found, "commands", {}):
            found = found.commands[words.pop(0)]
        known = {option for parameter in found.params for option in (*parameter.opts, *parameter.secondary_opts)}
        assert {word for word in words if word.startswith("--")} <= known
        assert not getattr(found, "commands", {}) or found.invoke_without_command


def test_a_target_that_is_missing_leaves_out_its_option() -> None:
    assert command(do(Action.LIST_QUEUE, then="")) == "gateway queue list"
    assert command(do(Action.LIST_QUEUE, "orders", then="")) == "gateway queue list --port orders"


def test_remedies_are_told_one_after_another() -> None:
    told = worded(mend("Mend it."), do(Action.RELEASE_MESSAGE, 17, then="It is tried again."), wait("Then it goes on."))
    assert told == "Mend it. `gateway queue release 17`: it is tried again. Then it goes on."


def test_a_target_can_be_pasted() -> None:
    assert command(do(Action.SUBMIT, "/a b/c.xml", "orders", then="")) == "gateway submit '/a b/c.xml' --port orders"
