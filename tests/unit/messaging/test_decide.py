"""Every class of error has its outcome."""

import asyncio

import httpx
import pytest

from gateway.kernel.errors import (
    DuplicateMessage,
    OperationTimeout,
    PoisonMessage,
    StoreBusy,
    StoreUnavailable,
    TransientError,
)
from gateway.messaging.processing.decide import AWAY, GENERIC, TOO_LONG, Cause, judge
from gateway.messaging.rules.message import Retry


def verdict(error: Exception, attempts: int = 1, store_waits: int = 0, chance: float = 0.5) -> Cause | Retry[str]:
    return judge("it", error, attempts=attempts, store_waits=store_waits, most_tries=3, chance=chance)


@pytest.mark.parametrize(
    "error",
    [
        TransientError("away"),
        StoreUnavailable("slow"),
        OperationTimeout("slow"),
        ConnectionResetError("cut"),
        TimeoutError("late"),
        OSError(113, "No route to host"),
        httpx.ConnectTimeout("late"),
        httpx.RemoteProtocolError("cut"),
    ],
)
def test_passing_trouble_waits_longer_each_time_until_the_tries_are_used_up(error: Exception) -> None:
    first, second, third = (verdict(error, attempts) for attempts in (1, 2, 3))
    assert isinstance(first, Retry)
    assert isinstance(second, Retry)
    assert isinstance(third, Cause)
    assert 0 < first.delay_seconds < second.delay_seconds
    assert first.text.endswith("Attempt 1 of 3 failed.")
    assert third.text.endswith("Tried 3 times.")


def test_a_port_that_tries_once_says_so() -> None:
    only = judge("it", TransientError("away"), attempts=1, store_waits=0, most_tries=1, chance=0.5)
    assert isinstance(only, Cause)
    assert only.text == "away. Tried once."


def test_waits_of_many_are_spread() -> None:
    waits = [verdict(TransientError("away"), chance=chance) for chance in (0.0, 0.99)]
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


FULL = StoreBusy("the disk of the database is full: free some space", everywhere=True)


@pytest.mark.parametrize(
    ("error", "fault_code"),
    [
        (TransientError("cannot reach erp-db.internal:5432, restart it"), "RequestFailed"),
        (ConnectionRefusedError(111, "erp-db.internal"), "RequestFailed"),
        (httpx.ConnectError("erp-db.internal"), "RequestFailed"),
        (OperationTimeout("Erp.create took longer than 5 seconds"), "Timeout"),
        (FULL, "RequestFailed"),
    ],
)
def test_partner_hears_of_passing_trouble_without_the_words_for_the_operator(error: Exception, fault_code: str) -> None:
    cause = verdict(error, attempts=3, store_waits=10_000)
    assert isinstance(cause, Cause)
    assert cause.fault_text in (AWAY, TOO_LONG)
    assert cause.fault_code == fault_code
    assert str(error).rstrip(".") in cause.text


def test_trouble_of_the_store_is_no_try_and_has_a_patience_of_its_own() -> None:
    first, last = verdict(FULL, attempts=99), verdict(FULL, attempts=99, store_waits=2_000)
    assert isinstance(first, Retry)
    assert isinstance(last, Retry)
    assert first.busy is last.busy is FULL
    assert first.delay_seconds < 1 < last.delay_seconds <= 60, "a minute after it is mended all is answered"
    assert "counts as no attempt" in first.text


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


async def test_error_that_several_calls_raise_ends_none_that_is_under_way() -> None:
    error, go_on = ValueError("the same for all"), asyncio.Event()

    async def call() -> str:
        try:
            raise error
        except ValueError:
            await go_on.wait()
        return "ended by itself"

    other = asyncio.create_task(call())
    await asyncio.sleep(0)
    verdict(error)
    go_on.set()
    assert await other == "ended by itself"
