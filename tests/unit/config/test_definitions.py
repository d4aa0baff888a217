"""Sections become the definitions that the store keeps."""

from datetime import UTC, datetime, time

import pytest

from gateway.batch.rules.definition import (
    AlertDefinition,
    ConditionDefinition,
    DependencyDefinition,
    GroupDefinition,
    HoursDefinition,
    JobDefinition,
    PeriodDefinition,
    ServerDefinition,
)
from gateway.batch.rules.job import JobMode, JobStatus, Priority, Wanted
from gateway.config.definitions import (
    group_definitions,
    job_definition,
    job_definitions,
    period_definitions,
    server_definitions,
    throttle,
)
from tests.unit.config.conftest import Build


def test_the_job_that_moves_messages_has_its_four_tasks_side_by_side(build: Build) -> None:
    ((job, status),) = job_definitions(build("data: x"))
    assert (job.name, job.mode, status) == ("gateway", JobMode.EVENT, JobStatus.WAITING)
    assert [(task.name, task.handler, task.conditions) for task in job.tasks] == [
        ("receive", "receive", ()),
        ("inbound", "inbound", ()),
        ("outbound", "outbound", ()),
        ("send", "send", ()),
    ]


def test_timed_it_has_them_one_after_another(build: Build) -> None:
    ((job, _),) = job_definitions(build("jobs: {gateway: {mode: timed, recurrence: {every: minute}}}"))
    assert [(task.name, [(one.parent, one.wanted) for one in task.conditions]) for task in job.tasks] == [
        ("receive", []),
        ("inbound", [("receive", Wanted.ENDED)]),
        ("outbound", [("inbound", Wanted.ENDED)]),
        ("send", [("outbound", Wanted.ENDED)]),
    ]


def test_a_job_that_is_not_active_is_not_there(build: Build) -> None:
    assert job_definitions(build("jobs: {gateway: {active: false}}")) == []


def test_a_section_says_everything(build: Build) -> None:
    settings = build("""\
        default_company: USMF
        groups: {heavy: {}}
        active_periods: {night: {from: "18:00", to: "08:00"}}
        accounts: {ann: {zone: Europe/Copenhagen}}
        jobs:
          before: {tasks: {x: {run: sql}}}
          nightly:
            status: withhold
            start: 2026-07-01 02:00
            owner: ann
            recurrence: {every: 1 day}
            after: {before: ended_or_error}
            group: heavy
            priority: high
            active_period: night
            retries: 2
            long_running_seconds: 60.0
            alerts: {ann: {on: [error, overdue], by: email}}
            tasks:
              a: {run: command, with: {command: ["true"]}, group: default}
              b: {run: sql, after: {a: error}, condition: any, retries: 3, retry_seconds: 5.0}
        """)
    (_, _), (_, _), (job, status) = job_definitions(settings)
    assert status is JobStatus.WITHHOLD
    assert (job.company, job.partition, job.owner, job.batch_group) == ("USMF", "initial", "ann", "heavy")
    assert job.start == datetime(2026, 7, 1, 0, 0, tzinfo=UTC)
    assert job.recurrence == {"every": "1 day", "zone": "Europe/Copenhagen"}
    assert job.dependencies == (DependencyDefinition(parent="before", wanted=Wanted.ENDED_OR_ERROR),)
    assert (job.priority, job.active_period, job.max_retries, job.long_seconds) == (Priority.HIGH, "night", 2, 60.0)
    assert job.alerts == (AlertDefinition(user="ann", events=("error", "overdue"), channels=("email",)),)
    first, second = job.tasks
    assert (first.handler, first.parameters, first.batch_group) == ("command", {"command": ["true"]}, "")
    assert second.conditions == (ConditionDefinition(parent="a", wanted=Wanted.ERROR),)
    assert (second.condition_type, second.max_retries, second.retry_seconds) == ("any", 3, 5.0)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("2026-01-01 02:00", "2026-01-01T01:00:00+00:00"),
        ("2026-07-01", "2026-06-30T22:00:00+00:00"),
        ("2026-01-01T02:00:00Z", "2026-01-01T02:00:00+00:00"),
        ("2026-03-29 02:30", "2026-03-29T01:00:00+00:00"),
        ("2026-10-25 02:30", "2026-10-25T00:30:00+00:00"),
    ],
)
def test_a_start_is_read_in_the_zone_of_the_job(written: str, expected: str, build: Build) -> None:
    text = f"jobs: {{j: {{start: '{written}', zone: Europe/Copenhagen, tasks: {{a: {{run: sql}}}}}}}}"
    settings = build(text)
    start = job_definition(settings, "j", settings.jobs["j"]).start
    assert start is not None
    assert start.isoformat() == expected


def test_an_unchanged_section_has_the_same_digest(build: Build) -> None:
    def digest(text: str) -> str:
        return job_definitions(build(text))[1][0].digest()

    text = "jobs: {j: {recurrence: {every: day}, tasks: {a: {run: sql, with: {x: 1}}}}}"
    assert digest(text) == digest(text.replace("{every: day}", "{every: day, end_by: null}"))
    assert digest(text) != digest(text.replace("x: 1", "x: 2"))


def test_groups_servers_and_periods(build: Build) -> None:
    settings = build("""\
        groups: {default: {priority: low}, heavy: {description: Long, concurrency: 2}}
        servers:
          one: {groups: [heavy, default], reserved_percent: 25}
          two: {hours: [{threads: 2, from: "08:00", to: "18:00", zone: Europe/Copenhagen}]}
        active_periods: {night: {from: "18:00", to: "08:00", on: [friday, monday]}}
        """)
    assert group_definitions(settings) == [
        GroupDefinition(name="", description="default", priority=Priority.LOW),
        GroupDefinition(name="heavy", description="Long", concurrency=2),
    ]
    hours = HoursDefinition(threads=2, start=time(8), end=time(18), zone="Europe/Copenhagen")
    assert server_definitions(settings) == [
        ServerDefinition(name="one", groups=("heavy", ""), reserved_percent=25),
        ServerDefinition(name="two", hours=(hours,)),
    ]
    assert period_definitions(settings) == [
        PeriodDefinition(name="night", start=time(18), end=time(8), weekdays=(0, 4))
    ]


def test_a_definition_without_options_is_the_default_one(build: Build) -> None:
    settings = build("jobs: {j: {tasks: {a: {run: sql}}}}")
    job = job_definition(settings, "j", settings.jobs["j"])
    assert job == JobDefinition(name="j", description="j", tasks=job.tasks)


def test_a_word_that_tasks_run_may_have_a_number_of_starts_of_its_own(build: Build) -> None:
    found = throttle(build("throttling: {per_minute: 5, runnables: {http: 300, 'shop.tasks:Poll': 0}}"))
    assert [found.most(name) for name in ("sql", "http", "shop.tasks:Poll")] == [5, 300, None]
    assert throttle(build("data: x")).most("sql") == 60
