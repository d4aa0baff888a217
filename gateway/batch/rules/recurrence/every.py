"""Repeating every so many minutes, hours, days, weeks, months or years.

Rule: minutes and hours are elapsed time. The others are read off the calendar and the clock of the zone, at the time
of day of the original start.
Source: batch reference, sections 10.2, 10.4.
"""

from calendar import monthrange
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import MAXYEAR, date, datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import assert_never

from gateway.batch.rules.recurrence.trouble import RecurrenceError

_SATURDAY = 5
_LONGEST_MONTH = 31


class Unit(StrEnum):
    """What an interval is counted in."""

    MINUTES = "minutes"
    HOURS = "hours"
    DAYS = "days"
    WEEKS = "weeks"
    MONTHS = "months"
    YEARS = "years"


class Place(StrEnum):
    """Which of the days of its kind in a month."""

    FIRST = "first"
    SECOND = "second"
    THIRD = "third"
    FOURTH = "fourth"
    LAST = "last"


class Kind(StrEnum):
    """A kind of day."""

    MONDAY = "monday"
    TUESDAY = "tuesday"
    WEDNESDAY = "wednesday"
    THURSDAY = "thursday"
    FRIDAY = "friday"
    SATURDAY = "saturday"
    SUNDAY = "sunday"
    DAY = "day"  # any day
    WEEKDAY = "weekday"  # Monday to Friday
    WEEKEND_DAY = "weekend day"  # Saturday and Sunday


WEEKDAYS = tuple(Kind)[:7]
"""The named weekdays, Monday first: the place in the tuple is the number that Python gives the day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nth:
    """A day of a month by its place among those of its kind, such as the second Tuesday or the last day."""

    place: Place
    kind: Kind


LAST_DAY = Nth(place=Place.LAST, kind=Kind.DAY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Every:
    """Every `count` units.

    `weekdays` (Monday 0) are for weeks, `day` for months and years, `month` for years; what is left out is that of the
    original start. A `day` that a month does not have is its last day, and stays what it is for the next one.
    """

    unit: Unit
    count: int = 1
    weekdays: tuple[int, ...] = ()
    day: int | Nth | None = None
    month: int | None = None

    def __post_init__(self) -> None:
        if self.count < 1:
            raise RecurrenceError(f"every {self.count} {self.unit.value}: the number must be 1 or more.")
        if self.weekdays and self.unit is not Unit.WEEKS:
            raise RecurrenceError(f"Weekdays go with weeks, not with {self.unit.value}.")
        if self.day is not None and self.unit not in (Unit.MONTHS, Unit.YEARS):
            raise RecurrenceError(f"A day of the month goes with months and years, not with {self.unit.value}.")
        if self.month is not None and self.unit is not Unit.YEARS:
            raise RecurrenceError(f"A month goes with years, not with {self.unit.value}.")
        if isinstance(self.day, int) and not 1 <= self.day <= _LONGEST_MONTH:
            raise RecurrenceError(f"There is no day {self.day} of a month: use 1 to 31, or last.")
        if self.month is not None and not 1 <= self.month <= 12:
            raise RecurrenceError(f"There is no month {self.month}: use 1 to 12, or a name.")
        if not all(0 <= day <= 6 for day in self.weekdays):
            raise RecurrenceError("A weekday is a number from 0 (Monday) to 6 (Sunday).")

    @property
    def elapsed(self) -> timedelta | None:
        """Return the interval where it is elapsed time, None where it is read off the calendar."""
        match self.unit:
            case Unit.MINUTES:
                return timedelta(minutes=self.count)
            case Unit.HOURS:
                return timedelta(hours=self.count)
            case _:
                return None

    def walls(self, start: datetime, near: datetime) -> Iterator[datetime]:
        """Yield the local times of a calendar pattern, ascending: all that are later than *near*, few before.

        Shape: naive local times of the zone; *start* is the original start. Those before it may be among them.
        """
        for day in _until_the_end(self._days(start.date(), near.date())):
            yield datetime.combine(day, start.time())

    def plus(self, start: datetime, day: date) -> datetime:
        """Return *day* plus one interval at the time of day of *start*, for a pattern that picks no days of its own.

        Source: batch reference, section 10.4, `base = finish`.
        """
        match self.unit:
            case Unit.DAYS:
                moved = day + timedelta(days=self.count)
            case Unit.WEEKS:
                moved = day + timedelta(weeks=self.count)
            case Unit.MONTHS:
                moved = _day_of(*divmod(day.year * 12 + day.month - 1 + self.count, 12), day.day)
            case Unit.YEARS:
                moved = _day_of(day.year + self.count, day.month - 1, day.day)
            case Unit.MINUTES | Unit.HOURS:
                raise RecurrenceError(f"{self.unit.value} are elapsed time.")
            case _:
                assert_never(self.unit)
        return datetime.combine(moved, start.time())

    def _days(self, start: date, near: date) -> Iterator[date]:
        match self.unit:
            case Unit.DAYS:
                for step in _steps((near - start).days, self.count):
                    yield start + timedelta(days=step)
            case Unit.WEEKS:
                monday = start - timedelta(days=start.weekday())
                weekdays = sorted(set(self.weekdays)) or [start.weekday()]
                for step in _steps((near - monday).days // 7, self.count):
                    for weekday in weekdays:
                        yield monday + timedelta(weeks=step, days=weekday)
            case Unit.MONTHS:
                first = start.year * 12 + start.month - 1
                for step in _steps(near.year * 12 + near.month - 1 - first, self.count):
                    yield _day_of(*divmod(first + step, 12), start.day if self.day is None else self.day)
            case Unit.YEARS:
                month = start.month if self.month is None else self.month
                for step in _steps(near.year - start.year, self.count):
                    yield _day_of(start.year + step, month - 1, start.day if self.day is None else self.day)
            case Unit.MINUTES | Unit.HOURS:
                raise RecurrenceError(f"{self.unit.value} are elapsed time.")
            case _:
                assert_never(self.unit)


_IS: Mapping[Kind, Callable[[int], bool]] = MappingProxyType(
    {
        Kind.DAY: lambda _: True,
        Kind.WEEKDAY: lambda weekday: weekday < _SATURDAY,
        Kind.WEEKEND_DAY: lambda weekday: weekday >= _SATURDAY,
    }
)


def _steps(distance: int, count: int) -> Iterator[int]:
    """Yield multiples of *count* from the last one that is not beyond *distance*, none below 0."""
    step = max(0, distance // count * count)
    while True:
        yield step
        step += count


def _day_of(year: int, month_index: int, day: int | Nth) -> date:
    """Return a day of a month (January is 0). A number that the month does not have is its last day."""
    month = month_index + 1
    if year > MAXYEAR:
        raise OverflowError("beyond the calendar")
    first_weekday, length = monthrange(year, month)
    if isinstance(day, int):
        return date(year, month, min(day, length))
    fits = _IS.get(day.kind) or (lambda weekday: weekday == WEEKDAYS.index(day.kind))
    days = [number for number in range(1, length + 1) if fits((first_weekday + number - 1) % 7)]
    place = -1 if day.place is Place.LAST else tuple(Place).index(day.place)
    return date(year, month, days[place])


def _until_the_end(days: Iterator[date]) -> Iterator[date]:
    """End with the calendar, not with an error."""
    try:
        yield from days
    except OverflowError:
        return
