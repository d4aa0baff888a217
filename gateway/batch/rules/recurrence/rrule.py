"""RRULE text of RFC 5545; dateutil works out its dates.

What dateutil does not bound is bounded here. It counts from the first date of a rule, so a rule is moved, in whole
periods, next to the time that is asked for. And it ends a search only with its calendar, so rules run near the end of
that: the calendar repeats every 400 years, weekdays and leap years included.
Source: RFC 5545, section 3.3.10.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo
from types import MappingProxyType

from dateutil.rrule import rrulestr

from gateway.kernel.errors import RecurrenceError
from gateway.kernel.local_time import local_of

_PARTS = (
    "FREQ", "INTERVAL", "UNTIL", "BYSETPOS", "BYMONTH", "BYMONTHDAY", "BYYEARDAY", "BYWEEKNO", "BYDAY", "BYHOUR",
    "BYMINUTE", "BYSECOND", "WKST",
)  # fmt: skip
_FREQUENCIES = ("YEARLY", "MONTHLY", "WEEKLY", "DAILY", "HOURLY", "MINUTELY")
DAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
_ELAPSED: Mapping[str, timedelta] = MappingProxyType({"HOURLY": timedelta(hours=1), "MINUTELY": timedelta(minutes=1)})
_PLAIN = frozenset({"FREQ", "INTERVAL", "UNTIL", "WKST"})
_PICKS_DAYS = ("BYMONTHDAY", "BYYEARDAY", "BYWEEKNO", "BYDAY")
_UNTIL = re.compile(r"(\d{8})(?:T(\d{6})(Z?))?")
_CYCLE = 400
_NEAR_THE_END = 9800


@dataclass(frozen=True, slots=True, kw_only=True)
class RRule:
    """RRULE text that was read by `read_rrule`."""

    parts: tuple[tuple[str, str], ...]

    @property
    def text(self) -> str:
        """Return the rule as text, without its COUNT."""
        return ";".join(f"{name}={value}" for name, value in self.parts)

    @property
    def elapsed(self) -> timedelta | None:
        """Return the interval where it is elapsed time: minutes or hours and nothing else. None: read off the clock."""
        parts = dict(self.parts)
        unit = _ELAPSED.get(parts["FREQ"])
        if unit is None or not parts.keys() <= _PLAIN:
            return None
        return int(parts.get("INTERVAL", "1")) * unit

    @property
    def by_the_hour(self) -> bool:
        """Tell whether it steps by minutes or hours, and so goes on evenly when clocks are changed."""
        return dict(self.parts)["FREQ"] in _ELAPSED

    def walls(self, start: datetime, near: datetime) -> Iterator[datetime]:
        """Yield the local times of the rule, ascending: all that are later than *near*, few before; UNTIL is not kept.

        Shape: naive local times of the zone; *start* is the first date of the rule. Those before it may be among them.
        Raises: RecurrenceError for parts that can never be met together.
        """
        near = max(near, start)
        years = (_NEAR_THE_END - near.year) // _CYCLE * _CYCLE
        base = self._base(start, near)
        try:
            for moved in rrulestr(self._explicit(start), dtstart=base.replace(year=base.year + years)):
                # dateutil knows whole seconds only
                yield moved.replace(year=moved.year - years, microsecond=start.microsecond)
        except ValueError as error:
            raise RecurrenceError(f"rrule: {self.text} can never be met: {error}") from error

    def _base(self, start: datetime, near: datetime) -> datetime:
        """Return the beginning of a period of the rule, in step with *start*, that holds *near* or lies before it."""
        parts = dict(self.parts)
        interval = int(parts.get("INTERVAL", "1"))
        midnight = datetime.combine(start.date(), time())
        match parts["FREQ"]:
            case "YEARLY":
                return datetime(start.year + _whole(near.year - start.year, interval), 1, 1)
            case "MONTHLY":
                first = start.year * 12 + start.month - 1
                year, month = divmod(first + _whole(near.year * 12 + near.month - 1 - first, interval), 12)
                return datetime(year, month + 1, 1)
            case "WEEKLY":
                weekday = DAYS.index(parts.get("WKST", "MO"))
                first_day = midnight - timedelta(days=(start.weekday() - weekday) % 7)
                return first_day + timedelta(weeks=_whole((near - first_day).days // 7, interval))
            case "DAILY":
                return midnight + timedelta(days=_whole((near - midnight).days, interval))
            case "HOURLY":
                hour = start.replace(minute=0, second=0, microsecond=0)
                return hour + timedelta(hours=_whole((near - hour) // timedelta(hours=1), interval))
            case _:
                minute = start.replace(second=0, microsecond=0)
                return minute + timedelta(minutes=_whole((near - minute) // timedelta(minutes=1), interval))

    def _explicit(self, start: datetime) -> str:
        """Return the rule with all that it takes from its first date written out, so that the date may be moved."""
        parts = {name: value for name, value in self.parts if name != "UNTIL"}
        frequency = parts["FREQ"]
        if not any(name in parts for name in _PICKS_DAYS):
            if frequency == "YEARLY":
                parts.setdefault("BYMONTH", str(start.month))
            if frequency in ("YEARLY", "MONTHLY"):
                parts["BYMONTHDAY"] = str(start.day)
            if frequency == "WEEKLY":
                parts["BYDAY"] = DAYS[start.weekday()]
        if frequency not in _ELAPSED:
            parts.setdefault("BYHOUR", str(start.hour))
        if frequency != "MINUTELY":
            parts.setdefault("BYMINUTE", str(start.minute))
        parts.setdefault("BYSECOND", str(start.second))
        return ";".join(f"{name}={value}" for name, value in parts.items())

    def until(self, zone: tzinfo) -> datetime | None:
        """Return the last local time allowed; a date alone includes its whole day."""
        value = dict(self.parts).get("UNTIL")
        if value is None:
            return None
        day, clock, utc = _read_until(value)
        if clock is None:
            return datetime.combine(day, time.max)
        return local_of(datetime.combine(day, clock, UTC), zone) if utc else datetime.combine(day, clock)


def read_rrule(text: str) -> tuple[RRule, int | None]:
    """Return the rule that RRULE text stands for, and its COUNT, which is kept as `end_after`.

    Shape: one rule, with or without `RRULE:` before it.
    Raises: RecurrenceError with what is wrong and what is allowed.
    """
    plain = "".join(text.upper().split()).removeprefix("RRULE:").rstrip(";")
    parts = dict[str, str]()
    for item in plain.split(";"):
        name, equals, value = item.partition("=")
        name = "BYDAY" if name == "BYWEEKDAY" else name
        if not equals or not value or (name not in _PARTS and name != "COUNT"):
            raise RecurrenceError(
                f"rrule: {item!r} is not known here: use a single rule such as FREQ=WEEKLY;BYDAY=TU, of the parts "
                f"{', '.join(_PARTS)} and COUNT. The start is that of the job."
            )
        if name in parts:
            raise RecurrenceError(f"rrule: {name} is there twice.")
        parts[name] = value
    if parts.get("FREQ") not in _FREQUENCIES:
        raise RecurrenceError(f"rrule: FREQ must be one of {', '.join(_FREQUENCIES)}.")
    count = _whole_number(parts, "COUNT")
    _whole_number(parts, "INTERVAL")
    if "UNTIL" in parts:
        if count is not None:
            raise RecurrenceError("rrule: COUNT and UNTIL exclude one another.")
        _read_until(parts["UNTIL"])
    parts.pop("COUNT", None)
    # Without INTERVAL: which hours and minutes it leaves depends on the start, which is not known here.
    checked = {name: value for name, value in parts.items() if name not in ("UNTIL", "INTERVAL")}
    try:
        rrulestr(";".join(f"{name}={value}" for name, value in checked.items()), dtstart=datetime(2024, 1, 1))
    except (ValueError, IndexError, KeyError, TypeError) as error:
        raise RecurrenceError(f"rrule: {text!r} cannot be read: {error}") from error
    return RRule(parts=tuple(parts.items())), count


def _whole(distance: int, interval: int) -> int:
    return max(0, distance // interval * interval)


def _whole_number(parts: Mapping[str, str], name: str) -> int | None:
    value = parts.get(name)
    if value is None:
        return None
    if not (value.isascii() and value.isdigit()) or not 1 <= int(value) <= 1_000_000:
        raise RecurrenceError(f"rrule: {name}={value}: use a whole number from 1 to 1000000.")
    return int(value)


def _read_until(value: str) -> tuple[datetime, time | None, bool]:
    match = _UNTIL.fullmatch(value)
    try:
        if match is None:
            raise ValueError("no date")
        day = datetime.strptime(match[1], "%Y%m%d")
        clock = datetime.strptime(match[2], "%H%M%S").time() if match[2] else None
    except ValueError as error:
        raise RecurrenceError(
            f"rrule: UNTIL={value} is no moment: write 20261231, 20261231T235959, or 20261231T225959Z."
        ) from error
    return day, clock, bool(match[3])
