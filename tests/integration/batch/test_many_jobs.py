"""Very many jobs that are due at the same moment."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from gateway.batch.rules.definition import JobDefinition
from gateway.batch.rules.job import JobStatus, Wanted
from gateway.batch.statements import runs_sql
from gateway.batch.store.jobs import create_job
from gateway.batch.store.starting import START_LIMIT, start_due
from tests.fakes import World, task

JOBS = 120


async def save(world: World, number: int) -> None:
    definition = JobDefinition(name=f"job {number}", tasks=(task("T", seconds=0),))
    await create_job(world.store, definition, by="ann", now=world.clock.now(), status=JobStatus.WAITING)


async def test_jobs_that_are_due_together_start_together_and_each_once(world: World) -> None:
    for first in range(0, JOBS, 8):
        await asyncio.gather(*(save(world, number) for number in range(first, first + 8)))
    due = await start_due(world.store, world.clock.now())
    assert (len(due.started), due.more) == (JOBS, False)  # one transaction for as many as it may hold
    assert JOBS < START_LIMIT
    await world.server("A", threads=8)
    await world.server("B", threads=8)
    await world.settle()
    (row,) = await world.rows(
        """SELECT count(*) AS runs, count(DISTINCT job_id) AS jobs, count(*) FILTER (WHERE status = 'ended') AS ended,
                  (SELECT count(*) FROM attempt) AS attempts FROM run"""
    )
    assert tuple(row) == (JOBS, JOBS, JOBS, JOBS)


TASKS = 500


async def test_the_start_of_a_very_large_job_looks_at_each_condition_once(world: World) -> None:
    tasks = [task("T0"), *(task(f"T{n}", (f"T{n - 1}", Wanted.ENDED)) for n in range(1, TASKS))]
    await world.job("large", tasks)
    (started,) = (await start_due(world.store, world.clock.now())).started
    statement = f"EXPLAIN (ANALYZE, FORMAT JSON) {runs_sql.INSERT_RUN_CONDITIONS}"
    async with world.store.transaction() as connection:
        assert len(await connection.fetch("DELETE FROM run_condition RETURNING 1")) == TASKS - 1
        (plan,) = json.loads(await connection.fetchval(statement, [started.run_id]))
    assert most_rows(plan["Plan"]) <= 2 * TASKS


def most_rows(node: Mapping[str, Any]) -> float:
    """The most rows that one step of a plan has looked at."""
    looked_at = node["Actual Rows"] + node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Join Filter", 0)
    return max(looked_at * node["Actual Loops"], *(most_rows(part) for part in node.get("Plans", [])), 0.0)
