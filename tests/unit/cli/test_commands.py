"""Exit codes, usage, and the commands that do something."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.cli import main
from gateway.cli.main import commands
from tests.unit.cli.conftest import Cli


def test_help_names_every_command() -> None:
    shown = CliRunner().invoke(commands(), ["--help"]).stdout
    for command in (
        "init", "run", "check", "schema", "submit", "ports", "queue", "exceptions", "history", "status", "db", "watch",
        "demo", "version", "jobs", "tasks", "runs", "groups", "servers", "alerts", "lanes",
    ):  # fmt: skip
        assert command in shown


@pytest.mark.parametrize(
    "words", [["nonsense"], ["queue", "list", "--status", "lost"], ["submit", "--port", "orders"], ["queue", "show"]]
)
def test_wrong_usage_is_exit_code_2(words: list[str]) -> None:
    assert CliRunner().invoke(commands(), words).exit_code == 2


def test_known_error_is_one_line_and_exit_code_1(cli: Cli) -> None:
    result = cli.run("queue", "list", "--port", "order")
    assert result.exit_code == 1
    assert result.stderr == "Error: there is no port 'order'; did you mean orders?\n"


@pytest.mark.parametrize("reference", ["17", "44920385-3194-498F-8AC7-438F3632DF51", "x", "{", "9" * 40])
def test_message_that_is_not_there_is_a_known_error(cli: Cli, reference: str) -> None:
    result = cli.run("history", "show", reference)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")


def test_exception_that_is_not_there_is_a_known_error(cli: Cli) -> None:
    assert cli.run("exceptions", "show", "1").exit_code == 1


def test_bug_is_exit_code_3_with_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> None:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr(main, "guard", lambda _: broken)
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == 3
    assert "ZeroDivisionError: ours" in capsys.readouterr().err


def test_limit_of_the_machine_is_a_known_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def limited() -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(main, "guard", lambda _: limited)
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == 1
    assert capsys.readouterr().err.startswith("Error: this process may not open more than ")


def test_interruption_is_exit_code_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(main, "guard", lambda _: interrupted)
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == 130


def test_colours_are_off_when_nobody_looks(cli: Cli) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "gateway.cli.main", "ports", "--config", str(cli.config)],
        capture_output=True, text=True, check=True, env={**os.environ, "TERM": "xterm-256color"},
    )  # fmt: skip
    assert "orders" in result.stdout
    assert "\x1b" not in result.stdout + result.stderr


def test_version_as_json() -> None:
    shown = json.loads(CliRunner().invoke(commands(), ["version", "--json"]).stdout)
    assert shown.keys() == {"version", "python"}


def test_schema_is_json_schema(tmp_path: Path) -> None:
    target = tmp_path / "gateway.schema.json"
    result = CliRunner().invoke(commands(), ["schema", "--output", str(target)])
    assert result.exit_code == 0
    assert json.loads(target.read_text())["$schema"].startswith("https://json-schema.org/")
    assert json.loads(CliRunner().invoke(commands(), ["schema"]).stdout) == json.loads(target.read_text())


def test_new_site_passes_its_check(tmp_path: Path) -> None:
    folder = tmp_path / "site"
    assert CliRunner().invoke(commands(), ["init", str(folder)]).exit_code == 0
    result = subprocess.run(
        [sys.executable, "-m", "gateway.cli.main", "check", "--json"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    found = json.loads(result.stdout)
    assert [one for one in found["findings"] if one["verdict"] == "error"] == []
    assert (result.returncode, found["ok"]) == (0, True)
    assert {"store", "schemas", "samples", "service Hours", "port timesheets"} <= {
        o["subject"] for o in found["findings"]
    }


def test_init_leaves_a_folder_with_content_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    result = CliRunner().invoke(commands(), ["init", str(tmp_path)])
    assert result.exit_code == 1
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_check_tells_all_problems_with_their_lines(cli: Cli) -> None:
    text = cli.config.read_text().replace("operations:", "operatons:", 1)
    cli.config.write_text(text + "nonsense: 1\n")
    result = cli.run("check")
    assert result.exit_code == 1
    assert "config.yaml:10: ports.orders.operatons: unknown key; did you mean 'operations'?" in result.stderr
    assert "config.yaml:16: nonsense: unknown key" in result.stderr
    assert "problems." in result.stderr


def test_check_tells_where_a_folder_is_wrong(cli: Cli) -> None:
    (cli.config.parent / "in").rmdir()
    (cli.config.parent / "in").write_text("a file")
    result = cli.run("check", "--json")
    errors = [one for one in json.loads(result.stdout)["findings"] if one["verdict"] == "error"]
    assert result.exit_code == 1
    assert {(one["path"], one["line"]) for one in errors} == {("ports.orders.receive.folder", 8)}


def test_check_says_which_folders_other_nodes_cannot_reach(cli: Cli) -> None:
    (orders,) = [one for one in cli.json("check")["findings"] if one["subject"] == "port orders"]
    assert "work and staging in this node's data folder" in orders["text"]
    text = cli.config.read_text()
    cli.config.write_text(text.replace("{folder: ./in}", "{folder: ./in, work: ./w, archive: ./a, error: ./e}"))
    (orders,) = [one for one in cli.json("check")["findings"] if one["subject"] == "port orders"]
    assert "; staging in this node's data folder" in orders["text"]


def test_check_names_a_handler_that_cannot_be_imported(cli: Cli) -> None:
    text = cli.config.read_text().replace(
        "ports:", "  Mine: {kind: python, operations: {go: no_such_module:go}}\nports:", 1
    )
    cli.config.write_text(text)
    result = cli.run("check")
    assert result.exit_code == 1
    assert "no_such_module" in result.stdout


def test_check_names_a_document_without_schema(cli: Cli) -> None:
    cli.config.write_text(cli.config.read_text().replace("document: SalesOrder", "document: Unheard"))
    result = cli.run("check")
    assert result.exit_code == 1
    assert "Unheard" in result.stdout


def test_submitted_file_is_whole_and_never_overwrites(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    for folder in ("one", "two"):
        (tmp_path / folder / "order.xml").write_text(f"<{folder}/>")
    sources = [str(tmp_path / folder / "order.xml") for folder in ("one", "two")]
    submitted = cli.json("submit", *sources, "--port", "orders")["submitted"]
    targets = [Path(one["target"]) for one in submitted]
    assert [path.read_text() for path in targets] == ["<one/>", "<two/>"]
    assert sorted(path.name for path in (tmp_path / "in").iterdir()) == ["order-2.xml", "order.xml"]


def test_done_marker_follows_the_file_when_the_port_wants_one(cli: Cli, tmp_path: Path) -> None:
    cli.config.write_text(cli.config.read_text().replace("{folder: ./in}", "{folder: ./in, done_marker: true}"))
    (tmp_path / "order.xml").write_text("<a/>")
    cli.run("submit", str(tmp_path / "order.xml"), "--port", "orders")
    assert sorted(path.name for path in (tmp_path / "in").iterdir()) == ["order.xml", "order.xml.done"]


@pytest.mark.parametrize(("name", "port"), [("order.txt", "orders"), ("~order.xml", "orders"), ("order.xml", "asleep")])
def test_file_that_would_not_be_taken_is_not_put_there(cli: Cli, tmp_path: Path, name: str, port: str) -> None:
    (tmp_path / name).write_text("<a/>")
    result = cli.run("submit", str(tmp_path / name), "--port", port)
    assert result.exit_code == 1
    assert list((tmp_path / "in").iterdir()) == list((tmp_path / "asleep").iterdir()) == []


def test_waiting_ends_when_the_time_is_over(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "order.xml").write_text("<a/>")
    result = cli.run("submit", str(tmp_path / "order.xml"), "--port", "orders", "--wait", "--timeout", "0.3")
    assert result.exit_code == 1
    assert "not taken within 0.3 seconds" in result.stdout


def test_waiting_without_a_gateway_is_refused_before_anything_is_written(cli: Cli, tmp_path: Path) -> None:
    lines = [line for line in cli.config.read_text().splitlines() if not line.startswith("store:")]
    cli.config.write_text("\n".join(lines))
    (tmp_path / "order.xml").write_text("<a/>")
    result = cli.run("submit", str(tmp_path / "order.xml"), "--port", "orders", "--wait")
    assert result.exit_code == 1
    assert "no gateway is running" in result.stderr
    assert list((tmp_path / "in").iterdir()) == []


def test_database_says_its_version(cli: Cli) -> None:
    info = cli.json("db", "info")
    assert info["current"] is True
    assert info["version"] == info["known"]
    assert cli.json("db", "migrate") == {"applied": []}


def test_the_version_is_told_as_people_ask_for_it() -> None:
    asked = [CliRunner().invoke(commands(), [words]) for words in ("--version", "version")]
    assert {one.exit_code for one in asked} == {0}
    assert asked[0].stdout == asked[1].stdout
    assert asked[0].stdout.startswith("gateway ")
