"""How many requests are taken at once follows from how long they take."""

from gateway.stages.pace import AIM_SECONDS, Pace


def paced(seconds_each: float, chunks: int, limit: int = 500) -> list[int]:
    """Return the sizes of so many chunks of a port on which plenty waits."""
    pace, sizes = Pace(), []
    for _ in range(chunks):
        sizes.append(pace.take(limit))
        pace.done(sizes[-1], sizes[-1] * seconds_each)
    return sizes


def test_quick_requests_are_soon_taken_in_whole_chunks() -> None:
    assert paced(0.0005, 6) == [1, 8, 64, 500, 500, 500]


def test_slow_requests_stay_alone() -> None:
    assert paced(AIM_SECONDS, 3) == [1, 1, 1]
    assert paced(10.0, 3) == [1, 1, 1]


def test_so_many_are_taken_as_are_done_in_a_second() -> None:
    assert paced(0.05, 5) == [1, 8, 20, 20, 20]


def test_port_that_becomes_slow_takes_less_at_once() -> None:
    pace = Pace()
    for _ in range(4):
        pace.done(pace.take(500), 0.001)
    pace.done(pace.take(500), 5.0)
    assert pace.take(500) == 100


def test_nothing_done_changes_nothing_for_the_worse() -> None:
    pace = Pace()
    pace.done(0, 0.0)
    assert pace.take(500) == 8
    pace.done(0, 2.0)
    assert pace.take(500) == 1
