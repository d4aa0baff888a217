"""Commands on tasks, runs and alerts; the tasks are carried out by a server of this test, or by a person."""

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest

from gateway.batch.rules.definition import HoursDefinition, ServerDefinition
from gateway.batch.rules.transitions import Attempt
from gateway.batch.store.ending import Result, TaskEnd, end_tasks
from gateway.batch.store.run_log import StoredLog, keep_file
from gateway.batch.store.servers import put_server, register_server
from gateway.batch.store.tasks import claim_tasks
from gateway.cli import common
from gateway.db.data_folder import Use
from gateway.db.open import open_store
from gateway.kernel.errors import JobRefused
from gateway.messaging.queue.leases import start_incarnation
from gateway.operations.jobs import RunOutcome, run_outcome
from tests.factories import operator
from tests.unit.cli.conftest import Cli


def test_tasks_are_listed_shown_held_and_released(nightly: Cli) -> None:
    listed = nightly.json("tasks", "list", "nightly")["tasks"]
    assert [(task["name"], task["after"]) for task in listed] == [
        ("export", []), ("tell", ["export: ended"]), ("undo", ["export: error"]),
    ]  # fmt: skip
    assert nightly.json("tasks", "show", "nightly", "tell")["parameters"] == {"url": "https://example.com/${NAME:-x}"}
    assert nightly.json("tasks", "hold", "nightly", "tell")["task"]["held"] is True
    assert nightly.run("tasks", "hold", "nightly", "tell").stderr == (
        "Error: Task 'tell' is on hold already. Possible now: release.\n"
    )
    assert nightly.json("tasks", "release", "nightly", "tell")["task"]["held"] is False
    assert nightly.run("tasks", "show", "nightly", "tel").stderr == (
        "Error: the job nightly has no task 'tel'; did you mean 'tell'?\n"
    )


def work(cli: Cli, url: str, *results: Result) -> None:
    """Be a server: claim one ready task for each result, say something, make a file, and end it so."""

    async def serve() -> None:
        async with open_store(url, cli.config.parent / "data", use=Use.RUN) as store:
            incarnation = await start_incarnation(store, str(store.node), "0.0.0")
            for result in results:
                now = datetime.now(UTC)
                (task,) = await claim_tasks(
                    store, server="app-1", incarnation=incarnation, groups=[""], free=1, reserved=0, idempotent=(),
                    chance=lambda: 0.5, now=now,
                )  # fmt: skip
                lines = StoredLog(store, task.run_id, task.id, task.attempt, lambda: datetime.now(UTC))
                lines.warning(f"{task.name} says \x1b[31mhello")
                await keep_file(store, task.run_id, task.id, f"{task.name}.txt", b"made by " + task.name.encode())
                await end_tasks(store, [TaskEnd(task=task, result=result, lines=lines.rest())], datetime.now(UTC))

    asyncio.run(serve())


@pytest.fixture
def failed_run(nightly: Cli, database_url: str) -> int:
    """A run of `nightly` by hand in which `export` failed and `undo` went well."""
    number: int = nightly.json("jobs", "run", "nightly")["run"]
    work(
        nightly, database_url, Result(attempt=Attempt.ERROR, code="task.failed", error="no connection"),
        Result(attempt=Attempt.ENDED, counts={"rows": 3}),
    )  # fmt: skip
    return number


def test_a_run_shows_its_tasks_with_attempts(nightly: Cli, failed_run: int) -> None:
    found = nightly.json("runs", "show", str(failed_run))
    assert (found["run"]["status"], found["run"]["cause"]) == ("error", "operator")
    assert {task["name"]: task["status"] for task in found["tasks"]} == {
        "export": "error", "tell": "not_run", "undo": "ended",
    }  # fmt: skip
    assert [attempt["outcome"] for attempt in found["attempts"]] == ["error", "ended"]
    shown = nightly.run("runs", "show", str(failed_run)).stdout
    assert "╍" in shown and "━" in shown and "no connection" in shown
    assert "undo  ended" in nightly.run("jobs", "show", "nightly").stdout


def test_runs_are_listed_by_job_status_and_page(nightly: Cli, failed_run: int) -> None:
    assert [run["id"] for run in nightly.json("runs", "list", "--job", "nightly")["runs"]] == [failed_run]
    assert nightly.json("runs", "list", "--status", "ended")["runs"] == []
    assert nightly.json("runs", "list", "--before", str(failed_run)) == {"runs": [], "before": None}
    assert nightly.json("runs", "list", "--partition", "other")["runs"] == []
    assert "no connection" in nightly.run("runs", "list").stdout
    assert nightly.run("runs", "show", str(failed_run), "--partition", "other").exit_code == 1


def test_what_tasks_said_and_made_is_shown_and_saved(nightly: Cli, failed_run: int, tmp_path: Path) -> None:
    lines = nightly.run("runs", "log", str(failed_run), "--follow").stdout.splitlines()
    assert [line.split(" ", 1)[1] for line in lines] == [
        "export export says \ufffd[31mhello",
        "undo undo says \ufffd[31mhello",
    ]
    said = [json.loads(line) for line in nightly.run("runs", "log", str(failed_run), "--json").stdout.splitlines()]
    assert [line["task"] for line in said] == ["export", "undo"]
    files = nightly.json("runs", "files", str(failed_run))["files"]
    assert [(file["name"], file["size_bytes"], file["task"]) for file in files] == [
        ("export.txt", 14, "export"), ("undo.txt", 12, "undo"),
    ]  # fmt: skip
    assert nightly.run("runs", "save", str(failed_run), "undo.txt", str(tmp_path)).exit_code == 0
    assert (tmp_path / "undo.txt").read_bytes() == b"made by undo"
    again = nightly.run("runs", "save", str(failed_run), "undo.txt", str(tmp_path))
    assert again.stderr == f"Error: {tmp_path}/undo.txt cannot be written: File exists\n"
    assert "it has: export.txt, undo.txt" in nightly.run("runs", "save", str(failed_run), "other.txt").stderr


@pytest.mark.parametrize("history", ["always", "never"])
def test_how_a_run_ended_is_known_whether_history_keeps_it_or_not(
    cli: Cli, database_url: str, as_ann: None, tmp_path: Path, history: str
) -> None:
    file = tmp_path / "j.yaml"
    file.write_text(f"history: {history}\ntasks: {{a: {{run: command, with: {{command: ['true']}}}}}}\n")
    assert cli.run("jobs", "create", "j", str(file)).exit_code == 0
    number = cli.json("jobs", "run", "j")["run"]

    async def outcome() -> RunOutcome | None:
        async with open_store(database_url, cli.config.parent / "data", use=Use.VISIT) as store:
            return await run_outcome(operator(store), "j", number)

    assert asyncio.run(outcome()) is None
    work(cli, database_url, Result(attempt=Attempt.ERROR, code="task.failed", error="no connection"))
    assert asyncio.run(outcome()) == RunOutcome(status="error", kept=history == "always")

    again = cli.json("jobs", "run", "j")["run"]
    assert again > number
    if history == "never":
        with pytest.raises(JobRefused, match=f"the run {number} of j has ended, and how is not known"):
            asyncio.run(outcome())


def test_a_run_whose_servers_are_outside_their_hours_says_when_they_open(nightly: Cli, database_url: str) -> None:
    number = str(nightly.json("jobs", "run", "nightly")["run"])

    async def serve() -> None:
        async with open_store(database_url, nightly.config.parent / "data", use=Use.RUN) as store:
            now = datetime.now(UTC)
            later = now + timedelta(hours=2)
            await register_server(store, "app-1", await start_incarnation(store, str(store.node), "0.0.0"), now)
            hours = HoursDefinition(threads=2, start=later.time(), end=(later + timedelta(hours=1)).time(), zone="UTC")
            await put_server(store, ServerDefinition(name="app-1", hours=(hours,)), now=now)

    asyncio.run(serve())
    shown = nightly.run("runs", "show", number).stdout
    assert "export waits for a server of the group default: none takes new tasks before" in shown


def test_a_run_is_cancelled_and_one_that_has_ended_is_not(nightly: Cli) -> None:
    number = str(nightly.json("jobs", "run", "nightly")["run"])
    assert "export waits for a server of the group default: none runs" in nightly.run("runs", "show", number).stdout
    assert nightly.run("jobs", "delete", "nightly", "--yes").exit_code == 1
    assert nightly.run("runs", "abort", number).exit_code == 1
    assert nightly.run("runs", "cancel", number).exit_code == 0
    assert nightly.json("runs", "show", number)["run"]["canceled_by"] == "ann"
    assert nightly.run("runs", "cancel", number).stderr == f"Error: the run {number} of nightly has ended: canceled\n"


def test_a_run_says_what_is_set_aside_until_when(nightly: Cli, database_url: str) -> None:
    number = str(nightly.json("jobs", "run", "nightly")["run"])

    async def start_too_often() -> None:
        connection = await asyncpg.connect(database_url)
        await connection.execute(
            "INSERT INTO class_starts (handler, since, starts, aside_until)"
            " SELECT unnest('{command,http}'::text[]), now(), 60, now() + interval '110 seconds'"
        )
        await connection.close()

    asyncio.run(start_too_often())
    shown = nightly.run("runs", "show", number).stdout
    assert "command was started 60 times within a minute and is deferred until " in shown
    assert "http was started" not in shown  # its task waits for another


OPERATOR = """\
tasks:
  look: {run: command, with: {command: [echo, looked]}, location: operator}
  fail: {run: command, with: {command: ["false"]}, location: operator, private: true, after: look}
"""


@pytest.fixture
def tasks_for_people(cli: Cli, as_ann: None, tmp_path: Path) -> Iterator[Cli]:
    """A run of the job `hand`, whose first task waits for a person."""
    file = tmp_path / "hand.yaml"
    file.write_text(OPERATOR)
    cli.run("jobs", "create", "hand", str(file))
    cli.run("jobs", "run", "hand")
    yield cli


def test_a_person_runs_what_waits_for_people(tasks_for_people: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common, "account_of", lambda _: "ben")
    assert [task["name"] for task in tasks_for_people.json("tasks", "list", "--waiting")["tasks"]] == ["look"]
    assert tasks_for_people.json("tasks", "run", "--private")["tasks"] == []
    (ran,) = tasks_for_people.json("tasks", "run")["tasks"]
    assert (ran["name"], ran["status"], ran["run_by"]) == ("look", "ended", "ben")
    assert tasks_for_people.json("tasks", "list", "--waiting")["tasks"] == []


def test_private_tasks_are_run_by_their_owner_alone(tasks_for_people: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks_for_people.run("tasks", "run")
    monkeypatch.setattr(common, "account_of", lambda _: "ben")
    assert tasks_for_people.json("tasks", "run")["tasks"] == []
    monkeypatch.setattr(common, "account_of", lambda _: "ann")
    result = tasks_for_people.run("tasks", "run", "--private")
    assert result.exit_code == 1
    assert "fail" in result.stdout and "error" in result.stdout
    assert tasks_for_people.json("jobs", "show", "hand")["job"]["last_outcome"] == "error"


def test_what_tasks_may_run_is_listed_with_its_parameters(cli: Cli) -> None:
    kinds = {kind["name"]: kind for kind in cli.json("tasks", "kinds")["kinds"]}
    assert {"receive", "inbound", "outbound", "send", "command", "http", "sql", "python", "housekeeping"} <= set(kinds)
    (command,) = [one for one in kinds["command"]["parameters"] if one["name"] == "command"]
    assert (command["type"], command["default"]) == ("array", "required")
    assert "Program and arguments" in cli.run("tasks", "kinds", "command").stdout
    assert cli.run("tasks", "kinds", "comand").stderr.startswith("Error: There is nothing named 'comand' to run")


def test_a_job_that_somebody_works_on_is_not_requeued(nightly: Cli) -> None:
    assert "it cannot be requeued by force" in nightly.run("jobs", "requeue", "nightly").stderr


def test_status_names_the_jobs_that_do_not_start_by_themselves(nightly: Cli) -> None:
    assert [job["name"] for job in nightly.json("status")["jobs"]] == ["nightly"]
    assert "Jobs that do not start by themselves" in nightly.run("status").stdout
    nightly.run("jobs", "release", "nightly")
    assert nightly.json("status")["jobs"] == []


def test_nothing_that_waits_is_said_so(cli: Cli) -> None:
    assert cli.run("tasks", "run").stdout == "No task waits for you.\n"
    assert cli.run("tasks", "list", "--waiting").stdout == "No task waits for you.\n"


def test_alerts_are_set_replaced_listed_and_removed(nightly: Cli) -> None:
    nightly.run("alerts", "set", "nightly", "--on", "error", "--on", "ended", "--by", "email")
    nightly.run("alerts", "set", "nightly", "--on", "error")
    nightly.run("alerts", "set", "--port", "orders", "--on", "overdue", "--user", "ben")
    assert nightly.json("alerts", "list")["rules"] == [
        {"job": "nightly", "port": None, "user": "ann", "on": ["error"], "by": ["popup"], "source": "operator"},
        {"job": None, "port": "orders", "user": "ben", "on": ["overdue"], "by": ["popup"], "source": "operator"},
    ]
    assert [rule["user"] for rule in nightly.json("alerts", "list", "--mine")["rules"]] == ["ann"]
    assert nightly.run("alerts", "remove", "nightly").exit_code == 0
    assert nightly.run("alerts", "remove", "nightly").exit_code == 1
    assert nightly.run("alerts", "set", "nightly", "--port", "orders").exit_code == 2
    assert nightly.run("alerts", "set", "--port", "order").exit_code == 1


def test_the_inbox_tells_of_a_failed_run_until_it_is_read(nightly: Cli, database_url: str) -> None:
    nightly.run("alerts", "set", "nightly", "--on", "error")
    nightly.run("jobs", "run", "nightly")
    work(nightly, database_url, Result(attempt=Attempt.ERROR, error="no"), Result(attempt=Attempt.ENDED))
    (alert,) = nightly.json("alerts", "inbox")["alerts"]
    assert alert["subject"] == "Job nightly failed"
    assert "Job nightly failed" in nightly.run("alerts", "read", str(alert["id"])).stdout
    assert nightly.json("alerts", "inbox")["alerts"] == []
    assert [one["id"] for one in nightly.json("alerts", "inbox", "--all")["alerts"]] == [alert["id"]]
    assert nightly.run("alerts", "read", "999").exit_code == 1
    assert nightly.run("alerts", "read").exit_code == 2


def test_a_failed_alert_is_sent_again_when_somebody_asks(nightly: Cli, database_url: str) -> None:
    nightly.run("alerts", "set", "nightly", "--on", "error", "--by", "email")
    nightly.run("jobs", "run", "nightly")
    work(nightly, database_url, Result(attempt=Attempt.ERROR, error="no"), Result(attempt=Attempt.ENDED))
    (alert,) = nightly.json("alerts", "sent")["alerts"]
    assert nightly.run("alerts", "retry", str(alert["id"])).exit_code == 1, "it has not failed"

    async def fail() -> None:
        connection = await asyncpg.connect(database_url)
        await connection.execute("UPDATE alert SET status = 'failed', reason = 'no address'")
        await connection.close()

    asyncio.run(fail())
    assert nightly.json("alerts", "retry", str(alert["id"])) == {"pending": [alert["id"]]}
    assert [one["status"] for one in nightly.json("alerts", "sent")["alerts"]] == ["pending"]


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_every_width_of_a_terminal_works(
    nightly: Cli, failed_run: int, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    for words in (["jobs", "show", "nightly"], ["runs", "show", str(failed_run)], ["jobs", "list"], ["tasks", "list"]):
        lines = nightly.run(*words).stdout.splitlines()
        assert 0 < max(len(line) for line in lines) <= columns
