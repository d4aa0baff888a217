"""A recurrence in plain English."""

from collections.abc import Sequence
from typing import assert_never

from gateway.batch.rules.recurrence.cron import Cron
from gateway.batch.rules.recurrence.every import WEEKDAYS, Every, Kind, Nth, Unit
from gateway.batch.rules.recurrence.rrule import RRule
from gateway.batch.rules.recurrence.rule import Recurrence
from gateway.kernel.local_time import local_of, zone_named

MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
_NUMBERS = {2: "second", 3: "third", 4: "fourth", 5: "fifth", 6: "sixth"}
_ALWAYS_THERE = 28


def describe(rule: Recurrence) -> str:
    """Return *rule* as a phrase, such as `every second week on Tuesday and Wednesday at 01:00 Europe/Copenhagen`."""
    text = _pattern(rule)
    if rule.end_after is not None:
        text += ", once" if rule.end_after == 1 else f", {rule.end_after} times"
    if rule.end_by is not None:
        text += f", until {rule.end_by.isoformat()}"
    return text


def _pattern(rule: Recurrence) -> str:
    start = local_of(rule.start, zone_named(rule.zone))
    shown = "%H:%M:%S" if start.second else "%H:%M"
    match rule.pattern:
        case Cron(text=text):
            return f"by cron {text} in {rule.zone}"
        case RRule(text=text):
            return f"by rrule {text} from {start:%Y-%m-%d} {start:{shown}} {rule.zone}"
        case Every() as every:
            pass
        case _:
            assert_never(rule.pattern)
    match every.unit:
        case Unit.MINUTES | Unit.HOURS:
            number = "" if every.count == 1 else f"{every.count} "
            return f"every {number}{_unit(every) if every.count == 1 else every.unit.value}"
        case Unit.DAYS:
            days = ""
        case Unit.WEEKS:
            days = f" on {_joined([_name(WEEKDAYS[day]) for day in every.weekdays or (start.weekday(),)])}"
        case Unit.MONTHS:
            days = f" on {_day(every.day or start.day)}"
        case Unit.YEARS:
            month = MONTHS[(every.month or start.month) - 1]
            day = every.day or start.day
            days = f" on {day} {month}" if isinstance(day, int) else f" on {_day(day)} of {month}"
        case _:
            assert_never(every.unit)
    number = "" if every.count == 1 else f"{_NUMBERS.get(every.count) or _ordinal(every.count)} "
    return f"every {number}{_unit(every)}{days} at {start:{shown}} {rule.zone}"


def _day(day: int | Nth) -> str:
    if isinstance(day, Nth):
        return f"the {day.place.value} {_name(day.kind)}"
    return f"day {day}" if day <= _ALWAYS_THERE else f"day {day} or the last of a shorter month"


def _name(kind: Kind) -> str:
    return kind.value.capitalize() if kind in WEEKDAYS else kind.value


def _unit(every: Every) -> str:
    return every.unit.value.removesuffix("s")


def _ordinal(number: int) -> str:
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def _joined(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
