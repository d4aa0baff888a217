from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from gateway.batch.rules.capacity import is_open, next_change, next_opening, reserved_of, threads_at
from gateway.batch.rules.definition import HoursDefinition, PeriodDefinition, ServerDefinition

COPENHAGEN = "Europe/Copenhagen"


def local(text: str, zone: str = COPENHAGEN, *, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC)


def row(threads: int, start: str, end: str, zone: str = COPENHAGEN) -> HoursDefinition:
    return HoursDefinition(threads=threads, start=time.fromisoformat(start), end=time.fromisoformat(end), zone=zone)


def period(start: str, end: str, *, zone: str = "UTC", on: Sequence[int] = range(7)) -> PeriodDefinition:
    return PeriodDefinition(
        name="window", start=time.fromisoformat(start), end=time.fromisoformat(end), zone=zone, weekdays=tuple(on)
    )


def server(*rows: HoursDefinition) -> ServerDefinition:
    return ServerDefinition(name="a", threads=8, hours=rows)


DAY_AND_NIGHT = server(row(2, "08:00", "18:00"), row(20, "18:00", "07:30"))
THROUGH_THE_DAY = [
    ("00:00", 20),
    ("07:29", 20),
    ("07:30", 0),
    ("07:59", 0),
    ("08:00", 2),
    ("17:50", 2),
    ("18:00", 20),
    ("23:59", 20),
]


@pytest.mark.parametrize(("clock", "threads"), THROUGH_THE_DAY)
def test_few_threads_by_day_and_many_by_night_in_the_zone_of_the_rows(clock: str, threads: int) -> None:
    assert threads_at(DAY_AND_NIGHT, local(f"2026-01-15 {clock}")) == threads


def test_the_evening_begins_at_seventeen_utc_in_winter_and_at_sixteen_in_summer() -> None:
    assert next_change(DAY_AND_NIGHT, local("2026-01-15 08:00")) == datetime(2026, 1, 15, 17, tzinfo=UTC)
    assert next_change(DAY_AND_NIGHT, local("2026-07-15 08:00")) == datetime(2026, 7, 15, 16, tzinfo=UTC)


def test_capacity_changes_just_where_it_says() -> None:
    moment = local("2026-01-15 06:00")
    found = list[tuple[str, int]]()
    for _ in range(4):
        change = next_change(DAY_AND_NIGHT, moment)
        assert change is not None
        moment = change
        found.append((f"{moment:%d %H:%M}", threads_at(DAY_AND_NIGHT, moment)))

    assert found == [("15 06:30", 0), ("15 07:00", 2), ("15 17:00", 20), ("16 06:30", 0)]


def test_without_rows_the_default_counts_all_day() -> None:
    assert threads_at(server(), local("2026-01-15 03:00")) == 8
    assert next_change(server(), local("2026-01-15 03:00")) is None


def test_of_overlapping_rows_the_larger_number_counts() -> None:
    rows = server(row(4, "08:00", "20:00"), row(9, "12:00", "13:00"), row(1, "12:30", "14:00"))

    assert [threads_at(rows, local(f"2026-01-15 {clock}")) for clock in ("11:00", "12:45", "13:30")] == [
        4,
        9,
        4,
    ]


def test_equal_times_are_a_whole_day_that_never_changes() -> None:
    rows = server(row(3, "09:00", "09:00"))

    assert {threads_at(rows, local(f"2026-01-15 {hour:02}:00")) for hour in range(24)} == {3}
    assert next_change(rows, local("2026-01-15 12:00")) is None


def test_rows_follow_the_zone_of_whoever_wrote_them() -> None:
    rows = server(row(1, "08:00", "10:00", "Asia/Kathmandu"), row(2, "08:00", "10:00", "UTC"))

    assert threads_at(rows, datetime(2026, 1, 15, 2, 15, tzinfo=UTC)) == 1
    assert threads_at(rows, datetime(2026, 1, 15, 9, 59, tzinfo=UTC)) == 2


def test_a_skipped_hour_opens_what_began_in_it_when_the_clock_goes_on() -> None:
    rows = server(row(5, "02:15", "03:30"))

    assert next_change(rows, local("2025-03-30 01:00")) == local("2025-03-30 03:00")
    assert next_change(rows, local("2025-03-30 03:00")) == local("2025-03-30 03:30")


def test_a_window_inside_a_skipped_hour_does_not_open_that_night() -> None:
    assert next_change(server(row(5, "02:15", "02:45")), local("2025-03-30 01:00")) == local("2025-03-31 02:15")


def test_a_window_inside_a_repeated_hour_opens_twice() -> None:
    rows = server(row(5, "02:15", "02:45"))
    moment = local("2025-10-26 01:00")
    found = list[datetime]()
    for _ in range(4):
        change = next_change(rows, moment)
        assert change is not None
        moment = change
        found.append(moment)

    assert found == [
        local("2025-10-26 02:15"),
        local("2025-10-26 02:45"),
        local("2025-10-26 02:15", fold=1),
        local("2025-10-26 02:45", fold=1),
    ]


@pytest.mark.parametrize(
    ("threads", "percent", "running", "kept"),
    [(10, 10, 0, 1), (10, 10, 1, 0), (8, 25, 0, 2), (8, 10, 0, 1), (1, 25, 0, 0), (0, 10, 0, 0), (10, 0, 0, 0)],
)
def test_threads_are_reserved_whole_and_one_is_left_for_everybody(
    threads: int, percent: int, running: int, kept: int
) -> None:
    assert reserved_of(ServerDefinition(name="a", reserved_percent=percent), threads, running_reserved=running) == kept


def test_an_active_period_across_midnight_holds_back_the_day() -> None:
    night = period("18:00", "08:00")

    assert is_open(night, datetime(2026, 1, 15, 7, 30, tzinfo=UTC))
    assert not is_open(night, datetime(2026, 1, 15, 8, tzinfo=UTC))
    assert next_opening(night, datetime(2026, 1, 15, 8, 30, tzinfo=UTC)) == datetime(2026, 1, 15, 18, tzinfo=UTC)
    assert next_opening(night, datetime(2026, 1, 15, 18, 30, tzinfo=UTC)) == datetime(2026, 1, 15, 18, 30, tzinfo=UTC)


def test_a_window_across_midnight_belongs_to_the_weekday_on_which_it_opened() -> None:
    working_nights = period("22:00", "02:00", on=range(5))
    friday = datetime(2026, 1, 16, tzinfo=UTC)

    assert is_open(working_nights, friday + timedelta(hours=25))
    assert not is_open(working_nights, friday + timedelta(hours=47))
    assert not is_open(working_nights, friday + timedelta(days=2, hours=25))
    assert next_opening(working_nights, friday + timedelta(hours=26)) == friday + timedelta(days=3, hours=22)


def test_a_period_follows_daylight_saving_of_its_zone() -> None:
    office = period("09:00", "17:00", zone=COPENHAGEN)

    assert next_opening(office, local("2025-03-29 20:00")) == datetime(2025, 3, 30, 7, tzinfo=UTC)
    assert next_opening(office, local("2025-03-28 20:00")) == datetime(2025, 3, 29, 8, tzinfo=UTC)


def test_a_weekly_window_that_a_clock_change_skips_opens_a_week_later() -> None:
    sundays = period("02:00", "03:00", zone=COPENHAGEN, on=(6,))

    assert next_opening(sundays, local("2025-03-29 12:00")) == local("2025-04-06 02:00")


def test_a_period_without_weekdays_never_opens() -> None:
    assert next_opening(period("09:00", "17:00", on=()), datetime(2026, 1, 15, tzinfo=UTC)) is None
