"""Jobs as they are written: short forms, defaults, and what is refused with which words."""

from datetime import date, datetime, time

import pytest

from gateway.batch.rules.job import JobMode, Wanted
from gateway.batch.rules.recurrence import describe, from_dict
from gateway.config.definitions import job_definition
from gateway.config.models import Settings
from tests.unit.config.conftest import Build, Told

TASKS = "tasks: {a: {run: sql}}"


def job(options: str) -> str:
    return f"jobs:\n  nightly:\n    {TASKS}\n    {options}\n"


def recurrence(options: str) -> str:
    return job(f"recurrence: {{{options}}}")


@pytest.mark.parametrize("text", ["data: x", "jobs:", "jobs: {}", "jobs: {gateway: }", "jobs: {gateway: {}}"])
def test_the_job_that_moves_messages_is_always_there(text: str, build: Build) -> None:
    assert build(text).jobs["gateway"].mode is JobMode.EVENT


def test_the_job_that_moves_messages_keeps_what_is_written(build: Build) -> None:
    gateway = build("jobs: {gateway: {max_seconds: 5.0, active: false}}").jobs["gateway"]
    assert (gateway.mode, gateway.max_seconds, gateway.active) == (JobMode.EVENT, 5.0, False)
    assert build("jobs: {gateway: {mode: timed}}").jobs["gateway"].mode is JobMode.TIMED


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ("a", {"a": Wanted.ENDED}),
        ("[a, b]", {"a": Wanted.ENDED, "b": Wanted.ENDED}),
        ("{a: error, b: ended_or_error}", {"a": Wanted.ERROR, "b": Wanted.ENDED_OR_ERROR}),
    ],
)
def test_conditions_have_a_short_form(after: str, expected: dict[str, Wanted], build: Build) -> None:
    text = f"jobs: {{j: {{tasks: {{a: {{run: sql}}, b: {{run: sql}}, c: {{run: sql, after: {after}}}}}}}}}"
    assert build(text).jobs["j"].tasks["c"].after == expected


def test_times_are_read_as_written(build: Build) -> None:
    settings = build(
        "jobs: {j: {start: 2026-01-31 02:00, recurrence: {every: day, end_by: 2026-12-31}, tasks: {a: {run: sql}}}}\n"
        "servers: {s: {hours: [{threads: 2, from: '18:00', to: '24:00'}]}}"
    )
    nightly = settings.jobs["j"]
    assert nightly.start == datetime(2026, 1, 31, 2, 0)
    assert nightly.recurrence is not None
    assert nightly.recurrence.end_by == date(2026, 12, 31)
    assert (settings.servers["s"].hours[0].start, settings.servers["s"].hours[0].end) == (time(18), time(0))


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("every: 15 minutes", "every 15 minutes"),
        ("every: day", "every day at 02:00 Europe/Copenhagen"),
        (
            "every: 2 weeks, on: [tuesday, wednesday]",
            "every second week on Tuesday and Wednesday at 02:00 Europe/Copenhagen",
        ),
        ("every: month, day: last", "every month on the last day at 02:00 Europe/Copenhagen"),
        (
            "every: month, on: last friday, end_after: 10",
            "every month on the last Friday at 02:00 Europe/Copenhagen, 10 times",
        ),
        ("every: year, month: 3, day: 1", "every year on 1 March at 02:00 Europe/Copenhagen"),
        ("cron: '30 2 * * 1-5', end_by: 2026-12-31", "by cron 30 2 * * 1-5 in Europe/Copenhagen, until 2026-12-31"),
        ("rrule: FREQ=MONTHLY;BYDAY=2TU", "by rrule FREQ=MONTHLY;BYDAY=2TU from 2026-01-01 02:00 Europe/Copenhagen"),
    ],
)
def test_recurrences_are_written_in_words(written: str, expected: str, build: Build) -> None:
    settings = build(job(f"start: 2026-01-01 02:00\n    zone: Europe/Copenhagen\n    recurrence: {{{written}}}"))
    definition = job_definition(settings, "nightly", settings.jobs["nightly"])
    assert definition.recurrence is not None and definition.start is not None
    assert describe(from_dict(definition.recurrence, start=definition.start)) == expected


@pytest.mark.parametrize(
    ("written", "path", "expected"),
    [
        ("every: 2 wekks", "every", "'2 wekks' is no interval such as 15 minutes or 2 weeks; did you mean 'week'?"),
        ("every: 0 days", "every", "'0 days' is no interval such as 15 minutes or 2 weeks; write a number and a unit"),
        ("every: week, on: [thuesday]", "on", "'thuesday' is no day; did you mean 'tuesday'?"),
        ("every: month, day: 32", "day", "must be a day of the month from 1 to 31, or last"),
        ("every: year, month: jan", "month", "must be the name of a month, or its number from 1 to 12"),
        ("every: day, end_by: soon", "end_by", "must be a date such as 2026-12-31"),
        ("every: day, end_by: 5", "end_by", "must be a date such as 2026-12-31"),
        ("end_after: 3", "", "needs one of every, cron, rrule, and has none of them"),
        ("every: day, cron: '0 2 * * *'", "", "needs one of every, cron, rrule, and has every and cron"),
        ("every: day, on: monday", "", "Weekdays go with weeks, not with days"),
        ("every: week, day: 3", "", "A day of the month goes with months and years, not with weeks"),
        ("every: month, month: may", "", "A month goes with years, not with months"),
        ("every: month, day: 3, on: last friday", "", "has both day and on; a month is met by one of them"),
        (
            "every: week, on: last friday",
            "",
            "A day of the month goes with months and years, not with weeks",
        ),
        (
            "every: month, on: [monday, friday]",
            "",
            "Weekdays go with weeks, not with months",
        ),
        ("cron: '0 2 30 2 *'", "", "cron: '0 2 30 2 *' never comes: no such month has a day 30"),
        ("rrule: FREQ=SOMETIMES", "", "rrule: FREQ must be one of YEARLY,"),
        ("cron: '0 2 * * *', day: 3", "", "day goes with every; cron says it all by itself"),
    ],
)
def test_recurrences_that_make_no_sense_are_refused(written: str, path: str, expected: str, told: Told) -> None:
    ((line, where, text),) = told(recurrence(written))
    assert (line, where) == (4, f"jobs.nightly.recurrence.{path}".rstrip("."))
    assert text.startswith(expected)


@pytest.mark.parametrize(
    ("written", "path", "expected"),
    [
        (
            "zone: Europe/Copenhagn",
            "zone",
            "there is no time zone 'Europe/Copenhagn'; did you mean 'Europe/Copenhagen'?",
        ),
        ("zone: localtime", "zone", "there is no time zone 'localtime'"),
        ("start: 5", "start", "must be a date, or a date and a time such as 2026-01-31 02:00"),
        ("start: 9999-12-31", "start", "must be a moment of the years 1970 to 2999"),
        ("start: 0001-01-01", "start", "must be a moment of the years 1970 to 2999"),
        (
            "start: soon",
            "start",
            "must be a date, or a date and a time such as 2026-01-31 02:00, in the zone of the job",
        ),
        ("alerts: {ann: {on: eror}}", "alerts.ann.on[0]", "must be 'ended', 'error', 'finished', 'canceled'"),
        ("group: hevy", "group", "there is no group 'hevy'; did you mean 'heavy'?"),
        ("active_period: night", "active_period", "there is no active period 'night'; there are no active periods"),
        ("after: nightly", "after.nightly", "the job waits for itself"),
        ("after: {weekli: error}", "after.weekli", "there is no job 'weekli'; did you mean 'weekly'?"),
        ("max_messages: 5", "max_messages", "goes with mode: event; a timed occurrence ends when all is done"),
        ("base: finish", "base", "goes with recurrence, and there is none: the job runs once"),
        ("owner: an", "owner", "there is no account 'an'; did you mean 'ann'?"),
        ("run_as: ben", "run_as", "the account ben has no access to the company DAT of this job"),
        ("alerts: {ben: {on: error}}", "alerts.ben", "the account ben has no access to the company DAT of this job"),
    ],
)
def test_names_and_options_of_a_job_must_fit(written: str, path: str, expected: str, told: Told) -> None:
    rest = "  weekly: {tasks: {x: {run: sql}}}\ngroups: {heavy: {}}\naccounts: {ann: {}, ben: {companies: [USMF]}}\n"
    ((line, where, text),) = told(job(written) + rest)
    assert (line, where) == (4, f"jobs.nightly.{path}")
    assert text.startswith(expected)


@pytest.mark.parametrize(
    ("tasks", "path", "expected"),
    [
        ("{a: {run: sql, after: b}}", "a.after.b", "there is no task 'b'; known are a"),
        ("{a: {run: sql, after: a}}", "a.after.a", "the task waits for itself"),
        ("{a: {run: sql, group: none}}", "a.group", "there is no group 'none'; known are default"),
        ("{a: {run: send, location: operator}}", "a.location", "send runs inside a gateway: only servers can run it"),
        ("{a: {run: sql, retries: -1}}", "a.retries", "must be at least 0, found -1"),
        ("{a: {with: {x: 1}}}", "a.run", "is missing. What it runs:"),
    ],
)
def test_names_and_options_of_a_task_must_fit(tasks: str, path: str, expected: str, told: Told) -> None:
    ((_, where, text),) = told(f"jobs: {{nightly: {{tasks: {tasks}}}}}")
    assert where == f"jobs.nightly.tasks.{path}"
    assert text.startswith(expected)


def test_a_timed_job_needs_tasks(told: Told, build: Build) -> None:
    ((_, where, text),) = told("jobs: {nightly: {}}")
    assert where == "jobs.nightly"
    assert text.startswith("has no tasks")
    assert build("jobs: {gateway: {mode: timed, recurrence: {every: minute}}}")


@pytest.mark.parametrize(
    ("written", "path", "expected"),
    [
        ("recurrence: {every: day}", "recurrence", "goes with mode: timed"),
        (
            "tasks: {r: {run: receve}}",
            "tasks.r.run",
            "'receve' cannot be in a job of mode: event, which runs only receive",
        ),
        ("tasks: {r: {run: receive}, s: {run: receive}}", "tasks.s.run", "is run by the task r already"),
        ("tasks: {r: {run: receive, retries: 3}}", "tasks.r.retries", "goes with mode: timed"),
    ],
)
def test_work_that_appears_starts_only_what_moves_messages(written: str, path: str, expected: str, told: Told) -> None:
    ((_, where, text),) = told(f"jobs: {{gateway: {{{written}}}}}")
    assert where == f"jobs.gateway.{path}"
    assert text.startswith(expected)


def test_services_may_be_split_over_jobs(build: Build) -> None:
    settings = build(
        "jobs:\n"
        "  gateway: {active: false}\n"
        "  in: {mode: event, tasks: {receive: {run: receive}, inbound: {run: inbound, group: default}}}\n"
        "  out:\n"
        "    recurrence: {every: 5 minutes}\n"
        "    tasks: {outbound: {run: outbound}, send: {run: send, after: outbound}}\n"
    )
    assert list(settings.jobs) == ["gateway", "in", "out"]


def test_what_is_wrong_in_itself_is_not_missed_by_others(told: Told) -> None:
    text = (
        "groups: {heavy: 5}\n"
        "jobs:\n"
        "  bad: 7\n"
        "  nightly: {after: bad, group: heavy, tasks: {a: 5, b: {run: sql, after: a}}}\n"
    )
    assert [where for _, where, _ in told(text)] == ["groups.heavy", "jobs.bad", "jobs.nightly.tasks.a"]


def test_a_misplaced_option_of_a_job_is_told_where_it_belongs(told: Told) -> None:
    ((_, _, text),) = told(job("timeout_seconds: 5"))
    assert text == "unknown key; it belongs in jobs.<name>.tasks.<name>"


def test_default_settings_have_the_job_that_moves_messages() -> None:
    assert list(Settings().jobs) == ["gateway"]


def test_tasks_that_wait_for_one_another_are_told(told: Told) -> None:
    tasks = "{a: {run: sql, after: c}, b: {run: sql, after: a}, c: {run: sql, after: b}, d: {run: sql, after: a}}"
    assert told(f"jobs: {{j: {{tasks: {tasks}}}}}") == [
        (1, "jobs.j.tasks.a.after", "these tasks wait for one another: a → c → b → a; none could ever start")
    ]


def test_jobs_that_wait_for_one_another_are_told(told: Told) -> None:
    text = f"jobs:\n  a: {{after: b, {TASKS}}}\n  b: {{after: {{a: error}}, {TASKS}}}\n"
    assert told(text) == [(2, "jobs.a.after", "these jobs wait for one another: a → b → a; none could ever start")]


def test_parameters_of_tasks_are_kept_as_they_are_written(build: Build) -> None:
    text = "jobs: {j: {description: '${X}', tasks: {a: {run: http, with: {url: '${URL}', n: ['$${x}']}}}}}"
    found = build(text, {"X": "filled"}).jobs["j"]
    assert found.description == "filled"
    assert found.tasks["a"].parameters == {"url": "${URL}", "n": ["$${x}"]}


def test_a_recurrence_that_never_starts_anything_is_told(told: Told) -> None:
    text = job("start: 2026-05-02\n    recurrence: {every: day, end_by: 2026-05-01}")
    assert told(text) == [
        (
            5,
            "jobs.nightly.recurrence",
            "This recurrence never starts anything: from 2026-05-02 00:00 UTC on up to 2026-05-01 no date fits it",
        )
    ]
