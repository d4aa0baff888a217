"""Units follow the pace; lanes and free messages both move."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.messaging.rules.pace import FASTEST_GROWTH, TARGET_SECONDS, Alternation, Kind, Pace


def test_nothing_is_known_at_first_and_messages_go_one_by_one() -> None:
    pace = Pace(500)
    assert [pace.next(others_wait=False) for _ in range(3)] == [1, 1, 1]


def test_quick_messages_come_to_whole_sets_by_steps() -> None:
    pace, sizes = Pace(500), []
    for _ in range(7):
        sizes.append(pace.next(others_wait=False))
        pace.took(sizes[-1], sizes[-1] * 0.0001)
    assert sizes == [1, 8, 64, 500, 500, 500, 500]


def test_what_a_unit_takes_beside_its_messages_does_not_hold_sets_back() -> None:
    """Measured: a unit of one message took 3 ms when the processor was busy otherwise, a set 30 ms and 0.15 ms each."""
    pace, sizes = Pace(500), []
    pace.took(1, 0.003)
    for _ in range(4):
        sizes.append(pace.next(others_wait=False))
        pace.took(sizes[-1], 0.03 + sizes[-1] * 0.00015)
    assert sizes[0] == 8
    assert sizes[-1] == 500


def test_a_small_unit_does_not_say_that_messages_are_slow() -> None:
    pace = Pace(500)
    for _ in range(5):
        pace.took(500, 0.1)
    pace.took(1, 0.003)
    assert pace.next(others_wait=False) == 500


def test_a_unit_does_not_grow_by_being_asked_for() -> None:
    pace = Pace(500)
    pace.took(1, 0.0001)
    assert [pace.next(others_wait=False) for _ in range(3)] == [8, 8, 8]


def test_slow_messages_go_one_by_one_at_once() -> None:
    pace = Pace(500)
    for _ in range(5):
        pace.took(500, 0.1)
    pace.took(1, 2.0)
    assert pace.next(others_wait=False) == 1


def test_units_are_smaller_while_others_wait() -> None:
    pace = Pace(500)
    for _ in range(3):
        pace.took(1, 1 / 128)
    assert (pace.next(others_wait=False), pace.next(others_wait=True)) == (32, 12)


@given(st.lists(st.floats(0.0, 10.0), min_size=1, max_size=40), st.integers(1, 500))
def test_unit_fits_its_target_and_grows_by_steps(each: list[float], most: int) -> None:
    pace, last = Pace(most), 1
    for seconds in each:
        size = pace.next(others_wait=False)
        assert 1 <= size <= min(most, FASTEST_GROWTH * last)
        assert size == 1 or pace.seconds is None or size * pace.seconds <= TARGET_SECONDS
        pace.took(size, size * seconds)
        last = size


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=50))
def test_of_any_four_claims_each_kind_that_waits_gets_one(waiting: list[tuple[bool, bool]]) -> None:
    mix, passed = Alternation(), dict.fromkeys(Kind, 0)
    for number, (lane, free) in enumerate(waiting):
        if not (lane or free):
            continue
        kind = mix.first(number if lane else None, 0 if free else None)  # free messages are older all the time
        assert kind is Kind.LANE if lane and not free else True
        assert kind is Kind.FREE if free and not lane else True
        other = Kind.FREE if kind is Kind.LANE else Kind.LANE
        mix.took(kind, other_waited=lane and free)
        passed[kind] = 0
        passed[other] = passed[other] + 1 if lane and free else 0
        assert max(passed.values()) <= 3


def test_the_older_goes_first() -> None:
    mix = Alternation()
    assert mix.first(3, 7) is Kind.LANE
    assert mix.first(7, 3) is Kind.FREE
