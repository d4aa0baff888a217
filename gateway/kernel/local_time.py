"""Between instants and what a clock on a wall of some zone shows.

Shape: *local* times are naive and meant in the zone; instants are aware, and in UTC where they come out.
Rule: a local time that a clock change skips stands for the first instant after the gap; one that comes twice for the
first.
Source: batch reference, section 10.4, rule 6.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from gateway.kernel.errors import JobRefused

_SECOND = timedelta(seconds=1)
_DAY = timedelta(days=1)
_OF_ONE_MACHINE = ("localtime", "posixrules", "factory")
_VARIANTS = ("posix/", "right/")


def zone_named(name: str) -> ZoneInfo:
    """Return the zone that the IANA time zone database calls *name*.

    Raises: JobRefused for any other name, also for files of the database that mean something else on each machine.
    """
    try:
        if name.lower() in _OF_ONE_MACHINE or name.startswith(_VARIANTS):
            raise ValueError(name)
        return ZoneInfo(name)
    # A bad key surfaces as whatever looking it up as a file gives.
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise JobRefused(
            f"There is no time zone {name!r}. Write a name of the IANA database such as Europe/Copenhagen or UTC.",
            zone=name,
        ) from error


def local_of(moment: datetime, zone: tzinfo) -> datetime:
    """Return what a clock in *zone* shows at an instant."""
    return moment.astimezone(zone).replace(tzinfo=None, fold=0)


def to_utc(local: datetime, zone: tzinfo) -> datetime:
    """Return the instant at which a clock in *zone* shows *local*; never earlier for a later *local*."""
    earlier = local.replace(tzinfo=zone, fold=0).utcoffset() or timedelta()
    later = local.replace(tzinfo=zone, fold=1).utcoffset() or timedelta()
    if later > earlier:
        # Skipped: read with either offset it lies on the wrong side of the change.
        before, after = (local - later).replace(tzinfo=UTC), (local - earlier).replace(tzinfo=UTC)
        return _change(before, after, zone)
    return (local - earlier).replace(tzinfo=UTC)


def instants_of(local: datetime, zone: tzinfo) -> tuple[datetime, ...]:
    """Return all instants at which a clock in *zone* shows *local*: two in a repeated hour, none in a skipped one."""
    passes = {local.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)}
    return tuple(sorted(moment for moment in passes if local_of(moment, zone) == local))


def changes(after: datetime, before: datetime, zone: tzinfo) -> Iterator[datetime]:
    """Yield the instants in (after, before] at which clocks in *zone* are changed, in order."""
    start = after.astimezone(UTC)
    while start < before:
        end = min(start + _DAY, before.astimezone(UTC))
        if start.astimezone(zone).utcoffset() != end.astimezone(zone).utcoffset():
            yield _change(start, end, zone)
        start = end


def _change(before: datetime, after: datetime, zone: tzinfo) -> datetime:
    """Return the first whole second in (before, after] that has the offset of *after*."""
    before, after = before.replace(microsecond=0), after.replace(microsecond=0)
    offset = after.astimezone(zone).utcoffset()
    while after - before > _SECOND:
        middle = before + (after - before) // 2
        middle = middle.replace(microsecond=0)
        if middle.astimezone(zone).utcoffset() == offset:
            after = middle
        else:
            before = middle
    return after
