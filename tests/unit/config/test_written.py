"""A definition that is written as a section and read again is the same."""

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

import pytest

from gateway.batch.rules.definition import JobDefinition, TaskDefinition
from gateway.config.definitions import (
    entry_definition,
    entry_text,
    job_definition,
    job_definitions,
    section_of,
    section_text,
)
from gateway.config.models import Settings
from gateway.config.section import parse_entry, parse_job
from tests.unit.config.conftest import Build
from tests.unit.config.test_section import Known

EVERYTHING = """\
groups: {heavy: {}}
active_periods: {night: {from: "18:00", to: "08:00"}}
jobs:
  before: {tasks: {x: {run: http, with: {url: x}}}}
  nightly:
    description: Orders to the warehouse
    start: 2026-07-01 02:00
    zone: Europe/Copenhagen
    recurrence: {every: 2 weeks, on: [tuesday, wednesday], end_after: 10}
    base: finish
    missed: skip
    tolerance_seconds: 5.0
    after: {before: ended_or_error}
    condition: any
    company: USMF
    owner: ann
    run_as: ben
    private: true
    group: heavy
    priority: high
    active_period: night
    concurrency: 3
    retries: 2
    history: errors
    alerts: {ann: {on: [error, overdue], by: [email]}}
    overdue_seconds: 60.0
    long_running_seconds: 600.0
    category: export
    critical: true
    tasks:
      a: {run: http, with: {url: '${URL:-x}', tries: 3}, group: default, retries: 3, retry_seconds: 60.0}
      b:
        description: Tell
        run: http
        with: {url: Grüße}
        after: {a: error}
        condition: any
        ignore_failure: true
        timeout_seconds: 30.0
        company: DAT
        location: operator
        private: true
        wait_for_children: false
        hold: true
"""


def again(settings: Settings, definition: JobDefinition) -> JobDefinition:
    section = parse_job(
        section_text(definition).encode(), name=definition.name, file="again.yaml", base=Path("/site"), environ={},
        settings=settings, runnables=Known(),
    )  # fmt: skip
    return job_definition(settings, definition.name, section)


ENTRY = """\
services: {SalesOrder: {kind: document, document: "{urn:sales}Order", entity: Order, key: Number}}
accounts: {ann: {zone: Europe/Copenhagen}}
job_queues:
  categories: {Post: {}}
  entries:
    e:
      run: http
      with: {url: x}
      description: Quiet work
      company: USMF
      record: SalesOrder/1
      category: Post
      priority: high
      earliest: 2026-10-25 02:30
      expires: 2027-01-01
      on: [monday, friday]
      minutes: 30
      from: "22:00"
      to: "02:00:30"
      attempts: 3
      rerun_delay_seconds: 60
      inactivity_minutes: 5
      wakes_on: SalesOrder
      timeout_seconds: 600
      retry_timeout: false
      output: pdf
      notify_on_success: true
"""


@pytest.mark.parametrize("text", [ENTRY, "job_queues: {entries: {e: {run: http, with: {url: x}, formula: CM+1D}}}"])
def test_an_entry_that_is_written_is_read_back(text: str, build: Build) -> None:
    settings = build(text)
    definition = entry_definition(settings, settings.job_queues.entries["e"], name="e", user="ann")
    read = parse_entry(
        entry_text(definition, settings).encode(), file="e.yaml", base=Path("/site"), environ={}, settings=settings,
        runnables=Known(),
    )  # fmt: skip
    again = entry_definition(settings, read, name="e", user="ben")
    assert replace(again, parameters_version=None) == definition


@pytest.mark.parametrize(
    "text",
    [
        EVERYTHING,
        "jobs: {nightly: {tasks: {a: {run: http, with: {url: x}}}}}",
        EVERYTHING.replace("2026-07-01 02:00", "2026-10-25 02:30"),
        EVERYTHING.replace("2026-07-01 02:00", "2026-10-25T01:30:00Z"),
        EVERYTHING.replace("every: 2 weeks, on: [tuesday, wednesday]", "rrule: FREQ=DAILY"),
    ],
)
def test_what_is_written_is_read_back(text: str, build: Build) -> None:
    settings = build(text)
    (definition,) = [one for one, _ in job_definitions(settings) if one.name == "nightly"]
    read = again(settings, definition)
    assert {task.parameters_version for task in read.tasks} == {Known().find("http").version}
    assert replace(read, tasks=tuple(replace(task, parameters_version=None) for task in read.tasks)) == definition


def usual(kind: type[JobDefinition | TaskDefinition], said: Sequence[JobDefinition | TaskDefinition]) -> set[str]:
    """Return the fields that have their usual value in all of them."""
    plain = JobDefinition(name="") if kind is JobDefinition else TaskDefinition(name="", handler="")
    names = {field.name for field in fields(kind)}
    return {name for name in names if all(getattr(one, name) == getattr(plain, name) for one in said)}


def test_every_field_of_a_definition_comes_from_a_section(build: Build) -> None:
    (definition,) = [one for one, _ in job_definitions(build(EVERYTHING)) if one.name == "nightly"]
    assert usual(JobDefinition, [definition]) == {"mode", "partition", "is_system"}
    assert usual(TaskDefinition, definition.tasks) == {"parameters_version"}


def test_usual_values_are_left_out(build: Build) -> None:
    settings = build("jobs: {nightly: {tasks: {a: {run: http, with: {url: x}}}}}")
    definition = job_definition(settings, "nightly", settings.jobs["nightly"])
    assert section_of(definition) == {"company": "DAT", "tasks": {"a": {"run": "http", "with": {"url": "x"}}}}
