"""Spare a port's requests when its services do not work: pause, try one now and again, go on when one succeeds.

Without it a defect in a handler, or a system behind it that is away, would send thousands of requests to Error and
their partners thousands of faults, one after another.
"""

from collections.abc import Callable
from time import monotonic
from typing import Final

from gateway.stages.decide import Failed, TryAgain

PAUSE_SECONDS: Final = 60.0
"""Between two tries of a paused port."""


_SAID_NO: Final = "operation.rejected"
_TROUBLE: Final = ("operation.", "handler.", "store.")


class Breaker:
    """Counts the failures in a row of one port. Of this process alone: each node finds out by itself."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._failures = 0
        self._next_try: float | None = None
        self._trying = False

    @property
    def paused(self) -> bool:
        """True from the failure that was too much until a success."""
        return self._next_try is not None

    @property
    def tripped(self) -> bool:
        """True when nothing more may run now, also of what is claimed already."""
        return self.paused and not self._trying

    def take(self, limit: int) -> int:
        """Return how many requests may be claimed now: all, none, or one to try whether it works again."""
        if self._next_try is None:
            return limit
        if self._clock() < self._next_try:
            return 0
        self._pause()
        self._trying = True
        return min(limit, 1)

    def failed(self, outcome: Failed | TryAgain, most: int) -> None:
        """Count a failure, when it says that the service does not work; after *most* in a row (0: never) pause."""
        if isinstance(outcome, Failed) and not _is_trouble(outcome):
            if outcome.failure.code == _SAID_NO:
                self.succeeded()
            return
        self._failures += 1
        if self._trying or (most and self._failures >= most):
            self._pause()

    def succeeded(self) -> None:
        """A request went through: go on."""
        self._failures, self._next_try, self._trying = 0, None, False

    def _pause(self) -> None:
        self._next_try = self._clock() + PAUSE_SECONDS
        self._trying = False


def _is_trouble(failed: Failed) -> bool:
    """Tell a failure of the service from one of the request."""
    code = failed.failure.code
    return code != _SAID_NO and (failed.failure.traceback is not None or code.startswith(_TROUBLE))
