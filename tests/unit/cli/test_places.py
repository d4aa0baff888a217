"""Commands on groups and servers, on a real database."""

from pathlib import Path

from tests.unit.cli.conftest import Cli


def test_groups_are_made_changed_listed_and_removed(cli: Cli) -> None:
    assert cli.json("groups", "set", "heavy", "--priority", "low")["groups"][0]["concurrency"] == 0
    assert cli.run("groups", "set", "heavy", "--concurrency", "-1").exit_code == 0
    heavy = {
        "name": "heavy", "description": "heavy", "priority": "low", "concurrency": -1, "servers": [],
        "source": "operator",
    }  # fmt: skip
    assert cli.json("groups", "list")["groups"][1] == heavy
    assert "paused" in cli.run("groups", "list").stdout
    assert cli.run("groups", "delete", "heavy").exit_code == 0
    assert [group["name"] for group in cli.json("groups", "list")["groups"]] == ["default"]


def test_the_default_group_is_changed_under_its_name(cli: Cli) -> None:
    assert cli.json("groups", "set", "default", "--priority", "high")["groups"][0]["name"] == "default"
    (group,) = cli.json("groups", "list")["groups"]
    assert group["priority"] == "high"


def test_a_group_in_use_or_unknown_is_not_removed(cli: Cli) -> None:
    cli.run("groups", "set", "heavy")
    cli.run("servers", "set", "app-1", "--groups", "heavy,default")
    result = cli.run("groups", "delete", "heavy")
    assert result.exit_code == 1
    assert result.stderr == "Error: the batch group heavy is in use by server app-1: take it away there first\n"
    unknown = cli.run("groups", "delete", "hevy")
    assert unknown.stderr == "Error: there is no batch group 'hevy'; did you mean 'heavy'?\n"


def test_servers_are_set_drained_and_resumed(cli: Cli) -> None:
    cli.run("groups", "set", "print")
    (server,) = cli.json(
        "servers", "set", "app-1", "--groups", "print,default", "--reserved", "25", "--hours",
        "2 08:00-18:00 Europe/Copenhagen", "--hours", "20 18:00-07:30",
    )["servers"]  # fmt: skip
    assert (server["groups"], server["reserved_percent"], server["running"]) == (["default", "print"], 25, False)
    assert [(row["threads"], row["zone"]) for row in server["hours"]] == [(2, "Europe/Copenhagen"), (20, "UTC")]
    assert "2 08:00-18:00 Europe/Copenhagen" in cli.run("servers", "list").stdout
    assert cli.json("servers", "drain", "app-1")["servers"][0]["draining"] is True
    assert cli.json("servers", "resume", "app-1")["servers"][0]["draining"] is False
    (server,) = cli.json("servers", "set", "app-1", "--threads", "4", "--hours", "none")["servers"]
    assert (server["threads"], server["hours"], server["groups"]) == (4, [], ["default", "print"])


def test_a_group_that_loses_its_last_server_is_told(cli: Cli, tmp_path: Path) -> None:
    section = tmp_path / "job.yaml"
    section.write_text("group: print\ntasks: {a: {run: command, with: {command: ['true']}}}\n")
    cli.run("groups", "set", "print")
    cli.run("groups", "set", "heavy")
    cli.run("servers", "set", "app-1", "--groups", "print,default")
    assert cli.run("jobs", "create", "printing", str(section)).exit_code == 0
    result = cli.run("servers", "set", "app-1", "--groups", "heavy")
    assert (result.exit_code, result.stderr) == (0, "No server serves print now: tasks of it wait.\n")


def test_mistakes_about_servers_are_told(cli: Cli) -> None:
    assert cli.run("servers", "set", "app-1", "--hours", "18:00-19:00").exit_code == 2
    assert cli.run("servers", "set", "app-1", "--hours", "2 18:00-19:00 Mars").exit_code == 2
    assert cli.run("servers", "set", "app-1", "--reserved", "12").exit_code == 2
    assert cli.run("servers", "drain", "app-1").stderr == "Error: there is no server 'app-1'; none has run yet\n"
    unknown = cli.run("servers", "set", "app-1", "--groups", "print")
    assert unknown.stderr == "Error: there is no batch group 'print'; there are default\n"


def test_the_group_of_all_other_tasks_cannot_be_removed(cli: Cli) -> None:
    refused = cli.run("groups", "delete", "default")
    assert refused.exit_code == 1
    assert refused.stderr == "Error: the group default is that of all tasks without a group: it cannot be removed\n"
