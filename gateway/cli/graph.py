"""The tasks of a job as a tree in the terminal: what waits for what, and how each stands."""

from collections.abc import Mapping, Sequence

from rich.text import Text
from rich.tree import Tree

from gateway.batch.rules.definition import ConditionDefinition, TaskDefinition
from gateway.batch.rules.job import ConditionType, Location, Wanted
from gateway.cli.render import JOB_STYLES
from gateway.runtime.visible import visible

_WORDS: Mapping[Wanted, str] = {Wanted.ENDED: "", Wanted.ERROR: "error of ", Wanted.ENDED_OR_ERROR: "end or error of "}


def task_tree(title: Text, tasks: Sequence[TaskDefinition], statuses: Mapping[str, str]) -> Tree:
    """Return the tasks below *title*, each below the task it waits for; of several the one that stands lowest.

    *statuses* are those of a run by task, nothing for tasks that it does not have.
    """
    root = Tree(title, guide_style="dim")
    branches: dict[str, Tree] = {}
    depths: dict[str, int] = {}
    left = list(tasks)
    while left:
        free = [task for task in left if all(one.parent in branches for one in task.conditions)]
        if not free:  # a definition never has circles; a task that is gone may still be named
            free = left
        for task in free:
            parents = [one for one in task.conditions if one.parent in branches]
            lowest = max(parents, key=lambda one: depths[one.parent], default=None)
            above = root if lowest is None else branches[lowest.parent]
            branches[task.name] = above.add(_label(task, lowest, statuses.get(task.name)))
            depths[task.name] = 0 if lowest is None else depths[lowest.parent] + 1
        left = [task for task in left if task.name not in branches]
    return root


def condition_words(task: TaskDefinition) -> str:
    """Return what a task waits for, such as `a and error of b`."""
    joined = " and " if task.condition_type is ConditionType.ALL else " or "
    return joined.join(f"{_WORDS[one.wanted]}{one.parent}" for one in task.conditions)


def _label(task: TaskDefinition, above: ConditionDefinition | None, status: str | None) -> Text:
    label = Text(visible(task.name), style="bold")
    if status is not None:
        label.append(f"  {status}", style=JOB_STYLES.get(status, "not bold"))
    notes = []
    if above is not None and (len(task.conditions) > 1 or above.wanted is not Wanted.ENDED):
        notes.append(f"after {condition_words(task)}")
    if task.location is Location.OPERATOR:
        notes.append("by a person")
    if task.is_withheld:
        notes.append("held")
    if task.ignore_failure:
        notes.append("failure ignored")
    if task.max_retries:
        notes.append(f"{task.max_retries} retries" if task.max_retries != 1 else "1 retry")
    if notes:
        label.append(f"  {'; '.join(notes)}", style="not bold dim")
    return label
