"""A recurrence as a plain mapping: what the configuration says and what the database keeps.

Shape: one of `every` ("2 weeks"), `cron`, `rrule`; with weeks `on` (weekdays); with months and years `on` (one day such
as "last friday") or `day` (1 to 31, or "last"); with years `month` (name or number); `end_after`, `end_by` (ISO date),
`zone`. The original start is kept beside it, by the job.
"""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from difflib import get_close_matches

from gateway.batch.rules.recurrence.cron import Cron, read_cron
from gateway.batch.rules.recurrence.every import LAST_DAY, WEEKDAYS, Every, Kind, Nth, Place, Unit
from gateway.batch.rules.recurrence.rrule import RRule, read_rrule
from gateway.batch.rules.recurrence.rule import Recurrence, first
from gateway.batch.rules.recurrence.trouble import RecurrenceError
from gateway.batch.rules.recurrence.words import MONTHS

_WAYS = ("every", "cron", "rrule")
_OPTIONS = (*_WAYS, "on", "day", "month", "end_after", "end_by", "zone")
_EVERY = re.compile(r"(?:([1-9][0-9]{0,5}) )?([a-z]+?)s?")


def from_dict(plain: Mapping[str, object], *, start: datetime, zone: str = "UTC") -> Recurrence:
    """Return the recurrence that *plain* says; what is None counts as left out.

    *start* is the original start, aware; *zone* counts where *plain* names none.
    Raises: RecurrenceError with what is wrong and what is allowed, also when nothing would ever start; JobRefused for
    an unknown zone.
    """
    said = {name: value for name, value in plain.items() if value not in (None, (), [])}
    for name in said:
        if name not in _OPTIONS:
            raise RecurrenceError(f"recurrence: {name!r} is not known{_meant(name, _OPTIONS)}.")
    ways = [name for name in _WAYS if name in said]
    if len(ways) != 1:
        found = f"has {' and '.join(ways)}" if ways else "has none of them"
        raise RecurrenceError(f"recurrence: needs one of {', '.join(_WAYS)}, and {found}.")
    end_after = _number(said, "end_after")
    pattern: Every | Cron | RRule
    match ways[0]:
        case "every":
            pattern = _every(said)
        case "cron":
            pattern = read_cron(_text(said, "cron"))
        case _:
            # Its dates have whole seconds, and the first of them is the start.
            start = start.replace(microsecond=0)
            pattern, count = read_rrule(_text(said, "rrule"))
            if count is not None and end_after is not None:
                raise RecurrenceError("recurrence: end_after and the COUNT of the rrule mean the same; drop one.")
            end_after = end_after or count
    if ways[0] != "every" and (extra := [name for name in ("on", "day", "month") if name in said]):
        raise RecurrenceError(f"recurrence: {' and '.join(extra)} goes with every; {ways[0]} says it all by itself.")
    rule = Recurrence(
        pattern=pattern,
        zone=_text(said, "zone") if "zone" in said else zone,
        start=start.astimezone(UTC),
        end_after=end_after,
        end_by=_date(said["end_by"]) if "end_by" in said else None,
    )
    first(rule)
    return rule


def to_dict(rule: Recurrence) -> dict[str, object]:
    """Return the plain form of *rule*, fit for JSON; `from_dict` makes the same rule of it, given its start."""
    plain = dict[str, object]()
    match rule.pattern:
        case Cron(text=text):
            plain["cron"] = text
        case RRule(text=text):
            plain["rrule"] = text
        case Every() as every:
            plain["every"] = f"{every.count} {every.unit.value}"
            if every.weekdays:
                plain["on"] = [WEEKDAYS[day].value for day in every.weekdays]
            if every.day == LAST_DAY:
                plain["day"] = "last"
            elif isinstance(every.day, Nth):
                plain["on"] = [f"{every.day.place.value} {every.day.kind.value}"]
            elif every.day is not None:
                plain["day"] = every.day
            if every.month is not None:
                plain["month"] = MONTHS[every.month - 1].lower()
    if rule.end_after is not None:
        plain["end_after"] = rule.end_after
    if rule.end_by is not None:
        plain["end_by"] = rule.end_by.isoformat()
    return {**plain, "zone": rule.zone}


def _every(said: Mapping[str, object]) -> Every:
    text = _text(said, "every").strip().lower()
    match = _EVERY.fullmatch(text)
    unit = f"{match[2]}s" if match else ""
    if match is None or unit not in tuple(Unit):
        raise RecurrenceError(
            f"recurrence: every: {text!r} is no interval: write a number and one of {', '.join(Unit)}, "
            "such as 15 minutes, day or 2 weeks."
        )
    weekdays = list[int]()
    day: int | Nth | None = None
    for words in _words(said):
        if words in WEEKDAYS:
            weekdays.append(WEEKDAYS.index(Kind(words)))
        elif day is None:
            day = _nth(words)
        else:
            raise RecurrenceError("recurrence: on: one day of a month is all; more of them want rrule.")
    if "day" in said:
        if day is not None:
            raise RecurrenceError("recurrence: has both day and on; a month is met by one of them.")
        day = LAST_DAY if said["day"] == "last" else _number(said, "day")
    return Every(
        unit=Unit(unit),
        count=int(match[1] or 1),
        weekdays=tuple(sorted(set(weekdays))),
        day=day,
        month=_month(said["month"]) if "month" in said else None,
    )


def _words(said: Mapping[str, object]) -> list[str]:
    on = said.get("on", ())
    words = [on] if isinstance(on, str) else on
    if not isinstance(words, list | tuple) or not all(isinstance(word, str) for word in words):
        raise RecurrenceError("recurrence: on: write a day such as tuesday or last friday, or a list of weekdays.")
    return [" ".join(word.lower().split()) for word in words]


def _nth(words: str) -> Nth:
    place, _, kind = words.partition(" ")
    if place not in tuple(Place) or kind not in tuple(Kind):
        raise RecurrenceError(
            f"recurrence: on: {words!r} is no day{_meant(words, [kind.value for kind in WEEKDAYS])}; with months "
            f"and years write one of {', '.join(Place)} and one of {', '.join(Kind)}, such as last friday."
        )
    return Nth(place=Place(place), kind=Kind(kind))


def _month(value: object) -> int:
    names = [name.lower() for name in MONTHS]
    if isinstance(value, str) and value.lower() in names:
        return names.index(value.lower()) + 1
    if isinstance(value, int) and 1 <= value <= len(names):
        return value
    raise RecurrenceError(f"recurrence: month: {value!r} is no month: write a name such as march, or 1 to 12.")


def _date(value: object) -> date:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    try:
        return date.fromisoformat(value if isinstance(value, str) else "")
    except ValueError as error:
        raise RecurrenceError(f"recurrence: end_by: {value!r} is no date such as 2026-12-31.") from error


def _number(said: Mapping[str, object], name: str) -> int | None:
    value = said.get(name)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise RecurrenceError(f"recurrence: {name}: {value!r} must be a whole number from 1 on.")
    return value


def _text(said: Mapping[str, object], name: str) -> str:
    value = said[name]
    if not isinstance(value, str):
        raise RecurrenceError(f"recurrence: {name}: {value!r} must be text.")
    return value


def _meant(word: str, known: list[str] | tuple[str, ...]) -> str:
    close = get_close_matches(word, known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else f"; known are {', '.join(known)}"
