"""What tasks run and is started too often stands behind everything else, on all servers together."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from gateway.batch.rules.definition import GroupDefinition, JobDefinition, TaskDefinition
from gateway.batch.rules.job import JobStatus, Location, Priority
from gateway.batch.rules.throttle import Throttle
from gateway.batch.store.jobs import create_job
from gateway.batch.store.servers import put_group
from gateway.batch.store.starting import start_due
from gateway.batch.store.tasks import ClaimedTask, claim_operator_task, claim_tasks, read_set_aside
from gateway.db.open import Store

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
FIVE = Throttle(per_minute=5)


async def save(
    store: Store, handler: str, number: int, *, priority: Priority | None = None, group: str | None = None,
    location: Location = Location.SERVER,
) -> None:  # fmt: skip
    """Let so many tasks that run *handler* be ready."""
    tasks = tuple(TaskDefinition(name=f"T{n}", handler=handler, location=location) for n in range(number))
    name = f"{handler} {priority} {group} {location}"
    job = JobDefinition(name=name, tasks=tasks, priority=priority, batch_group=group)
    await create_job(store, job, by="ann", now=NOW, status=JobStatus.WAITING)
    await start_due(store, NOW)


async def claim(
    store: Store, free: int, *, server: str = "A", throttle: Throttle = FIVE, now: datetime = NOW
) -> Sequence[ClaimedTask]:
    return await claim_tasks(
        store, server=server, incarnation=1, groups=["", "other"], free=free, reserved=0, idempotent=(),
        chance=lambda: 0.99, now=now, throttle=throttle,
    )  # fmt: skip


def by_handler(tasks: Sequence[ClaimedTask]) -> Counter[str]:
    return Counter(task.handler for task in tasks)


async def test_the_starts_of_two_servers_are_counted_together(store: Store) -> None:
    await save(store, "busy", 20)
    await save(store, "calm", 20)
    throttle = Throttle(per_minute=7, classes={"calm": 0})
    claimed = list[ClaimedTask]()
    for _ in range(6):
        for tasks in await asyncio.gather(*(claim(store, 2, server=name, throttle=throttle) for name in "AB")):
            claimed += tasks

    assert by_handler(claimed) == {"busy": 7, "calm": 17}


async def test_one_claim_takes_no_more_of_a_class_than_it_has_room_for(store: Store) -> None:
    await save(store, "busy", 100)
    await save(store, "calm", 1, priority=Priority.LOW)
    await save(store, "quiet", 1)

    assert by_handler(await claim(store, 7)) == {"busy": 5, "calm": 1, "quiet": 1}


async def test_a_class_that_is_set_aside_hides_nobody_and_is_taken_when_nobody_else_waits(store: Store) -> None:
    await save(store, "busy", 50, priority=Priority.CRITICAL)
    assert by_handler(await claim(store, 5)) == {"busy": 5}
    await save(store, "busy", 50)
    await save(store, "calm", 1)

    assert by_handler(await claim(store, 1)) == {"calm": 1}
    assert by_handler(await claim(store, 1)) == {"busy": 1}


async def test_a_class_is_set_aside_once_for_a_minute_and_told(store: Store) -> None:
    await save(store, "busy", 50)
    with capture_logs() as events:
        for seconds, free in ((0, 4), (10, 3), (20, 9)):
            await claim(store, free, now=NOW + seconds * SECOND)

    until = NOW + 70 * SECOND
    assert [event for event in events if event["event"] == "task.class_set_aside"] == [
        {
            "event": "task.class_set_aside",
            "log_level": "info",
            "handler": "busy",
            "starts": 7,
            "until": until.isoformat(),
        }
    ]
    assert {handler: one.aside_until for handler, one in (await read_set_aside(store, NOW + 20 * SECOND)).items()} == {
        "busy": until
    }
    assert await read_set_aside(store, until) == {}


async def test_after_its_minute_a_class_is_counted_from_the_beginning(store: Store) -> None:
    await save(store, "busy", 50)
    await save(store, "calm", 50)
    later = NOW + 60 * SECOND
    assert by_handler(await claim(store, 6)) == {"busy": 5, "calm": 1}
    assert by_handler(await claim(store, 1, now=later - SECOND)) == {"calm": 1}
    assert by_handler(await claim(store, 4, now=later)) == {"busy": 4}
    assert by_handler(await claim(store, 2, now=later + SECOND)) == {"busy": 1, "calm": 1}


async def test_what_people_run_is_not_counted(store: Store) -> None:
    await save(store, "busy", 9, location=Location.OPERATOR)
    for _ in range(9):
        assert await claim_operator_task(store, user="ann", incarnation=1, now=NOW) is not None
    await save(store, "busy", 9)
    await save(store, "calm", 9)

    assert by_handler(await claim(store, 5)) == {"busy": 5}


@pytest.mark.parametrize("seed", range(4))
async def test_no_class_goes_beyond_its_number_while_another_could_start(store: Store, seed: int) -> None:
    chance = random.Random(seed)
    await put_group(store, GroupDefinition(name="other"), now=NOW)
    handlers = ("a", "b", "c")
    throttle = Throttle(per_minute=chance.randrange(1, 9), classes={"c": chance.randrange(5)})
    room = {handler: throttle.most(handler) or 1000 for handler in handlers}
    ready = Counter[str]()
    for handler in handlers:
        for priority in chance.sample(list(Priority), 2):
            number = chance.randrange(1, 20)
            await save(store, handler, number, priority=priority, group=chance.choice([None, "other"]))
            ready[handler] += number
    while ready.total():
        free = chance.randrange(1, 7)
        taken = by_handler(await claim(store, free, throttle=throttle))
        assert taken.total() == min(free, ready.total())
        ready -= taken
        beyond = {handler for handler in handlers if taken[handler] > room[handler]}
        room = {handler: max(0, room[handler] - taken[handler]) for handler in handlers}
        assert not beyond or not any(room[handler] and ready[handler] for handler in handlers)
