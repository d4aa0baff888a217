"""A port pauses when its services do not work, and tries one request now and again."""

from typing import Any

import pytest

from gateway.domain.errors import StoreBusy
from gateway.domain.ids import Fence
from gateway.domain.message import Failure
from gateway.stages.breaker import PAUSE_SECONDS, Breaker
from gateway.stages.decide import Failed, TryAgain

MOST = 3
CHUNK = 100
TRIAL, ANOTHER = Fence(7), Fence(8)


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(clock)


WORK: Any = None
AGAIN = TryAgain(work=WORK, delay_seconds=1.0, text="away")


def failure(code: str, traceback: str | None = None) -> Failed:
    return Failed(
        failure=Failure(work=WORK, code=code, text="", traceback=traceback), fault_code="RequestFailed", fault_text=""
    )


TROUBLE = [
    failure("operation.failed", "Traceback"), failure("operation.timeout"), failure("operation.hangs"),
    failure("handler.result"), failure("store.unavailable"), AGAIN,
]  # fmt: skip
REQUEST = [failure("schema"), failure("message.duplicate"), failure("not-authorized"), failure("customer.unknown")]


@pytest.mark.parametrize("outcome", TROUBLE)
def test_service_that_does_not_work_pauses_the_port(breaker: Breaker, outcome: Failed | TryAgain) -> None:
    for _ in range(MOST - 1):
        breaker.failed(outcome, MOST)
    assert take(breaker) == 1, "one more failure would pause it"
    breaker.failed(outcome, MOST)
    assert breaker.tripped
    assert take(breaker) == 0


@pytest.mark.parametrize("outcome", REQUEST)
def test_requests_that_are_wrong_say_nothing_about_the_service(breaker: Breaker, outcome: Failed) -> None:
    for _ in range(10 * MOST):
        breaker.failed(outcome, MOST)
    assert not breaker.paused


def test_only_failures_in_a_row_count(breaker: Breaker) -> None:
    for _ in range(10 * MOST):
        breaker.failed(AGAIN, MOST)
        breaker.failed(AGAIN, MOST)
        breaker.failed(failure("operation.rejected"), MOST)
    assert not breaker.paused


def test_none_pauses_a_port_that_does_not_want_it(breaker: Breaker) -> None:
    for _ in range(1000):
        breaker.failed(AGAIN, 0)
    assert not breaker.paused


def take(breaker: Breaker, in_work: int = 0) -> int:
    return breaker.take(CHUNK, most=MOST, in_work=in_work)


def test_no_more_run_side_by_side_than_may_fail_until_one_succeeds(breaker: Breaker) -> None:
    assert [take(breaker, in_work) for in_work in (0, 2, 3, 4)] == [3, 1, 0, 0]
    breaker.reset()
    assert take(breaker, 50) == CHUNK
    breaker.failed(AGAIN, MOST)
    assert [take(breaker, in_work) for in_work in (0, 1, 2, 50)] == [2, 1, 0, 0]
    breaker.renew()
    assert take(breaker, 1) == 2


def test_one_of_those_that_fail_side_by_side_tells_that_the_port_stops(breaker: Breaker) -> None:
    for _ in range(MOST + 2):
        breaker.failed(AGAIN, MOST)
    assert (breaker.take_news(), breaker.take_news()) == (True, False)


def pause(breaker: Breaker, clock: Clock) -> None:
    """Let the port pause, and the time for a try come."""
    for _ in range(MOST):
        breaker.failed(AGAIN, MOST)
    clock.seconds += PAUSE_SECONDS


def test_paused_port_tries_one_request_at_a_time(breaker: Breaker, clock: Clock) -> None:
    pause(breaker, clock)
    assert (take(breaker), take(breaker)) == (1, 0)
    breaker.claimed(TRIAL)
    assert take(breaker) == 0
    assert not breaker.tripped, "the one that is tried must be let through"
    breaker.failed(AGAIN, MOST)
    assert breaker.tripped
    clock.seconds += PAUSE_SECONDS
    assert take(breaker) == 1
    breaker.reset()
    assert take(breaker) == CHUNK
    breaker.failed(AGAIN, MOST)
    assert not breaker.paused, "it counts anew"


def test_claim_that_finds_nothing_is_no_try(breaker: Breaker, clock: Clock) -> None:
    pause(breaker, clock)
    assert take(breaker) == 1
    breaker.claimed(None)
    assert breaker.paused
    assert take(breaker) == 1, "the next one need not wait for another pause"


@pytest.mark.parametrize("outcome", [None, *REQUEST])
def test_try_that_says_nothing_of_the_service_is_followed_by_the_next(
    breaker: Breaker, clock: Clock, outcome: Failed | None
) -> None:
    """It was given back, its outcome is not known, or the request itself was wrong."""
    pause(breaker, clock)
    take(breaker)
    breaker.claimed(TRIAL)
    if outcome is not None:
        breaker.failed(outcome, MOST)
    breaker.over(ANOTHER)
    assert take(breaker) == 0, "the end of another claim is not the end of the trial"
    breaker.over(TRIAL)
    assert breaker.paused
    assert take(breaker) == 1


def test_operator_need_not_wait_for_the_next_try(breaker: Breaker, clock: Clock) -> None:
    pause(breaker, clock)
    clock.seconds -= PAUSE_SECONDS / 2
    assert take(breaker) == 0
    breaker.try_now()
    assert take(breaker) == 1


def busy(everywhere: bool) -> TryAgain:
    return TryAgain(
        work=WORK, delay_seconds=2.0, text="", is_free=True, busy=StoreBusy("the disk is full", everywhere=everywhere)
    )


def test_full_database_pauses_at_once_and_not_for_long(breaker: Breaker, clock: Clock) -> None:
    breaker.failed(busy(everywhere=True), 0)
    assert breaker.tripped
    assert breaker.busy is not None
    assert take(breaker) == 0
    clock.seconds += 2.0
    assert take(breaker) == 1
    breaker.claimed(TRIAL)
    breaker.reset()
    assert (take(breaker), breaker.busy) == (CHUNK, None)


def test_message_that_waits_for_a_lock_keeps_nobody_else(breaker: Breaker) -> None:
    for _ in range(10 * MOST):
        breaker.failed(busy(everywhere=False), MOST)
    assert not breaker.paused
