"""Turn exceptions into outcomes; the only place that does.

Rule: message error, fail; transient, try again until the port's tries are used up; a lost lease or a store that is
away is not an outcome of a message and is passed on; anything else is a bug of a handler: fail, with the traceback.
"""

import traceback
from dataclasses import dataclass

from gateway.domain.errors import LeaseLost, MessageError, StoreUnavailable, TransientError
from gateway.domain.message import Failure, Work
from gateway.domain.problem import Problem
from gateway.domain.retry import SERVICE

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


def judge(error: Exception, *, attempts: int, most_tries: int, chance: float) -> Cause | Wait:
    """Decide what *error* means for the work that raised it at its *attempts*-th try.

    Raises: the error itself when it says nothing about the work (lease lost, store away).
    """
    match error:
        case LeaseLost() | StoreUnavailable():
            raise error
        case MessageError():
            return Cause(
                code=error.code, text=error.message, problems=error.problems, fault_code=error.fault_code,
                fault_text=error.message,
            )  # fmt: skip
        case TransientError() if attempts < most_tries:
            return Wait(delay_seconds=SERVICE.delay(attempts, chance), text=f"{error.code}: {error.message}")
        case TransientError():
            text = f"{error.message} Tried {attempts} times."
            fault_code = "Timeout" if error.code == "operation.timeout" else "RequestFailed"
            return Cause(code=error.code, text=text, fault_code=fault_code, fault_text=text)
        case _:
            trace = "".join(traceback.format_exception(error))
            return Cause(
                code="operation.failed", text=f"{type(error).__name__}: {error}", traceback=trace, fault_text=GENERIC
            )


def decide(work: Work, error: Exception, *, most_tries: int, chance: float) -> Failed | TryAgain:
    """Decide what becomes of a message whose processing raised *error*.

    Raises: the error itself when it says nothing about the message (lease lost, store away).
    """
    verdict = judge(error, attempts=work.attempts, most_tries=most_tries, chance=chance)
    if isinstance(verdict, Wait):
        return TryAgain(work=work, delay_seconds=verdict.delay_seconds, text=verdict.text)
    failure = Failure(
        work=work, code=verdict.code, text=verdict.text, problems=verdict.problems, traceback=verdict.traceback
    )
    return Failed(failure=failure, fault_code=verdict.fault_code, fault_text=verdict.fault_text)
