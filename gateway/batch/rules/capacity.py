"""How many threads a server may use now, and when jobs with an active period may start.

Rule: hours and periods are half-open and follow the clock on the wall of their own zone, through clock changes too:
what is skipped does not count, what comes twice counts twice. An end that is not later than its start lies on the next
day, so equal times are a whole day.
Source: batch reference, sections 10.5, 13.3, 18; gaps G13, G14, G30, G37.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta

from gateway.batch.rules.definition import HoursDefinition, PeriodDefinition, ServerDefinition
from gateway.kernel.local_time import changes, instants_of, local_of, zone_named

_DAY = timedelta(days=1)
_HOURS_AHEAD = 8 * _DAY
_PERIODS_AHEAD = 29 * _DAY


def threads_at(server: ServerDefinition, now: datetime) -> int:
    """Return how many tasks a server may run at *now*.

    Rule: where rows of its hours overlap the larger number counts; where none covers the moment nothing new is taken.
    What runs above a lowered number goes on to its end.
    """
    if not server.hours:
        return server.threads
    covering = (row.threads for row in server.hours if _opened_on(row.start, row.end, _local(now, row.zone)))
    return max(covering, default=0)


def next_change(server: ServerDefinition, now: datetime) -> datetime | None:
    """Return the next instant at which `threads_at` says something else, None when not within the next eight days."""
    before = threads_at(server, now)
    boundaries = {moment for row in server.hours for moment in _boundaries(row, now, now + _HOURS_AHEAD)}
    return next((moment for moment in sorted(boundaries) if threads_at(server, moment) != before), None)


def reserved_of(server: ServerDefinition, threads: int, *, running_reserved: int) -> int:
    """Return how many free threads a server keeps for the priority *reserved*, of the *threads* it may use now.

    *running_reserved* tasks of that priority run here already and have taken their share.
    Rule: whole threads, at least one where anything is reserved, and one is always left for everybody.
    """
    kept = min(-(-threads * server.reserved_percent // 100), threads - 1)
    return max(0, kept - running_reserved)


def is_open(period: PeriodDefinition, now: datetime) -> bool:
    """Return whether jobs with this active period may start at *now*.

    Rule: a window across midnight belongs to the weekday on which it opened.
    """
    opened = _opened_on(period.start, period.end, _local(now, period.zone))
    return opened is not None and opened.weekday() in period.weekdays


def next_opening(period: PeriodDefinition, now: datetime) -> datetime | None:
    """Return the first instant from *now* on at which the period is open: *now* itself when it is.

    None when it is not open within the next four weeks: it opens on no weekday.
    """
    if is_open(period, now):
        return now.astimezone(UTC)
    boundaries = sorted(set(_boundaries(period, now, now + _PERIODS_AHEAD)))
    return next((moment for moment in boundaries if is_open(period, moment)), None)


def _opened_on(start: time, end: time, local: datetime) -> date | None:
    """Return the day on which the window that covers *local* opened, None when none does."""
    clock, today = local.time(), local.date()
    if start < end:
        return today if start <= clock < end else None
    if clock >= start:
        return today
    return today - _DAY if clock < end else None


def _boundaries(window: HoursDefinition | PeriodDefinition, now: datetime, until: datetime) -> Iterator[datetime]:
    """Yield the instants in (now, until] at which a window may open or close."""
    zone = zone_named(window.zone)
    for day in _days(local_of(now, zone).date(), local_of(until, zone).date()):
        for clock in (window.start, window.end):
            for moment in instants_of(datetime.combine(day, clock), zone):
                if now < moment <= until:
                    yield moment
    yield from changes(now, until, zone)


def _days(first: date, last: date) -> Iterable[date]:
    return (first + timedelta(days=number) for number in range((last - first).days + 1))


def _local(now: datetime, zone: str) -> datetime:
    return local_of(now, zone_named(zone))
