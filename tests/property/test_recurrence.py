"""Recurrences against a calendar read day by day and minute by minute, over twenty years and six zones."""

import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice, pairwise, takewhile
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim, CronSimError
from dateutil.rrule import rrulestr
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.batch.rules.recurrence import Recurrence, RecurrenceError, from_dict, next_after, preview
from gateway.batch.rules.recurrence import rule as rules

ZONES = ("Europe/Copenhagen", "America/Los_Angeles", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia", "UTC")
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
FIRST, LAST = date(2006, 1, 31), date(2026, 1, 31)
CLOCKS = (time(2, 30), time(0, 0), time(23, 45))


def wall(moment: datetime, zone: str) -> datetime:
    return moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None, fold=0)


def first_instant(local: datetime, zone: str) -> datetime:
    """Return the first minute at which the clock on the wall has reached *local*: the rule for clock changes."""
    moment = local.replace(tzinfo=UTC) - 15 * HOUR
    before, after = wall(moment, zone), wall(moment + 30 * HOUR, zone)
    if after - before == 30 * HOUR:
        return moment + (local - before)
    while wall(moment, zone) < local:
        moment += MINUTE
    return moment


def chain(rule: Recurrence, until: datetime) -> list[datetime]:
    """Return all points from the start to *until*, each asked for with the one before."""
    found = list[datetime]()
    moment: datetime | None = rule.start - timedelta(microseconds=1)
    while moment is not None and (moment := next_after(rule, moment)) is not None and moment <= until:
        found.append(moment)
    return found


def months_between(day: date, start: date) -> int:
    return (day.year - start.year) * 12 + day.month - start.month


def is_last(day: date) -> bool:
    return (day + DAY).day == 1


def on_number(day: date, number: int) -> bool:
    return day.day == number or (is_last(day) and day.day < number)


def place(day: date, fits: Callable[[date], bool]) -> tuple[int, bool]:
    """Return which of the fitting days of its month *day* is, from 1 (0: none of them), and whether it is the last."""
    if not fits(day):
        return 0, False
    month = [date(day.year, day.month, number) for number in range(1, 32) if number <= 28 or _exists(day, number)]
    fitting = [each for each in month if fits(each)]
    return fitting.index(day) + 1, fitting[-1] == day


def _exists(day: date, number: int) -> bool:
    try:
        day.replace(day=number)
    except ValueError:
        return False
    return True


def week_of(day: date, start: date) -> int:
    return ((day - timedelta(days=day.weekday())) - (start - timedelta(days=start.weekday()))).days // 7


def every_second_last_weekday(day: date) -> bool:
    return months_between(day, FIRST) % 2 == 0 and place(day, lambda each: each.weekday() < 5)[1]


def every_second_october(day: date) -> bool:
    return day.month == 10 and (day.year - FIRST.year) % 2 == 0 and place(day, lambda each: each.weekday() == 6)[1]


def both_of_cron(day: date) -> bool:
    """Judge `*/7` with a weekday: a field that begins with a star does not make either enough."""
    return day.day in (1, 8, 15, 22, 29) and day.weekday() in (5, 6)


PATTERNS: list[tuple[dict[str, object], Callable[[date], bool]]] = [
    ({"every": "day"}, lambda day: True),
    ({"every": "5 days"}, lambda day: (day - FIRST).days % 5 == 0),
    ({"every": "week", "on": ["monday", "sunday"]}, lambda day: day.weekday() in (0, 6)),
    ({"every": "3 weeks", "on": ["tuesday", "friday"]}, lambda d: week_of(d, FIRST) % 3 == 0 and d.weekday() in (1, 4)),
    ({"every": "2 weeks"}, lambda day: (day - FIRST).days % 14 == 0),
    ({"every": "month"}, lambda day: on_number(day, 31)),
    ({"every": "5 months", "day": 30}, lambda day: months_between(day, FIRST) % 5 == 0 and on_number(day, 30)),
    ({"every": "month", "day": "last"}, is_last),
    ({"every": "month", "on": "third sunday"}, lambda day: place(day, lambda d: d.weekday() == 6)[0] == 3),
    ({"every": "2 months", "on": "last weekday"}, every_second_last_weekday),
    ({"every": "month", "on": "second weekend day"}, lambda day: place(day, lambda d: d.weekday() > 4)[0] == 2),
    ({"every": "year", "month": "february", "day": 29}, lambda day: day.month == 2 and on_number(day, 29)),
    ({"every": "2 years", "month": "october", "on": "last sunday"}, every_second_october),
    ({"cron": "{m} {h} 13 * fri"}, lambda day: day.day == 13 or day.weekday() == 4),
    ({"cron": "{m} {h} */7 3,10 sat-sun"}, lambda d: d.month in (3, 10) and both_of_cron(d)),
    ({"rrule": "FREQ=MONTHLY;BYDAY=-1SU"}, lambda day: place(day, lambda d: d.weekday() == 6)[1]),
]


def twenty_years(number: int, zone: str) -> tuple[list[datetime], list[datetime]]:
    """Return the points of a pattern, and those that a calendar tells."""
    plain, fires = PATTERNS[number]
    clock = CLOCKS[number % len(CLOCKS)]
    if "cron" in plain:
        plain = {"cron": str(plain["cron"]).format(m=clock.minute, h=clock.hour)}
    start = first_instant(datetime.combine(FIRST, clock), zone)
    rule = from_dict(plain, start=start, zone=zone)

    days = (FIRST + timedelta(days=step) for step in range((LAST - FIRST).days))
    expected = {first_instant(datetime.combine(day, clock), zone) for day in days if fires(day)}
    return chain(rule, first_instant(datetime.combine(LAST - DAY, time(23, 59)), zone)), sorted(expected)


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("number", range(len(PATTERNS)))
def test_twenty_years_agree_with_a_calendar_read_day_by_day(zone: str, number: int) -> None:
    found, expected = twenty_years(number, zone)
    assert found == expected
    assert found


def by_the_zone_alone(local: datetime, zone: ZoneInfo) -> datetime:
    return local.replace(tzinfo=zone).astimezone(UTC)


def by_the_offset_of_the_start(local: datetime, zone: ZoneInfo) -> datetime:
    return local.replace(tzinfo=UTC) - datetime.combine(FIRST, time(), zone).utcoffset()  # type: ignore[operator]


@pytest.mark.parametrize("naive", [by_the_zone_alone, by_the_offset_of_the_start])
def test_local_time_without_thought_of_clock_changes_is_seen(
    monkeypatch: pytest.MonkeyPatch, naive: Callable[[datetime, ZoneInfo], datetime]
) -> None:
    """The proof can fail: a day with a skipped hour, or all summers, are wrong."""
    monkeypatch.setattr(rules, "to_utc", naive)
    found, expected = twenty_years(0, "Europe/Copenhagen")
    assert len(found) == len(expected) and found != expected


def changes_of(zone: str) -> Iterator[datetime]:
    """Yield the hours of twenty years at whose end the clocks of a zone were changed."""
    moment = datetime.combine(FIRST, time(), UTC)
    while moment.date() < LAST:
        if wall(moment + HOUR, zone) - wall(moment, zone) != HOUR:
            yield moment
        moment += HOUR


EVENLY: list[tuple[dict[str, object], Callable[[datetime], bool]]] = [
    ({"cron": "*/20 * * * *"}, lambda local: local.minute % 20 == 0),
    ({"cron": "30 0-23 * * *"}, lambda local: local.minute == 30),
    ({"cron": "15 * * * sun"}, lambda local: local.minute == 15 and local.weekday() == 6),
    ({"rrule": "FREQ=HOURLY;BYMINUTE=5,50"}, lambda local: local.minute in (5, 50)),
    (
        {"rrule": "FREQ=MINUTELY;BYMINUTE=0,10,20,30,40,50;BYHOUR=1,2,3"},
        lambda local: local.minute % 10 == 0 and 1 <= local.hour <= 3,
    ),
]
"""What goes on evenly through a change of the clocks: each minute of elapsed time is judged by what the clock shows."""

CRONS: list[tuple[str, Callable[[datetime], bool]]] = [
    ("10 1-3 * * *", lambda local: local.minute == 10 and 1 <= local.hour <= 3),
    ("45 */2 * * 0,6", lambda local: local.minute == 45 and local.hour % 2 == 0 and local.weekday() in (5, 6)),
]


@pytest.mark.parametrize("zone", ZONES)
def test_cron_agrees_with_a_clock_read_minute_by_minute_around_every_change(zone: str) -> None:
    chance = random.Random(zone)
    nights = list(changes_of(zone)) or [datetime(2016, 2, 29, tzinfo=UTC)]
    for change in chance.sample(nights, min(2, len(nights))):
        start, end = change - 30 * HOUR, change + 30 * HOUR
        seen = wall(start, zone)
        locals_of = {seen + step * MINUTE for step in range(-1, 90 * 60)}
        for text, fires in CRONS:
            expected = sorted({first_instant(local, zone) for local in locals_of if fires(local)})
            found = chain(from_dict({"cron": text}, start=start, zone=zone), end)
            assert found == [moment for moment in expected if start <= moment <= end]
        for plain, fires in EVENLY:
            minutes = (start + step * MINUTE for step in range(60 * 60 + 1))
            found = chain(from_dict(plain, start=start, zone=zone), end)
            assert found == [moment for moment in minutes if fires(wall(moment, zone))]


@pytest.mark.parametrize(
    ("text", "step"), [("FREQ=HOURLY;INTERVAL=2", 2 * HOUR), ("FREQ=MINUTELY;INTERVAL=7", 7 * MINUTE)]
)
def test_hours_and_minutes_of_an_rrule_are_elapsed_time(text: str, step: timedelta) -> None:
    start = datetime(2025, 3, 29, 12, tzinfo=UTC)
    zone = "Europe/Copenhagen"
    found = chain(from_dict({"rrule": text}, start=start, zone=zone), start + 2 * DAY)
    assert {later - earlier for earlier, later in pairwise(found)} == {step}

    five_by_the_clock = datetime(2025, 3, 30, 3, tzinfo=UTC)
    found = chain(from_dict({"rrule": f"{text};UNTIL=20250330T050000"}, start=start, zone=zone), start + 2 * DAY)
    assert five_by_the_clock - step < found[-1] <= five_by_the_clock


@settings(max_examples=60)
@given(
    zone=st.sampled_from(ZONES),
    number=st.integers(0, len(PATTERNS) - 1),
    after=st.datetimes(datetime(2005, 1, 1), datetime(2026, 1, 1), timezones=st.just(UTC)),
)
def test_the_next_point_is_the_first_of_all_that_are_later(zone: str, number: int, after: datetime) -> None:
    plain = PATTERNS[number][0]
    if "cron" in plain:
        plain = {"cron": str(plain["cron"]).format(m=30, h=2)}
    rule = from_dict(plain, start=first_instant(datetime.combine(FIRST, time(2, 30)), zone), zone=zone)

    found = next_after(rule, after)

    assert found is not None
    assert found > after
    assert found >= rule.start
    assert next_after(rule, found - timedelta(microseconds=1)) == found
    between = next_after(rule, max(after, rule.start) + (found - max(after, rule.start)) / 2)
    assert between is not None
    assert between >= found


def rrules() -> st.SearchStrategy[str]:
    days = st.lists(st.sampled_from(("MO", "TU", "WE", "TH", "FR", "SA", "SU")), min_size=1, max_size=3, unique=True)
    part = st.one_of(
        st.just(""),
        days.map(lambda names: f";BYDAY={','.join(names)}"),
        st.integers(1, 31).map(lambda day: f";BYMONTHDAY={day}"),
        st.sampled_from((";BYMONTHDAY=-1", ";BYMONTH=2,7", ";BYYEARDAY=60,-1", ";BYHOUR=3,15", ";BYMINUTE=0,30")),
        days.map(lambda names: f";BYMONTH=3;BYDAY={','.join(names)}"),
    )
    frequencies = st.sampled_from(("YEARLY", "MONTHLY", "WEEKLY", "DAILY", "HOURLY", "MINUTELY"))
    starts = st.sampled_from(("", ";WKST=SU"))
    return st.builds("FREQ={};INTERVAL={}{}{}".format, frequencies, st.integers(1, 13), part, starts)


@settings(max_examples=80)
@example(text="FREQ=HOURLY;INTERVAL=2;BYHOUR=3,15", start=datetime(2019, 1, 1, 1), days_later=0)
@example(text="FREQ=HOURLY;INTERVAL=2;BYHOUR=3,15", start=datetime(2019, 1, 1), days_later=0)
@example(text="FREQ=MINUTELY;INTERVAL=2;BYMINUTE=0,30", start=datetime(2019, 1, 1, 0, 1), days_later=0)
@given(
    text=rrules(),
    start=st.datetimes(datetime(2019, 1, 1), datetime(2021, 1, 1)),
    days_later=st.integers(0, 400),
)
def test_rrules_agree_with_dateutil_from_their_first_date(text: str, start: datetime, days_later: int) -> None:
    start = start.replace(microsecond=0)
    after = start + timedelta(days=days_later, minutes=7)
    try:
        rule = from_dict({"rrule": text}, start=start.replace(tzinfo=UTC))
    except RecurrenceError:
        with suppress(ValueError):  # it sees at once that no hour or minute is left
            assert next(iter(rrulestr(text, dtstart=start)), None) is None
        return

    plain = rrulestr(text, dtstart=start).after(after)

    found = next_after(rule, after.replace(tzinfo=UTC))
    assert found == (None if plain is None else plain.replace(tzinfo=UTC))


AGREE = [
    ({"every": "3 days"}, "FREQ=DAILY;INTERVAL=3"),
    ({"every": "2 weeks", "on": ["tuesday", "saturday"]}, "FREQ=WEEKLY;INTERVAL=2;BYDAY=TU,SA"),
    ({"every": "month", "day": 28}, "FREQ=MONTHLY;BYMONTHDAY=28"),
    ({"every": "month", "day": "last"}, "FREQ=MONTHLY;BYMONTHDAY=-1"),
    ({"every": "2 months", "on": "fourth thursday"}, "FREQ=MONTHLY;INTERVAL=2;BYDAY=4TH"),
    ({"every": "month", "on": "last weekday"}, "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1"),
    ({"every": "year", "month": "may", "on": "first monday"}, "FREQ=YEARLY;BYMONTH=5;BYDAY=1MO"),
    ({"every": "90 minutes"}, "FREQ=MINUTELY;INTERVAL=90"),
    ({"cron": "30 2 * * 1-5"}, "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR;BYHOUR=2;BYMINUTE=30;BYSECOND=0"),
    ({"cron": "0 */6 1,15 * *"}, "FREQ=MONTHLY;BYMONTHDAY=1,15;BYHOUR=0,6,12,18;BYMINUTE=0;BYSECOND=0"),
]


@pytest.mark.parametrize(("plain", "text"), AGREE)
def test_patterns_agree_with_the_rrule_that_means_the_same(plain: dict[str, object], text: str) -> None:
    start = datetime(2006, 1, 31, 2, 30)
    rule = from_dict(plain, start=start.replace(tzinfo=UTC))
    expected = takewhile(lambda moment: moment < start + 400 * DAY, rrulestr(text, dtstart=start))

    assert chain(rule, rule.start + 400 * DAY - MINUTE) == [moment.replace(tzinfo=UTC) for moment in expected]


def cron_field(lowest: int, highest: int, *, stars: bool = True) -> st.SearchStrategy[str]:
    """Write a field of cron as `read_cron` takes it; without *stars* it names its numbers."""
    number = st.integers(lowest, highest)
    ends = st.lists(number, min_size=2, max_size=2, unique=True)  # cronsim reads 5-5/2 as 5/2
    span = ends.map(lambda ends: f"{min(ends)}-{max(ends)}")
    steps = st.integers(1, highest - lowest)
    stepped = st.builds("{}/{}".format, st.one_of(span, st.just("*")) if stars else span, steps)
    listed = st.lists(st.one_of(number.map(str), span, stepped), min_size=1, max_size=3).map(",".join)
    return st.one_of(st.just("*"), listed) if stars else listed


DAYS_OF_CRON = (cron_field(1, 31), cron_field(1, 12), cron_field(0, 7))


def first_by_cronsim(text: str, after: datetime, n: int) -> list[datetime]:
    try:
        return list(islice(CronSim(text, after), n))
    except CronSimError:  # no such date
        return []


@settings(max_examples=100)
@example(words=("0", "12", "*/2", "*", "1"), after=datetime(2025, 1, 1))
@example(words=("0", "12", "13", "*", "5"), after=datetime(2025, 1, 1))
@example(words=("0", "12", "30", "2", "*"), after=datetime(2025, 1, 1))
@given(
    words=st.tuples(cron_field(0, 59), cron_field(0, 23), *DAYS_OF_CRON),
    after=st.datetimes(datetime(2019, 1, 1), datetime(2030, 1, 1)),
)
def test_cron_means_what_cronsim_reads(words: tuple[str, ...], after: datetime) -> None:
    text = " ".join(words)
    try:
        rule = from_dict({"cron": text}, start=datetime(2019, 1, 1, tzinfo=UTC))
    except RecurrenceError:
        assert first_by_cronsim(text, after, 1) == []
        return
    found = preview(rule, after.replace(tzinfo=UTC), 5)
    assert [moment.replace(tzinfo=None) for moment in found] == first_by_cronsim(text, after, 5)


@settings(max_examples=60)
@given(
    words=st.tuples(
        cron_field(0, 59, stars=False), cron_field(0, 5, stars=False), st.just("*"), st.just("*"), st.just("*")
    ),
    zone=st.sampled_from(("Europe/Copenhagen", "America/Los_Angeles")),
    day=st.sampled_from((date(2025, 3, 8), date(2025, 3, 29), date(2025, 10, 25), date(2025, 11, 1))),
)
def test_cron_meets_a_change_of_the_clocks_as_cronsim_does(words: tuple[str, ...], zone: str, day: date) -> None:
    """Where hours and minutes are named: what is skipped comes right after the gap, what comes twice comes once."""
    after = datetime.combine(day, time(12), ZoneInfo(zone))
    rule = from_dict({"cron": " ".join(words)}, start=after, zone=zone)
    expected = sorted({moment.astimezone(UTC) for moment in first_by_cronsim(" ".join(words), after, 10)})
    assert list(preview(rule, after, len(expected))) == expected
