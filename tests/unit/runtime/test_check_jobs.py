"""What a check says of jobs that would not run, or of which nobody would hear."""

import socket
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.config import yaml
from gateway.config.load import parse
from gateway.runtime.check_jobs import check_alert_command, check_jobs
from gateway.runtime.checked import Verdict

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HERE = socket.gethostname()
JOB = "jobs: {nightly: {tasks: {a: {run: sql}, b: {run: sql, group: heavy}}}}\ngroups: {heavy: {}}\n"


def said(text: str, verdict: Verdict = Verdict.WARNING) -> list[tuple[tuple[str | int, ...], str]]:
    settings = parse(text.encode(), file="c.yaml", base=Path("/site"), environ={})
    return [(one.path, one.text) for one in check_jobs(settings, now=NOW) if one.verdict is verdict]


def test_a_group_that_nobody_serves_is_told() -> None:
    ((path, text),) = said(f"{JOB}servers: {{other: {{groups: [heavy], batch: false}}}}\n")
    assert path == ("jobs", "nightly", "tasks", "b", "group")
    assert text.startswith("no server of the configuration serves the group heavy: its tasks wait until one does")


@pytest.mark.parametrize(
    "servers",
    [
        "{other: {groups: [heavy]}}",
        f"{{{HERE}: {{groups: [default, heavy]}}}}",
        "{}",  # given to nobody: its tasks run where those of the default group do
        "{other: {groups: [heavy], hours: [{threads: 2, from: '08:00', to: '18:00'}]}}",
    ],
)
def test_a_group_that_is_served_is_fine(servers: str) -> None:
    assert said(f"{JOB}servers: {servers}\n") == []


@pytest.mark.parametrize(
    "servers",
    [
        "{other: {groups: [heavy], batch: false}}",
        "{other: {groups: [heavy], hours: [{threads: 0, from: '08:00', to: '18:00'}]}}",
    ],
)
def test_a_server_that_never_takes_anything_serves_nobody(servers: str) -> None:
    assert len(said(f"{JOB}servers: {servers}\n")) == 1


def test_the_default_group_may_be_without_a_server_too() -> None:
    paths = [path for path, _ in said(f"{JOB}servers: {{{HERE}: {{groups: [heavy]}}}}\n")]
    assert paths == [("jobs", "gateway", "group"), ("jobs", "nightly", "group")]


def test_people_who_would_not_hear_or_may_not_run_are_told() -> None:
    text = (
        "accounts: {ann: {enabled: false}, ben: {email: ben@example.com}}\n"
        "jobs:\n  j:\n    owner: ann\n    run_as: ben\n    tasks: {a: {run: sql}}\n"
        "    alerts: {ann: {on: error, by: [email]}, ben: {on: error, by: [email]}}\n"
    )
    assert said(text) == [
        (("jobs", "j", "owner"), "the account ann is switched off: every run fails"),
        (("jobs", "j", "alerts", "ann"), "ann has no e-mail address: name it in `accounts.ann.email`"),
    ]


def test_a_job_in_order_says_what_it_has() -> None:
    text = "jobs: {gateway: {active: false}, j: {tasks: {a: {run: sql}}}}"
    assert [text for _, text in said(text, Verdict.OK)] == ["not active: it is as if it were not there", "1 task"]


@pytest.mark.parametrize(
    ("job", "path", "expected"),
    [
        ("start: 2026-02-01", "start", "lies in the past: where the job is new it runs once, as soon as"),
        ("start: 2026-02-01, recurrence: {every: day}, missed: all", "start", "for every start that is past"),
        ("start: 2026-02-01, recurrence: {every: day, end_by: 2026-02-10}", "recurrence", "its recurrence is over"),
    ],
)
def test_a_start_in_the_past_is_told_where_it_counts(job: str, path: str, expected: str) -> None:
    ((place, text),) = said(f"jobs: {{j: {{{job}, tasks: {{a: {{run: sql}}}}}}}}")
    assert place == ("jobs", "j", path)
    assert expected in text


@pytest.mark.parametrize(
    "job",
    ["start: 2026-03-02", "start: 2026-02-01, recurrence: {every: day}", "start: 2026-02-01, status: withhold"],
)
def test_a_start_that_makes_nothing_run_at_once_is_fine(job: str) -> None:
    assert said(f"jobs: {{j: {{{job}, tasks: {{a: {{run: sql}}}}}}}}") == []


def test_references_in_the_arguments_of_a_command_are_seen_by_everybody() -> None:
    task = "{run: command, with: {command: [x, 'a=${TOKEN}', b], environment: {T: '${OTHER}'}}}"
    ((path, text),) = said(f"jobs: {{j: {{tasks: {{a: {task}}}}}}}\n")
    assert path == ("jobs", "j", "tasks", "a", "with", "command")
    assert "a=${TOKEN} too" in text and "OTHER" not in text


def test_references_in_the_command_for_alerts_are_seen_by_everybody_too() -> None:
    (found,) = check_alert_command(yaml.read(b"alerts: {command: [tell, '--key=${TOKEN}', b]}\n"))
    assert (found.verdict, found.path) == (Verdict.WARNING, ("alerts", "command"))
    assert "--key=${TOKEN} too: let it read a secret from a file of its own" in found.text
    assert list(check_alert_command(yaml.read(b"alerts: {command: [tell, b]}\n"))) == []
    assert list(check_alert_command(yaml.read(b"ports: {}\n"))) == []
