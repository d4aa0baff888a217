"""How answers look: tables and text for people, JSON with stable keys for programs.

Whatever comes from outside is shown with its invisible characters escaped, and is never read as markup.
"""

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, datetime, tzinfo
from enum import Enum
from pathlib import Path
from typing import Final, TypeAlias
from uuid import UUID

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from gateway.kernel.ids import format_message_id
from gateway.runtime.visible import visible, visible_lines

NARROW: Final = 160
"""Columns of text below which wide tables leave out what matters less; `--json` always has everything."""
WIDTH_WITHOUT_TERMINAL: Final = 160
"""Columns of a page that nobody has told the width of: nothing is left out, long texts are folded."""
SHOWN_ZONE: Final[ContextVar[tzinfo]] = ContextVar("SHOWN_ZONE", default=UTC)
"""The time zone in which people are shown times: that of their account, else UTC. JSON always has UTC."""
_EMPTY: Final[Sequence[object]] = (None, "", (), [], {})
_SHORT: Final = 24
"""Characters of what is never folded: words, numbers, times."""
STYLES: Final[Mapping[str, str]] = {
    "open": "green", "running": "green", "ok": "green", "sent": "green", "processed": "green", "ended": "yellow",
    "degraded": "red", "error": "bold red", "failed": "red", "malformed": "red", "fault": "red", "refused": "red",
    "paused": "yellow", "hold": "yellow", "warning": "yellow", "inactive": "dim", "unknown": "dim", "stopped": "dim",
}  # fmt: skip
"""Colours of words that tell a state; other words have none."""
JOB_STYLES: Final[Mapping[str, str]] = {
    "waiting": "cyan", "ready": "cyan", "executing": "bold green", "ended": "green", "error": "bold red",
    "withhold": "yellow", "cancelling": "yellow", "canceled": "yellow", "not_run": "dim",
}  # fmt: skip
"""Colours of the statuses of jobs, runs and tasks."""


def console(*, error: bool = False) -> Console:
    """Return where people read: colours only on a terminal; in a pipe as wide as the terminal behind it."""
    stream = sys.stderr if error else sys.stdout
    width = None if stream.isatty() else _width_of_pipe()
    return _VisibleConsole(file=stream, width=width, highlight=False, markup=False, emoji=False, soft_wrap=False)


class _VisibleConsole(Console):
    """Escapes what cannot be seen in whatever is printed, on a terminal and through a pipe."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render to segments; those that move the cursor are our own and stay as they are."""
        for segment in super().render(renderable, options):
            safe = segment.control or segment.text.isprintable() or segment.text == "\n"
            yield segment if safe else Segment(visible_lines(segment.text), segment.style)


def _width_of_pipe() -> int:
    """Return the width of `COLUMNS`, else of the terminal where errors are shown, else of a wide page."""
    told = os.environ.get("COLUMNS", "")
    if told.isascii() and told.isdigit() and int(told) > 0:
        return int(told)
    with suppress(OSError, ValueError):
        return os.get_terminal_size(sys.stderr.fileno()).columns
    return WIDTH_WITHOUT_TERMINAL


def plain(value: object) -> object:
    """Turn a record into what JSON knows: times in ISO 8601 UTC, MessageIds upper case in braces, keys by name."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_fields"):  # a row
        return {name: plain(item) for name, item in zip(value._fields, value, strict=True)}
    match value:
        case None | bool() | int() | float():
            return value
        case Enum():
            return value.value
        case str():
            return value
        case UUID():
            return format_message_id(value)
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case Path():
            return str(value)
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}
        case bytes():
            return value.decode("utf-8", "replace")
        case Iterable():
            return [plain(item) for item in value]
    return str(value)


def record(value: object, **more: object) -> dict[str, object]:
    """Return a record as JSON shows it, with *more* fields behind its own, or instead of them."""
    fields_of = plain(value)
    assert isinstance(fields_of, dict)
    return {**fields_of, **more}


def print_json(value: object) -> None:
    """Write one JSON document to standard output."""
    sys.stdout.write(json.dumps(plain(value), indent=2, ensure_ascii=True) + "\n")


def job_status(status: str | None, note: str = "") -> Text:
    """Return the status of a job, a run or a task in its colour."""
    return Text((status or "") + note, style=JOB_STYLES.get(status or "", ""))


def cell(value: object) -> Text:
    """Return a value as it stands in a table."""
    if isinstance(value, Text):
        return value
    text = "" if value is None else _short(value)
    return Text(visible(text), style=STYLES.get(text, ""))


def table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None, cut: Sequence[str] = ()
) -> Table:
    """Return a table; columns of numbers are set to the right, short words stay whole, long texts are folded.

    Those of the columns *cut* get one line each, as long as there is room for.
    """
    made = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    listed = [list(row) for row in rows]
    for place, name in enumerate(columns):
        values = [row[place] for row in listed if row[place] is not None]
        numbers = bool(values) and all(isinstance(value, int) and not isinstance(value, bool) for value in values)
        short = name not in cut and all(len(cell(value)) <= _SHORT for value in values)
        made.add_column(name, justify="right" if numbers else "left", overflow="fold", no_wrap=short)
    for row in listed:
        made.add_row(*(_line(value) if name in cut else cell(value) for name, value in zip(columns, row, strict=True)))
    return made


def _line(value: object) -> Text:
    text = cell(value)
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


@dataclass(frozen=True, slots=True)
class Rows:
    """A table, or the sentence *nothing* when there are no rows.

    A narrow terminal shows the columns *narrow*, and of the columns *cut* one line each. Where room is scarce, columns
    in which nothing stands are left out.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    nothing: str = ""
    title: str = ""
    narrow: Sequence[str] | None = None
    cut: Sequence[str] = ()

    def __rich_console__(self, out: Console, _options: ConsoleOptions) -> Iterable[RenderableType]:
        """Draw it as wide as the console is."""
        if not self.rows:
            yield Text(self.nothing, style="dim")
            return
        columns, rows = self.columns, self.rows
        kept = list(range(len(columns)))
        if self.narrow is not None and out.width < NARROW:
            kept = [place for place in kept if columns[place] in self.narrow]
        if out.width <= NARROW:  # what nothing stands in takes no room from what something does
            kept = [place for place in kept if any(row[place] not in _EMPTY for row in rows)] or kept
        yield table(
            [columns[place] for place in kept],
            [[row[place] for place in kept] for row in rows],
            title=self.title or None,
            cut=self.cut if out.width < NARROW else (),
        )


@dataclass(frozen=True, slots=True)
class Fields:
    """Names and values below one another; empty values are left out."""

    pairs: Iterable[tuple[str, object]]
    title: str = ""

    def __rich_console__(self, _out: Console, _options: ConsoleOptions) -> Iterable[RenderableType]:
        """Draw the title and the pairs."""
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column(overflow="fold")
        for name, value in self.pairs:
            if value is not None and value not in ("", ()):
                grid.add_row(name, cell(value))
        if self.title:
            yield Text(self.title, style="bold")
        yield grid


@dataclass(frozen=True, slots=True)
class Notice:
    """A sentence that goes to standard error, so that it is in nobody's data."""

    text: str
    style: str = "yellow"


@dataclass(frozen=True, slots=True)
class Document:
    """A document, shown as it is but for invisible characters."""

    text: str


Part: TypeAlias = RenderableType | Notice | Document
"""What an answer consists of for people. A sentence is never wrapped by us, so that it can be copied."""


def show(parts: Iterable[Part]) -> None:
    """Print the parts of an answer."""
    out = console()
    for part in parts:
        match part:
            case Notice():
                console(error=True).print(Text(part.text, style=part.style), soft_wrap=True)
            case Document():
                print_document(part.text)
            case str():
                out.print(Text(part), soft_wrap=True)
            case _:
                out.print(part, soft_wrap=isinstance(part, Text))


def print_document(text: str, *, whole: bool = False) -> None:
    """Print a document with its invisible characters escaped.

    *whole*: nothing else is printed, so into a file or a pipe it goes as it is; on a terminal it never does.
    """
    if not whole or sys.stdout.isatty():
        text = visible_lines(text)
    sys.stdout.write(text if text.endswith("\n") else text + "\n")


def age(moment: datetime | None, now: datetime) -> str:
    """Return how long ago a moment was, such as `3 min`; empty for None."""
    if moment is None:
        return ""
    seconds = max(0, int((now - moment).total_seconds()))
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def shown_time(moment: datetime) -> str:
    """Return a moment as people read it, such as `2026-01-31 08:00:00Z` or `2026-01-31 09:00:00 CET`."""
    zone = SHOWN_ZONE.get()
    if zone is UTC or getattr(zone, "key", "") == "UTC":
        return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"
    return f"{moment.astimezone(zone):%Y-%m-%d %H:%M:%S %Z}"


def shown_clock(moment: datetime) -> str:
    """Return the time of day of a moment, such as `08:00:00`, as the clock of the person shows it."""
    return f"{moment.astimezone(SHOWN_ZONE.get()):%H:%M:%S}"


def dim(text: str) -> Text:
    """Return a sentence that is less important than what it stands beside."""
    return Text(text, style="dim")


def counted(number: int, noun: str) -> str:
    """Return a number of things: `1 message`, `2 messages`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def operation_of(service: str | None, operation: str | None) -> str | None:
    """Return `Service.operation`, None when the message names none."""
    return f"{service}.{operation}" if service and operation else None


def _short(value: object) -> str:
    match value:
        case datetime():
            return shown_time(value)
        case bool():
            return "yes" if value else "no"
        case UUID():
            return format_message_id(value)
        case Enum():
            return str(value.value)
        case str():
            return value
        case Mapping():
            return ", ".join(f"{key}={item}" for key, item in value.items())
        case list() | tuple():
            return ", ".join(_short(item) for item in value)
    return str(value)
