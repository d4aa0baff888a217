"""Measure how fast very many tasks that are due together are carried out: `python -m tests.bench.tasks`.

Each round runs the bare loop and one server of the gateway one after the other on the same database server. What counts
is the ratio of the two, and its median over the rounds.
"""

import argparse
import asyncio
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from io import StringIO
from pathlib import Path
from statistics import median

import structlog
from rich.console import Console
from rich.table import Table

from gateway.batch.engine.clock import DatabaseClock
from gateway.batch.engine.engine import Engine
from gateway.batch.engine.executor import Executor
from gateway.batch.rules.definition import JobDefinition, ServerDefinition
from gateway.batch.rules.job import JobStatus
from gateway.batch.store.jobs import create_job
from gateway.batch.store.servers import put_server, register_server
from gateway.batch.store.starting import start_due
from gateway.db.embedded import EmbeddedServer
from gateway.db.listen import Listener
from gateway.db.open import Store, open_store
from gateway.messaging.queue.leases import start_incarnation
from tests.bench.measure import fresh
from tests.fakes import FakeClock, World, task

out = Console()

_BEGIN = """
WITH begun AS (
    UPDATE run_task SET status = 'executing', fence = id, attempts = 1, server = 'bare', started_at = clock_timestamp()
    WHERE id = ANY($1::bigint[]) RETURNING id
)
INSERT INTO attempt (run_task_id, number, server, started_at) SELECT id, 1, 'bare', clock_timestamp() FROM begun
"""
_END = """
WITH ended AS (
    UPDATE run_task SET status = 'ended', fence = NULL, ended_at = clock_timestamp() WHERE id = ANY($1::bigint[])
    RETURNING id, run_id
), attempts AS (
    UPDATE attempt SET ended_at = clock_timestamp(), outcome = 'ended' WHERE run_task_id = ANY($1::bigint[])
), lines AS (
    INSERT INTO run_log (run_id, run_task_id, attempt, severity, text) SELECT run_id, id, 1, 'info', 'done' FROM ended
), runs AS (
    UPDATE run SET status = 'ended', ended_at = clock_timestamp() FROM ended WHERE run.id = ended.run_id
    RETURNING job_id
)
UPDATE job SET status = 'ended', run_id = NULL FROM runs WHERE job.id = runs.job_id
"""


@contextmanager
def silent() -> Iterator[None]:
    """Write the log as always, but to nobody."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(StringIO()))
    try:
        yield
    finally:
        structlog.reset_defaults()


@asynccontextmanager
async def started(server: EmbeddedServer, base: Path, name: str, jobs: int) -> AsyncIterator[tuple[Store, float]]:
    """Let so many jobs of one task start together; with the store comes how long that took."""
    async with open_store(await fresh(server, name), base / name) as store:
        now = (await store_clock(store)).now()

        async def save(number: int) -> None:
            job = JobDefinition(name=f"job {number}", tasks=(task("T", seconds=0),))
            await create_job(store, job, by="ann", now=now, status=JobStatus.WAITING)

        for first in range(0, jobs, 8):
            await asyncio.gather(*map(save, range(first, min(first + 8, jobs))))
        began = time.perf_counter()
        while (await start_due(store, now)).more:
            pass
        yield store, time.perf_counter() - began


async def store_clock(store: Store) -> DatabaseClock:
    """Return the clock that servers go by."""
    clock = DatabaseClock(store)
    await clock.look()
    return clock


async def bare_loop(store: Store, threads: int) -> None:
    """Do the same to the rows, as many tasks at a time, with two commits each: no leases, no limits, no recovery."""
    connection = await store.connect()
    try:
        ids = [row["id"] for row in await connection.fetch("SELECT id FROM run_task ORDER BY id")]
        for first in range(0, len(ids), threads):
            chunk = ids[first : first + threads]
            await connection.execute(_BEGIN, chunk)
            await asyncio.gather(*(asyncio.sleep(0) for _ in chunk))
            await connection.execute(_END, chunk)
    finally:
        await connection.close()


async def one_server(store: Store, threads: int) -> None:
    """Carry everything out as a server of the gateway does, until every run has ended."""
    incarnation = await start_incarnation(store, "bench", "0")
    clock = await store_clock(store)
    await put_server(store, ServerDefinition(name="bench", threads=threads), now=clock.now())
    await register_server(store, "bench", incarnation, clock.now())
    stopping = asyncio.Event()
    world = World(store, FakeClock(clock.now()))  # for what can be run
    engine = Engine(
        store=store, server="bench", incarnation=incarnation, clock=clock, executor=Executor(store, clock, world),
        stopping=stopping,
    )  # fmt: skip
    async with asyncio.TaskGroup() as group:
        group.create_task(Listener(store.url, lambda _: engine.wake()).run(stopping))
        group.create_task(engine.run())
        while await open_runs(store):
            await asyncio.sleep(0.1)
        stopping.set()


async def open_runs(store: Store) -> bool:
    async with store.transaction() as connection:
        return bool(await connection.fetchval("SELECT EXISTS (SELECT 1 FROM run WHERE ended_at IS NULL)"))


async def measure(server: EmbeddedServer, base: Path, jobs: int, threads: int, rounds: int) -> None:
    """Print a table of the rounds and the median ratio."""
    table = Table(title=f"{jobs} jobs of one task that does nothing, {threads} threads")
    for column in ("round", "started in s", "bare s", "bare/s", "gateway s", "gateway/s", "ratio"):
        table.add_column(column, justify="right")
    ratios: list[float] = []
    for number in range(rounds):
        async with started(server, base, f"tasks_bare_{number}", jobs) as (store, _):
            began = time.perf_counter()
            await bare_loop(store, threads)
            bare = time.perf_counter() - began
        async with started(server, base, f"tasks_gateway_{number}", jobs) as (store, start):
            began = time.perf_counter()
            await one_server(store, threads)
            took = time.perf_counter() - began
        ratios.append(bare / took)
        table.add_row(
            str(number + 1), f"{start:.2f}", f"{bare:.2f}", f"{jobs / bare:.0f}", f"{took:.2f}", f"{jobs / took:.0f}",
            f"{bare / took:.2f}",
        )  # fmt: skip
    out.print(table)
    out.print(f"median ratio to the bare loop, tasks: [bold]{median(ratios):.2f}[/bold]")


async def main(words: Sequence[str] | None = None) -> None:
    """Measure; *words* are those of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1_000)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args(words)
    base = Path(tempfile.mkdtemp(prefix="gateway-bench-"))
    server = EmbeddedServer(base / "server")
    (base / "server").mkdir()
    with silent():
        await asyncio.to_thread(server.start)
        try:
            await measure(server, base, arguments.jobs, arguments.threads, arguments.rounds)
        finally:
            await asyncio.to_thread(server.stop)
            shutil.rmtree(base, ignore_errors=True)


if __name__ == "__main__":
    asyncio.run(main())
