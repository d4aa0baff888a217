"""Repeating every so many minutes, hours, days, weeks, months or years: an RRULE in words.

Rule: minutes and hours are elapsed time. The others are read off the calendar and the clock of the zone, at the time
of day of the original start.
Source: batch reference, sections 10.2, 10.4.
"""

from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from dateutil.relativedelta import relativedelta

from gateway.batch.rules.recurrence.rrule import DAYS, RRule
from gateway.kernel.errors import RecurrenceError

_SHORTEST_MONTH, _LONGEST_MONTH = 28, 31


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
_DAYS = {
    **{kind: (day,) for kind, day in zip(WEEKDAYS, DAYS, strict=True)},
    Kind.DAY: DAYS,
    Kind.WEEKDAY: DAYS[:5],
    Kind.WEEKEND_DAY: DAYS[5:],
}
_FREQUENCIES = {
    Unit.MINUTES: "MINUTELY",
    Unit.HOURS: "HOURLY",
    Unit.DAYS: "DAILY",
    Unit.WEEKS: "WEEKLY",
    Unit.MONTHS: "MONTHLY",
    Unit.YEARS: "YEARLY",
}
_STEPS = {
    Unit.DAYS: relativedelta(days=1),
    Unit.WEEKS: relativedelta(weeks=1),
    Unit.MONTHS: relativedelta(months=1),
    Unit.YEARS: relativedelta(years=1),
}


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
    def picks_days(self) -> bool:
        """Tell whether it says itself on which days it comes, and does not take them from the original start."""
        return bool(self.weekdays) or self.day is not None or self.month is not None

    def rrule(self, start: date) -> RRule:
        """Return the RRULE that means the same; *start* is the day of the original start."""
        parts = {"FREQ": _FREQUENCIES[self.unit], "INTERVAL": str(self.count)}
        if self.weekdays:
            parts["BYDAY"] = ",".join(DAYS[day] for day in self.weekdays)
        if self.unit in (Unit.MONTHS, Unit.YEARS):
            parts |= _day_of_month(start.day if self.day is None else self.day)
        if self.unit is Unit.YEARS:
            parts["BYMONTH"] = str(start.month if self.month is None else self.month)
        return RRule(parts=tuple(parts.items()))

    def after(self, day: date) -> date:
        """Return *day* plus one interval of the calendar; a day that the month does not have is its last one.

        Raises: OverflowError where the calendar ends. Source: batch reference, section 10.4, `base = finish`.
        """
        try:
            return day + self.count * _STEPS[self.unit]
        except ValueError as error:
            raise OverflowError(f"{self.count} {self.unit} after {day} the calendar has ended") from error


def _day_of_month(day: int | Nth) -> dict[str, str]:
    if isinstance(day, Nth):
        place = -1 if day.place is Place.LAST else tuple(Place).index(day.place) + 1
        return {"BYDAY": ",".join(_DAYS[day.kind]), "BYSETPOS": str(place)}
    # The last of the days up to this one that the month has: 31 is 28 or 29 in February.
    days = range(min(day, _SHORTEST_MONTH), day + 1)
    return {"BYMONTHDAY": ",".join(map(str, days)), "BYSETPOS": "-1"}
