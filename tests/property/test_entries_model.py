"""Random histories of job queue entries against what must always hold: categories, priorities, nothing lost.

Servers take and end tasks, and are lost, by the very statements that servers use; a kill is a transaction that is
undone before its commit. Time is the test's.
"""

import asyncio
import random
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.batch.rules.definition import EntryDefinition
from gateway.batch.rules.transitions import Attempt
from gateway.batch.store.cancel import cancel_run
from gateway.batch.store.ending import Result, TaskEnd, end_tasks, task_reaper
from gateway.batch.store.tasks import ClaimedTask, claim_tasks
from gateway.db.open import Store
from gateway.kernel.errors import GatewayError
from gateway.kernel.ids import EntryId, Fence
from gateway.queues import EntryAction, EntryStatus, add_entry, change_entry, list_entries, run_once, start_entries
from gateway.queues.rules.entry import FREE_INTERRUPTIONS

WIDTHS = {"narrow": 1, "wide": 2}
PER_USER = 3
STEPS = 50


@dataclass(slots=True)
class Model:
    """A cluster of two servers, and what was seen of its entries."""

    store: Store
    chance: random.Random
    now: datetime = datetime(2026, 3, 6, 16, 5, tzinfo=UTC)
    held: list[ClaimedTask] = field(default_factory=list)
    added: set[EntryId] = field(default_factory=set)
    removed: set[EntryId] = field(default_factory=set)
    expiring: set[EntryId] = field(default_factory=set)
    story: list[str] = field(default_factory=list)

    async def step(self) -> None:
        action = self.chance.choice([
            self.add, self.add, self.start, self.start, self.start, self.claim, self.claim, self.end, self.end,
            self.lose, self.operate, self.wait, self.die_starting, self.die_ending, self.both_start,
        ])  # fmt: skip
        self.story.append(action.__name__)
        await action()
        await self.check()

    async def add(self) -> None:
        once = self.chance.random() < 0.5
        entry = EntryDefinition(
            run="work", category=self.chance.choice([None, *WIDTHS, *WIDTHS]), priority=self.chance.choice([500, 1000]),
            max_attempts=self.chance.choice([0, 2]), weekdays=() if once else tuple(range(7)), minutes=0 if once else 5,
            inactivity_minutes=0 if once else self.chance.choice([0, 30]),
            expires=self.now + timedelta(hours=3) if self.chance.random() < 0.1 else None,
        )  # fmt: skip
        user = self.chance.choice(["ann", "ben"])
        number = await add_entry(self.store, entry, by=user, now=self.now, status=EntryStatus.READY)
        self.added.add(number)
        if entry.expires is not None:
            self.expiring.add(number)

    async def start(self) -> None:
        due = await self.rows(
            "SELECT category, priority, id, user_name FROM queue_entry WHERE status = 'ready' AND earliest <= $1 "
            "AND (expires IS NULL OR expires >= $1) ORDER BY priority, id", self.now,
        )  # fmt: skip
        free = dict(WIDTHS)
        for row in await self.rows("SELECT category FROM entry_slot"):
            free[row["category"]] -= 1
        running = Counter(row["user_name"] for row in await self.rows("SELECT user_name FROM user_slot"))
        expected = list[int]()
        for row in due:
            has_place = row["category"] is None or free[row["category"]] > 0
            if has_place and running[row["user_name"]] < PER_USER:
                expected.append(row["id"])
                running[row["user_name"]] += 1
                if row["category"] is not None:
                    free[row["category"]] -= 1
        inactive = await self.rows("SELECT 1 FROM queue_entry WHERE status = 'inactive' AND earliest <= $1", self.now)
        started = await start_entries(self.store, self.now, limit=1_000)
        if not inactive:
            assert [one.entry for one in started.started] == expected

    async def both_start(self) -> None:
        await asyncio.gather(*(start_entries(self.store, self.now, limit=3) for _ in range(2)))

    async def claim(self) -> None:
        self.held += await claim_tasks(
            self.store, server="A", incarnation=1, groups=[""], free=2, reserved=0, idempotent=[],
            chance=self.chance.random, now=self.now,
        )  # fmt: skip

    async def end(self) -> None:
        if self.held:
            task = self.held.pop(self.chance.randrange(len(self.held)))
            await end_tasks(self.store, [TaskEnd(task=task, result=self.result())], self.now)

    def result(self) -> Result:
        if self.chance.random() < 0.5:
            return Result(attempt=Attempt.ENDED, counts=self.chance.choice([{}, {"orders": 1}]))
        return Result(attempt=Attempt.ERROR, code="task.error", error="no", can_help=self.chance.random() < 0.8)

    async def lose(self) -> None:
        """A server is taken for dead; what it says later changes nothing."""
        if self.held:
            task = self.held.pop()
            await self.reap(task.fence)
            before = await self.rows("SELECT * FROM queue_entry ORDER BY id")
            assert await end_tasks(self.store, [TaskEnd(task=task, result=self.result())], self.now) == [None]
            assert await self.rows("SELECT * FROM queue_entry ORDER BY id") == before

    async def reap(self, fence: Fence) -> None:
        async with self.store.transaction() as connection:
            await connection.execute("DELETE FROM lease WHERE fence = $1", fence)
            await task_reaper(lambda: self.now)(self.store, connection, [fence])

    async def operate(self) -> None:
        found = await list_entries(self.store)
        if not found:
            return
        one = self.chance.choice(found)
        with suppress(GatewayError):
            match self.chance.randrange(6):
                case 0:
                    await change_entry(self.store, one.id, EntryAction.DELETE, by="ben", now=self.now)
                    self.removed.add(one.id)
                case 1 | 2:
                    await change_entry(self.store, one.id, EntryAction.READY, by="ben", now=self.now)
                case 3:
                    await change_entry(self.store, one.id, EntryAction.HOLD, by="ben", now=self.now)
                case 4 if one.run_id is not None:
                    await cancel_run(self.store, one.run_id, by="ben", now=self.now)
                case _:
                    await run_once(self.store, one.id, by="ben", now=self.now)

    async def wait(self) -> None:
        self.now += timedelta(minutes=self.chance.choice([1, 5, 30, 240]))

    async def die_starting(self) -> None:
        await self.undone(lambda: start_entries(self.store, self.now))

    async def die_ending(self) -> None:
        if self.held:
            end = TaskEnd(task=self.chance.choice(self.held), result=self.result())
            await self.undone(lambda: end_tasks(self.store, [end], self.now))

    async def undone(self, work: Any) -> None:
        """Let the process die in the last moment before its commit: nothing of it may be seen."""
        before = [await self.rows(f"SELECT * FROM {table} ORDER BY 1, 2") for table in TABLES]
        await self.rows("CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS "
                        "$$ BEGIN RAISE EXCEPTION 'killed'; END $$")  # fmt: skip
        for table in ("queue_entry", "run"):
            await self.rows(f"CREATE CONSTRAINT TRIGGER die AFTER INSERT OR UPDATE OR DELETE ON {table} "
                            "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION die()")  # fmt: skip
        try:
            with suppress(Exception):
                await work()
        finally:
            await self.rows("DROP FUNCTION die() CASCADE")
        assert [await self.rows(f"SELECT * FROM {table} ORDER BY 1, 2") for table in TABLES] == before

    async def check(self) -> None:
        """What holds after every step."""
        entries = {row["id"]: row for row in await self.rows("SELECT * FROM queue_entry")}
        slots = await self.rows("SELECT * FROM entry_slot")
        open_runs = await self.rows("SELECT id, entry_id FROM run WHERE ended_at IS NULL")
        in_process = {one for one, row in entries.items() if row["status"] == "in_process"}
        assert {row["entry_id"] for row in open_runs} == in_process
        assert len(open_runs) == len(in_process)
        assert {row["entry_id"] for row in slots} == {one for one in in_process if entries[one]["category"]}
        of_users = Counter(entries[one]["user_name"] for one in in_process)
        assert all(number <= PER_USER for number in of_users.values())
        assert {row["entry_id"] for row in await self.rows("SELECT entry_id FROM user_slot")} == in_process
        for name, width in WIDTHS.items():
            running = [one for one in in_process if entries[one]["category"] == name]
            assert len(running) <= width
            waiting = [row for row in entries.values() if row["category"] == name and row["status"] == "waiting"]
            ready = [row for row in entries.values() if row["category"] == name and row["status"] == "ready"
                     and row["earliest"] <= self.now]  # fmt: skip
            may = [row for row in waiting if of_users[row["user_name"]] < PER_USER]
            if may and len(running) < width:  # a place is free: somebody is on the way to it
                assert [row for row in ready if of_users[row["user_name"]] < PER_USER]
        for row in entries.values():
            assert row["attempts"] <= row["max_attempts"]
            assert row["interruptions"] <= FREE_INTERRUPTIONS
        for entry in self.added - set(entries) - self.removed - self.expiring:
            outcomes = await self.rows("SELECT status FROM run WHERE entry_id = $1", entry)
            assert "ended" in {row["status"] for row in outcomes}, f"the entry {entry} is gone, and has not run well"

    async def rows(self, statement: str, *values: object) -> list[Any]:
        async with self.store.transaction() as connection:
            return list(await connection.fetch(statement, *values))

    async def finish(self) -> None:
        """Let everything come to rest: nothing that should run is left behind."""
        before: list[Any] = []
        for _ in range(400):
            await start_entries(self.store, self.now, limit=1_000)
            await self.claim()
            after = await self.rows("SELECT id, status FROM queue_entry ORDER BY id")
            if not self.held and after == before:
                break
            before = after
            while self.held:
                task = self.held.pop()
                await end_tasks(self.store, [TaskEnd(task=task, result=Result(attempt=Attempt.ENDED))], self.now)
        left = {one.status for one in await list_entries(self.store) if one.next_start <= self.now}
        assert left <= {EntryStatus.ON_HOLD, EntryStatus.ERROR}


TABLES = ("queue_entry", "entry_slot", "user_slot", "run", "run_task", "lease")


async def history(store: Store, seed: int, steps: int) -> None:
    model = Model(store, random.Random(seed))
    await model.rows("DELETE FROM queue_entry")
    await model.rows("DELETE FROM run")
    await model.rows("DELETE FROM lease")
    await model.rows("UPDATE entry_limits SET per_user = $1", PER_USER)
    for name, width in WIDTHS.items():
        await model.rows("INSERT INTO entry_category (name, width) VALUES ($1, $2) ON CONFLICT DO NOTHING", name, width)
    try:
        for _ in range(steps):
            await model.step()
        await model.finish()
    except BaseException:
        print(f"seed {seed}: {' '.join(model.story)}")
        raise


async def test_random_histories_of_entries(store: Store) -> None:
    for seed in (1, 2):
        await history(store, seed, STEPS)


@pytest.mark.full
@pytest.mark.timeout(1_800)
async def test_many_random_histories_of_entries(store: Store) -> None:
    for seed in range(30):
        await history(store, seed, 150)
