"""Moments as people type them."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from gateway.kernel.window import NoMoment, beginning, end

NOW = datetime(2026, 3, 29, 12, 0, tzinfo=UTC)
COPENHAGEN = ZoneInfo("Europe/Copenhagen")


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2h", "2026-03-29 10:00"),
        ("2 hours ago", "2026-03-29 10:00"),
        ("90 min", "2026-03-29 10:30"),
        ("3D", "2026-03-26 12:00"),
        ("1w", "2026-03-22 12:00"),
        ("now", "2026-03-29 12:00"),
        ("2026-01-31 08:00", "2026-01-31 08:00"),
        ("2026-01-31T08:00+02:00", "2026-01-31 06:00"),
        ("2026-01-31t08:00:00z", "2026-01-31 08:00"),
    ],
)
def test_a_moment_is_the_same_for_since_and_until(text: str, moment: str) -> None:
    expected = datetime.fromisoformat(f"{moment}+00:00")
    assert beginning(text, now=NOW, zone=UTC) == end(text, now=NOW, zone=UTC) == expected


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("today", "2026-03-28 23:00", "2026-03-29 21:59:59.999999"),  # a day of 23 hours
        ("yesterday", "2026-03-27 23:00", "2026-03-28 22:59:59.999999"),
        ("2026-07-01", "2026-06-30 22:00", "2026-07-01 21:59:59.999999"),
    ],
)
def test_a_day_begins_with_its_start_and_ends_with_its_end_in_the_zone(text: str, first: str, last: str) -> None:
    assert beginning(text, now=NOW, zone=COPENHAGEN) == datetime.fromisoformat(f"{first}+00:00")
    assert end(text, now=NOW, zone=COPENHAGEN) == datetime.fromisoformat(f"{last}+00:00")


@pytest.mark.parametrize("text", ["", "soon", "2", "2 moons", "2026-02-30", "999999 weeks", "-2h", "2026"])
def test_anything_else_is_told_how_a_moment_is_written(text: str) -> None:
    with pytest.raises(NoMoment, match="is no moment; write one like 2h"):
        beginning(text, now=NOW, zone=UTC)
