"""What a check says of jobs that would not run, or of which nobody would hear."""

import socket
from pathlib import Path

import pytest

from gateway.config.load import parse
from gateway.runtime.check_jobs import check_jobs
from gateway.runtime.checked import Verdict

HERE = socket.gethostname()
JOB = "jobs: {nightly: {tasks: {a: {run: sql}, b: {run: sql, group: heavy}}}}\ngroups: {heavy: {}}\n"


def said(text: str, verdict: Verdict = Verdict.WARNING) -> list[tuple[tuple[str | int, ...], str]]:
    settings = parse(text.encode(), file="c.yaml", base=Path("/site"), environ={})
    return [(one.path, one.text) for one in check_jobs(settings) if one.verdict is verdict]


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
