"""When a job starts again: the grid that a recurrence spans, and what becomes of points that were missed.

Shape: aware UTC in and out. Minutes and hours are elapsed time; everything else is read off the calendar and the clock
of the zone: a local time that a clock change skips starts at the first instant after the gap, one that comes twice
starts once, the first time. Cron text that names no hour and an RRULE by minutes or hours go on evenly, too: what is
skipped is left out, what comes twice starts twice.
Source: batch reference, sections 10.2-10.4.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from heapq import heappop, heappush
from itertools import islice, takewhile
from typing import assert_never
from zoneinfo import ZoneInfo

from gateway.batch.rules.job import Base, Missed
from gateway.batch.rules.recurrence.cron import Cron
from gateway.batch.rules.recurrence.every import Every
from gateway.batch.rules.recurrence.rrule import RRule
from gateway.kernel.errors import RecurrenceError
from gateway.kernel.local_time import changes, instants_of, local_of, to_utc, zone_named

_INSTANT = timedelta(microseconds=1)
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recurrence:
    """How a job repeats: a pattern, read in a zone, from an original start on.

    `start` is aware UTC. `end_after` counts started occurrences, whatever their outcome; `end_by` is the last local day
    on which one may start.
    """

    pattern: Every | Cron | RRule
    zone: str
    start: datetime
    end_after: int | None = None
    end_by: date | None = None

    def __post_init__(self) -> None:
        if self.start.tzinfo is None:
            raise RecurrenceError(f"The start {self.start.isoformat()} says no time zone.")
        if self.end_after is not None and self.end_after < 1:
            raise RecurrenceError("end_after must be 1 or more.")
        zone_named(self.zone)


def first(rule: Recurrence) -> datetime:
    """Return the first planned start: the first point of the grid that is not before the original start.

    Raises: RecurrenceError when there is none.
    """
    point = next_after(rule, rule.start - _INSTANT)
    if point is None:
        bound = "" if rule.end_by is None else f" up to {rule.end_by.isoformat()}"
        raise RecurrenceError(
            f"This recurrence never starts anything: from {_shown(rule, rule.start)} on{bound} no date fits it."
        )
    return point


def next_after(rule: Recurrence, after: datetime) -> datetime | None:
    """Return the first point of the grid strictly later than *after*, None when `end_by` or the rule's own end is past.

    Rule: `end_after` is not looked at, as only the job knows how many occurrences have started.
    Raises: RecurrenceError when an RRULE asks for what can never be met together.
    """
    return next(_points(rule, after), None)


def preview(rule: Recurrence, after: datetime, n: int, *, occurrences: int = 0) -> tuple[datetime, ...]:
    """Return the next *n* points of the grid later than *after*, fewer when the rule ends before.

    *occurrences* have been started already and count for `end_after`.
    """
    if rule.end_after is not None:
        n = min(n, rule.end_after - occurrences)
    return tuple(islice(_points(rule, after), max(0, n)))


def plan_next(
    rule: Recurrence,
    *,
    planned: datetime,
    finished: datetime | None,
    now: datetime,
    base: Base,
    missed: Missed,
    tolerance_seconds: float,
    occurrences: int,
) -> datetime | None:
    """Return the next planned start of a job, None when its recurrence is used up. It may be past: due at once.

    *planned* belongs to the occurrence that ended at *finished*. With *finished* None it has not begun: the servers
    were down, the clock was changed, or an operator started the job in between; then the answer is *planned* itself
    where it stands. *occurrences* have been started, whatever their outcome and whoever started them.
    Rule, base schedule: the first point later than both *planned* and *now*; with missed = all the first after
    *planned*, even when it is past. Base finish: one interval after the end; for calendar units the day of the end plus
    the interval, at the original time of day; where a pattern picks its days, its next point after the end.
    Rule, missed = skip: what is later than the tolerance and has not begun is dropped, the next point is awaited.
    Rule, clocks: where a whole interval lies between *now* and *planned*, the clock was set back, and the job is
    planned anew from *now*; with missed = all every point runs once, and it waits.
    Units: seconds. Source: batch reference, section 10.4.
    """
    if rule.end_after is not None and occurrences >= rule.end_after:
        return None
    if finished is None:
        return _standing(rule, planned, now, base, missed, timedelta(seconds=tolerance_seconds))
    match base:
        case Base.FINISH:
            return _after_end(rule, finished)
        case Base.SCHEDULE:
            if missed is Missed.ALL:
                return next_after(rule, planned)
            again = next_after(rule, now)
            if again is not None and again <= planned:
                # The clock went back. By less than an interval: do not start the same point again.
                return next_after(rule, planned) if again == planned else again
            return again
        case _:
            assert_never(base)


def overran(rule: Recurrence, *, planned: datetime, finished: datetime) -> bool:
    """Return whether an occurrence ended later than the next point of the grid after its own.

    Source: batch reference, section 10.4, rule 9.
    """
    following = next_after(rule, planned)
    return following is not None and finished > following


def _standing(
    rule: Recurrence, planned: datetime, now: datetime, base: Base, missed: Missed, tolerance: timedelta
) -> datetime | None:
    """Return *planned* unless it is too late, or further ahead than it can be."""
    match missed:
        case Missed.ALL:
            return planned
        case Missed.SKIP if now - planned > tolerance:
            return next_after(rule, now)
        case Missed.SKIP | Missed.COALESCE:
            soonest = next_after(rule, now) if base is Base.SCHEDULE else _after_end(rule, now)
            return planned if soonest is None else min(planned, max(soonest, first(rule)))
        case _:
            assert_never(missed)


def _after_end(rule: Recurrence, finished: datetime) -> datetime | None:
    """Return the start that follows the end of an occurrence under `base = finish`."""
    pattern = rule.pattern
    if not isinstance(pattern, Every) or pattern.picks_days:
        return next_after(rule, finished)
    zone = zone_named(rule.zone)
    start, end = local_of(rule.start, zone), local_of(finished, zone)
    elapsed = pattern.rrule(start.date()).elapsed
    try:
        if elapsed is not None:
            point = finished.astimezone(UTC) + elapsed
        else:
            point = to_utc(datetime.combine(pattern.after(end.date()), start.time()), zone)
    except OverflowError:
        return None
    return point if _allowed(rule, point) else None


def _points(rule: Recurrence, after: datetime) -> Iterator[datetime]:
    """Yield the points of the grid later than *after*, ascending, no instant twice."""
    after = max(after.astimezone(UTC), rule.start.astimezone(UTC) - _INSTANT)
    try:
        for point in _grid(rule, after):
            if point > after:
                if not _allowed(rule, point):
                    return
                yield point
                after = point
    except OverflowError:
        # The calendar ends with the year 9999.
        return


def _grid(rule: Recurrence, after: datetime) -> Iterator[datetime]:
    """Yield points of the grid, ascending: all that are later than *after*, and some before."""
    start, zone = rule.start.astimezone(UTC), zone_named(rule.zone)
    first_wall, near = local_of(start, zone), local_of(after, zone)
    pattern = rule.pattern.rrule(first_wall.date()) if isinstance(rule.pattern, Every) else rule.pattern
    until = pattern.until(zone) if isinstance(pattern, RRule) else None
    if isinstance(pattern, RRule) and (elapsed := pattern.elapsed) is not None:
        point = start + ((after - start) // elapsed + 1) * elapsed
        while until is None or local_of(point, zone) <= until:
            yield point
            point += elapsed
        return
    if pattern.by_the_hour and any(changes(after - _DAY, after + _DAY, zone)):
        near -= _DAY  # a local time that is past may come again
    walls = takewhile(lambda wall: until is None or wall <= until, pattern.walls(first_wall, near))
    if pattern.by_the_hour:
        yield from _every_pass(walls, zone, later_than=near)
        return
    for wall in walls:
        if wall == first_wall:
            # The original start is itself, also where its local time comes twice.
            yield start
        elif wall > near:
            yield to_utc(wall, zone)


def _every_pass(walls: Iterator[datetime], zone: ZoneInfo, *, later_than: datetime) -> Iterator[datetime]:
    """Yield all instants at which clocks show these local times, ascending: none in a gap, both in a fold."""
    waiting: list[datetime] = []
    for wall in walls:
        passes = instants_of(wall, zone) if wall > later_than else ()
        while passes and waiting and waiting[0] <= passes[0]:
            yield heappop(waiting)
        for moment in passes:
            heappush(waiting, moment)
    while waiting:
        yield heappop(waiting)


def _allowed(rule: Recurrence, point: datetime) -> bool:
    return rule.end_by is None or local_of(point, zone_named(rule.zone)).date() <= rule.end_by


def _shown(rule: Recurrence, moment: datetime) -> str:
    return f"{local_of(moment, zone_named(rule.zone)):%Y-%m-%d %H:%M} {rule.zone}"
