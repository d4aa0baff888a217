"""A port pauses when its services do not work, and tries one request now and again."""

from typing import Any

import pytest

from gateway.domain.message import Failure
from gateway.stages.breaker import PAUSE_SECONDS, Breaker
from gateway.stages.decide import Failed, TryAgain

MOST = 3
CHUNK = 100


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
    assert breaker.take(CHUNK) == CHUNK
    breaker.failed(outcome, MOST)
    assert breaker.tripped
    assert breaker.take(CHUNK) == 0


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


def test_paused_port_tries_one_request_at_a_time(breaker: Breaker, clock: Clock) -> None:
    for _ in range(MOST):
        breaker.failed(AGAIN, MOST)
    clock.seconds += PAUSE_SECONDS
    assert (breaker.take(CHUNK), breaker.take(CHUNK)) == (1, 0)
    assert not breaker.tripped, "the one that is tried must be let through"
    breaker.failed(AGAIN, MOST)
    assert breaker.tripped
    clock.seconds += PAUSE_SECONDS
    assert breaker.take(CHUNK) == 1
    breaker.succeeded()
    assert breaker.take(CHUNK) == CHUNK
    breaker.failed(AGAIN, MOST)
    assert not breaker.paused, "it counts anew"
