"""Who stands still is seen by the observer's own clock, and never too early."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.runtime.heartbeat import Observer

TERM = 30.0


def test_whoever_beats_is_never_seen_still() -> None:
    observer: Observer[str] = Observer(TERM)
    assert not any(observer.look({"a": count}, count * 10.0) for count in range(100))


def test_beats_that_do_not_move_for_a_term_are_told_with_their_value() -> None:
    observer: Observer[str] = Observer(TERM)
    seen = [observer.look({"a": 7, "b": turn}, turn * 10.0) for turn in range(4)]
    assert seen == [{}, {}, {}, {"a": 7}]


def test_one_that_is_still_there_is_told_again() -> None:
    observer: Observer[str] = Observer(TERM)
    assert [bool(observer.look({"a": 7}, turn * 10.0)) for turn in range(6)] == [False] * 3 + [True] * 3


def test_a_beat_in_time_begins_a_new_term() -> None:
    observer: Observer[str] = Observer(TERM)
    counts = [1, 1, 1, 2, 2, 2, 2]
    assert [bool(observer.look({"a": count}, turn * 10.0)) for turn, count in enumerate(counts)] == [False] * 6 + [True]


def test_beats_that_went_back_have_moved() -> None:
    """A database that fell back to a copy of itself forgets the latest beats."""
    observer: Observer[str] = Observer(TERM)
    counts = [5, 5, 5, 4]
    assert not any(observer.look({"a": count}, turn * 10.0) for turn, count in enumerate(counts))


def test_new_ones_get_a_whole_term() -> None:
    observer: Observer[str] = Observer(TERM)
    observer.look({}, 0.0)
    assert [bool(observer.look({"a": 0}, turn * 10.0)) for turn in (1, 2, 3, 4)] == [False, False, False, True]


def test_one_that_went_away_and_came_back_is_new() -> None:
    observer: Observer[str] = Observer(TERM)
    observer.look({"a": 1}, 0.0)
    observer.look({}, 10.0)
    assert [bool(observer.look({"a": 1}, turn * 10.0)) for turn in (2, 3, 4, 5)] == [False, False, False, True]


def test_observer_that_slept_gives_the_others_time_to_wake() -> None:
    observer: Observer[str] = Observer(TERM)
    observer.look({"a": 1}, 0.0)
    observer.look({"a": 1}, 10.0)
    assert observer.look({"a": 1}, 10_000.0) == {}
    assert observer.look({"a": 2}, 10_010.0) == {}


def test_slow_observer_still_comes_to_an_end() -> None:
    observer: Observer[str] = Observer(TERM)
    assert [bool(observer.look({"a": 1}, turn * 100.0)) for turn in range(4)] == [False, False, False, True]


def test_after_an_outage_everybody_gets_a_whole_term() -> None:
    observer: Observer[str] = Observer(TERM)
    for turn in range(3):
        observer.look({"a": 1}, turn * 10.0)
    observer.start_anew()
    assert [bool(observer.look({"a": 1}, turn * 10.0)) for turn in (3, 4, 5, 6)] == [False, False, False, True]


@given(st.lists(st.tuples(st.floats(0.0, 50.0), st.booleans()), max_size=60))
def test_only_those_are_told_who_stood_still_for_a_term(looks: list[tuple[float, bool]]) -> None:
    """Whatever the observer's pauses: a term has passed, and three looks found the same beats."""
    observer: Observer[str] = Observer(TERM)
    now, beats, since, same = 0.0, 0, 0.0, -1
    for pause, moved in looks:
        now += pause
        if moved or same < 0:
            beats, since, same = beats + 1, now, 0
        else:
            same += 1
        if observer.look({"a": beats}, now):
            assert now - since >= TERM - 0.001 and same >= 3
