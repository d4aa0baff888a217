"""When an entry may start, and when it starts next: weekdays, windows across midnight, minutes, formulas, zones."""

from datetime import UTC, date, datetime, time, timedelta

import pytest

from gateway.batch.rules.formula import check_formula, next_date
from gateway.kernel.errors import EntryRefused
from gateway.queues.rules.timing import Timing

WORKDAYS = (0, 1, 2, 3, 4)
NIGHT = Timing(weekdays=WORKDAYS, minutes=30, starting=time(22), ending=time(2))


def at(day: int, hour: int = 0, minute: int = 0, second: int = 0) -> datetime:
    """2 March 2026 is a Monday."""
    return datetime(2026, 3, day, hour, minute, second, tzinfo=UTC)


@pytest.mark.parametrize(
    ("moment", "opens"),
    [
        (at(6, 16, 5), at(6, 22)),  # Friday
        (at(6, 22), at(6, 22)),
        (at(7, 1, 59), at(7, 1, 59)),  # the window of Friday lasts into Saturday
        (at(7, 2), at(7, 2)),  # bounds are included
        (at(7, 2, 0, 1), at(9, 22)),
        (at(9, 0, 30), at(9, 22)),  # that of Sunday never opened
        (at(9, 23), at(9, 23)),
        (at(10, 2, 10), at(10, 22)),
    ],
)
def test_a_window_across_midnight_belongs_to_the_weekday_on_which_it_opened(moment: datetime, opens: datetime) -> None:
    assert NIGHT.opens(moment) == opens


@pytest.mark.parametrize(
    ("timing", "moment", "opens"),
    [
        (Timing(), at(6, 3), at(6, 3)),
        (Timing(starting=time(16)), at(6, 3), at(6, 16)),
        (Timing(starting=time(16)), at(6, 23, 59), at(6, 23, 59)),
        (Timing(starting=time(16), ending=time(16)), at(6, 20), at(6, 20)),  # equal: only the start counts
        (Timing(ending=time(6)), at(6, 7), at(7)),
        (Timing(starting=time(8), ending=time(17)), at(6, 17, 0, 1), at(7, 8)),
        (Timing(weekdays=(3,)), at(6), at(12)),
        (Timing(weekdays=(4,), starting=time(8), ending=time(9)), at(6, 10), at(13, 8)),
        (Timing(starting=time(8), zone="Europe/Copenhagen"), at(6, 3), at(6, 7)),
    ],
)
def test_where_a_start_is_pushed(timing: Timing, moment: datetime, opens: datetime) -> None:
    assert timing.opens(moment) == opens


def test_a_window_follows_the_clocks_of_its_zone() -> None:
    timing = Timing(starting=time(2, 30), ending=time(3, 30), zone="Europe/Copenhagen")
    assert timing.opens(datetime(2026, 3, 29, 0, 0, tzinfo=UTC)) == datetime(2026, 3, 29, 1, 0, tzinfo=UTC)  # a gap


@pytest.mark.parametrize(
    ("timing", "started", "ended", "following"),
    [
        (NIGHT, at(9, 22), at(9, 22, 1), at(9, 22, 31)),
        (NIGHT, at(10, 1), at(10, 1, 10), at(10, 1, 40)),
        (NIGHT, at(10, 1, 40), at(10, 1, 41), at(10, 22)),
        (NIGHT, at(7, 1, 50), at(7, 1, 51), at(9, 22)),
        (Timing(weekdays=WORKDAYS), at(6, 9), at(6, 9, 10), at(9)),  # once a day
        (Timing(weekdays=tuple(range(7))), at(6, 23, 50), at(7, 0, 20), at(7, 0, 20)),
        (Timing(weekdays=WORKDAYS, starting=time(16)), at(5, 16), at(5, 18), at(6, 16)),
        (Timing(weekdays=WORKDAYS, starting=time(22), ending=time(2)), at(4, 22), at(4, 22, 5), at(5, 22)),
        (Timing(weekdays=WORKDAYS, starting=time(22), ending=time(2)), at(5, 1), at(5, 1, 5), at(5, 22)),
        (Timing(formula="1D", starting=time(16)), at(6, 16), at(6, 17), at(7, 16)),
        (Timing(formula="D4"), at(6, 9), at(6, 9), at(12)),
        (Timing(formula="1D", weekdays=WORKDAYS, starting=time(16)), at(6, 16), at(6, 17), at(9, 16)),
    ],
)
def test_what_comes_after_a_success(timing: Timing, started: datetime, ended: datetime, following: datetime) -> None:
    assert timing.following(started=started, ended=ended) == following


@pytest.mark.parametrize(
    ("formula", "day", "then"),
    [
        ("1D", date(2026, 3, 31), date(2026, 4, 1)),
        ("2W", date(2026, 3, 1), date(2026, 3, 15)),
        ("1M", date(2026, 1, 31), date(2026, 2, 28)),
        ("1Q", date(2026, 1, 31), date(2026, 4, 30)),
        ("1Y", date(2024, 2, 29), date(2025, 2, 28)),
        ("CM+1D", date(2026, 2, 10), date(2026, 3, 1)),
        ("CW", date(2026, 3, 4), date(2026, 3, 8)),
        ("CQ", date(2026, 2, 4), date(2026, 3, 31)),
        ("CY", date(2026, 2, 4), date(2026, 12, 31)),
        ("1M-1D", date(2026, 3, 15), date(2026, 4, 14)),
        ("wd4", date(2026, 3, 5), date(2026, 3, 12)),  # a Thursday leads to the next one
        ("D1", date(2026, 3, 5), date(2026, 3, 9)),
    ],
)
def test_date_formulas(formula: str, day: date, then: date) -> None:
    assert next_date(formula, day) == then
    if formula not in {"CW", "CQ", "CY"}:
        check_formula(formula)


@pytest.mark.parametrize("formula", ["", "D", "1", "D8", "1X", "1D2W", "soon", "0D", "-1D", "CM", "1D-1D", "9999Y"])
def test_what_is_no_formula_or_leads_nowhere_is_refused(formula: str) -> None:
    with pytest.raises(EntryRefused, match="date formula"):
        check_formula(formula)


def test_it_always_leads_on() -> None:
    moment, timing = at(1), Timing(weekdays=(2,), starting=time(23), ending=time(1), minutes=45)
    for _ in range(50):
        after = timing.following(started=moment, ended=moment + timedelta(seconds=5))
        assert after > moment
        assert timing.opens(after) == after
        moment = after
