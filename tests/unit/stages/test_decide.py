"""Every class of error has its outcome."""

import pytest

from gateway.domain.errors import (
    DuplicateMessage,
    OperationTimeout,
    PoisonMessage,
    StoreUnavailable,
    TransientError,
)
from gateway.stages.decide import GENERIC, Cause, Wait, judge


def verdict(error: Exception, attempts: int = 1) -> Cause | Wait:
    return judge(error, attempts=attempts, most_tries=3, chance=0.5)


@pytest.mark.parametrize(
    "error",
    [
        TransientError("away"),
        StoreUnavailable("slow"),
        OperationTimeout("slow"),
        ConnectionResetError("cut"),
        TimeoutError("late"),
    ],
)
def test_passing_trouble_waits_longer_each_time_until_the_tries_are_used_up(error: Exception) -> None:
    first, second, third = (verdict(error, attempts) for attempts in (1, 2, 3))
    assert isinstance(first, Wait)
    assert isinstance(second, Wait)
    assert isinstance(third, Cause)
    assert 0 < first.delay_seconds < second.delay_seconds
    assert first.text.endswith("Attempt 1 of 3 failed.")
    assert third.text.endswith("Tried 3 times.")


def test_a_port_that_tries_once_says_so() -> None:
    only = judge(TransientError("away"), attempts=1, most_tries=1, chance=0.5)
    assert isinstance(only, Cause)
    assert only.text == "away. Tried once."


def test_waits_of_many_are_spread() -> None:
    waits = [judge(TransientError("away"), attempts=1, most_tries=3, chance=chance) for chance in (0.0, 0.99)]
    assert waits[0].delay_seconds < waits[1].delay_seconds  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("error", "code", "fault_code"),
    [
        (DuplicateMessage("again"), "message.duplicate", "DuplicateMessage"),
        (PoisonMessage("it ends us"), "poison", "RequestFailed"),
        (ValueError("bug"), "operation.failed", "RequestFailed"),
        (MemoryError(), "operation.failed", "RequestFailed"),
    ],
)
def test_what_cannot_succeed_fails_at_once(error: Exception, code: str, fault_code: str) -> None:
    cause = verdict(error)
    assert isinstance(cause, Cause)
    assert (cause.code, cause.fault_code) == (code, fault_code)


@pytest.mark.parametrize("error", [PoisonMessage("look into the journal"), ValueError("secret")])
def test_what_is_for_the_operator_is_not_told_to_the_partner(error: Exception) -> None:
    cause = verdict(error)
    assert isinstance(cause, Cause)
    assert cause.fault_text == GENERIC


def test_text_that_the_store_cannot_hold_is_made_fit() -> None:
    cause = verdict(ValueError("a\x00b\ud800"))
    assert isinstance(cause, Cause)
    assert cause.text == "ValueError: a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}"


def test_bug_lets_go_of_what_it_held() -> None:
    class Hoard:
        held = 0

        def __init__(self) -> None:
            Hoard.held += 1

        def __del__(self) -> None:
            Hoard.held -= 1

    def allocate() -> None:
        hoard = Hoard()
        raise MemoryError(str(type(hoard)))

    try:
        allocate()
    except MemoryError as error:
        kept = error
    verdict(kept)
    assert Hoard.held == 0
