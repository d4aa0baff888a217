"""Date formulas: how the day of the next run follows from a day.

A formula is terms one after another, each counted from the day that the term before has led to: `1D` `2W` `1M` `1Q`
`1Y` (days, weeks, months, quarters, years; a sign before it), `CW` `CM` `CQ` `CY` (the last day of the week, month,
quarter, year that the day lies in), `D4` or `WD4` (the next Thursday). So `CM+1D` is the first of the next month.
Source: batch reference, section 10.4.
"""

import re
from calendar import monthrange
from datetime import date, timedelta
from typing import Final

from gateway.kernel.errors import EntryRefused

FORMS: Final = "such as 1D, 2W, 1M, D4 (every Thursday), CM+1D (the first of the next month)"
_TERM: Final = re.compile(r"([+-]?)(?:(\d{1,4})([DWMQY])|C([DWMQY])|W?D([1-7]))(?=[+-]|$)")
_MONTHS: Final = {"M": 1, "Q": 3, "Y": 12}
_PROBES: Final = (date(2023, 1, 31), date(2024, 2, 29), date(2024, 12, 31), date(2025, 6, 15))


def next_date(formula: str, day: date) -> date:
    """Return the day that *formula* leads to from *day*. Raises: EntryRefused when it is no formula."""
    text = formula.upper().replace(" ", "")
    place = 0
    while place < len(text) or not text:
        term = _TERM.match(text, place)
        if term is None or (place and not term[1]):
            raise EntryRefused(f"{formula!a} is no date formula. Write one {FORMS}.")
        sign, number, unit, period, weekday = term.groups()
        try:
            if number is not None:
                day = _moved(day, int(number) * (-1 if sign == "-" else 1), unit)
            elif period is not None:
                day = _last_day(day, period)
            else:
                day += timedelta(days=(int(weekday) - 1 - day.weekday() - 1) % 7 + 1)
        except (OverflowError, ValueError):
            raise EntryRefused(f"The date formula {formula!a} leads out of the calendar.") from None
        place = term.end()
    return day


def check_formula(formula: str) -> None:
    """Refuse what is no date formula, or does not lead to a later day. Raises: EntryRefused."""
    for day in _PROBES:
        if next_date(formula, day) <= day:
            raise EntryRefused(
                f"The date formula {formula!a} does not always lead to a later day: from {day} it leads to "
                f"{next_date(formula, day)}. Write one {FORMS}."
            )


def _moved(day: date, number: int, unit: str) -> date:
    if unit not in _MONTHS:
        return day + timedelta(days=number * (7 if unit == "W" else 1))
    month = day.year * 12 + day.month - 1 + number * _MONTHS[unit]
    year, month = month // 12, month % 12 + 1
    return date(year, month, min(day.day, monthrange(year, month)[1]))


def _last_day(day: date, period: str) -> date:
    if period == "D":
        return day
    if period == "W":
        return day + timedelta(days=6 - day.weekday())
    months = _MONTHS[period]
    month = (day.month - 1) // months * months + months
    return date(day.year, month, monthrange(day.year, month)[1])
