"""When a task of a run may start, when it never will, and how the run ends.

Nothing here waits or stores: `settle` looks at a run as it stands and says what follows from it, all the way down.
Source: batch reference, sections 6.4, 7.1-7.11, 9.7, 17.1.
"""

from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import assert_never

from gateway.batch.rules.job import ConditionType, JobStatus, TaskStatus, Wanted
from gateway.kernel.errors import JobRefused
from gateway.kernel.ids import RunTaskId


class GraphError(JobRefused):
    """The conditions of a job can never work out; the text names the tasks."""

    code = "job.conditions"


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """What one task asks of another: the parent's id and the end it must reach."""

    parent: RunTaskId
    wanted: Wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskState:
    """A task of a run, as far as conditions are concerned."""

    id: RunTaskId
    status: TaskStatus
    conditions: tuple[Condition, ...] = ()
    condition_type: ConditionType = ConditionType.ALL
    ignore_failure: bool = False
    attempts: int = 0  # executions begun
    spawned_by: RunTaskId | None = None  # the task that made it at run time
    waits_for_children: bool = False  # its code has returned, its children run on


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """The ids of the tasks that change, by the status they get; each list ascending, no id twice."""

    ready: tuple[RunTaskId, ...] = ()
    not_run: tuple[RunTaskId, ...] = ()
    ended: tuple[RunTaskId, ...] = ()  # they waited for children, and those went well
    error: tuple[RunTaskId, ...] = ()  # they waited for children, and one failed; takes no retry
    cancelling: tuple[RunTaskId, ...] = ()
    canceled: tuple[RunTaskId, ...] = ()

    def __bool__(self) -> bool:
        """Return True when anything changes."""
        return any((self.ready, self.not_run, self.ended, self.error, self.cancelling, self.canceled))


def settle(tasks: Iterable[TaskState], *, canceled: bool = False) -> Changes:
    """Return everything that follows from how *tasks* stand now, transitively.

    Shape: the tasks of one run; a part of it will do, when with each waiting task come its parents, and with each task
    that waits for children come these. Applying the changes and settling again changes nothing.
    Rule: waiting without conditions is ready. All: every condition must come true, one impossible condition means not
    run. Any: one is enough, all impossible means not run. What did not run, or was cancelled, satisfies nothing. A task
    that is withheld when its run starts is left out of it: not run. A parent that waits for its children ends with the
    last of them, in error when one failed whose failure is not ignored.
    Rule: *canceled* lets nothing start: what waits or is ready does not run (a retry that waits is cancelled), what
    executes is cancelling until its code comes back.
    Source: batch reference, sections 7.7-7.9, 9.7, T9-T12.
    """
    return _Settling(tasks, canceled=canceled).changes()


def outcome(tasks: Iterable[TaskState], *, canceled: bool) -> JobStatus | None:
    """Return how the run ended (ended, error or canceled), None while a task of it is open.

    Rule: asked to cancel: canceled. Otherwise one failure that is not ignored: error. What did not run spoils nothing.
    Source: batch reference, section 6.4.
    """
    tasks = tuple(tasks)
    if not all(task.status.final for task in tasks):
        return None
    if canceled:
        return JobStatus.CANCELED
    if any(task.status is TaskStatus.ERROR and not task.ignore_failure for task in tasks):
        return JobStatus.ERROR
    return JobStatus.ENDED


def to_repeat(tasks: Iterable[TaskState], first: RunTaskId | None) -> frozenset[RunTaskId]:
    """Return the tasks of a run that are to be carried out again: *first*, or those that failed, and all after them.

    Shape: *tasks* with the statuses of the run that is repeated; one that it did not have is waiting. `first` None: the
    tasks that failed, were cancelled, or are new.
    Rule: what comes after a task that is repeated, by any condition, is judged anew, also when it had ended well: it
    may have been there for the failure. Everything else stands as it was.
    """
    tasks = tuple(tasks)
    after = defaultdict[RunTaskId, list[RunTaskId]](list)
    for task in tasks:
        for condition in task.conditions:
            after[condition.parent].append(task.id)
    begin = (TaskStatus.ERROR, TaskStatus.CANCELED, TaskStatus.WAITING)
    found = {first} if first is not None else {task.id for task in tasks if task.status in begin}
    rest = deque(found)
    while rest:
        for following in after[rest.popleft()]:
            if following not in found:
                found.add(following)
                rest.append(following)
    return frozenset(found)


def check_graph(
    names: Sequence[str],
    conditions: Iterable[tuple[str, str, Wanted]],
    *,
    children: Iterable[tuple[str, str]] = (),
) -> None:
    """Raise GraphError when tasks with these conditions could never all end.

    Shape: names of the tasks; conditions as (task, parent, wanted); *children* as (task, child) for each task that ends
    only with its children: a child that waits for it, even by way of others, would wait for ever.
    Raises: GraphError for a name used twice, an unknown task, a task that waits for itself, the same condition twice,
    and a cycle, which is named as A → B → A where each waits for the next.
    Source: batch reference, section 7.10.
    """
    known = set[str]()
    for name in names:
        if name in known:
            raise GraphError(f"Two tasks are called {name!r}. Give each task of a job a name of its own.")
        known.add(name)
    waits: dict[str, list[str]] = {name: [] for name in names}
    seen = set[tuple[str, str, Wanted]]()
    for condition in conditions:
        task, parent, wanted = condition
        for name in (task, parent):
            if name not in known:
                raise GraphError(
                    f"{_sentence(task, parent, wanted)}, but the job has no task {name!r}. "
                    f"It has: {', '.join(sorted(known)) or 'none'}."
                )
        if task == parent:
            raise GraphError(f"Task {task!r} waits for itself. Name another task of the job, or drop the condition.")
        if condition in seen:
            raise GraphError(f"{_sentence(task, parent, wanted)}: this condition is there twice. Drop one.")
        seen.add(condition)
        waits[task].append(parent)
    for task, child in children:
        waits[task].append(child)
    if cycle := _cycle(waits):
        raise GraphError(
            f"These tasks wait for one another: {' → '.join(cycle)}. None could ever start; drop one condition.",
            cycle=cycle,
        )


def _sentence(task: str, parent: str, wanted: Wanted) -> str:
    return f"Task {task!r} waits for {parent!r} ({wanted.value.replace('_', ' ')})"


def _cycle(waits: dict[str, list[str]]) -> list[str]:
    """Return one cycle, its first name again at the end; empty when there is none. No recursion: graphs may be deep."""
    done = set[str]()
    for first, parents in waits.items():
        if first in done:
            continue
        path, on_path = [first], {first}
        rest = [iter(parents)]
        while path:
            following = next(rest[-1], None)
            if following is None:
                rest.pop()
                on_path.discard(path[-1])
                done.add(path.pop())
            elif following in on_path:
                return [*path[path.index(following) :], following]
            elif following not in done:
                path.append(following)
                on_path.add(following)
                rest.append(iter(waits[following]))
    return []


class _Settling:
    """One pass over a run: each change puts those that depend on it back on the list."""

    def __init__(self, tasks: Iterable[TaskState], *, canceled: bool) -> None:
        self.tasks = {task.id: task for task in tasks}
        self.canceled = canceled
        self.status = {task.id: task.status for task in self.tasks.values()}
        self.dependents: dict[RunTaskId, list[RunTaskId]] = defaultdict(list)
        self.children: dict[RunTaskId, list[RunTaskId]] = defaultdict(list)
        for task in self.tasks.values():
            for condition in task.conditions:
                self.dependents[condition.parent].append(task.id)
            if task.spawned_by is not None:
                self.children[task.spawned_by].append(task.id)
                self.dependents[task.id].append(task.spawned_by)

    def changes(self) -> Changes:
        open_tasks = deque(sorted(self.tasks))
        while open_tasks:
            key = open_tasks.popleft()
            # A parent may be outside the part of the run that was handed in.
            if key not in self.tasks:
                continue
            before = self.status[key]
            self.status[key] = self.follows(self.tasks[key], before)
            if self.status[key] is not before:
                open_tasks.append(key)
                open_tasks.extend(self.dependents[key])
        now = defaultdict[TaskStatus, list[RunTaskId]](list)
        for key, status in sorted(self.status.items()):
            if status is not self.tasks[key].status:
                now[status].append(key)
        return Changes(**{status.value: tuple(keys) for status, keys in now.items()})

    def follows(self, task: TaskState, status: TaskStatus) -> TaskStatus:
        """Return the status that *task* has next, its present one when nothing follows yet."""
        match status:
            case TaskStatus.WITHHOLD:
                return TaskStatus.NOT_RUN
            case TaskStatus.WAITING if self.canceled:
                return TaskStatus.NOT_RUN
            case TaskStatus.WAITING:
                return self.judged(task)
            case TaskStatus.READY if self.canceled:
                return TaskStatus.CANCELED if task.attempts else TaskStatus.NOT_RUN
            case TaskStatus.EXECUTING if self.canceled:
                return TaskStatus.CANCELLING
            case TaskStatus.EXECUTING | TaskStatus.CANCELLING if task.waits_for_children:
                return self.with_children(task, status)
            case _:
                return status

    def judged(self, task: TaskState) -> TaskStatus:
        truths = [_truth(self.status[condition.parent], condition.wanted) for condition in task.conditions]
        match task.condition_type:
            case ConditionType.ALL:
                if all(truth is True for truth in truths):
                    return TaskStatus.READY
                impossible = any(truth is False for truth in truths)
            case ConditionType.ANY:
                if not truths or any(truth is True for truth in truths):
                    return TaskStatus.READY
                impossible = all(truth is False for truth in truths)
            case _:
                assert_never(task.condition_type)
        return TaskStatus.NOT_RUN if impossible else TaskStatus.WAITING

    def with_children(self, task: TaskState, status: TaskStatus) -> TaskStatus:
        children = self.children[task.id]
        if not all(self.status[child].final for child in children):
            return status
        if status is TaskStatus.CANCELLING:
            return TaskStatus.CANCELED
        failed = any(
            self.status[child] is TaskStatus.ERROR and not self.tasks[child].ignore_failure for child in children
        )
        return TaskStatus.ERROR if failed else TaskStatus.ENDED


def _truth(parent: TaskStatus, wanted: Wanted) -> bool | None:
    """Return whether a condition is true (True), impossible (False) or still open (None)."""
    if not parent.final:
        return None
    match wanted:
        case Wanted.ENDED:
            return parent is TaskStatus.ENDED
        case Wanted.ERROR:
            return parent is TaskStatus.ERROR
        case Wanted.ENDED_OR_ERROR:
            return parent in (TaskStatus.ENDED, TaskStatus.ERROR)
        case _:
            assert_never(wanted)
