"""A recurrence as a plain mapping: what the configuration says, once it is checked, and what the database keeps.

Shape: one of `every` ("2 weeks"), `cron`, `rrule`; with weeks `on` (weekdays); with months and years `on` (one day such
as "last friday") or `day` (1 to 31, or "last"); with years `month` (its name); `end_after`, `end_by` (ISO date),
`zone`. The original start is kept beside it, by the job.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

from gateway.batch.rules.recurrence.cron import Cron, read_cron
from gateway.batch.rules.recurrence.every import LAST_DAY, WEEKDAYS, Every, Kind, Nth, Place, Unit
from gateway.batch.rules.recurrence.rrule import RRule, read_rrule
from gateway.batch.rules.recurrence.rule import Recurrence, first
from gateway.batch.rules.recurrence.words import MONTHS
from gateway.kernel.errors import RecurrenceError

_WAYS = ("every", "cron", "rrule")


def from_dict(plain: Mapping[str, Any], *, start: datetime, zone: str = "UTC") -> Recurrence:
    """Return the recurrence that *plain* says.

    *start* is the original start, aware; *zone* counts where *plain* names none.
    Raises: RecurrenceError with what is wrong, and what is allowed where the configuration does not look at each value
    by itself: what does not go together, cron, rrule, and when nothing would ever start; JobRefused for an unknown
    zone.
    """
    ways = [name for name in _WAYS if name in plain]
    if len(ways) != 1:
        found = f"has {' and '.join(ways)}" if ways else "has none of them"
        raise RecurrenceError(f"recurrence: needs one of {', '.join(_WAYS)}, and {found}.")
    if ways[0] != "every" and (extra := [name for name in ("on", "day", "month") if name in plain]):
        raise RecurrenceError(f"recurrence: {' and '.join(extra)} goes with every; {ways[0]} says it all by itself.")
    try:
        rule = _rule(plain, ways[0], start, zone)
    except (ValueError, TypeError, AttributeError) as error:
        raise RecurrenceError(f"recurrence: {dict(plain)} cannot be read: {error}.") from error
    first(rule)
    return rule


def _rule(plain: Mapping[str, Any], way: str, start: datetime, zone: str) -> Recurrence:
    end_after = plain.get("end_after")
    pattern: Every | Cron | RRule
    match way:
        case "every":
            pattern = _every(plain)
        case "cron":
            pattern = read_cron(plain["cron"])
        case _:
            # Its dates have whole seconds, and the first of them is the start.
            start = start.replace(microsecond=0)
            pattern, count = read_rrule(plain["rrule"])
            if count is not None and end_after is not None:
                raise RecurrenceError("recurrence: end_after and the COUNT of the rrule mean the same; drop one.")
            end_after = end_after or count
    return Recurrence(
        pattern=pattern,
        zone=plain.get("zone", zone),
        start=start.astimezone(UTC),
        end_after=end_after,
        end_by=date.fromisoformat(plain["end_by"]) if "end_by" in plain else None,
    )


def _every(plain: Mapping[str, Any]) -> Every:
    number, _, unit = plain["every"].rpartition(" ")
    on = plain.get("on", ())
    words = [on] if isinstance(on, str) else on
    days = [day for day in words if day not in WEEKDAYS]
    if len(days) > 1:
        raise RecurrenceError("recurrence: on: one day of a month is all; more of them want rrule.")
    if days and "day" in plain:
        raise RecurrenceError("recurrence: has both day and on; a month is met by one of them.")
    day = _nth(days[0]) if days else plain.get("day")
    return Every(
        unit=Unit(f"{unit.removesuffix('s')}s"),
        count=int(number or 1),
        weekdays=tuple(sorted({WEEKDAYS.index(Kind(day)) for day in words if day in WEEKDAYS})),
        day=LAST_DAY if day == "last" else day,
        month=[month.lower() for month in MONTHS].index(plain["month"]) + 1 if "month" in plain else None,
    )


def _nth(words: str) -> Nth:
    place, _, kind = words.partition(" ")
    return Nth(place=Place(place), kind=Kind(kind))
