"""Filters of batch posting, as clerks write them: 1000..1999|3000, 10*, ..today. Pure.

A filter is parts with | between, one of which must hold: a value, one with * and ? for anything, or a range a..b with
either end open. Numbers and dates compare as such, anything else as text, without regard to case.
Source: posting reference, section 5.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from fnmatch import translate
from typing import Final

TODAY: Final = "today"
_NUMBER = re.compile(r"(\D*)(\d+)")


class BadFilter(ValueError):
    """A filter cannot be read; the text says why."""


@dataclass(frozen=True, slots=True)
class Filter:
    """One filter. `holds` tells whether a value passes."""

    text: str
    holds: Callable[[str], bool]


def read_filter(text: str, *, today: date) -> Filter:
    """Read a filter. Raises: BadFilter."""
    parts = [part.strip() for part in text.split("|")]
    if not all(parts):
        raise BadFilter(f"'{text}' has an empty part; write values with | between, or ranges such as 1000..1999")
    tests = [_part(part, today) for part in parts]
    return Filter(text, lambda value: any(test(value) for test in tests))


def passes(filters: Mapping[str, Filter], values: Mapping[str, str]) -> bool:
    """Tell whether all filters hold for the values of their names."""
    return all(one.holds(values[name]) for name, one in filters.items())


def _part(part: str, today: date) -> Callable[[str], bool]:
    if ".." in part:
        low, _, high = part.partition("..")
        if (not low and not high) or ".." in high:
            raise BadFilter(f"'{part}' is no range; write it 1000..1999, ..1999 or 1000..")
        first, last = (_value(end, today) if end else None for end in (low.strip(), high.strip()))
        return lambda value: (first is None or first <= _key(value)) and (last is None or _key(value) <= last)
    if "*" in part or "?" in part:
        pattern = re.compile(translate(part.replace("[", "[[]")), re.IGNORECASE)
        return lambda value: pattern.fullmatch(value) is not None
    wanted = _value(part, today)
    return lambda value: _key(value) == wanted


def _value(text: str, today: date) -> tuple[str, int, str]:
    return _key(today.isoformat() if text.lower() == TODAY else text)


def _key(text: str) -> tuple[str, int, str]:
    """Return what values compare by: what stands before the first number, that number, and the rest."""
    folded = text.strip().casefold()
    match = _NUMBER.match(folded)
    return (match[1], int(match[2]), folded[match.end() :]) if match else (folded, 0, "")
