"""Whatever the graph, the order and the outcomes: every task comes to an end, and none is executed twice."""

import random
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.batch.rules.conditions import Changes, Condition, TaskState, outcome, settle
from gateway.batch.rules.job import ConditionType, TaskStatus, Wanted

RETURNS = (TaskStatus.ENDED, TaskStatus.ERROR)


def grown(chance: random.Random, size: int) -> dict[int, TaskState]:
    """Return a graph without cycles: a task waits only for tasks with smaller ids."""
    tasks = {}
    for key in range(size):
        parents = chance.sample(range(key), min(key, chance.randrange(4)))
        tasks[key] = TaskState(
            id=key,
            status=TaskStatus.WITHHOLD if chance.random() < 0.05 else TaskStatus.WAITING,
            conditions=tuple(Condition(parent=parent, wanted=chance.choice(list(Wanted))) for parent in parents),
            condition_type=chance.choice(list(ConditionType)),
            ignore_failure=chance.random() < 0.2,
        )
    return tasks


class Executor:
    """Executes a run in random order, with children, retries and now and then a cancel."""

    def __init__(self, chance: random.Random, size: int) -> None:
        self.chance = chance
        self.tasks = grown(chance, size)
        self.canceled = False
        self.finished: dict[int, int] = {}

    def settle(self) -> None:
        changes = settle(self.tasks.values(), canceled=self.canceled)
        for name in Changes.__dataclass_fields__:
            for key in getattr(changes, name):
                assert not self.tasks[key].status.final
                self.tasks[key] = replace(self.tasks[key], status=TaskStatus(name))
        assert not settle(self.tasks.values(), canceled=self.canceled)

    def run(self) -> None:
        self.settle()
        while outcome(self.tasks.values(), canceled=self.canceled) is None:
            self.step()
            if self.chance.random() < 0.02:
                self.canceled = True
            self.settle()

    def step(self) -> None:
        """Start or end one task; an IndexError here is a run that hangs."""
        able = [
            task
            for task in self.tasks.values()
            if task.status is TaskStatus.READY
            or (task.status in (TaskStatus.EXECUTING, TaskStatus.CANCELLING) and not task.waits_for_children)
        ]
        task = self.chance.choice(able)
        if task.status is TaskStatus.READY:
            self.tasks[task.id] = replace(task, status=TaskStatus.EXECUTING, attempts=task.attempts + 1)
        elif task.attempts < 2 and self.chance.random() < 0.1 and not self.canceled:
            self.tasks[task.id] = replace(task, status=TaskStatus.READY)
        elif task.spawned_by is None and self.chance.random() < 0.2:
            for _ in range(self.chance.randrange(1, 4)):
                key = len(self.tasks)
                self.tasks[key] = TaskState(id=key, status=TaskStatus.WAITING, spawned_by=task.id)
            self.tasks[task.id] = replace(task, waits_for_children=True)
        else:
            self.finished[task.id] = self.finished.get(task.id, 0) + 1
            end = TaskStatus.CANCELED if task.status is TaskStatus.CANCELLING else self.chance.choice(RETURNS)
            self.tasks[task.id] = replace(task, status=end)


@settings(max_examples=200)
@given(seed=st.integers(0, 2**32), size=st.integers(0, 40))
def test_every_task_of_every_graph_comes_to_an_end_and_none_ends_twice(seed: int, size: int) -> None:
    executor = Executor(random.Random(seed), size)

    executor.run()

    assert all(task.status.final for task in executor.tasks.values())
    assert set(executor.finished.values()) <= {1}
    for task in executor.tasks.values():
        if task.status in (TaskStatus.ENDED, TaskStatus.ERROR):
            assert allowed_to_start(task, executor.tasks)


def allowed_to_start(task: TaskState, tasks: dict[int, TaskState]) -> bool:
    """Judge by the plain truth rule, as everything has come to its end."""
    wanted = {
        Wanted.ENDED: {TaskStatus.ENDED},
        Wanted.ERROR: {TaskStatus.ERROR},
        Wanted.ENDED_OR_ERROR: {TaskStatus.ENDED, TaskStatus.ERROR},
    }
    truths = [tasks[each.parent].status in wanted[each.wanted] for each in task.conditions]
    return all(truths) if task.condition_type is ConditionType.ALL else any(truths) or not truths
