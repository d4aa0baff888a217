"""Spare requests when they cannot be done: tell the store when services do not work, and leave a full database alone.

What becomes of a port whose services do not work is decided in the store, for all processes (`store/port_health`).
Trouble of the database each process finds out by itself: nothing can be written of it.
"""

from collections.abc import Callable
from time import monotonic
from typing import Final

from gateway.kernel.errors import StoreBusy
from gateway.kernel.ids import PortName
from gateway.messaging.processing.decide import Failed
from gateway.messaging.rules.health import Findings
from gateway.messaging.rules.message import Retry, Work

_SAID_NO: Final = "operation.rejected"
_TROUBLE: Final = ("operation.", "handler.", "store.")


class Breaker:
    """What one unit of work meets: services that do not work, or a database that can do nothing for anybody.

    `busy` is the last message that the database could not serve, None after one that went through.
    """

    def __init__(self, port: PortName, most: int) -> None:
        self.found = Findings(port=port, most=most)
        self.busy: Retry[Work] | None = None

    @property
    def tripped(self) -> bool:
        """True when nothing more of the unit may run."""
        return self.busy is not None or self.found.is_enough

    def failed(self, outcome: Failed | Retry[Work]) -> None:
        """Count a failure, when it says that the service does not work."""
        if isinstance(outcome, Retry):
            if not outcome.is_free:
                self.found.failed(outcome.text)
            elif outcome.busy is not None and outcome.busy.everywhere:
                self.busy = outcome
        elif _is_trouble(outcome):
            self.found.failed(outcome.failure.text)
        elif outcome.failure.code == _SAID_NO:
            self.succeeded()

    def succeeded(self) -> None:
        """Say that a request went through."""
        self.found.succeeded()
        self.busy = None


class DatabasePause:
    """Keeps a port of this process from asking a database in vain: one request is tried now and again.

    `busy` is the trouble of the database, None when there is none.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._next_try = 0.0
        self._seconds = 0.0
        self.busy: StoreBusy | None = None

    def take(self, limit: int) -> int:
        """Return how many of *limit* requests may be claimed now: all, none, or one to try whether it works again."""
        if self.busy is None:
            return limit
        return min(limit, 1) if self._clock() >= self._next_try else 0

    def claimed(self) -> None:
        """Say that something was claimed. When it comes to nothing, the next try comes as if it had failed."""
        self._next_try = self._clock() + self._seconds

    def met(self, breaker: Breaker) -> None:
        """Pause for as long as a message waits for the database, or go on because one went through."""
        if breaker.busy is not None:
            self.busy, self._seconds = breaker.busy.busy, breaker.busy.delay_seconds
            self._next_try = self._clock() + self._seconds
        elif breaker.found.works:
            self.busy = None

    def try_now(self) -> None:
        """Let the next request be tried at once."""
        self._next_try = self._clock()


def _is_trouble(failed: Failed) -> bool:
    """Tell a failure of the service from one of the request."""
    code = failed.failure.code
    return code != _SAID_NO and (failed.failure.traceback is not None or code.startswith(_TROUBLE))
