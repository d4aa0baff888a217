"""Moments as people type them: `2h`, `yesterday`, `2026-01-31`, `2026-01-31 08:00`."""

import re
from datetime import datetime, time, timedelta, tzinfo
from typing import Final

from gateway.kernel.errors import GatewayError
from gateway.kernel.local_time import local_of, to_utc

FORMS: Final = "2h, 30min, today, yesterday, 2026-01-31, 2026-01-31 08:00"
_AGO: Final = re.compile(r"(\d{1,6}) ?([a-z]+)(?: ago)?")
_UNITS: Final = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), timedelta(seconds=1)),
    **dict.fromkeys(("m", "min", "minute", "minutes"), timedelta(minutes=1)),
    **dict.fromkeys(("h", "hour", "hours"), timedelta(hours=1)),
    **dict.fromkeys(("d", "day", "days"), timedelta(days=1)),
    **dict.fromkeys(("w", "week", "weeks"), timedelta(weeks=1)),
}
_DAYS: Final = {"today": 0, "yesterday": 1}
_DATE_LENGTH: Final = len("2026-01-31")
_INSTANT: Final = timedelta(microseconds=1)


class NoMoment(GatewayError):
    """A text that is no moment; the message says how one is written."""

    code = "moment.not-understood"


def beginning(text: str, *, now: datetime, zone: tzinfo) -> datetime:
    """Return the moment that a time `since` *text* begins at: of a day its start.

    Shape: UTC out; `2h` is counted back from *now*, days and times without an offset are those of *zone*.
    Raises: NoMoment.
    """
    return _moment(text, now, zone, whole_day=False)


def end(text: str, *, now: datetime, zone: tzinfo) -> datetime:
    """Return the last moment of a time `until` *text*: of a day its end, as everywhere else. Raises: NoMoment."""
    return _moment(text, now, zone, whole_day=True)


def _moment(text: str, now: datetime, zone: tzinfo, *, whole_day: bool) -> datetime:
    plain = " ".join(text.split()).lower()
    if plain == "now":
        return now
    try:
        if plain in _DAYS:
            return _day(local_of(now, zone) - timedelta(days=_DAYS[plain]), zone, whole_day=whole_day)
        ago = _AGO.fullmatch(plain)
        if ago is not None and ago[2] in _UNITS:
            return now - int(ago[1]) * _UNITS[ago[2]]
        moment = datetime.fromisoformat(plain.upper())
        if len(plain) == _DATE_LENGTH:
            return _day(moment, zone, whole_day=whole_day)
        return to_utc(moment, zone) if moment.tzinfo is None else moment.astimezone(now.tzinfo)
    except (ValueError, OverflowError):
        raise NoMoment(f"{text!a} is no moment; write one like {FORMS}") from None


def _day(local: datetime, zone: tzinfo, *, whole_day: bool) -> datetime:
    start = datetime.combine(local.date(), time())
    return to_utc(start + timedelta(days=1), zone) - _INSTANT if whole_day else to_utc(start, zone)
