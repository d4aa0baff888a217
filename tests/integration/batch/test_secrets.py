"""What comes into the parameters of a task from outside stands nowhere afterwards, whatever the code does with it."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from structlog.testing import capture_logs

from gateway.batch.engine.clock import DatabaseClock
from gateway.batch.engine.executor import Execution, Executor
from gateway.batch.rules.alert import AlertEvent, Channel
from gateway.batch.rules.definition import AlertDefinition, JobDefinition, TaskDefinition
from gateway.batch.store.jobs import create_job
from gateway.batch.store.starting import start_now
from gateway.batch.store.tasks import claim_tasks
from gateway.config.models import Logging, Settings
from gateway.contracts.task import TaskContext
from gateway.db.open import Store
from gateway.exchange import MessageStores
from gateway.messaging.queue.leases import start_incarnation
from gateway.operations.runs import show_run
from gateway.runtime.ports import SystemClock
from gateway.runtime.runnables import Dependencies, PreparedRunnables, shipped
from gateway.workers.launcher import Launcher
from tests.factories import operator

SECRET = "hunter2-in-the-house"
NOW = datetime.now(UTC)
RETRIES_ARE_DUE = timedelta(hours=1)


async def fails(token: str, context: TaskContext) -> None:
    """Say it, and fail with it in a chain of errors."""
    context.log.warning(f"using {token}")
    try:
        {}[token]
    except KeyError as error:
        error.add_note(f"it was {token}")
        raise ValueError(f"{token!r} is not known") from error


def ends_it_all(token: str) -> None:
    raise SystemExit(token)


async def ends_all_of_it(token: str) -> None:
    raise SystemExit(token)


def returns(token: str) -> str:
    """Return it where a long text is cut, so that half of it would be left."""
    return "x" * 490 + token


def wants_none() -> None:
    """Want no token at all."""


@asynccontextmanager
async def echo() -> AsyncIterator[str]:
    """Serve a web service that refuses every request and repeats it; yields its address."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 400 Bad\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(head), head))
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def python(function: str) -> TaskDefinition:
    parameters = {"call": f"{__name__}:{function}", "arguments": {"token": "${TOKEN}"}}
    return TaskDefinition(name=function, handler="python", parameters=parameters, ignore_failure=function != "fails")


def tasks(address: str) -> tuple[TaskDefinition, ...]:
    """Return tasks of every kind, each of which tells what it was given, if it is let."""
    script = 'echo "$TOKEN"; i=0; while [ $i -lt 250 ]; do echo "$i $TOKEN"; i=$((i+1)); done; exit 3'
    parameters: Mapping[str, tuple[str, Mapping[str, object]]] = {
        "answered": ("http", {"url": f"{address}/${{TOKEN}}", "headers": {"Authorization": "Bearer ${TOKEN}"}}),
        "away": ("http", {"url": "http://127.0.0.1:1/${TOKEN}"}),
        "statement": ("sql", {"statements": "SELECT CAST(:t::text AS int)", "values": {"t": "${TOKEN}"}}),
        "database": ("sql", {"statements": "SELECT 1", "url": "${DATABASE}"}),
        "output": ("command", {"command": ["sh", "-c", script], "environment": {"TOKEN": "${TOKEN}"}}),
        "start": ("command", {"command": ["/no/such/${TOKEN}"]}),
    }
    return (
        *map(python, ("fails", "ends_it_all", "ends_all_of_it", "returns", "wants_none")),
        *(
            TaskDefinition(name=name, handler=run, parameters=given, ignore_failure=True)
            for name, (run, given) in parameters.items()
        ),
    )


async def test_no_secret_is_written_whatever_a_task_does_with_it(
    store: Store, tmp_path: Path, launcher: Launcher
) -> None:
    environ = {"TOKEN": SECRET, "DATABASE": f"postgresql://a:{SECRET}@127.0.0.1:1/x"}
    stores = MessageStores(store, Settings, threads=lambda _: ThreadPoolExecutor(1), clock=SystemClock())
    parts = Dependencies(store=store, stages={}, settings=Settings, archives=dict, message_stores=stores)
    runnables = PreparedRunnables(
        shipped(tmp_path, lambda: parts), environ=environ, base=tmp_path, launcher=launcher, logging=Logging
    )
    rule = AlertDefinition(user="ann", events=(AlertEvent.ERROR,), channels=(Channel.POPUP, Channel.EMAIL))
    async with echo() as address:
        job = JobDefinition(name="nightly", tasks=tasks(address), alerts=(rule,))
        with capture_logs() as events:
            names = await carry_out(store, Executor(store, DatabaseClock(store), runnables), job)
    assert names == {task.name for task in job.tasks}
    rows = await everything(store)
    files = [content for (content,) in rows.pop("run_file")]
    written = json.dumps([rows, list(map(str, events))], default=str) + b"".join(files).decode()
    for known in (SECRET, SECRET[:6]):
        assert known not in written, written[max(0, written.index(known) - 300) :][:600]
    assert b"".join(files).count(b"***") == 251
    said = {text for (text,) in rows["run_log"]}
    assert {"using ***", "***", "0 ***"} <= said and any("GET /***" in text or "POST /***" in text for text in said)
    assert "ValueError: '***' is not known" in {error for error, _ in rows["attempt"]}
    assert any("it was ***" in traceback for _, traceback in rows["attempt"] if traceback)
    assert ["fails: ValueError: '***' is not known" in alert for (alert,) in rows["alert"]] == [True, True]
    shown = await show_run(operator(store), 1)
    assert {"${TOKEN}", "${DATABASE}"} <= set(re.findall(r"\$\{\w+\}", str(shown))) and SECRET not in str(shown)


async def carry_out(store: Store, executor: Executor, job: JobDefinition) -> set[str]:
    """Run a job to its end on one server, its tasks one after another; returns their names."""
    incarnation = await start_incarnation(store, "node", "1")
    await start_now(store, await create_job(store, job, by="ann", now=NOW), by="ann", now=NOW)
    names: set[str] = set()
    while claimed := await claim_tasks(
        store, server="app-1", incarnation=incarnation, groups=[""], free=1, reserved=0, idempotent=(),
        chance=lambda: 0.5, now=datetime.now(UTC) + RETRIES_ARE_DUE,
    ):  # fmt: skip
        await executor.carry_out(Execution(task=claimed[0]), asyncio.Event())
        names.add(claimed[0].name)
    return names


async def everything(store: Store) -> dict[str, list[tuple[Any, ...]]]:
    """Return what the store keeps of the run, of its tasks and attempts, of its alerts."""
    columns = {"run": "run::text", "run_task": "run_task::text", "attempt": "error, traceback", "run_log": "text",
               "alert": "alert::text", "exception": "exception::text", "run_file": "content"}  # fmt: skip
    async with store.transaction() as connection:
        return {
            table: [tuple(row) for row in await connection.fetch(f"SELECT {what} FROM {table}")]
            for table, what in columns.items()
        }
