"""A run drawn as bars."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from rich.console import Console

from gateway.batch.statements.runs_sql import AttemptRow, Run, RunTask
from gateway.batch.store.runs import RunDetails
from gateway.cli.timeline import shown_duration, timeline
from gateway.kernel.ids import RunId, RunTaskId

START = datetime(2026, 3, 1, 2, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def a_run(ended: float | None = 100) -> Run:
    return Run(
        id=RunId(1), job_id=None, job="j", description="", partition_key="initial", company="DAT", created_by="ann",
        run_as="ann", cause="schedule", planned_at=START, started_at=START,
        ended_at=None if ended is None else at(ended), status="executing" if ended is None else "ended",
        canceled_by=None, overran=False, counts={},
        tasks_left_out=0, error=None, rerun_of=None, entry_id=None,
    )  # fmt: skip


def a_task(number: int, name: str, status: str, ready: float | None = None, spawned_by: int | None = None) -> RunTask:
    return RunTask(
        id=RunTaskId(number), run_id=RunId(1), task_id=number, spawned_by=spawned_by, name=name, description="",
        handler="command", parameters={}, company="DAT", batch_group="", priority="normal", location="server",
        is_private=False, owner="ann", status=status, attempts=1, retries=0,
        ready_at=None if ready is None else at(ready), server=None, run_by=None, started_at=None, ended_at=None,
        error_code=None, error=None, counts={}, conditions=(),
    )  # fmt: skip


def an_attempt(task: int, number: int, begin: float, end: float | None, outcome: str | None) -> AttemptRow:
    return AttemptRow(
        run_task_id=RunTaskId(task), number=number, server="app-1", started_at=at(begin),
        ended_at=None if end is None else at(end), outcome=outcome, error_code=None, error=None, traceback=None,
        counts={},
    )  # fmt: skip


def drawn(
    tasks: Sequence[RunTask], attempts: Sequence[AttemptRow], *, ended: float | None = 100, now: float = 100,
    width: int = 58,
) -> list[str]:  # fmt: skip
    out = StringIO()
    details = RunDetails(run=a_run(ended), tasks=tasks, attempts=attempts)
    Console(file=out, width=width, force_terminal=False).print(timeline(details, at(now), width))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_bars_stand_where_tasks_ran() -> None:
    tasks = [a_task(1, "first", "ended"), a_task(2, "second", "ended"), a_task(3, "never", "not_run")]
    lines = drawn(tasks, [an_attempt(1, 1, 0, 49, "ended"), an_attempt(2, 1, 50, 100, "ended")])
    assert lines == [
        "task    status   02:00:00    02:01:40    took",
        "first   ended    ━━━━━━━━━━            49.0 s",
        "second  ended              ━━━━━━━━━━  50.0 s",
        "never   not_run",
    ]


def test_attempts_that_failed_look_different_and_are_counted() -> None:
    (_, line) = drawn(
        [a_task(1, "again", "ended")], [an_attempt(1, 1, 0, 30, "error"), an_attempt(1, 2, 60, 100, "ended")]
    )
    assert line.split()[2:] == ["╍╍╍╍╍╍╍", "━━━━━━━━━", "1", "min", "10", "s", "(2×)"]


def test_what_is_under_way_reaches_up_to_now() -> None:
    tasks = [a_task(1, "runs", "executing"), a_task(2, "waits", "ready", ready=50)]
    lines = drawn(tasks, [an_attempt(1, 1, 0, None, None)], ended=None, now=100)
    assert "━" * 21 in lines[1]
    assert "·" * 11 in lines[2]


@pytest.mark.parametrize("width", [20, 40, 58, 120, 1000])
def test_every_width_shows_every_task(width: int) -> None:
    tasks = [a_task(1, "a-task-with-quite-a-long-name", "ended"), a_task(2, "child", "error", spawned_by=1)]
    lines = drawn(tasks, [an_attempt(2, 1, 5, 5.01, "error")], width=width)
    assert all(len(line) <= width for line in lines)
    text = " ".join(lines)
    assert "a-task" in text
    assert "child" in text


def test_wide_terminals_name_the_servers() -> None:
    assert drawn([a_task(1, "a", "ended")], [an_attempt(1, 1, 0, 1, "ended")], width=120)[1].endswith("app-1")


def test_a_run_without_length_is_drawn() -> None:
    assert drawn([a_task(1, "a", "ended")], [an_attempt(1, 1, 0, 0, "ended")], ended=0)[1].count("━") == 1


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.04, "0.0 s"),
        (3.21, "3.2 s"),
        (61, "1 min 01 s"),
        (3600, "1 h 00 min"),
        (90_061, "25 h 01 min"),
        (180_000, "2 d 02 h"),
        (-5, "0.0 s"),
    ],
)
def test_durations_show_the_two_units_that_matter(seconds: float, expected: str) -> None:
    assert shown_duration(timedelta(seconds=seconds)) == expected
