"""Very many jobs that are due at the same moment."""

import asyncio

from gateway.domain.definition import JobDefinition
from gateway.domain.job import JobStatus
from gateway.store.jobs import create_job
from gateway.store.starting import START_LIMIT, start_due
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
