"""A unit of work counts failures of services, not of requests; and leaves a database alone that can do nothing."""

from typing import Any

import pytest

from gateway.kernel.errors import StoreBusy
from gateway.messaging.processing.breaker import Breaker, DatabasePause
from gateway.messaging.processing.decide import Failed
from gateway.messaging.rules.message import Failure, Retry, Work
from tests.factories import ORDERS

MOST = 3
CHUNK = 100
WORK: Any = None
AGAIN = Retry(item=WORK, delay_seconds=1.0, text="away")
PAUSE_SECONDS = 2.0


class Clock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker() -> Breaker:
    return Breaker(ORDERS, MOST)


@pytest.fixture
def pause(clock: Clock) -> DatabasePause:
    return DatabasePause(clock)


def failure(code: str, traceback: str | None = None) -> Failed:
    return Failed(
        failure=Failure(work=WORK, code=code, text="", traceback=traceback), fault_code="RequestFailed", fault_text=""
    )


def busy(*, everywhere: bool) -> Retry[Work]:
    error = StoreBusy("the disk is full", everywhere=everywhere)
    return Retry(item=WORK, delay_seconds=PAUSE_SECONDS, text="", is_free=True, busy=error)


TROUBLE = [
    failure("operation.failed", "Traceback"), failure("operation.timeout"), failure("operation.hangs"),
    failure("handler.result"), failure("store.unavailable"), AGAIN,
]  # fmt: skip
REQUEST = [failure("schema"), failure("message.duplicate"), failure("not-authorized"), failure("customer.unknown")]


@pytest.mark.parametrize("outcome", TROUBLE)
def test_service_that_does_not_work_ends_the_unit(breaker: Breaker, outcome: Failed | Retry[Work]) -> None:
    for _ in range(MOST - 1):
        breaker.failed(outcome)
    assert not breaker.tripped
    breaker.failed(outcome)
    assert breaker.tripped


@pytest.mark.parametrize("outcome", [*REQUEST, busy(everywhere=False)])
def test_requests_that_are_wrong_or_wait_for_a_lock_say_nothing_about_the_service(
    breaker: Breaker, outcome: Failed | Retry[Work]
) -> None:
    for _ in range(10 * MOST):
        breaker.failed(outcome)
    assert not breaker.tripped
    assert (breaker.found.works, breaker.found.failures) == (False, 0)


def test_service_that_refuses_a_request_works(breaker: Breaker) -> None:
    breaker.failed(AGAIN)
    breaker.failed(failure("operation.rejected"))
    assert (breaker.found.works, breaker.found.failures) == (True, 0)


def test_full_database_ends_the_unit_and_is_no_failure_of_the_service(breaker: Breaker) -> None:
    breaker.failed(busy(everywhere=True))
    assert breaker.tripped
    assert breaker.found.failures == 0


def stop(pause: DatabasePause) -> None:
    """Let a unit meet a full database."""
    met = Breaker(ORDERS, 0)
    met.failed(busy(everywhere=True))
    pause.met(met)


def test_database_is_left_alone_and_asked_by_one_now_and_again(pause: DatabasePause, clock: Clock) -> None:
    assert pause.take(CHUNK) == CHUNK
    stop(pause)
    assert pause.busy is not None
    assert pause.take(CHUNK) == 0
    clock.seconds += PAUSE_SECONDS
    assert (pause.take(CHUNK), pause.take(CHUNK)) == (1, 1), "a claim that found nothing was no try"
    pause.claimed()
    assert pause.take(CHUNK) == 0
    clock.seconds += PAUSE_SECONDS
    assert pause.take(CHUNK) == 1, "the last one came to nothing"


def test_all_go_on_when_one_went_through(pause: DatabasePause, breaker: Breaker) -> None:
    stop(pause)
    breaker.succeeded()
    pause.met(breaker)
    assert (pause.take(CHUNK), pause.busy) == (CHUNK, None)


def test_unit_that_shows_nothing_of_the_database_ends_no_pause(pause: DatabasePause, breaker: Breaker) -> None:
    stop(pause)
    breaker.failed(AGAIN)
    pause.met(breaker)
    assert pause.busy is not None


def test_operator_need_not_wait_for_the_next_try(pause: DatabasePause) -> None:
    stop(pause)
    pause.try_now()
    assert pause.take(CHUNK) == 1
