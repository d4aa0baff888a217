"""Turn exceptions into outcomes; the only place that does.

    class                                             outcome
    MessageError                                      Error at once: nothing but a changed message could succeed
    TransientError, ConnectionError, TimeoutError     tried again with back-off until the port's tries are used up
    PoisonMessage                                     Error: it ended the process too often to be run again
    ReadersUnavailable                                tried again for as long as it takes
    LeaseLost, StoreUnavailable                       passed on: says nothing about the message, costs no attempt
    anything else                                     Error at once, with the traceback: a bug of a handler

A StoreUnavailable on a connection that lives is a statement of this message that took too long: a TransientError.
"""

import traceback
from dataclasses import dataclass

from asyncpg import Connection

from gateway.domain.errors import LeaseLost, MessageError, PoisonMessage, StoreUnavailable, TransientError
from gateway.domain.message import Failure, Work
from gateway.domain.problem import Problem
from gateway.domain.retry import SERVICE
from gateway.domain.text import clean
from gateway.store.errors import is_lost
from gateway.xml.process import ReadersUnavailable

GENERIC = "The request failed; details are in the exception log of the gateway."


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The message goes to Error. `fault_code` and `fault_text` are for the partner, `failure` is for the operator."""

    failure: Failure
    fault_code: str
    fault_text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TryAgain:
    """The message waits and is tried again."""

    work: Work
    delay_seconds: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Why something cannot succeed: for the exception log, and in the words of a fault."""

    code: str
    text: str
    problems: tuple[Problem, ...] = ()
    traceback: str | None = None
    fault_code: str = "RequestFailed"
    fault_text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Trying again may help, after so many seconds."""

    delay_seconds: float
    text: str


def pass_on(error: Exception, connection: Connection) -> None:
    """Raise what is no outcome of the work: the lease is lost, or the store is away and not just slow for it."""
    if isinstance(error, LeaseLost) or (isinstance(error, StoreUnavailable) and is_lost(connection)):
        raise error


def judge(error: Exception, *, attempts: int, most_tries: int, chance: float) -> Cause | Wait:
    """Decide what *error* means for the work that raised it at its *attempts*-th try.

    Before: `pass_on` has raised what says nothing about the work.
    """
    match error:
        case PoisonMessage():
            return Cause(code=error.code, text=error.message, fault_text=GENERIC)
        case MessageError():
            return Cause(
                code=error.code, text=clean(error.message), problems=error.problems, fault_code=error.fault_code,
                fault_text=error.message,
            )  # fmt: skip
        case ReadersUnavailable():  # says nothing about the work, however often it is tried
            return Wait(delay_seconds=SERVICE.most_seconds, text=f"{error.code}: {error.message}")
        case TransientError() | ConnectionError() | TimeoutError():
            code = error.code if isinstance(error, TransientError) else "operation.unreachable"
            said = clean(error.message if isinstance(error, TransientError) else words_of(error)).rstrip(".") + "."
            if attempts < most_tries:
                text = f"{code}: {said} Attempt {attempts} of {most_tries} failed."
                return Wait(delay_seconds=SERVICE.delay(attempts, chance), text=text)
            text = f"{said} Tried {'once' if attempts == 1 else f'{attempts} times'}."
            if not isinstance(error, TransientError):
                return Cause(code=code, text=text, traceback=_trace(error), fault_text=GENERIC)
            fault_code = "Timeout" if code == "operation.timeout" else "RequestFailed"
            return Cause(code=code, text=text, fault_code=fault_code, fault_text=text)
        case _:
            return Cause(
                code="operation.failed", text=clean(words_of(error)), traceback=_trace(error), fault_text=GENERIC
            )


def words_of(error: Exception) -> str:
    """Return the type of an error and its own words; an error of other people's code may not even have any."""
    try:
        words = str(error)
    except Exception as broken:
        words = f"(its text cannot be had: {type(broken).__name__})"
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def _trace(error: Exception) -> str:
    """Write down where it was raised, and let go of what the code held there: that may be all the memory."""
    text = "".join(traceback.format_exception(error))
    traceback.clear_frames(error.__traceback__)
    return text


def decide(work: Work, error: Exception, *, most_tries: int, chance: float) -> Failed | TryAgain:
    """Decide what becomes of a message whose processing raised *error*; as `judge`."""
    verdict = judge(error, attempts=work.attempts, most_tries=most_tries, chance=chance)
    if isinstance(verdict, Wait):
        return TryAgain(work=work, delay_seconds=verdict.delay_seconds, text=verdict.text)
    failure = Failure(
        work=work, code=verdict.code, text=verdict.text, problems=verdict.problems, traceback=verdict.traceback
    )
    return Failed(failure=failure, fault_code=verdict.fault_code, fault_text=verdict.fault_text)
