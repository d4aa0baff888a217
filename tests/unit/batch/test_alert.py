"""What an alert says, whom it answers, and when the option of AX silences it."""

import json
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from gateway.batch.rules.alert import AlertEvent, RaisedEvent, in_words
from gateway.batch.rules.job import HistoryMode
from gateway.kernel.ids import JobId, PortName, RunId

AT = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)


def of_job(event: AlertEvent, **more: object) -> RaisedEvent:
    return RaisedEvent(event=event, name="nightly", at=AT, job_id=JobId(3), **more)  # type: ignore[arg-type]


def test_an_occurrence_is_named_by_its_run() -> None:
    assert of_job(AlertEvent.ERROR, run_id=RunId(17)).key == "run:17:error"


def test_what_has_no_run_is_named_by_its_moment() -> None:
    assert of_job(AlertEvent.OVERDUE, since=AT).key == "job:3:overdue:2031-05-06T07:08:09+00:00"
    port = RaisedEvent(event=AlertEvent.OVERDUE, name="orders", port=PortName("orders"), at=AT, since=AT)
    assert port.key == "port:orders:overdue:2031-05-06T07:08:09+00:00"


@pytest.mark.parametrize(
    ("event", "asked"),
    [
        (AlertEvent.ENDED, {"ended", "finished"}),
        (AlertEvent.ERROR, {"error", "finished"}),
        (AlertEvent.CANCELED, {"canceled"}),
        (AlertEvent.OVERDUE, {"overdue"}),
    ],
)
def test_finished_is_asked_for_by_success_and_by_error(event: AlertEvent, asked: set[str]) -> None:
    assert set(of_job(event).asked_as) == asked


def test_everything_is_told_whatever_the_history() -> None:
    told = [of_job(event, history=mode).is_told(ax_alerts=False) for event in AlertEvent for mode in HistoryMode]
    assert all(told)


@pytest.mark.parametrize(
    ("mode", "told"),
    [
        (HistoryMode.ALWAYS, {"ended", "error", "canceled"}),
        (HistoryMode.ERRORS, {"error", "canceled"}),
        (HistoryMode.NEVER, set()),
    ],
)
def test_with_the_option_of_ax_outcomes_follow_the_history(mode: HistoryMode, told: set[str]) -> None:
    outcomes = (AlertEvent.ENDED, AlertEvent.ERROR, AlertEvent.CANCELED)
    assert {event for event in outcomes if of_job(event, history=mode).is_told(ax_alerts=True)} == told


def test_that_nothing_ran_is_told_even_without_history() -> None:
    assert of_job(AlertEvent.OVERDUE, history=HistoryMode.NEVER).is_told(ax_alerts=True)


def test_subject_says_who_cancelled_and_that_it_is_critical() -> None:
    happening = of_job(AlertEvent.CANCELED, by="ann", is_critical=True)
    assert happening.subject == "Critical: Job nightly was cancelled by ann"


def test_body_has_reason_where_to_look_and_times_of_the_reader() -> None:
    told = of_job(AlertEvent.ERROR, run_id=RunId(17), planned_at=AT, text="Task export ended with exit code 2.")
    facts = json.loads(json.dumps(told.facts))
    assert in_words(told.body, facts, zone=ZoneInfo("Europe/Copenhagen"), site="shop").splitlines() == [
        "Job nightly failed.",
        "",
        "Task export ended with exit code 2.",
        "",
        "See: run 17 of job nightly",
        "",
        "Planned: 2031-05-06 09:08:09 CEST",
        "Happened: 2031-05-06 09:08:09 CEST",
        "Site: shop",
    ]
