"""The jobs of the configuration in the store: they follow the file, but for what operators decided."""

import asyncio
from pathlib import Path

import pytest

from gateway.batch.rules.definition import JobDefinition
from gateway.batch.rules.job import JobStatus
from gateway.batch.rules.transitions import TaskAction
from gateway.batch.store.jobs import change_task, create_job, delete_job, list_jobs, read_job
from gateway.batch.store.servers import list_groups, list_periods, list_servers
from gateway.config.load import parse
from gateway.config.models import Settings
from gateway.db.clock import database_clock
from gateway.db.open import Store
from gateway.kernel.errors import JobRefused
from gateway.runtime.jobs import keep_jobs, keep_owners

TEXT = """\
groups: {heavy: {priority: low}}
servers: {app-1: {groups: [heavy, default], threads: 4}}
active_periods: {night: {from: "18:00", to: "08:00"}}
jobs:
  gateway: {active: false}
  second: {after: nightly, tasks: {x: {run: sql}}}
  nightly:
    status: withhold
    owner: ann
    group: heavy
    active_period: night
    recurrence: {every: day}
    tasks: {a: {run: sql, with: {statements: "select ${N}"}}, b: {run: sql, after: a}}
"""


def settings_of(text: str) -> Settings:
    return parse(text.encode(), file="c.yaml", base=Path("/site"), environ={})


async def test_jobs_are_made_as_the_file_says(store: Store) -> None:
    await keep_jobs(store, settings_of(TEXT))
    jobs = {job.definition.name: job for job in await list_jobs(store)}
    assert {name: (job.status, job.source, job.created_by) for name, job in jobs.items()} == {
        "nightly": (JobStatus.WITHHOLD, "config", "ann"),
        "second": (JobStatus.WAITING, "config", "gateway"),
        "housekeeping": (JobStatus.WAITING, "config", "gateway"),
    }
    assert jobs["nightly"].definition.tasks[0].parameters == {"statements": "select ${N}"}
    assert [group.definition.name for group in await list_groups(store)] == ["", "heavy"]
    assert [(one.definition.name, one.definition.groups) for one in await list_servers(store)] == [
        ("app-1", ("", "heavy"))
    ]
    assert [period.name for period in await list_periods(store)] == ["night"]


async def test_a_changed_section_changes_the_job_and_not_its_status(store: Store) -> None:
    await keep_jobs(store, settings_of(TEXT))
    changed = TEXT.replace("status: withhold", "status: waiting").replace("{every: day}", "{every: week}")
    await keep_jobs(store, settings_of(changed))
    job = await read_job(store, "nightly")
    assert job is not None
    assert (job.status, job.definition.recurrence) == (JobStatus.WITHHOLD, {"every": "week", "zone": "UTC"})


async def test_a_task_that_an_operator_holds_stays_held(store: Store) -> None:
    await keep_jobs(store, settings_of(TEXT))
    job = await read_job(store, "nightly")
    assert job is not None
    now = await database_clock(store)
    await change_task(store, job.id, "b", TaskAction.HOLD, now=now)
    await keep_jobs(store, settings_of(TEXT.replace("after: a}", "after: a, retries: 3}")))
    job = await read_job(store, "nightly")
    assert job is not None
    assert [(task.name, task.is_withheld, task.max_retries) for task in job.definition.tasks] == [
        ("a", False, 0), ("b", True, 3),
    ]  # fmt: skip


async def test_a_recurrence_that_is_over_is_refused_with_the_name_of_its_job(store: Store) -> None:
    over = TEXT.replace("{every: day}", "{every: day, end_by: 2001-01-01}")
    with pytest.raises(JobRefused, match="job nightly: This recurrence never starts anything"):
        await keep_jobs(store, settings_of(over))
    assert await list_jobs(store) == []


async def test_a_file_that_is_refused_changes_nothing_at_all(store: Store) -> None:
    await keep_jobs(store, settings_of(TEXT))
    await create_job(store, JobDefinition(name="mine"), by="ann", now=await database_clock(store))
    before = [await list_jobs(store), await list_groups(store), await list_servers(store), await list_periods(store)]
    changed = (
        TEXT.replace("priority: low", "priority: high").replace("threads: 4", "threads: 5").replace("08:00", "09:00")
        .replace("{every: day}", "{every: week}").replace("groups: {", "groups: {light: {}, ", 1)
    )  # fmt: skip
    for refused in (f"{changed}  mine: {{tasks: {{a: {{run: sql}}}}}}\n", "jobs: {mine: {tasks: {a: {run: sql}}}}\n"):
        with pytest.raises(JobRefused, match="a job named mine exists already"):
            await keep_jobs(store, settings_of(refused))
        now = [await list_jobs(store), await list_groups(store), await list_servers(store), await list_periods(store)]
        assert now == before


async def test_what_the_file_no_longer_says_goes(store: Store) -> None:
    await keep_jobs(store, settings_of(TEXT))
    await keep_jobs(store, settings_of("jobs: {gateway: {active: false}}"))
    assert [job.definition.name for job in await list_jobs(store)] == ["housekeeping"]
    assert await list_periods(store) == []


async def test_nodes_that_start_together_make_each_job_once(store: Store) -> None:
    await asyncio.gather(*(keep_jobs(store, settings_of(TEXT)) for _ in range(4)))
    assert [job.definition.name for job in await list_jobs(store) if job.definition.name != "housekeeping"] == [
        "nightly", "second",
    ]  # fmt: skip


async def test_the_same_file_changes_nothing(store: Store) -> None:
    await keep_jobs(store, settings_of(TEXT))
    before = [job.changed_at for job in await list_jobs(store)]
    await keep_jobs(store, settings_of(TEXT))
    assert [job.changed_at for job in await list_jobs(store)] == before


async def test_a_job_of_the_file_stands_in_the_place_of_one_of_the_system(store: Store) -> None:
    await keep_jobs(store, settings_of("jobs: {}"))
    system = await read_job(store, "housekeeping")
    assert system is not None and system.definition.is_system
    own = "jobs: {housekeeping: {tasks: {clean: {run: housekeeping}}, recurrence: {every: day}}}"
    await keep_jobs(store, settings_of(own))
    job = await read_job(store, "housekeeping")
    assert job is not None and not job.definition.is_system
    assert [task.name for task in job.definition.tasks] == ["clean"]


async def test_s21_an_account_that_owns_jobs_is_not_forgotten(store: Store) -> None:
    both, ben = settings_of("accounts: {ann: {}, ben: {}}"), settings_of("accounts: {ben: {}}")
    job = await create_job(store, JobDefinition(name="own", run_as="ben"), by="ann", now=await database_clock(store))
    with pytest.raises(JobRefused, match=r"own \(ann\).*to others"):
        await keep_owners(store, both, ben)
    await keep_owners(store, both, settings_of("accounts: {ann: {enabled: false}, ben: {}}"))
    await keep_owners(store, both, settings_of("{}"))
    await delete_job(store, job, by="ann")
    await keep_owners(store, both, ben)
