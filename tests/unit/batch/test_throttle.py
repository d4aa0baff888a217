from datetime import UTC, datetime, timedelta

import pytest

from gateway.batch.rules.throttle import Starts, Throttle

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def test_a_class_has_the_number_of_all_unless_it_has_its_own() -> None:
    throttle = Throttle(per_minute=5, classes={"http": 9, "sql": 0})

    assert [throttle.most(name) for name in ("command", "http", "sql")] == [5, 9, None]
    assert Throttle().most("command") == 60
    assert Throttle(per_minute=0).most("command") is None


def test_starts_are_counted_on_until_their_minute_is_over() -> None:
    starts = Starts(since=NOW, count=4)

    assert starts.room(5, NOW + 59 * SECOND) == 1
    assert starts.counted(NOW + 59 * SECOND) == starts
    assert starts.room(5, NOW + 60 * SECOND) == 5
    assert starts.counted(NOW + 60 * SECOND) == Starts(since=NOW + 60 * SECOND)


def test_what_is_set_aside_has_no_room_until_its_end_and_then_a_new_minute() -> None:
    starts = Starts(since=NOW, count=5, aside_until=NOW + 70 * SECOND)

    assert [starts.is_aside(NOW + seconds * SECOND) for seconds in (10, 69, 70)] == [True, True, False]
    assert [starts.room(5, NOW + seconds * SECOND) for seconds in (10, 69, 70)] == [0, 0, 5]
    assert starts.counted(NOW + 70 * SECOND) == Starts(since=NOW + 70 * SECOND)


def test_a_server_whose_clock_is_a_little_behind_sees_the_same() -> None:
    starts = Starts(since=NOW, count=5, aside_until=NOW + 60 * SECOND)

    assert starts.room(5, NOW - SECOND) == 0
    assert Starts(since=NOW, count=4).room(5, NOW - SECOND) == 1


def test_a_class_without_a_number_has_room_also_where_it_was_set_aside_before() -> None:
    assert Starts(since=NOW, count=5, aside_until=NOW + 60 * SECOND).room(None, NOW) is None


def test_a_number_that_was_lowered_below_what_was_started_leaves_no_room() -> None:
    assert Starts(since=NOW, count=5).room(3, NOW) == 0


@pytest.mark.parametrize("back", [61 * SECOND, timedelta(hours=1), timedelta(days=400)])
def test_a_clock_that_is_set_back_ends_every_minute_that_lies_ahead(back: timedelta) -> None:
    for starts in (Starts(since=NOW, count=5), Starts(since=NOW, count=5, aside_until=NOW + 60 * SECOND)):
        assert starts.room(5, NOW - back) == 5
        assert starts.counted(NOW - back) == Starts(since=NOW - back)
