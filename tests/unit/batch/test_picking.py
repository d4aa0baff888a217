import random
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import count, pairwise
from types import MappingProxyType

import pytest

from gateway.batch.rules.job import Priority
from gateway.batch.rules.picking import NO_ROOMS, Candidate, select_tasks

START = datetime(2026, 1, 15, 7, 30, tzinfo=UTC)
NOTHING: Mapping[tuple[int, str], int] = MappingProxyType({})
NO_LIMITS: Mapping[str, int] = MappingProxyType({})


def tasks(
    number: int, job: int, priority: Priority, *, group: str = "", first: int = 0, job_limit: int = 0, handler: str = ""
) -> list[Candidate]:
    return [
        Candidate(
            id=first + key, job_id=job, group=group, priority=priority, planned_at=START, job_limit=job_limit,
            handler=handler,
        )
        for key in range(number)
    ]  # fmt: skip


def picked(
    candidates: Iterable[Candidate],
    free: int,
    *,
    reserved: int = 0,
    running: Mapping[tuple[int, str], int] = NOTHING,
    limits: Mapping[str, int] = NO_LIMITS,
    rooms: Mapping[str, int | None] = NO_ROOMS,
    seed: int = 0,
) -> tuple[Candidate, ...]:
    return select_tasks(
        candidates,
        free=free,
        reserved=reserved,
        running_by_job=running,
        limits=limits,
        rooms=rooms,
        chance=random.Random(seed).random,
    )


def test_within_a_priority_the_earlier_planned_start_goes_first_then_the_number() -> None:
    late, early, tie = (
        Candidate(id=key, job_id=key, group="", priority=Priority.NORMAL, planned_at=START + timedelta(minutes=minutes))
        for key, minutes in ((1, 5), (3, 0), (2, 0))
    )

    assert [task.id for task in picked([late, early, tie], 3)] == [2, 3, 1]


def test_no_more_are_taken_than_threads_are_free() -> None:
    assert len(picked(tasks(9, 1, Priority.NORMAL), 4)) == 4
    assert picked(tasks(9, 1, Priority.NORMAL), 0) == ()
    assert picked([], 4) == ()


@pytest.mark.parametrize("free", [1, 9])
def test_critical_work_gets_clearly_more_and_low_work_is_never_starved(free: int) -> None:
    chance = random.Random(7).random
    taken = Counter[Priority]()
    low, critical = tasks(30, 1, Priority.LOW), tasks(10, 2, Priority.CRITICAL, first=100)
    for _ in range(2000):
        chosen = select_tasks([*low, *critical], free=free, reserved=0, running_by_job={}, limits={}, chance=chance)
        taken.update(task.priority for task in chosen)

    assert 5 < taken[Priority.CRITICAL] / taken[Priority.LOW] < 7


def test_with_all_priorities_the_odds_are_those_documented() -> None:
    chance = random.Random(11).random
    all_levels = [task for key, level in enumerate(Priority) for task in tasks(1, key, level, first=key)]
    taken = Counter(
        select_tasks(all_levels, free=1, reserved=0, running_by_job={}, limits={}, chance=chance)[0].priority
        for _ in range(10_000)
    )

    shares = {level: round(taken[level] / 100) for level in Priority}
    expected = dict(zip(Priority, (5, 10, 15, 30, 40), strict=True))
    assert all(abs(shares[level] - expected[level]) <= 2 for level in Priority), shares


def test_a_kept_thread_stays_idle_until_reserved_work_comes_and_then_takes_it() -> None:
    ordinary = tasks(50, 1, Priority.CRITICAL)
    chosen = picked(ordinary, 10, reserved=1)
    assert len(chosen) == 9

    waiting = [*ordinary[9:], *tasks(1, 2, Priority.RESERVED, first=900)]
    assert [task.id for task in picked(waiting, 1, reserved=1)] == [900]


def test_reserved_work_may_use_every_thread() -> None:
    chosen = picked([*tasks(20, 1, Priority.RESERVED), *tasks(1, 2, Priority.LOW, first=100)], 10, reserved=1, seed=3)

    assert len(chosen) == 10


def test_reserved_work_takes_the_kept_threads_first_and_leaves_the_others_to_everybody() -> None:
    chosen = picked([*tasks(20, 1, Priority.NORMAL), *tasks(1, 2, Priority.RESERVED, first=100)], 10, reserved=1)

    assert Counter(task.priority for task in chosen) == {Priority.NORMAL: 9, Priority.RESERVED: 1}


def test_of_each_job_of_a_limited_group_so_many_run_at_once() -> None:
    limited = [*tasks(9, 1, Priority.NORMAL, group="slow"), *tasks(9, 2, Priority.NORMAL, group="slow", first=20)]

    chosen = picked(limited, 20, running={(1, "slow"): 3, (1, "other"): 9}, limits={"slow": 4})

    assert Counter(task.job_id for task in chosen) == {1: 1, 2: 4}


def test_the_limit_of_a_job_holds_beside_that_of_its_group() -> None:
    limited = tasks(9, 1, Priority.NORMAL, group="slow", job_limit=2)

    assert len(picked(limited, 9, limits={"slow": 4})) == 2
    assert len(picked(limited, 9, limits={"slow": 1})) == 1
    assert len(picked(limited, 9)) == 2
    assert len(picked(limited, 9, running={(1, "other"): 1})) == 1


def test_a_paused_group_takes_nothing_new() -> None:
    waiting = [*tasks(3, 1, Priority.NORMAL, group="paused"), *tasks(3, 2, Priority.LOW, first=10)]

    assert {task.job_id for task in picked(waiting, 9, limits={"paused": -1})} == {2}


def test_limits_filter_before_the_lottery_so_that_no_thread_is_wasted() -> None:
    waiting = [*tasks(50, 1, Priority.CRITICAL, group="slow"), *tasks(50, 2, Priority.LOW, first=100)]

    assert Counter(task.job_id for task in picked(waiting, 10, limits={"slow": 2})) == {1: 2, 2: 8}


def test_groups_of_one_priority_take_turns() -> None:
    many, few = tasks(90, 1, Priority.NORMAL, group="a"), tasks(5, 2, Priority.NORMAL, group="b", first=100)

    chosen = picked([*many, *few], 10)

    assert Counter(task.group for task in chosen) == {"a": 5, "b": 5}
    assert all(before.group != after.group for before, after in pairwise(chosen))


def test_groups_share_also_when_threads_become_free_one_at_a_time() -> None:
    chance = random.Random(5).random
    waiting = [*tasks(90, 1, Priority.NORMAL, group="a"), *tasks(90, 2, Priority.NORMAL, group="b", first=100)]
    taken = Counter(
        select_tasks(waiting, free=1, reserved=0, running_by_job={}, limits={}, chance=chance)[0].group
        for _ in range(1000)
    )

    assert 400 < taken["a"] < 600


def test_everything_that_limits_allow_is_taken_in_the_end() -> None:
    waiting = [
        task
        for key, level in zip(count(), (*Priority, *Priority), strict=False)
        for task in tasks(7, key, level, group=f"g{key % 3}", first=key * 10)
    ]

    assert {task.id for task in picked(waiting, 1000)} == {task.id for task in waiting}


BUSY = tasks(50, 1, Priority.CRITICAL, handler="busy")
CALM = tasks(3, 2, Priority.LOW, first=100, handler="calm")


def handlers(chosen: Iterable[Candidate]) -> list[str]:
    return [task.handler for task in chosen]


def test_what_is_set_aside_is_taken_only_when_nothing_else_waits_whatever_its_priority() -> None:
    assert handlers(picked([*BUSY, *CALM], 3, rooms={"busy": 0})) == ["calm"] * 3
    assert handlers(picked([*BUSY, *CALM], 5, rooms={"busy": 0})) == ["calm"] * 3 + ["busy"] * 2
    assert handlers(picked(BUSY, 5, rooms={"busy": 0})) == ["busy"] * 5


def test_a_class_is_set_aside_within_a_pick_when_its_room_is_used_up() -> None:
    chosen = handlers(picked([*BUSY, *CALM], 6, rooms={"busy": 2, "calm": None}))

    assert sorted(chosen[:5]) == ["busy"] * 2 + ["calm"] * 3
    assert chosen[5:] == ["busy"]


def test_what_a_limit_holds_back_does_not_keep_others_aside() -> None:
    paused = tasks(3, 3, Priority.NORMAL, group="paused", first=200, handler="paused")

    assert handlers(picked([*BUSY, *paused], 2, rooms={"busy": 0}, limits={"paused": -1})) == ["busy"] * 2


def test_among_what_is_set_aside_limits_and_order_hold() -> None:
    chosen = picked(BUSY, 9, rooms={"busy": 0}, limits={"": 4})

    assert [task.id for task in chosen] == [0, 1, 2, 3]


def test_kept_threads_stay_idle_also_when_only_what_is_set_aside_waits() -> None:
    reserved = tasks(1, 3, Priority.RESERVED, first=300, handler="busy")

    assert len(picked(BUSY, 4, reserved=1, rooms={"busy": 0})) == 3
    assert [task.id for task in picked([*BUSY, *reserved], 1, reserved=1, rooms={"busy": 0})] == [300]
