"""A run as bars over time: when each task waited, ran and was tried again."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from rich.table import Table
from rich.text import Text

from gateway.batch.statements.runs_sql import AttemptRow, RunTask
from gateway.batch.store.runs import RunDetails
from gateway.cli.render import JOB_STYLES, shown_clock
from gateway.runtime.visible import visible

NARROWEST = 10
WIDEST = 100
_RUNNING = "━"
_FAILED = "╍"
_READY = "·"
_OUTCOMES: Mapping[str | None, tuple[str, str]] = {
    None: (_RUNNING, "green"),
    "ended": (_RUNNING, "green"),
    "error": (_FAILED, "red"),
    "lost": (_FAILED, "red"),
    "canceled": (_FAILED, "yellow"),
}
LEGEND = f"{_RUNNING} runs or went well   {_FAILED} failed, cancelled or lost   {_READY} ready, no thread yet"


def timeline(details: RunDetails, now: datetime, width: int) -> Table:
    """Return the tasks of a run as rows of bars; *width* is that of the terminal.

    Rule: the time from the start of the run to its end (or *now*) fills the space; what is shorter than one character
    still has one. A narrow terminal leaves out the servers, a very narrow one the bars.
    """
    attempts: dict[int, list[AttemptRow]] = {}
    for attempt in details.attempts:
        attempts.setdefault(attempt.run_task_id, []).append(attempt)
    names = max((len(task.name) for task in details.tasks), default=4)
    with_servers = width >= names + 70
    room = min(WIDEST, width - names - (56 if with_servers else 32))
    scale = _Scale(details.run.started_at, details.run.ended_at or now, max(room, NARROWEST))
    with_bars = room >= NARROWEST
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    made.add_column("task", overflow="fold", min_width=min(names, 8))
    made.add_column("status", overflow="fold")
    if with_bars:
        made.add_column(_heading(scale), no_wrap=True)
    made.add_column("took", justify="right", overflow="fold")
    if with_servers:
        made.add_column("server", overflow="fold")
    for task in details.tasks:
        tries = attempts.get(task.id, [])
        row = [
            Text(visible(("  " if task.spawned_by is not None else "") + task.name)),
            Text(task.status, style=JOB_STYLES.get(task.status, "")),
            *([_bar(task, tries, scale, now)] if with_bars else []),
            Text(_took(tries, now)),
        ]
        servers = ", ".join(dict.fromkeys(attempt.server for attempt in tries))
        made.add_row(*row, *([Text(visible(servers), style="dim")] if with_servers else []))
    return made


class _Scale:
    """Where a moment stands among *room* characters."""

    def __init__(self, begin: datetime, end: datetime, room: int) -> None:
        self.begin = begin
        self.end = max(end, begin)
        self.room = room

    def place(self, moment: datetime) -> int:
        whole = (self.end - self.begin).total_seconds()
        part = (moment - self.begin).total_seconds() / whole if whole else 0.0
        return min(self.room - 1, max(0, int(part * self.room)))


def _heading(scale: _Scale) -> Text:
    left, right = shown_clock(scale.begin), shown_clock(scale.end)
    gap = max(1, scale.room - len(left) - len(right))
    return Text((left + " " * gap + right)[: max(scale.room, len(left))])


def _bar(task: RunTask, attempts: Sequence[AttemptRow], scale: _Scale, now: datetime) -> Text:
    cells: list[tuple[str, str]] = [(" ", "")] * scale.room

    def fill(begin: datetime, end: datetime, mark: tuple[str, str]) -> None:
        for place in range(scale.place(begin), scale.place(end) + 1):
            cells[place] = mark

    if task.ready_at is not None and task.status == "ready" and task.ready_at <= now:
        fill(task.ready_at, scale.end, (_READY, "dim"))
    for attempt in attempts:
        fill(attempt.started_at, attempt.ended_at or scale.end, _OUTCOMES[attempt.outcome])
    bar = Text()
    for character, style in cells:
        bar.append(character, style=style)
    return bar


def _took(attempts: Sequence[AttemptRow], now: datetime) -> str:
    if not attempts:
        return ""
    spent = sum(((attempt.ended_at or now) - attempt.started_at for attempt in attempts), timedelta())
    tries = f" ({len(attempts)}×)" if len(attempts) > 1 else ""
    return shown_duration(spent) + tries


def shown_duration(spent: timedelta) -> str:
    """Return a duration in the two units that matter, such as `1 h 05 min` or `3.2 s`."""
    seconds = max(0.0, spent.total_seconds())
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes:02} min"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours:02} h"
