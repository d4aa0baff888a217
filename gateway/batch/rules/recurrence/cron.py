"""Cron text: five fields, or a name such as @daily.

Rule: as cron reads it: a day counts when it meets both day fields; where neither begins with `*`, one is enough.
Source: crontab(5) of Vixie cron and its descendants.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import MAXYEAR, date, datetime, time, timedelta
from types import MappingProxyType

from gateway.kernel.errors import RecurrenceError

_NICKNAMES: Mapping[str, str] = MappingProxyType(
    {
        "@yearly": "0 0 1 1 *",
        "@annually": "0 0 1 1 *",
        "@monthly": "0 0 1 * *",
        "@weekly": "0 0 * * 0",
        "@daily": "0 0 * * *",
        "@midnight": "0 0 * * *",
        "@hourly": "0 * * * *",
    }
)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_LONGEST = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_HOURS_OF_A_DAY = 24
_PART = re.compile(r"(?P<all>\*)|(?P<first>[0-9]{1,4}|[a-z]{3})(?:-(?P<last>[0-9]{1,4}|[a-z]{3}))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Field:
    name: str
    lowest: int
    highest: int
    names: tuple[str, ...] = ()

    def allowed(self) -> str:
        words = f", or {self.names[0]} to {self.names[-1]}" if self.names else ""
        return f"{self.lowest} to {self.highest}{words}"

    def number(self, word: str) -> int:
        if word in self.names:
            return self.lowest + self.names.index(word)
        if not word.isdigit() or not self.lowest <= int(word) <= self.highest:
            raise RecurrenceError(f"cron: {word!r} is no {self.name}: use {self.allowed()}.")
        return int(word)

    def read(self, text: str) -> frozenset[int]:
        """Return the numbers that a field allows: lists of `*`, numbers and ranges, the latter two with steps."""
        numbers = set[int]()
        for item in text.split(","):
            part, slash, step_text = item.partition("/")
            match = _PART.fullmatch(part)
            if match is None or (slash and not step_text.isdigit()):
                raise RecurrenceError(
                    f"cron: {item!r} cannot be read as the {self.name}: use *, a number ({self.allowed()}), "
                    "a range such as 1-5, a list such as 1,3, or a step such as */2."
                )
            step = int(step_text) if slash else 1
            if step < 1:
                raise RecurrenceError(f"cron: the step of {item!r} ({self.name}) must be 1 or more.")
            if step > self.highest - self.lowest:
                # Cron would read it as the lowest number alone: every hour instead of every 90 minutes.
                raise RecurrenceError(
                    f"cron: the step of {item!r} is longer than the {self.name} has values ({self.allowed()}). Steps "
                    "begin anew in each hour, day, month or year; for longer ones write every, such as "
                    "{every: 90 minutes}."
                )
            if match["all"]:
                first, last = self.lowest, self.highest
            else:
                first = self.number(match["first"])
                last = self.number(match["last"]) if match["last"] else first
                if slash and not match["last"]:
                    raise RecurrenceError(
                        f"cron: a step needs * or a range: write {first}-{self.highest}/{step} instead of {item!r}."
                    )
                # Sunday is both ends of the week.
                if self.names is _WEEKDAYS and last == 0 < first:
                    last = 7
            if last < first:
                raise RecurrenceError(
                    f"cron: the range {part!r} ({self.name}) runs backwards: write it as two, such as "
                    f"{first}-{self.highest},{self.lowest}-{last}."
                )
            numbers.update(range(first, last + 1, step))
        return frozenset(numbers)


_FIELDS = (
    _Field(name="minute", lowest=0, highest=59),
    _Field(name="hour", lowest=0, highest=23),
    _Field(name="day of the month", lowest=1, highest=31),
    _Field(name="month", lowest=1, highest=12, names=_MONTHS),
    _Field(name="weekday", lowest=0, highest=7, names=_WEEKDAYS),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cron:
    """Cron text that was read by `read_cron`. Weekdays are Python's: Monday 0."""

    text: str
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either: bool  # one of the two day fields is enough

    @property
    def by_the_hour(self) -> bool:
        """Tell whether it names no hour, and so goes on evenly when clocks are changed."""
        return len(self.hours) == _HOURS_OF_A_DAY

    def walls(self, start: datetime, near: datetime) -> Iterator[datetime]:
        """Yield the local times of the pattern, ascending: all that are later than *near* and *start*, few before.

        Shape: naive local times of the zone.
        """
        day = max(start, near).date()
        while day.year < MAXYEAR:
            if day.month not in self.months:
                day = date(day.year + day.month // 12, day.month % 12 + 1, 1)
                continue
            if self._meets(day):
                for hour in self.hours:
                    for minute in self.minutes:
                        yield datetime.combine(day, time(hour, minute))
            day += timedelta(days=1)

    def _meets(self, day: date) -> bool:
        by_number, by_weekday = day.day in self.days, day.weekday() in self.weekdays
        return by_number or by_weekday if self.either else by_number and by_weekday


def read_cron(text: str) -> Cron:
    """Return the pattern that cron text stands for.

    Raises: RecurrenceError with what is wrong and what is allowed, also for a date that no calendar has.
    """
    plain = " ".join(text.lower().split())
    if plain.startswith("@"):
        if plain not in _NICKNAMES:
            raise RecurrenceError(f"cron: {text!r} is not known here: use one of {', '.join(_NICKNAMES)}.")
        plain = _NICKNAMES[plain]
    words = plain.split(" ")
    if len(words) != len(_FIELDS):
        raise RecurrenceError(
            f"cron: {text!r} has {len(words)} fields and needs five: minute, hour, day of the month, month, weekday, "
            "such as 0 2 * * 1-5; or a name such as @daily."
        )
    minutes, hours, days, months, weekdays = (field.read(word) for field, word in zip(_FIELDS, words, strict=True))
    either = not words[2].startswith("*") and not words[4].startswith("*")
    if not either and all(min(days) > _LONGEST[month - 1] for month in months):
        raise RecurrenceError(f"cron: {text!r} never comes: no such month has a day {min(days)}.")
    return Cron(
        text=" ".join(text.split()),
        minutes=tuple(sorted(minutes)),
        hours=tuple(sorted(hours)),
        days=days,
        months=months,
        weekdays=frozenset((number - 1) % 7 for number in weekdays),
        either=either,
    )
