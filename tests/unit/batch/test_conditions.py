from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise

import pytest

from gateway.batch.rules.conditions import Changes, Condition, GraphError, TaskState, check_graph, outcome, settle
from gateway.batch.rules.job import ConditionType, JobStatus, TaskStatus, Wanted

ENDED, ERROR, EITHER = Wanted.ENDED, Wanted.ERROR, Wanted.ENDED_OR_ERROR
OK, FAILED = TaskStatus.ENDED, TaskStatus.ERROR


def task(key: int, *conditions: tuple[int, Wanted], **rest: object) -> TaskState:
    wanted = tuple(Condition(parent=parent, wanted=wanted) for parent, wanted in conditions)
    return replace(TaskState(id=key, status=TaskStatus.WAITING, conditions=wanted), **rest)  # type: ignore[arg-type]


def job_1(*, ignored: frozenset[int] = frozenset()) -> list[TaskState]:
    """Return the seven tasks of the documented walkthrough."""
    tasks = [
        task(1),
        task(2, (1, EITHER)),
        task(3, (2, ENDED)),
        task(4, (2, ENDED)),
        task(5, (2, ERROR)),
        task(6, (3, ERROR)),
        task(7, (3, ENDED), (4, ENDED)),
    ]
    return [replace(each, ignore_failure=each.id in ignored) for each in tasks]


class Run:
    """A run whose tasks are ended by hand."""

    def __init__(self, tasks: list[TaskState]) -> None:
        self.tasks = {each.id: each for each in tasks}
        self.canceled = False
        self.settle()

    def settle(self) -> Changes:
        changes = settle(self.tasks.values(), canceled=self.canceled)
        for name in Changes.__dataclass_fields__:
            for key in getattr(changes, name):
                self.put(key, TaskStatus(name))
        return changes

    def put(self, key: int, status: TaskStatus, **rest: object) -> None:
        self.tasks[key] = replace(self.tasks[key], status=status, **rest)  # type: ignore[arg-type]

    def execute(self, key: int, end: TaskStatus) -> Changes:
        assert self.tasks[key].status is TaskStatus.READY
        self.put(key, end, attempts=1)
        return self.settle()

    def having(self, status: TaskStatus) -> set[int]:
        return {key for key, each in self.tasks.items() if each.status is status}

    @property
    def outcome(self) -> JobStatus | None:
        return outcome(self.tasks.values(), canceled=self.canceled)


def test_seven_tasks_succeed_and_the_failure_branches_do_not_run() -> None:
    run = Run(job_1())
    assert run.having(TaskStatus.READY) == {1}
    run.execute(1, OK)
    assert run.having(TaskStatus.READY) == {2}
    run.execute(2, OK)
    assert run.having(TaskStatus.READY) == {3, 4}
    run.execute(3, OK)
    assert run.having(TaskStatus.READY) == {4}
    run.execute(4, OK)
    run.execute(7, OK)

    assert run.having(TaskStatus.NOT_RUN) == {5, 6}
    assert run.outcome is JobStatus.ENDED


@pytest.mark.parametrize(("ignored", "expected"), [((), JobStatus.ERROR), ((1, 2), JobStatus.ENDED)])
def test_a_handled_failure_still_fails_the_job_unless_it_is_ignored(
    ignored: tuple[int, ...], expected: JobStatus
) -> None:
    run = Run(job_1(ignored=frozenset(ignored)))
    run.execute(1, FAILED)
    run.execute(2, FAILED)

    assert run.having(TaskStatus.NOT_RUN) == {3, 4, 6, 7}
    run.execute(5, OK)
    assert run.outcome is expected


def test_a_failure_settles_its_branch_while_a_sibling_is_still_running() -> None:
    run = Run(job_1())
    run.execute(1, OK)
    run.execute(2, OK)
    run.put(4, TaskStatus.EXECUTING)
    changes = run.execute(3, FAILED)

    assert changes == Changes(ready=(6,), not_run=(7,))
    assert run.outcome is None
    run.execute(6, OK)
    run.put(4, OK)
    assert run.outcome is JobStatus.ERROR


def all_and_any() -> Run:
    """Return parents A = 1 and B = 2; X = 3 wants both ended, Y = 4 any of them, Z = 5 any of them failed."""
    return Run(
        [
            task(1),
            task(2),
            task(3, (1, ENDED), (2, ENDED)),
            task(4, (1, ENDED), (2, ENDED), condition_type=ConditionType.ANY),
            task(5, (1, ERROR), (2, ERROR), condition_type=ConditionType.ANY),
        ]
    )


def test_all_waits_for_every_parent_and_any_starts_with_the_first() -> None:
    run = all_and_any()
    assert run.execute(1, OK) == Changes(ready=(4,))
    run.execute(4, OK)

    assert run.execute(2, FAILED) == Changes(ready=(5,), not_run=(3,))


def test_any_is_impossible_only_when_every_condition_is() -> None:
    run = all_and_any()
    run.execute(1, OK)

    assert run.execute(2, OK) == Changes(ready=(3,), not_run=(5,))


def test_an_ignored_failure_still_counts_as_error_for_its_children() -> None:
    run = Run([task(1, ignore_failure=True), task(2, (1, ENDED)), task(3, (1, EITHER))])

    assert run.execute(1, FAILED) == Changes(ready=(3,), not_run=(2,))
    run.execute(3, OK)
    assert run.outcome is JobStatus.ENDED


def test_what_did_not_run_satisfies_nothing_all_the_way_down() -> None:
    run = Run([task(1), task(2, (1, ERROR)), task(3, (2, EITHER)), task(4, (3, EITHER))])

    assert run.execute(1, OK) == Changes(not_run=(2, 3, 4))
    assert run.outcome is JobStatus.ENDED


def test_a_withheld_task_is_left_out_of_the_run_with_those_that_need_it() -> None:
    run = Run([task(1, status=TaskStatus.WITHHOLD), task(2, (1, EITHER)), task(3)])

    assert run.having(TaskStatus.NOT_RUN) == {1, 2}
    assert run.having(TaskStatus.READY) == {3}


def test_two_different_ends_of_one_parent_may_be_joined_by_any() -> None:
    run = Run([task(1), task(2, (1, ENDED), (1, ERROR), condition_type=ConditionType.ANY)])

    assert run.execute(1, FAILED) == Changes(ready=(2,))


def parent_with_children(*, ignored: frozenset[int] = frozenset()) -> Run:
    """Return P = 1 whose code has returned and whose children 3 to 52 run, and N = 2 after P ended."""
    children = [
        task(key, spawned_by=1, status=TaskStatus.EXECUTING, ignore_failure=key in ignored) for key in range(3, 53)
    ]
    return Run([task(1, status=TaskStatus.EXECUTING, waits_for_children=True), task(2, (1, ENDED)), *children])


def test_a_waiting_parent_ends_in_error_with_its_last_child_when_one_failed() -> None:
    run = parent_with_children()
    run.put(17, FAILED)
    for key in [key for key in range(3, 52) if key != 17]:
        run.put(key, OK)
        assert not run.settle()
    run.put(52, OK)

    assert run.settle() == Changes(error=(1,), not_run=(2,))
    assert run.outcome is JobStatus.ERROR


def test_an_ignored_failure_of_a_child_leaves_the_parent_well() -> None:
    run = parent_with_children(ignored=frozenset({17}))
    for key in range(3, 53):
        run.put(key, FAILED if key == 17 else OK)

    assert run.settle() == Changes(ready=(2,), ended=(1,))


def test_parents_that_wait_end_from_the_innermost_outwards() -> None:
    run = Run(
        [
            task(1, status=TaskStatus.EXECUTING, waits_for_children=True),
            task(2, spawned_by=1, status=TaskStatus.EXECUTING, waits_for_children=True),
            task(3, spawned_by=2, status=TaskStatus.EXECUTING),
        ]
    )
    run.put(3, FAILED)

    assert run.settle() == Changes(error=(1, 2))


def test_a_parent_that_does_not_wait_lets_its_followers_start() -> None:
    run = Run([task(1), task(2, (1, ENDED)), task(3, spawned_by=1, status=TaskStatus.EXECUTING)])

    assert run.execute(1, OK) == Changes(ready=(2,))


def test_cancel_stops_what_waits_and_lets_what_runs_come_back() -> None:
    run = Run([task(1), task(2), task(3), task(4, (2, ENDED)), task(5), task(6)])
    run.execute(1, OK)
    run.put(2, TaskStatus.EXECUTING, attempts=1)
    run.put(3, TaskStatus.EXECUTING, attempts=1)
    run.put(6, TaskStatus.READY, attempts=1)
    run.canceled = True

    assert run.settle() == Changes(not_run=(4, 5), cancelling=(2, 3), canceled=(6,))
    assert run.outcome is None
    run.put(2, TaskStatus.CANCELED)
    run.put(3, TaskStatus.CANCELED)
    assert not run.settle()
    assert run.outcome is JobStatus.CANCELED


def test_a_parent_that_waits_is_canceled_with_its_last_child() -> None:
    run = parent_with_children()
    run.canceled = True
    run.settle()
    assert run.having(TaskStatus.CANCELLING) == {1, *range(3, 53)}
    for key in range(3, 53):
        run.put(key, TaskStatus.CANCELED)

    assert run.settle() == Changes(canceled=(1,))
    assert run.outcome is JobStatus.CANCELED


def test_a_run_without_tasks_has_ended() -> None:
    assert outcome([], canceled=False) is JobStatus.ENDED


def graph(*conditions: tuple[str, str, Wanted], children: tuple[tuple[str, str], ...] = ()) -> Callable[[], None]:
    return lambda: check_graph(["A", "B", "C"], conditions, children=children)


REFUSED: Mapping[str, tuple[Callable[[], None], str]] = {
    "cycle": (graph(("A", "B", ENDED), ("B", "C", ERROR), ("C", "A", ENDED)), "A → B → C → A"),
    "cycle off the first task": (graph(("A", "B", ENDED), ("B", "C", ENDED), ("C", "B", ENDED)), "B → C → B"),
    "itself": (graph(("B", "B", ENDED)), "'B' waits for itself"),
    "unknown parent": (graph(("A", "D", ENDED)), r"no task 'D'. It has: A, B, C"),
    "unknown task": (graph(("D", "A", ENDED)), "no task 'D'"),
    "twice": (graph(("A", "B", EITHER), ("A", "B", EITHER)), r"'A' waits for 'B' \(ended or error\).*twice"),
    "name twice": (lambda: check_graph(["A", "A"], []), "Two tasks are called 'A'"),
    "child that waits for its parent": (graph(("B", "A", ENDED), children=(("A", "B"),)), "A → B → A"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_conditions_that_cannot_work_are_refused_with_a_sentence(case: str) -> None:
    attempt, text = REFUSED[case]
    with pytest.raises(GraphError, match=text):
        attempt()


def test_a_graph_that_joins_again_is_no_cycle() -> None:
    graph(("B", "A", ENDED), ("C", "A", ERROR), ("C", "B", ENDED), ("C", "B", ERROR))()


def test_a_very_long_chain_is_checked() -> None:
    names = [str(number) for number in range(5000)]
    check_graph(names, [(after, before, ENDED) for before, after in pairwise(names)])
