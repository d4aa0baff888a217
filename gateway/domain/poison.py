"""Messages that end the process that works on them."""

from typing import Final

from gateway.domain.errors import PoisonMessage
from gateway.domain.ids import MessageKey

MOST_CRASHES: Final = 2
"""So many ends of the process are enough. Source: rulings, "Nodes, time, recovery"."""


def poison(crashes: int, key: MessageKey, operation: str) -> PoisonMessage | None:
    """Return why something must not run that ended the process too often, in words for an operator.

    Rule: what ended it once runs again alone, so that nobody else can be taken for the one who does it.
    """
    if crashes < MOST_CRASHES:
        return None
    return PoisonMessage(
        f"The process that runs services ended {crashes} times while {operation} worked on this message: memory ran "
        "out, the code or a library ended the process, or somebody killed it. The message is not run again by itself. "
        "The log of the gateway and the journal of the system tell how the process ended; when that is mended: "
        f"gateway queue release {key}"
    )
