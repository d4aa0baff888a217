"""Random jobs through the store, with everything that may come in between: nothing hangs, nothing is done twice.

Two servers claim side by side; tasks fail, are tried again, make further tasks, and lose their leases while they are
carried out; people cancel and park. After each round the limits hold, and in the end each status follows from the rules
as they are written in the reference, judged here in a second, plainer way.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from asyncpg import Record

from gateway.batch.rules.definition import ConditionDefinition, GroupDefinition, JobDefinition, TaskDefinition
from gateway.batch.rules.job import ConditionType, Wanted
from gateway.batch.rules.throttle import Throttle
from gateway.batch.rules.transitions import Attempt, JobAction
from gateway.batch.store.cancel import cancel_job
from gateway.batch.store.ending import Result, TaskEnd, end_tasks, task_reaper
from gateway.batch.store.jobs import change_status, create_job, read_job_by_id
from gateway.batch.store.servers import put_group
from gateway.batch.store.starting import next_moment, start_due
from gateway.batch.store.tasks import ClaimedTask, claim_tasks, spawn_tasks
from gateway.contracts.task import SpawnedTask
from gateway.db.open import Store
from gateway.kernel.errors import IllegalTransition, LeaseLost, TaskRefused
from gateway.kernel.ids import Fence, JobId
from gateway.messaging.queue.leases import read_beats, take_back

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
GROUPS = ("", "slow")
SLOW_AT_ONCE = 2
THROTTLE = Throttle(per_minute=3)
"""So little that it is used up again and again."""
ROUNDS = 2000
MEANS: Mapping[str, frozenset[str]] = {
    "ended": frozenset({"ended"}),
    "error": frozenset({"error"}),
    "ended_or_error": frozenset({"ended", "error"}),
}


def grown(chance: random.Random, name: str, size: int) -> JobDefinition:
    """A job without cycles: its tasks wait only for earlier ones."""
    tasks = list[TaskDefinition]()
    for number in range(chance.randrange(size // 2, size + 1)):
        parents = chance.sample(tasks, min(len(tasks), chance.randrange(4)))
        tasks.append(
            TaskDefinition(
                name=f"T{number}",
                handler=chance.choice(("work", "play")),
                conditions=tuple(
                    ConditionDefinition(parent=parent.name, wanted=chance.choice(list(Wanted))) for parent in parents
                ),
                condition_type=chance.choice(list(ConditionType)),
                batch_group=chance.choice((None, "slow")),
                ignore_failure=chance.random() < 0.2,
                max_retries=chance.randrange(3),
                retry_seconds=chance.choice((0.0, 60.0)),
                wait_for_children=chance.random() < 0.8,
                is_withheld=chance.random() < 0.05,
            )
        )
    return JobDefinition(name=name, tasks=tuple(tasks), concurrency=chance.choice((0, 0, 3)))


@dataclass
class Model:
    """A store, its jobs, and who carries out what."""

    store: Store
    chance: random.Random
    now: datetime = START
    jobs: dict[JobId, JobDefinition] = field(default_factory=dict)
    in_work: list[ClaimedTask] = field(default_factory=list)
    seen: Counter[tuple[int, int]] = field(default_factory=Counter)
    returned: Counter[int] = field(default_factory=Counter)
    stale: list[ClaimedTask] = field(default_factory=list)  # taken back; their servers do not know it yet
    contested: set[Fence] = field(default_factory=set)  # ended and taken back at the same time

    async def begin(self, size: int) -> None:
        await put_group(self.store, GroupDefinition(name="slow", concurrency=SLOW_AT_ONCE), now=self.now)
        for number in range(3):
            definition = grown(self.chance, f"job {number}", size)
            job = await create_job(self.store, definition, by="ann", now=self.now)
            await change_status(self.store, job, JobAction.ARM, by="ann", now=self.now)
            self.jobs[job] = definition

    async def run(self) -> None:
        """Go on, in rounds of things that happen at the same time, until every run has ended."""
        for _ in range(ROUNDS):
            steps = [self.end_too_late(task) for task in self.stale]
            self.stale.clear()
            ends = self.chance.sample(self.in_work, min(len(self.in_work), self.chance.randrange(4)))
            self.in_work = [task for task in self.in_work if task not in ends]
            steps += [self.end(ends)] if self.chance.random() < 0.5 else [self.end([task]) for task in ends]
            steps += [self.claim(server) for server in ("A", "B")]
            if self.chance.random() < 0.04:
                steps.append(self.meddle(self.chance.choice(list(self.jobs))))
            if self.in_work and self.chance.random() < 0.1:
                lost = self.in_work.pop(self.chance.randrange(len(self.in_work)))
                self.stale.append(lost)
                steps.append(self.lose(lost))
            if ends and self.chance.random() < 0.1:
                self.contested.add(ends[0].fence)
                steps.append(self.lose(ends[0]))
            self.chance.shuffle(steps)
            await start_due(self.store, self.now)
            async with asyncio.timeout(60):
                await asyncio.gather(*steps)
            await self.limits_hold()
            if not self.in_work and not self.stale and await self.over():
                return
        raise AssertionError("it goes on for ever")

    async def over(self) -> bool:
        """Tell whether all runs have ended; nothing may be open that nothing would ever move."""
        open_runs = await self.rows("SELECT id, status FROM run WHERE ended_at IS NULL")
        if not open_runs:
            return True
        ready = await self.rows("SELECT ready_at FROM run_task WHERE status = 'ready'")
        assert ready, f"hangs: {await self.rows('SELECT run_id, name, status FROM run_task WHERE ended_at IS NULL')}"
        if all(row["ready_at"] > self.now for row in ready):
            moment = await next_moment(self.store, self.now)
            assert moment is not None
            self.now = moment
        return False

    async def claim(self, server: str) -> None:
        claimed = await claim_tasks(
            self.store,
            server=server,
            incarnation=1,
            groups=GROUPS,
            free=self.chance.randrange(1, 5),
            reserved=0,
            idempotent=(),
            chance=self.chance.random,
            now=self.now,
            throttle=THROTTLE,
        )
        self.in_work += claimed
        self.seen.update((task.id, task.attempt) for task in claimed)

    async def end(self, tasks: Sequence[ClaimedTask]) -> None:
        """Let tasks come back together: well, badly, or after they have made others."""
        results = list[Result]()
        for task in tasks:
            failed = self.chance.random() < 0.3
            results.append(
                Result(attempt=Attempt.ERROR, code="test", error="it went wrong")
                if failed
                else Result(attempt=Attempt.ENDED)
            )
            if self.chance.random() < 0.15:
                with suppress(TaskRefused, LeaseLost):
                    await spawn_tasks(self.store, task, self.children(task), versions={"work": 1}, now=self.now)
        ends = [TaskEnd(task=task, result=result) for task, result in zip(tasks, results, strict=True)]
        for end, ended in zip(ends, await end_tasks(self.store, ends, self.now), strict=True):
            if ended is None:
                assert end.task.fence in self.contested
            else:
                self.returned[end.task.id] += end.result.attempt is Attempt.ENDED

    def children(self, task: ClaimedTask) -> Sequence[SpawnedTask]:
        names = [f"{task.name} {number}" for number in range(self.chance.randrange(1, 5))]
        return [
            SpawnedTask(
                name=name,
                run="work",
                after={
                    earlier: self.chance.choice(list(Wanted))
                    for earlier in self.chance.sample(names[:place], min(place, self.chance.randrange(3)))
                },
                condition_type=self.chance.choice(list(ConditionType)),
                ignore_failure=self.chance.random() < 0.2,
            )
            for place, name in enumerate(names)
        ]

    async def lose(self, task: ClaimedTask) -> None:
        """Take a task back from a server that stands still; it will come back too late."""
        beats = (await read_beats(self.store, 0)).leases
        if task.fence in beats:
            await take_back(self.store, {task.fence: beats[task.fence]}, [task_reaper(lambda: self.now)])

    async def end_too_late(self, task: ClaimedTask) -> None:
        end = TaskEnd(task=task, result=Result(attempt=Attempt.ENDED))
        assert await end_tasks(self.store, [end], self.now) == [None]

    async def meddle(self, job: JobId) -> None:
        """Do something to a job that may not be possible now."""
        with suppress(IllegalTransition):
            if self.chance.random() < 0.5:
                await cancel_job(self.store, job, by="ben", now=self.now)
            else:
                await change_status(self.store, job, JobAction.WITHHOLD, by="ben", now=self.now)

    async def limits_hold(self) -> None:
        rows = await self.rows(
            """SELECT r.job_id, t.batch_group, count(*) AS tasks FROM run_task t JOIN run r ON r.id = t.run_id
               WHERE t.fence IS NOT NULL GROUP BY 1, 2"""
        )
        of_job = Counter[JobId]()
        for row in rows:
            of_job[row["job_id"]] += row["tasks"]
            assert row["batch_group"] != "slow" or row["tasks"] <= SLOW_AT_ONCE
        assert all(running <= (self.jobs[job].concurrency or running) for job, running in of_job.items())

    async def rows(self, statement: str, *values: object) -> list[Record]:
        async with self.store.transaction() as connection:
            return await connection.fetch(statement, *values)


async def judge(model: Model) -> None:
    """Compare what became of the runs with the rules."""
    assert set(model.seen.values()) <= {1}, "an attempt was handed out twice"
    assert max(model.returned.values(), default=0) <= 1, "a task went well twice"
    assert not await model.rows("SELECT 1 FROM lease")
    assert not await model.rows("SELECT 1 FROM attempt WHERE ended_at IS NULL")
    for run in await model.rows("SELECT * FROM run"):
        tasks = {row["id"]: row for row in await model.rows("SELECT * FROM run_task WHERE run_id = $1", run["id"])}
        wanted = await model.rows(
            "SELECT c.* FROM run_condition c JOIN run_task t ON t.id = c.run_task_id WHERE t.run_id = $1", run["id"]
        )
        withheld = {task.name for task in model.jobs[run["job_id"]].tasks if task.is_withheld}
        canceled = run["canceled_by"] is not None
        for task in tasks.values():
            truths = [
                tasks[each["parent_id"]]["status"] in MEANS[each["wanted"]]
                for each in wanted
                if each["run_task_id"] == task["id"]
            ]
            may = not truths or (all(truths) if task["condition_type"] == "all" else any(truths))
            judge_task(task, may=may and task["name"] not in withheld, canceled=canceled)
            judge_parent(task, [each for each in tasks.values() if each["spawned_by"] == task["id"]])
            assert model.returned[task["id"]] == (task["status"] == "ended") or task["status"] in ("canceled", "error")
        failed = any(task["status"] == "error" and not task["ignore_failure"] for task in tasks.values())
        assert run["status"] == ("canceled" if canceled else "error" if failed else "ended")
        job = await read_job_by_id(model.store, run["job_id"])
        assert job.status in (run["status"], "withhold")
        assert job.last_outcome == run["status"]


def judge_task(task: Record, *, may: bool, canceled: bool) -> None:
    """A task was carried out just when it might be, and not more often than its retries allow."""
    assert task["attempts"] <= 1 + task["max_retries"]
    if task["attempts"]:
        assert may
        assert task["status"] in (("ended", "error", "canceled") if canceled else ("ended", "error"))
    else:
        assert task["status"] == "not_run"
        assert canceled or not may


def judge_parent(task: Record, children: Sequence[Record]) -> None:
    """A task that waited for its children ended with the last of them, and as they did."""
    if children and task["wait_for_children"] and task["status"] == "ended":
        assert not any(child["status"] == "error" and not child["ignore_failure"] for child in children)
        assert all(child["ended_at"] <= task["ended_at"] for child in children)


@pytest.mark.parametrize("seed", range(4))
async def test_random_jobs_come_to_the_end_that_the_rules_say(store: Store, seed: int) -> None:
    model = Model(store, random.Random(seed))
    await model.begin(10)
    await model.run()
    await judge(model)


@pytest.mark.full
@pytest.mark.parametrize("seed", range(100, 112))
async def test_many_large_random_jobs_come_to_the_end_that_the_rules_say(store: Store, seed: int) -> None:
    model = Model(store, random.Random(seed))
    await model.begin(60)
    await model.run()
    await judge(model)
