"""Commands on job queue entries, on a real database."""

from pathlib import Path

from tests.unit.cli.conftest import Cli

TIDY = """\
run: command
with: {command: [tidy, "${NAME:-x}"]}
on: [monday, friday]
from: "22:00"
attempts: 3
"""


def add(cli: Cli, folder: Path, *words: str, text: str = TIDY) -> Path:
    file = folder / "entry.yaml"
    file.write_text(text)
    result = cli.run("entries", "add", str(file), *words)
    assert result.exit_code == 0, result.output
    return file


def test_an_entry_is_added_on_hold_changed_by_what_is_shown_and_set_to_ready(
    cli: Cli, as_ann: None, tmp_path: Path
) -> None:
    file = add(cli, tmp_path, "--name", "tidy")
    assert cli.json("entries", "show", "tidy")["entry"]["status"] == "on_hold"
    section = cli.run("entries", "show", "tidy", "--yaml").stdout
    assert "${NAME:-x}" in section
    file.write_text(section.replace("monday", "tuesday"))
    assert cli.run("entries", "edit", "tidy", str(file)).exit_code == 0
    assert cli.run("entries", "ready", "tidy").exit_code == 0
    found = cli.json("entries", "show", "tidy")
    assert (found["entry"]["status"], found["entry"]["user"]) == ("ready", "ann")
    assert found["entry"]["repeats"] == "Tue, Fri, once a day, 22:00- UTC"
    assert found["definition"]["parameters_version"] == 1
    assert [one["name"] for one in cli.json("entries", "mine")["entries"]] == ["tidy"]


def test_what_stands_in_the_way_is_told(cli: Cli, as_ann: None, tmp_path: Path) -> None:
    file = add(cli, tmp_path, "--name", "tidy", "--ready")
    result = cli.run("entries", "edit", "tidy", str(file))
    assert result.exit_code == 1
    assert "Put it on hold first." in result.stderr
    file.write_text(TIDY + "timeout_seconds: 172801\n")
    result = cli.run("entries", "add", str(file))
    assert result.exit_code == 1
    assert f"{file}:6: timeout_seconds: must be at most 172800" in result.stderr
