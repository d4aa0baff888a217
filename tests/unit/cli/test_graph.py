"""A job drawn as a tree."""

from io import StringIO

from rich.console import Console
from rich.text import Text

from gateway.batch.rules.definition import ConditionDefinition, TaskDefinition
from gateway.batch.rules.job import ConditionType, Location, Wanted
from gateway.cli.job_views import task_tree


def a_task(name: str, *parents: tuple[str, Wanted], **options: object) -> TaskDefinition:
    conditions = tuple(ConditionDefinition(parent=parent, wanted=wanted) for parent, wanted in parents)
    return TaskDefinition(name=name, handler="command", conditions=conditions, **options)  # type: ignore[arg-type]  # options of the record


SEVEN = [
    a_task("task-1"),
    a_task("task-2", ("task-1", Wanted.ENDED_OR_ERROR)),
    a_task("task-3", ("task-2", Wanted.ENDED)),
    a_task("task-4", ("task-2", Wanted.ENDED)),
    a_task("task-5", ("task-2", Wanted.ERROR)),
    a_task("task-6", ("task-3", Wanted.ERROR)),
    a_task("task-7", ("task-3", Wanted.ENDED), ("task-4", Wanted.ENDED)),
]


def drawn(tasks: list[TaskDefinition], statuses: dict[str, str] | None = None, width: int = 80) -> str:
    out = StringIO()
    Console(file=out, width=width, force_terminal=False).print(task_tree(Text("job-1"), tasks, statuses or {}))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def test_seven_tasks_stand_below_what_they_wait_for() -> None:
    assert drawn(SEVEN, {"task-1": "ended", "task-2": "executing"}) == (
        "job-1\n"
        "└── task-1  ended\n"
        "    └── task-2  executing  after end or error of task-1\n"
        "        ├── task-3\n"
        "        │   ├── task-6  after error of task-3\n"
        "        │   └── task-7  after task-3 and task-4\n"
        "        ├── task-4\n"
        "        └── task-5  after error of task-2"
    )


def test_order_of_writing_does_not_matter() -> None:
    def labels(text: str) -> list[str]:
        return sorted(line.lstrip("│├└─ ") for line in text.splitlines())

    assert labels(drawn(SEVEN[::-1])) == labels(drawn(SEVEN))


def test_what_is_special_about_a_task_is_said() -> None:
    special = a_task(
        "mail", ("a", Wanted.ENDED), ("b", Wanted.ERROR), condition_type=ConditionType.ANY, location=Location.OPERATOR,
        ignore_failure=True, max_retries=3, is_withheld=True,
    )  # fmt: skip
    assert drawn([a_task("a"), a_task("b"), special]).splitlines()[2] == (
        "│   └── mail  after a or error of b; by a person; held; failure ignored; 3"
    )


def test_a_task_below_the_deepest_of_its_parents() -> None:
    tasks = [a_task("a"), a_task("b", ("a", Wanted.ENDED)), a_task("c", ("a", Wanted.ENDED), ("b", Wanted.ENDED))]
    assert drawn(tasks).splitlines()[3] == "        └── c  after a and b"


def test_a_narrow_terminal_folds_and_loses_nothing() -> None:
    assert "after task-3 and task-4" in " ".join(drawn(SEVEN, width=40).replace("│", " ").split())


def test_control_characters_of_names_are_shown() -> None:
    assert "\x1b" not in drawn([a_task("a\x1b[2J")])
