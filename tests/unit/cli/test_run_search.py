"""Finding runs on the command line; they are carried out by a server of this test."""

import pytest

from gateway.batch.rules.transitions import Attempt
from gateway.batch.store.ending import Result
from gateway.cli.run_search import FOUND, SNIPPET, marked
from tests.unit.cli.conftest import Cli
from tests.unit.cli.test_runs import work


@pytest.fixture
def runs(nightly: Cli, database_url: str) -> list[int]:
    """Two runs of `nightly`, the newest first; `export` fails with a deadlock in the older one."""
    numbers: list[int] = []
    deadlock = Result(attempt=Attempt.ERROR, code="sql.transient", error="Deadlock detected (40P01)")
    for export in (deadlock, Result(attempt=Attempt.ENDED)):
        numbers.insert(0, nightly.json("jobs", "run", "nightly")["run"])
        work(nightly, database_url, export, Result(attempt=Attempt.ENDED))
    return numbers


def test_a_run_is_found_by_its_error_and_shown_with_it(nightly: Cli, runs: list[int]) -> None:
    (found,) = nightly.json("runs", "search", "deadlock", "40p01")["runs"]
    assert found["id"] == runs[1]
    assert found["matches"] == [
        {"place": "error", "task": "export", "attempt": None, "at": None, "text": "Deadlock detected (40P01)"}
    ]
    head, match = nightly.run("runs", "search", "deadlock 40P01").stdout.splitlines()
    assert head.startswith(f"{runs[1]}  nightly  error  ")
    assert match == "    error export  Deadlock detected (40P01)"


def test_runs_are_found_by_what_they_said_and_page_by_page(nightly: Cli, runs: list[int]) -> None:
    page = nightly.json("runs", "search", "says", "--limit", "1")
    assert [run["id"] for run in page["runs"]] == runs[:1]
    assert {match["place"] for match in page["runs"][0]["matches"]} == {"log"}
    shown = nightly.run("runs", "search", "says", "--limit", "1").stdout
    assert "export says \ufffd[31mhello" in shown and f"--before {runs[0]} goes on from there." in shown
    rest = nightly.json("runs", "search", "says", "--before", str(page["before"]))
    assert ([run["id"] for run in rest["runs"]], rest["before"]) == (runs[1:], None)


def test_the_list_is_narrowed(nightly: Cli, runs: list[int]) -> None:
    for options, count in (
        ("--since 1h", 2),
        ("--until yesterday", 0),
        ("--since 1h --until now --by ended", 2),
        ("--status error --status ended", 2),
        ("--task-status error", 1),
        ("--server app-2", 0),
        ("--user ann --job nightly", 2),
        ("--file undo.* --mine", 1),
    ):
        assert len(nightly.json("runs", "list", *options.split())["runs"]) == count, options


def test_what_cannot_be_searched_for_is_refused(nightly: Cli) -> None:
    assert nightly.run("runs", "search", "=", "!").stderr == "Error: a text to search for needs a letter or a digit\n"
    assert "Error: 'soon' is no moment; write one like 2h, " in nightly.run("runs", "list", "--since", "soon").stderr
    assert "no run 999 to go on from" in nightly.run("runs", "list", "--before", "999").stderr
    assert nightly.run("runs", "search", "nothing").stdout == "No run matches.\n"


def test_what_was_found_is_set_off_and_a_long_line_cut_around_it() -> None:
    text = marked("x " * 200 + "Copied\x1b ABC.xml " + "y " * 200, ["abc.XML", "copied"])
    assert [text.plain[span.start : span.end] for span in text.spans if span.style == FOUND] == ["Copied", "ABC.xml"]
    assert text.plain.startswith("… x") and text.plain.endswith("y…") and "\\x1b" in text.plain
    assert len(text.plain) <= SNIPPET + len("\\x1b……")
    assert marked("short", ["o"]).plain == "short"
