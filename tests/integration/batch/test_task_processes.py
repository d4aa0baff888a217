"""Tasks that run code of the users, carried out: whatever the code does, its attempt ends, and so does its process."""

import asyncio
import os
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from datetime import time as time_of_day
from pathlib import Path

import pytest
from asyncpg import Record

from gateway.batch.engine.executor import GRACE_SECONDS, Execution, Executor
from gateway.batch.handlers.python import PlainContext
from gateway.batch.processes import process as task_process
from gateway.batch.rules.definition import EntryDefinition, JobDefinition, TaskDefinition
from gateway.batch.store.jobs import create_job
from gateway.batch.store.starting import start_now
from gateway.batch.store.tasks import claim_tasks
from gateway.config.models import Logging
from gateway.contracts.task import SpawnedTask, TaskContext
from gateway.db.open import Store
from gateway.kernel.errors import EntryRefused
from gateway.messaging.queue.leases import start_incarnation
from gateway.queues import EntryStatus, list_entries
from gateway.runtime.runnables import PreparedRunnables, shipped, without_gateway
from gateway.workers.launcher import Launcher
from tests.fakes import FakeClock
from tests.site import until
from tests.unit.runtime.test_runnables import COPY

NOW = datetime.now(UTC)
OWN = f"{COPY.make.__module__}:COPY"


def never_returns(context: PlainContext, folder: str) -> None:
    """Say which process it is, and sleep through every exception."""
    (Path(folder) / "writing").write_text(str(os.getpid()))
    (Path(folder) / "writing").rename(Path(folder) / "pid")
    while True:
        try:
            time.sleep(1000)
        except BaseException:
            context.log.warning("not yet")


async def works(context: TaskContext) -> dict[str, int]:
    """Keep a file, add a task of a kind of one's own, count."""
    await context.keep_file("list.csv", b"a;b\n")
    await context.spawn([SpawnedTask(name="copy", run=OWN, parameters={"rows": 2})])
    context.log.info(context.idempotency_key("post"))
    return {"rows": 5}


ENTRY = EntryDefinition(
    run=OWN, name="after", parameters={"rows": 2}, earliest=NOW, starting=time_of_day(22), weekdays=(0, 4),
    zone="Asia/Tokyo",
)  # fmt: skip


def adds_an_entry(context: PlainContext) -> None:
    """Add an entry, and be refused another one."""
    context.enqueue(ENTRY)
    try:
        context.enqueue(EntryDefinition(run=OWN, category="Sales"))
    except EntryRefused as error:
        context.log.info(error.message)


async def adds_an_entry_async(context: TaskContext) -> None:
    """Add an entry."""
    await context.enqueue(ENTRY)


async def ends_its_process(context: TaskContext) -> None:
    """Ask for an entry, and end without a word."""
    await context.enqueue(ENTRY)
    os._exit(3)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW)


@pytest.fixture
def executor(
    store: Store, launcher: Launcher, clock: FakeClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Executor:
    monkeypatch.setattr(task_process, "_END_SECONDS", 0.2)
    runnables = PreparedRunnables(
        shipped(tmp_path, without_gateway), environ={}, base=tmp_path, launcher=launcher, logging=Logging
    )
    return Executor(store, clock, runnables)


async def claim(store: Store, name: str, arguments: Mapping[str, object], **options: object) -> Execution:
    """Start a job of one task, and claim that."""
    parameters = {"call": f"{__name__}:{name}", "arguments": arguments}
    task = TaskDefinition(name=name, handler="python", parameters=parameters, **options)  # type: ignore[arg-type]
    incarnation = await start_incarnation(store, "node", "1")
    job = JobDefinition(name="nightly", tasks=(task,))
    await start_now(store, await create_job(store, job, by="ann", now=NOW), by="ann", now=NOW)
    (claimed,) = await claim_tasks(
        store, server="app-1", incarnation=incarnation, groups=[""], free=1, reserved=0, idempotent=(),
        chance=lambda: 0.5, now=NOW,
    )  # fmt: skip
    return Execution(task=claimed)


async def attempt(store: Store) -> Record:
    async with store.transaction() as connection:
        return await connection.fetchrow("SELECT outcome, error_code, error FROM attempt")


async def process_of(folder: Path) -> Path:
    """Wait until the function runs; returns where its process is seen."""
    file = folder / "pid"

    async def says_so() -> bool:
        return file.exists()

    await until(says_so, "the function runs")
    return Path("/proc", file.read_text())


async def test_what_a_task_makes_is_kept_with_its_run(store: Store, executor: Executor) -> None:
    execution = await claim(store, "works", {})
    await executor.carry_out(execution, asyncio.Event())
    async with store.transaction() as connection:
        files = await connection.fetch("SELECT name, content FROM run_file")
        tasks = await connection.fetch("SELECT name, handler, parameters_version FROM run_task ORDER BY id")
        lines = await connection.fetch("SELECT text FROM run_log")
    assert [tuple(row) for row in files] == [("list.csv", b"a;b\n")]
    assert [tuple(row) for row in tasks] == [("works", "python", None), ("copy", OWN, 3)]
    task = execution.task
    assert [row["text"] for row in lines] == [f"nightly/{task.run_id}/{task.id}/post"]


@pytest.mark.parametrize("name", ["adds_an_entry", "adds_an_entry_async"])
async def test_a_task_adds_an_entry_of_the_job_queue(store: Store, executor: Executor, name: str) -> None:
    await executor.carry_out(await claim(store, name, {}), asyncio.Event())
    (added,) = await list_entries(store)
    assert added.definition == replace(ENTRY, parameters_version=3)
    assert (added.status, added.user_name) == (EntryStatus.READY, "ann")
    if name == "adds_an_entry":
        async with store.transaction() as connection:
            lines = await connection.fetch("SELECT text FROM run_log")
        assert [row["text"].split(".")[0] for row in lines] == ["There is no job queue category 'Sales'"]


async def test_a_process_that_ends_without_a_word_adds_no_entry(store: Store, executor: Executor) -> None:
    await executor.carry_out(await claim(store, "ends_its_process", {}), asyncio.Event())
    assert (await attempt(store))["error_code"] == "task.exit"
    assert await list_entries(store) == []


@pytest.mark.parametrize("how", ["cancelled", "interrupted", "time-out"])
async def test_a_function_that_never_returns_is_ended(
    store: Store, executor: Executor, clock: FakeClock, tmp_path: Path, how: str
) -> None:
    execution = await claim(store, "never_returns", {"folder": str(tmp_path)}, timeout_seconds=600)
    working = asyncio.create_task(executor.carry_out(execution, asyncio.Event()))
    process = await process_of(tmp_path)
    if how == "cancelled":
        execution.cancelled.set()
        await execution.stopping.wait()  # from now on it is asked to stop
        assert process.exists()
        clock.move_to(NOW + timedelta(seconds=GRACE_SECONDS))
    elif how == "interrupted":
        execution.interrupted.set()
    else:
        clock.move_to(NOW + timedelta(seconds=600))
    await working
    assert not process.exists() and not executor.left_behind
    expected = {
        "cancelled": ("canceled", None, "stopped because its run was cancelled"),
        "interrupted": ("lost", "task.interrupted", "interrupted: its server was stopped while it worked on this"),
        "time-out": ("error", "task.timeout", "not done after 600 seconds, its time-out"),
    }
    assert tuple(await attempt(store)) == expected[how]
