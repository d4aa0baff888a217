"""Definitions of jobs: saved and read as they are, changed by configuration and by people."""

from collections.abc import Sequence
from dataclasses import replace
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
    TaskDefinition,
)
from gateway.batch.rules.job import (
    Base,
    ConditionType,
    HistoryMode,
    JobStatus,
    Location,
    Missed,
    Priority,
    Wanted,
)
from gateway.batch.rules.transitions import JobAction
from gateway.batch.store.jobs import (
    Synced,
    change_status,
    copy_job,
    create_job,
    delete_job,
    edit_job,
    list_jobs,
    read_job,
    read_job_by_id,
    sync_jobs,
)
from gateway.batch.store.servers import (
    assign_group,
    delete_group,
    list_periods,
    list_servers,
    put_group,
    put_period,
    put_server,
    register_server,
    sync_places,
)
from gateway.batch.store.starting import start_due
from gateway.db.open import Store
from gateway.kernel.errors import IllegalTransition, JobRefused, NoSuchJob

NOW = datetime(2026, 3, 1, 9, 0, 20, tzinfo=UTC)
PAST = datetime(2026, 2, 1, 20, tzinfo=UTC)
LATER = datetime(2026, 3, 1, 10, 0, tzinfo=UTC)
EVERYTHING = JobDefinition(
    name="nightly",
    description="Export and tell",
    company="C1",
    owner="ben",
    run_as="service",
    start=datetime(2026, 1, 1, 2, tzinfo=UTC),
    recurrence={"every": "1 days", "zone": "Europe/Copenhagen"},
    base=Base.FINISH,
    missed=Missed.SKIP,
    tolerance_seconds=60.0,
    history=HistoryMode.ERRORS,
    batch_group="PRINT",
    priority=Priority.HIGH,
    active_period="night",
    concurrency=3,
    max_retries=2,
    overdue_seconds=600.0,
    long_seconds=3600.0,
    category="export",
    is_critical=True,
    tasks=(
        TaskDefinition(name="export", handler="command", parameters={"command": ["true"]}, max_retries=3),
        TaskDefinition(
            name="tell", handler="http", company="C2", batch_group="", location=Location.OPERATOR,
            conditions=(
                ConditionDefinition(parent="export"), ConditionDefinition(parent="export", wanted=Wanted.ERROR),
            ),
            condition_type=ConditionType.ANY, ignore_failure=True, retry_seconds=1.5, timeout_seconds=60.0,
            wait_for_children=False, is_withheld=True,
        ),
    ),
    alerts=(AlertDefinition(user="ann", events=("error",), channels=("email", "popup")),),
)  # fmt: skip


async def save(store: Store, definition: JobDefinition, status: JobStatus = JobStatus.WITHHOLD) -> int:
    return await create_job(store, definition, by="ann", now=NOW, status=status)


async def test_a_job_reads_back_as_it_was_saved(store: Store) -> None:
    await put_group(store, GroupDefinition(name="PRINT"), now=NOW)
    await put_period(store, PeriodDefinition(name="night", start=time(18), end=time(8)))
    await save(store, EVERYTHING)
    job = await read_job(store, "nightly")
    assert job is not None
    assert job.definition == EVERYTHING
    assert (job.status, job.created_by, job.next_start) == (
        JobStatus.WITHHOLD,
        "ben",
        datetime(2026, 3, 2, 2, tzinfo=UTC),  # the first of its starts that is to come, at three in Copenhagen
    )


@pytest.mark.parametrize(
    ("recurrence", "missed", "expected"),
    [
        (None, Missed.COALESCE, PAST),  # once: at once
        ({"every": "day"}, Missed.COALESCE, datetime(2026, 3, 1, 20, tzinfo=UTC)),
        ({"every": "day"}, Missed.SKIP, datetime(2026, 3, 1, 20, tzinfo=UTC)),
        ({"every": "day"}, Missed.ALL, PAST),
        ({"every": "day", "end_after": 3}, Missed.COALESCE, datetime(2026, 3, 1, 20, tzinfo=UTC)),
    ],
)
async def test_a_job_that_is_new_does_not_catch_up_unless_told_to(
    store: Store, recurrence: dict[str, object] | None, missed: Missed, expected: datetime
) -> None:
    await save(store, JobDefinition(name="j", start=PAST, recurrence=recurrence, missed=missed), JobStatus.WAITING)
    job = await read_job(store, "j")
    assert job is not None and (job.status, job.next_start) == (JobStatus.WAITING, expected)


async def test_a_job_whose_recurrence_is_over_has_ended_before_it_began(store: Store) -> None:
    over = {"every": "day", "end_by": "2026-02-20"}
    await save(store, JobDefinition(name="new", start=PAST, recurrence=over), JobStatus.WAITING)
    edited = await save(store, JobDefinition(name="old", start=PAST, recurrence={"every": "day"}), JobStatus.WAITING)
    await edit_job(store, edited, JobDefinition(name="old", start=PAST, recurrence=over), now=NOW)
    for name in ("new", "old"):
        job = await read_job(store, name)
        assert job is not None and job.status is JobStatus.ENDED
    assert (await start_due(store, NOW)).started == []


async def test_an_empty_start_is_the_moment_of_saving(store: Store) -> None:
    await save(store, JobDefinition(name="now"))
    job = await read_job(store, "now")
    assert job is not None and job.original_start == job.next_start == NOW


async def test_a_taken_name_is_refused(store: Store) -> None:
    await save(store, JobDefinition(name="one"))
    with pytest.raises(JobRefused, match="a job named one exists already"):
        await save(store, JobDefinition(name="one"))


@pytest.mark.parametrize(
    ("definition", "text"),
    [
        (JobDefinition(name="a", batch_group="nowhere"), "no batch group named nowhere"),
        (JobDefinition(name="a", active_period="never"), "no active period named never"),
        (JobDefinition(name="a", dependencies=(DependencyDefinition(parent="b"),)), "no job named b"),
    ],
)
async def test_what_does_not_exist_cannot_be_named(store: Store, definition: JobDefinition, text: str) -> None:
    with pytest.raises(JobRefused, match=text):
        await save(store, definition)
    assert await list_jobs(store) == []


async def test_jobs_that_would_wait_for_one_another_are_refused(store: Store) -> None:
    def after(name: str, *parents: str) -> JobDefinition:
        return JobDefinition(name=name, dependencies=tuple(DependencyDefinition(parent=one) for one in parents))

    first = await create_job(store, after("a"), by="ann", now=NOW)
    await create_job(store, after("b", "a"), by="ann", now=NOW)
    with pytest.raises(JobRefused, match="these jobs wait for one another: a → b → a"):
        await edit_job(store, first, after("a", "b"), now=LATER)
    assert (await read_job_by_id(store, first)).definition.dependencies == ()


async def test_an_edit_keeps_the_planned_start_unless_the_start_changes(store: Store) -> None:
    job = await save(store, JobDefinition(name="one", start=LATER))
    await edit_job(store, job, JobDefinition(name="one", description="better", start=LATER), now=NOW)
    assert (await read_job_by_id(store, job)).next_start == LATER
    await edit_job(store, job, JobDefinition(name="one", start=NOW), now=NOW)
    changed = await read_job_by_id(store, job)
    assert (changed.next_start, changed.definition.description) == (NOW, "")


async def test_a_copy_is_parked_and_belongs_to_whoever_made_it(store: Store) -> None:
    job = await save(
        store, JobDefinition(name="one", tasks=(TaskDefinition(name="t", handler="x"),)), JobStatus.WAITING
    )
    copy = await read_job_by_id(store, await copy_job(store, job, "two", by="ben", now=LATER))
    assert (copy.status, copy.created_by, copy.definition.name) == (JobStatus.WITHHOLD, "ben", "two")
    assert copy.definition.tasks == (TaskDefinition(name="t", handler="x"),)


async def test_an_operator_arms_and_parks_a_job(store: Store) -> None:
    job = await save(store, JobDefinition(name="one"))
    assert await change_status(store, job, JobAction.ARM, by="ann", now=NOW) is JobStatus.WAITING
    assert await change_status(store, job, JobAction.WITHHOLD, by="ann", now=NOW) is JobStatus.WITHHOLD
    with pytest.raises(IllegalTransition, match="on hold"):
        await change_status(store, job, JobAction.WITHHOLD, by="ann", now=NOW)


async def test_a_deleted_job_is_gone(store: Store) -> None:
    job = await save(store, JobDefinition(name="one"))
    await delete_job(store, job, by="ann")
    with pytest.raises(NoSuchJob):
        await read_job_by_id(store, job)


async def test_private_jobs_are_their_owners_alone(store: Store) -> None:
    await save(store, JobDefinition(name="secret", is_private=True))
    assert await list_jobs(store, viewer="ben") == []
    assert [job.definition.name for job in await list_jobs(store, viewer="ann")] == ["secret"]


async def synced(store: Store, born: Sequence[tuple[JobDefinition, JobStatus]], now: datetime) -> Synced:
    async with store.transaction() as connection:
        return await sync_jobs(connection, born, by="config", now=now)


async def test_configuration_changes_definitions_and_never_a_status(store: Store) -> None:
    one, two = JobDefinition(name="one"), JobDefinition(name="two", dependencies=(DependencyDefinition(parent="one"),))
    born = [(two, JobStatus.WAITING), (one, JobStatus.WAITING)]
    assert (await synced(store, born, NOW)).created == ("two", "one")
    assert await synced(store, born, LATER) == Synced(created=(), changed=(), removed=())
    job = await read_job(store, "two")
    assert job is not None and job.changed_at == NOW  # unchanged sections change nothing
    await change_status(store, job.id, JobAction.WITHHOLD, by="ann", now=LATER)
    better = replace(two, description="better")
    done = await synced(store, [(better, JobStatus.WAITING)], LATER)
    assert (done.changed, done.removed) == (("two",), ("one",))
    (left,) = await list_jobs(store)
    assert (left.status, left.definition.description) == (JobStatus.WITHHOLD, "better")


async def test_the_first_named_group_replaces_the_default_one(store: Store) -> None:
    await register_server(store, "aos2", 1, NOW)
    await put_group(store, GroupDefinition(name="BG1"), now=NOW)
    assert [server.definition.groups for server in await list_servers(store)] == [("",)]
    await assign_group(store, "aos2", "BG1")
    assert [server.definition.groups for server in await list_servers(store)] == [("BG1",)]
    await assign_group(store, "aos2", "")
    assert [server.definition.groups for server in await list_servers(store)] == [("", "BG1")]


async def test_a_group_in_use_is_not_removed(store: Store) -> None:
    await put_group(store, GroupDefinition(name="BG1"), now=NOW)
    await save(store, JobDefinition(name="one", batch_group="BG1"))
    with pytest.raises(JobRefused, match="in use by job one"):
        await delete_group(store, "BG1")


async def test_hours_and_periods_read_back(store: Store) -> None:
    hours = (HoursDefinition(threads=2, start=time(8), end=time(18), zone="Europe/Copenhagen"),)
    server = ServerDefinition(name="night", threads=4, reserved_percent=10, hours=hours, groups=("",))
    await put_server(store, server, now=NOW)
    period = PeriodDefinition(name="evening", start=time(18), end=time(2), weekdays=(0, 4), zone="Europe/Copenhagen")
    await put_period(store, period)
    assert [found.definition for found in await list_servers(store, "night")] == [server]
    assert await list_periods(store) == [period]


async def test_what_the_configuration_no_longer_names_goes_when_unused(store: Store) -> None:
    groups = [GroupDefinition(name="A"), GroupDefinition(name="B")]
    async with store.transaction() as connection:
        period = PeriodDefinition(name="p", start=time(1), end=time(2))
        await sync_places(connection, groups, [], [period], now=NOW)
    await save(store, JobDefinition(name="one", batch_group="A"))
    async with store.transaction() as connection:
        await sync_places(connection, [], [], [], now=NOW)
    await put_group(store, GroupDefinition(name="C"), now=NOW)
    with pytest.raises(NoSuchJob):
        await delete_group(store, "B")
    assert await list_periods(store) == []
    with pytest.raises(JobRefused):
        await delete_group(store, "A")
