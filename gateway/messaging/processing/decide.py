"""Turn exceptions into outcomes; the only place that does.

    class                                    outcome
    MessageError                             Error at once: nothing but a changed message could succeed
    StoreBusy                                tried again with back-off for a day: nobody's failure, costs no attempt
    TransientError                           tried again with back-off until the port's tries are used up
    OSError, httpx.TransportError            the same: the network, or a system behind the handler
    ReadersUnavailable                       tried again for as long as it takes, which costs no try
    TwinAtWork                               the same, a second later
    PoisonMessage                            Error: it ended the process too often to be run again
    SchemaUnusable, ServiceBroken            Error: the operator mends it and releases the message
    LeaseLost, StoreUnavailable              passed on: says nothing about the message, costs no attempt
    anything else                            Error at once, with the traceback: a bug of a handler

A StoreUnavailable while our connection lives is of another database that the handler asked: a TransientError.
What passes is told to the operator in its own words, and to the partner without them.
"""

import traceback
from dataclasses import dataclass
from typing import TypeVar

import httpx

from gateway.db.unit import UnitTransaction
from gateway.kernel.errors import (
    LeaseLost,
    MessageError,
    OperationTimeout,
    PoisonMessage,
    SchemaUnusable,
    ServiceBroken,
    StoreBusy,
    StoreUnavailable,
    TransientError,
    TwinAtWork,
)
from gateway.kernel.problem import Problem
from gateway.kernel.retry import SERVICE, STORE, STORE_LOCK
from gateway.kernel.text import clean
from gateway.messaging.rules.message import Failure, Retry, Work
from gateway.xml.process import ReadersUnavailable

T = TypeVar("T")

GENERIC = "The request failed; details are in the exception log of the gateway."
TOO_LONG = "The request took too long and was given up. Send it again later, or ask the operator of the gateway."
AWAY = "The request was given up: a system that it needs does not work now. Send it again later."

_TWIN_SECONDS = 1.0
_SHORT_WAITS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The message goes to Error. `fault_code` and `fault_text` are for the partner, `failure` is for the operator."""

    failure: Failure
    fault_code: str
    fault_text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Why something cannot succeed: for the exception log, and in the words of a fault."""

    code: str
    text: str
    problems: tuple[Problem, ...] = ()
    traceback: str | None = None
    fault_code: str = "RequestFailed"
    fault_text: str


def pass_on(error: Exception, unit: UnitTransaction) -> None:
    """Raise what is no outcome of the work: the lease is lost, or the store is away and not just slow for it."""
    if isinstance(error, LeaseLost) or (isinstance(error, StoreUnavailable) and unit.is_lost):
        raise error


def judge(
    item: T, error: Exception, *, attempts: int, store_waits: int, most_tries: int, chance: float
) -> Cause | Retry[T]:
    """Decide what *error* means for the work that raised it at its *attempts*-th try.

    *store_waits* is how often in a row it has waited for the store before.

    Before: `pass_on` has raised what says nothing about the work.
    """
    match error:
        case PoisonMessage() | SchemaUnusable() | ServiceBroken():
            return Cause(code=error.code, text=error.message, fault_text=GENERIC)
        case MessageError():
            return Cause(
                code=error.code, text=clean(error.message), problems=error.problems, fault_code=error.fault_code,
                fault_text=error.message,
            )  # fmt: skip
        case ReadersUnavailable():  # says nothing about the work, however often it is tried
            return Retry(item, SERVICE.most_seconds, f"{error.code}: {error.message}", is_free=True)
        case TwinAtWork():
            text = f"{error.code}: {error.message} This counts as no attempt."
            return Retry(item, _TWIN_SECONDS, text, is_free=True)
        case StoreBusy():
            said = clean(error.message).rstrip(".") + "."
            if STORE.exhausted(store_waits + 1):
                return Cause(code=error.code, text=f"{said} It waited for a day.", fault_text=AWAY)
            text = f"{error.code}: {said} This counts as no attempt."
            return Retry(item, _store_delay(error, store_waits, chance), text, is_free=True, busy=error)
        case TransientError() | OSError() | httpx.TransportError():
            code = error.code if isinstance(error, TransientError) else "operation.unreachable"
            said = clean(error.message if isinstance(error, TransientError) else words_of(error)).rstrip(".") + "."
            if attempts < most_tries:
                text = f"{code}: {said} Attempt {attempts} of {most_tries} failed."
                return Retry(item, SERVICE.delay(attempts, chance), text)
            text = f"{said} Tried {'once' if attempts == 1 else f'{attempts} times'}."
            if isinstance(error, OperationTimeout):
                return Cause(code=code, text=text, fault_code="Timeout", fault_text=TOO_LONG)
            trace = None if isinstance(error, TransientError) else _trace(error)
            return Cause(code=code, text=text, traceback=trace, fault_text=AWAY)
        case _:
            return Cause(
                code="operation.failed", text=clean(words_of(error)), traceback=_trace(error), fault_text=GENERIC
            )


def _store_delay(error: StoreBusy, waits: int, chance: float) -> float:
    """Return the wait for the store in seconds; whoever only had a lock or a connection for long is soon done."""
    if error.everywhere:
        return STORE.delay(waits + 1, chance)
    if waits < _SHORT_WAITS:
        return STORE_LOCK.delay(waits + 1, chance)
    return STORE.delay(waits + 1 - _SHORT_WAITS, chance)


def words_of(error: Exception) -> str:
    """Return the type of an error and its own words; an error of other people's code may not even have any."""
    try:
        words = str(error)
    except Exception as broken:
        words = f"(its text cannot be had: {type(broken).__name__})"
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def _trace(error: Exception) -> str:
    """Write down where it was raised, and let go of what the code held there: that may be all the memory.

    Rule: frames are not cleared. One error may be raised by several calls, and has frames that are under way.
    """
    text = "".join(traceback.format_exception(error))
    one: BaseException | None = error
    while one is not None and one.__traceback__ is not None:
        one.__traceback__ = None
        one = one.__cause__ or one.__context__
    return text


def decide(work: Work, error: Exception, *, most_tries: int, chance: float) -> Failed | Retry[Work]:
    """Decide what becomes of a message whose processing raised *error*; as `judge`."""
    verdict = judge(
        work, error, attempts=work.attempts, store_waits=work.store_waits, most_tries=most_tries, chance=chance
    )
    if isinstance(verdict, Retry):
        return verdict
    failure = Failure(
        work=work, code=verdict.code, text=verdict.text, problems=verdict.problems, traceback=verdict.traceback
    )
    return Failed(failure=failure, fault_code=verdict.fault_code, fault_text=verdict.fault_text)
