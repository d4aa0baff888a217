"""Where the points of a recurrence lie: documented examples, month ends, clock changes."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from gateway.batch.rules.recurrence import (
    Recurrence,
    RecurrenceError,
    Unit,
    first,
    from_dict,
    next_after,
    preview,
)
from gateway.batch.rules.recurrence.every import Every

COPENHAGEN, LOS_ANGELES = "Europe/Copenhagen", "America/Los_Angeles"


def local(text: str, zone: str = COPENHAGEN, *, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC)


def points(plain: Mapping[str, object], start: datetime, n: int, zone: str = COPENHAGEN) -> list[str]:
    rule = from_dict(plain, start=start, zone=zone)
    return [
        f"{point.astimezone(ZoneInfo(zone)):%a %Y-%m-%d %H:%M}" for point in preview(rule, start - timedelta(days=1), n)
    ]


def test_the_documented_weekly_job_runs_ten_times_at_one_in_the_morning() -> None:
    start = datetime(2014, 5, 7, 8, tzinfo=UTC)
    rule = from_dict({"every": "week", "on": ["wednesday"], "end_after": 10}, start=start, zone=LOS_ANGELES)

    found = preview(rule, start - timedelta(seconds=1), 50)

    assert found == tuple(start + timedelta(weeks=week) for week in range(10))
    assert found[-1] == datetime(2014, 7, 9, 8, tzinfo=UTC)


def test_the_week_of_the_original_start_is_the_first_of_every_second_week() -> None:
    start = local("2014-05-07 01:00", LOS_ANGELES)

    assert points({"every": "2 weeks", "on": "wednesday"}, start, 3, LOS_ANGELES) == [
        "Wed 2014-05-07 01:00",
        "Wed 2014-05-21 01:00",
        "Wed 2014-06-04 01:00",
    ]
    assert points({"every": "2 weeks", "on": ["tuesday", "wednesday"]}, start, 4, LOS_ANGELES) == [
        "Wed 2014-05-07 01:00",
        "Tue 2014-05-20 01:00",
        "Wed 2014-05-21 01:00",
        "Tue 2014-06-03 01:00",
    ]


def test_another_weekday_joins_the_weekly_grid() -> None:
    start = local("2014-05-07 01:00", LOS_ANGELES)

    assert points({"every": "week", "on": ["tuesday", "wednesday"]}, start, 2, LOS_ANGELES) == [
        "Wed 2014-05-07 01:00",
        "Tue 2014-05-13 01:00",
    ]


def test_a_start_that_is_not_on_the_grid_is_no_occurrence() -> None:
    start = local("2014-05-07 01:00", LOS_ANGELES)

    assert points({"every": "week", "on": "tuesday"}, start, 1, LOS_ANGELES) == ["Tue 2014-05-13 01:00"]
    assert first(from_dict({"every": "week", "on": "tuesday"}, start=start, zone=LOS_ANGELES)) == local(
        "2014-05-13 01:00", LOS_ANGELES
    )


def test_a_month_end_is_clamped_without_being_lost() -> None:
    found = points({"every": "month"}, local("2025-01-31 23:00"), 5)

    assert found == [
        "Fri 2025-01-31 23:00",
        "Fri 2025-02-28 23:00",
        "Mon 2025-03-31 23:00",
        "Wed 2025-04-30 23:00",
        "Sat 2025-05-31 23:00",
    ]


def test_a_daily_job_survives_both_clock_changes() -> None:
    rule = from_dict({"every": "day"}, start=local("2025-01-31 02:30"), zone=COPENHAGEN)

    spring = preview(rule, local("2025-03-29 12:00"), 2)
    autumn = preview(rule, local("2025-10-25 12:00"), 2)

    assert spring == (local("2025-03-30 03:00"), local("2025-03-31 02:30"))
    assert autumn == (local("2025-10-26 02:30", fold=0), local("2025-10-27 02:30"))


@pytest.mark.parametrize(("day", "runs"), [("2025-03-30", 23), ("2025-03-31", 24), ("2025-10-26", 25)])
def test_an_hourly_job_counts_elapsed_time(day: str, runs: int) -> None:
    rule = from_dict({"every": "60 minutes"}, start=local("2025-01-31 00:10"), zone=COPENHAGEN)

    found = preview(rule, local(f"{day} 00:00"), 30)

    on_that_day = [point for point in found if f"{point.astimezone(ZoneInfo(COPENHAGEN)):%Y-%m-%d}" == day]
    assert len(on_that_day) == runs
    assert {after - before for before, after in pairwise(found)} == {timedelta(hours=1)}


def test_a_start_in_the_second_pass_of_a_repeated_hour_is_itself() -> None:
    start = local("2025-10-26 02:30", fold=1)

    assert preview(from_dict({"every": "day"}, start=start, zone=COPENHAGEN), start - timedelta(days=1), 2) == (
        start,
        local("2025-10-27 02:30"),
    )


def test_several_points_in_a_skipped_hour_are_one() -> None:
    assert points({"cron": "*/15 * * * *"}, local("2025-03-30 01:40"), 3) == [
        "Sun 2025-03-30 01:45",
        "Sun 2025-03-30 03:00",
        "Sun 2025-03-30 03:15",
    ]


def test_points_in_a_skipped_day_come_when_the_next_begins() -> None:
    found = points({"every": "day"}, local("2011-12-29 10:00", "Pacific/Apia"), 3, "Pacific/Apia")

    assert found == ["Thu 2011-12-29 10:00", "Sat 2011-12-31 00:00", "Sat 2011-12-31 10:00"]


MONTHLY = [
    ({"every": "month", "day": "last"}, ["2025-02-28", "2025-03-31", "2025-04-30"]),
    ({"every": "month", "day": 30}, ["2025-02-28", "2025-03-30", "2025-04-30"]),
    ({"every": "month", "on": "second tuesday"}, ["2025-02-11", "2025-03-11", "2025-04-08"]),
    ({"every": "month", "on": "last friday"}, ["2025-02-28", "2025-03-28", "2025-04-25"]),
    ({"every": "month", "on": "first weekday"}, ["2025-02-03", "2025-03-03", "2025-04-01"]),
    ({"every": "month", "on": "last weekday"}, ["2025-02-28", "2025-03-31", "2025-04-30"]),
    ({"every": "month", "on": "first weekend day"}, ["2025-02-01", "2025-03-01", "2025-04-05"]),
    ({"every": "month", "on": "fourth day"}, ["2025-02-04", "2025-03-04", "2025-04-04"]),
    ({"every": "2 months", "on": "last day"}, ["2025-02-28", "2025-04-30", "2025-06-30"]),
    ({"every": "year", "month": "march", "on": "last sunday"}, ["2025-03-30", "2026-03-29", "2027-03-28"]),
    ({"every": "year", "month": "february", "day": 29}, ["2025-02-28", "2026-02-28", "2027-02-28", "2028-02-29"]),
    ({"every": "4 years"}, ["2025-02-01", "2029-02-01"]),
    ({"every": "3 days"}, ["2025-02-01", "2025-02-04", "2025-02-07"]),
    ({"cron": "0 12 13 * fri"}, ["2025-02-07", "2025-02-13", "2025-02-14", "2025-02-21"]),
    ({"cron": "0 12 */2 * mon"}, ["2025-02-03", "2025-02-17", "2025-03-03"]),
    ({"cron": "0 12 29 feb *"}, ["2028-02-29", "2032-02-29"]),
    ({"cron": "0 12 1-7/3 1,7 *"}, ["2025-07-01", "2025-07-04", "2025-07-07", "2026-01-01"]),
    ({"cron": "0 12 * * sat-sun"}, ["2025-02-01", "2025-02-02", "2025-02-08"]),
    ({"cron": "0 12 * * 7"}, ["2025-02-02", "2025-02-09"]),
    ({"cron": "@yearly"}, ["2026-01-01", "2027-01-01"]),
    ({"rrule": "FREQ=MONTHLY;BYMONTHDAY=-1"}, ["2025-02-28", "2025-03-31"]),
    ({"rrule": "RRULE:FREQ=WEEKLY;INTERVAL=2;BYDAY=SU,MO"}, ["2025-02-02", "2025-02-10", "2025-02-16"]),
    ({"rrule": "FREQ=MONTHLY;BYDAY=2TU;COUNT=2"}, ["2025-02-11", "2025-03-11"]),
    ({"rrule": "FREQ=WEEKLY"}, ["2025-02-01", "2025-02-08"]),
    ({"rrule": "FREQ=MONTHLY;BYDAY=SA"}, ["2025-02-01", "2025-02-08"]),
    ({"rrule": "FREQ=DAILY;UNTIL=20250203"}, ["2025-02-01", "2025-02-02", "2025-02-03"]),
    ({"rrule": "FREQ=DAILY;UNTIL=20250203T110000Z"}, ["2025-02-01", "2025-02-02", "2025-02-03"]),
    ({"rrule": "FREQ=DAILY;UNTIL=20250203T105959Z"}, ["2025-02-01", "2025-02-02"]),
    ({"rrule": "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29;BYDAY=SU"}, ["2032-02-29", "2060-02-29"]),
]


@pytest.mark.parametrize(("plain", "expected"), MONTHLY)
def test_patterns_from_the_first_of_february_at_noon(plain: Mapping[str, object], expected: list[str]) -> None:
    found = points(plain, local("2025-02-01 12:00"), len(expected))

    assert [text.split()[1] for text in found] == expected


def test_count_of_an_rrule_becomes_end_after() -> None:
    rule = from_dict({"rrule": "FREQ=DAILY;COUNT=3"}, start=local("2025-02-01 12:00"))

    assert rule.end_after == 3
    assert len(preview(rule, rule.start - timedelta(days=1), 10)) == 3
    assert len(preview(rule, rule.start - timedelta(days=1), 10, occurrences=2)) == 1


def test_a_rule_that_began_long_ago_is_in_step_with_its_start() -> None:
    start = datetime(2006, 1, 1, tzinfo=UTC)
    for plain in ({"rrule": "FREQ=MINUTELY;INTERVAL=7"}, {"every": "7 minutes"}):
        found = next_after(from_dict(plain, start=start), datetime(2026, 5, 5, tzinfo=UTC))
        assert found is not None
        assert (found - start) % timedelta(minutes=7) == timedelta()


def test_a_place_in_a_week_counts_from_the_beginning_of_the_week() -> None:
    first_of_three = {"rrule": "FREQ=WEEKLY;BYDAY=MO,WE,FR;BYSETPOS=1"}
    rule = from_dict(first_of_three, start=local("2025-02-05 12:00"), zone=COPENHAGEN)

    assert next_after(rule, local("2025-02-12 11:00")) == local("2025-02-17 12:00")


def test_end_by_includes_its_whole_local_day() -> None:
    plain = {"every": "12 hours", "end_by": "2025-02-02"}

    assert points(plain, local("2025-02-01 11:30"), 9) == [
        "Sat 2025-02-01 11:30",
        "Sat 2025-02-01 23:30",
        "Sun 2025-02-02 11:30",
        "Sun 2025-02-02 23:30",
    ]


NEVER = [
    {"rrule": "FREQ=DAILY;INTERVAL=7;BYDAY=SU"},
    {"rrule": "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30"},
    {"every": "day", "end_by": "2025-01-31"},
]


@pytest.mark.parametrize("plain", NEVER)
def test_a_rule_that_can_never_start_anything_is_refused(plain: Mapping[str, object]) -> None:
    with pytest.raises(RecurrenceError, match="never starts anything"):
        from_dict(plain, start=local("2025-02-01 12:00"))


@pytest.mark.parametrize("every", [Every(unit=Unit.YEARS, count=9000), Every(unit=Unit.HOURS, count=10**9)])
def test_a_rule_ends_with_the_calendar(every: Every) -> None:
    rule = Recurrence(pattern=every, zone="UTC", start=datetime(2025, 1, 1, tzinfo=UTC))

    assert next_after(rule, rule.start) is None
