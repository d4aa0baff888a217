"""Spare a port's requests when they cannot be done: pause, try one now and again, go on when one succeeds.

Without it a defect in a handler, or a system behind it that is away, would send thousands of requests to Error and
their partners thousands of faults, one after another; and a full database would be asked for all of them in vain.
"""

from collections.abc import Callable
from time import monotonic
from typing import Final

from gateway.domain.errors import StoreBusy
from gateway.domain.ids import Fence
from gateway.stages.decide import Failed, TryAgain

PAUSE_SECONDS: Final = 60.0
"""Between two tries of a port whose services do not work."""

_SAID_NO: Final = "operation.rejected"
_TROUBLE: Final = ("operation.", "handler.", "store.")
_CLAIMING: Final = Fence(0)


class Breaker:
    """Counts the failures in a row of one port. Of this process alone: each node finds out by itself.

    `busy` is the trouble of the database that it pauses for, None when it pauses for services.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._works = False  # there was a success since the last failure
        self._failures = 0
        self._next_try: float | None = None
        self._trial: Fence | None = None  # the claim of the one request that is tried
        self.busy: StoreBusy | None = None
        self._is_news = False

    @property
    def paused(self) -> bool:
        """True from the failure that was too much until a success."""
        return self._next_try is not None

    @property
    def tripped(self) -> bool:
        """True when nothing more may run now, also of what is claimed already."""
        return self.paused and self._trial is None

    def take(self, limit: int, *, most: int, in_work: int) -> int:
        """Return how many requests may be claimed now: all, none, or one to try whether it works again.

        Rule: while nothing shows that the services work, no more are in work side by side than may still fail before
        the port pauses (*most* in a row, 0: any number). After: the caller says what came of it, with `claimed`.
        """
        if self._next_try is None:
            if self._works or not most:
                return limit
            return max(0 if in_work else 1, min(limit, most - self._failures - in_work))
        if self._trial is not None or self._clock() < self._next_try:
            return 0
        self._trial = _CLAIMING
        return min(limit, 1)

    def claimed(self, fence: Fence | None) -> None:
        """Say under which claim the request is that `take` allowed; None: there was none, so that nothing was tried."""
        if self._trial == _CLAIMING:
            self._trial = fence

    def over(self, fence: Fence) -> None:
        """Say that a claim has ended; if it was the trial and came to nothing, the next one may come at once."""
        if self._trial == fence:
            self._trial = None

    def failed(self, outcome: Failed | TryAgain, most: int) -> None:
        """Count a failure, when it says that the service does not work; after *most* in a row (0: never) pause.

        What the database cannot do for anybody pauses at once, for as long as the message waits.
        """
        if isinstance(outcome, TryAgain) and outcome.is_free:
            if outcome.busy is not None and outcome.busy.everywhere:
                self._pause(outcome.delay_seconds, outcome.busy)
            return
        if isinstance(outcome, Failed) and not _is_trouble(outcome):
            if outcome.failure.code == _SAID_NO:
                self.reset()
            return
        self._works = False
        self._failures += 1
        if self._trial is not None or (most and self._failures >= most):
            self._pause(PAUSE_SECONDS, None)

    def reset(self) -> None:
        """Go on: a request went through."""
        self._works, self._failures, self._next_try, self._trial, self.busy = True, 0, None, None, None
        self._is_news = False

    def renew(self) -> None:
        """Go on, but carefully: the port is another one now."""
        self.reset()
        self._works = False

    def try_now(self) -> None:
        """Let the next request be tried at once."""
        if self._next_try is not None:
            self._next_try = self._clock()

    def take_news(self) -> bool:
        """Return True once for each pause because of services: of all that fail side by side, one tells of it."""
        news, self._is_news = self._is_news, False
        return news

    def _pause(self, seconds: float, busy: StoreBusy | None) -> None:
        self._is_news |= busy is None and not self.paused
        self._next_try = self._clock() + seconds
        self._trial, self.busy = None, busy


def _is_trouble(failed: Failed) -> bool:
    """Tell a failure of the service from one of the request."""
    code = failed.failure.code
    return code != _SAID_NO and (failed.failure.traceback is not None or code.startswith(_TROUBLE))
