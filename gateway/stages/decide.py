"""Turn exceptions into outcomes; the only place that does.

Rule: message error, fail; transient, try again until the port's tries are used up; a lost lease or a store that is
away is not an outcome of a message and is passed on; anything else is a bug of a handler: fail, with the traceback.
"""

import traceback
from dataclasses import dataclass

from gateway.domain.errors import LeaseLost, MessageError, StoreUnavailable, TransientError
from gateway.domain.message import Failure, Work
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


def decide(work: Work, error: Exception, *, most_tries: int, chance: float) -> Failed | TryAgain:
    """Decide what becomes of a message whose processing raised *error*.

    Raises: the error itself when it says nothing about the message (lease lost, store away).
    """
    match error:
        case LeaseLost() | StoreUnavailable():
            raise error
        case MessageError():
            failure = Failure(work=work, code=error.code, text=error.message, problems=error.problems)
            return Failed(failure=failure, fault_code=error.fault_code, fault_text=error.message)
        case TransientError() if work.attempts < most_tries:
            return TryAgain(
                work=work, delay_seconds=SERVICE.delay(work.attempts, chance), text=f"{error.code}: {error.message}"
            )
        case TransientError():
            text = f"{error.message} Tried {work.attempts} times."
            fault_code = "Timeout" if error.code == "operation.timeout" else "RequestFailed"
            return Failed(
                failure=Failure(work=work, code=error.code, text=text), fault_code=fault_code, fault_text=text
            )
        case _:
            trace = "".join(traceback.format_exception(error))
            text = f"{type(error).__name__}: {error}"
            failure = Failure(work=work, code="operation.failed", text=text, traceback=trace)
            return Failed(failure=failure, fault_code="RequestFailed", fault_text=GENERIC)
