"""Messages that end the process that works on them, or whose code had it ended."""

from typing import Final

from gateway.kernel.errors import OperationTimeout, PoisonMessage
from gateway.kernel.ids import MessageKey

MOST_CRASHES: Final = 2
"""So many ends of the process are enough. Source: rulings, "Nodes, time, recovery"."""


HELD_SECONDS: Final = 10.0
"""Longest time that one step of an `async` function may hold its event loop; a lease lasts three times as long."""


def why_not(
    key: MessageKey, operation: str, *, crashes: int, held_loop: bool
) -> PoisonMessage | OperationTimeout | None:
    """Return why the code for a message must not run now, in words for an operator.

    `held_loop`: it has had its try; that the process was ended for it is the outcome.
    """
    if (error := poison(crashes, key, operation)) is not None or not held_loop:
        return error
    return OperationTimeout(
        f"{operation} held the event loop for {HELD_SECONDS:g} seconds without awaiting anything, and its process was "
        "ended. Make a function that computes or blocks a plain `def`: it then runs in a thread."
    )


def poison(crashes: int, key: MessageKey, operation: str) -> PoisonMessage | None:
    """Return why something must not run that ended the process too often, in words for an operator.

    Rule: what ended it once runs again alone, so that nobody else can be taken for the one who does it.
    """
    if crashes < MOST_CRASHES:
        return None
    return PoisonMessage(
        f"The process that runs services ended {crashes} times while {operation} worked on this message: memory ran "
        "out, the code or a library ended the process, or somebody killed it. The message is not run again by itself. "
        "The log of the gateway and the journal of the system tell how the process ended; when that is mended, "
        f"release the message {key}."
    )
