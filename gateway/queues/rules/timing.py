"""When an entry may start, and when it starts next.

Shape: instants are aware and in UTC where they come out; weekdays, dates and times of day are those of the zone.
Source: batch reference, sections 10.4, 10.5, 19.1; gap G37.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from gateway.batch.rules.formula import next_date
from gateway.kernel.local_time import local_of, to_utc, zone_named

_DAY = timedelta(days=1)
_NAMES = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_DAYS_AHEAD = 9
"""A week, the day before it, whose window may last until today, and one more for a window that has just closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """When an entry runs.

    `weekdays` (Monday 0) on which it repeats, and on which its window opens. It repeats when there are any, or with a
    date `formula`. `starting` and `ending` are its daily window, bounds included; one that ends before it starts
    crosses midnight and belongs to the day on which it opened; equal times: only the start counts.
    """

    weekdays: tuple[int, ...] = ()
    minutes: int = 0
    formula: str | None = None
    starting: time | None = None
    ending: time | None = None
    zone: str = "UTC"

    @property
    def recurs(self) -> bool:
        """Tell whether it runs again after a success."""
        return bool(self.weekdays) or self.formula is not None

    @property
    def in_words(self) -> str:
        """Say how it repeats, such as `Mon-Fri, every 30 minutes, 22:00-02:00 UTC`."""
        parts = list[str]()
        if self.weekdays:
            first, last = self.weekdays[0], self.weekdays[-1]
            run = len(self.weekdays) > 2 and last - first == len(self.weekdays) - 1
            days = [_NAMES[first], _NAMES[last]] if run else [_NAMES[day] for day in self.weekdays]
            parts.append("every day" if len(self.weekdays) == len(_NAMES) else ("-" if run else ", ").join(days))
        if self.formula is not None:
            parts.append(f"next on {self.formula}")
        elif self.minutes:
            parts.append(f"every {self.minutes} minutes")
        elif self.recurs:
            parts.append("once a day")
        if self.starting is not None or self.ending is not None:
            ending = "" if self.ending is None or self.ending == self.starting else f"{self.ending:%H:%M}"
            parts.append(f"{self.starting or time():%H:%M}-{ending} {self.zone}")
        return ", ".join(parts) if self.recurs else ", ".join(["once", *parts])

    def opens(self, moment: datetime) -> datetime:
        """Return the first instant from *moment* on at which it may start: *moment* itself inside its window."""
        zone = zone_named(self.zone)
        if not self.weekdays and self.starting is None and self.ending is None:
            return moment.astimezone(UTC)
        today = local_of(moment, zone).date()
        for day in (today + number * _DAY for number in range(-1, _DAYS_AHEAD)):
            if not self.weekdays or day.weekday() in self.weekdays:
                opening, closing = self._window(day, zone)
                if moment < closing:
                    return max(opening, moment.astimezone(UTC))
        raise AssertionError("a window opens at least once in a week")

    def following(self, *, started: datetime, ended: datetime) -> datetime:
        """Return when it starts after a run that went well.

        Rule: with minutes so long after the end; with a formula on the day that follows from the day of the end, at the
        starting time; with neither once a day. Then it waits for its window.
        """
        zone = zone_named(self.zone)
        if self.formula is not None:
            day = next_date(self.formula, local_of(ended, zone).date())
            return self.opens(max(ended, to_utc(datetime.combine(day, self.starting or time()), zone)))
        if self.minutes:
            return self.opens(ended + timedelta(minutes=self.minutes))
        tomorrow = self._opened_on(started, zone) + _DAY
        return self.opens(max(ended, to_utc(datetime.combine(tomorrow, self.starting or time()), zone)))

    def _window(self, day: date, zone: tzinfo) -> tuple[datetime, datetime]:
        """Return when the window of *day* opens, and the first instant after it."""
        starting = self.starting or time()
        opening = to_utc(datetime.combine(day, starting), zone)
        if self.ending is None or self.ending == self.starting:
            return opening, to_utc(datetime.combine(day + _DAY, time()), zone)
        last = day if self.ending > starting else day + _DAY
        return opening, to_utc(datetime.combine(last, self.ending), zone) + timedelta(microseconds=1)

    def _opened_on(self, moment: datetime, zone: tzinfo) -> date:
        """Return the day to which a start at *moment* belongs: of a window across midnight the day before."""
        local = local_of(moment, zone)
        crosses = self.starting is not None and self.ending is not None and self.ending < self.starting
        return local.date() - _DAY if crosses and local.time() <= (self.ending or time()) else local.date()
