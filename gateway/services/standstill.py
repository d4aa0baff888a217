"""Keep the event loop turning while code of other people runs on it.

The timer of the kernel looks after it, not a thread: a thread would have to wait for the interpreter's lock, which
is just what such code may hold. Two steps:

1. After *standstill* seconds without a turn of the loop its main thread is interrupted, again and again, when it is
   inside a guarded call. A loop in Python, a sleep and a regular expression end by that.
2. After *last* seconds the process ends itself, with the stacks of its threads on standard error: it does nothing
   for anybody any more, and the gateway knows which message held the loop (see `in_flight`).
"""

import asyncio
import faulthandler
import signal
import time
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any, Self, TypeVar

T = TypeVar("T")

STANDSTILL_SECONDS = 10.0
"""Longest time that one step of an `async` function may hold the loop; a lease lasts three times as long."""
LAST_SECONDS = 60.0
_SHORTEST_SECONDS = 1.0
_TURN_SECONDS = 0.25
_STANDARD_ERROR = 2


class Interrupted(BaseException):
    """Raised inside a call that holds the event loop for too long."""


async def guarded(call: Coroutine[Any, Any, T], most_seconds: float) -> T:
    """Await *call*; only what runs inside this frame is ever interrupted."""
    return await call


class Standstill:
    """Watches over the event loop of the main thread while anything is at work; costs nothing otherwise.

    `turned` is called at every turn that is watched, `rests` when nothing is at work any more.
    """

    def __init__(
        self, *, standstill: float = STANDSTILL_SECONDS, last: float = LAST_SECONDS,
        turned: Callable[[], None] = lambda: None, rests: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        self._tell_turned = turned
        self._tell_rests = rests
        self._standstill = standstill
        self._last = last
        self._limits: dict[object, float] = {}
        self._turn: asyncio.TimerHandle | None = None
        self._turned_at = 0.0
        self._alarms = 0

    def __enter__(self) -> Self:
        self._earlier = signal.signal(signal.SIGALRM, self._alarm)
        return self

    def __exit__(self, *_: object) -> None:
        if self._turn is not None:
            self._turn.cancel()
        self._disarm()
        signal.signal(signal.SIGALRM, self._earlier)

    def begin(self, work: object, most_seconds: float) -> None:
        """Watch from now on; *work* is allowed *most_seconds* in all."""
        self._limits[work] = self._limit(most_seconds)
        if self._turn is None:
            self._arm()

    def end(self, work: object) -> None:
        """Stop watching for the sake of *work*."""
        del self._limits[work]

    def _limit(self, most_seconds: float) -> float:
        return max(_SHORTEST_SECONDS, min(most_seconds, self._standstill))

    def _arm(self) -> None:
        self._tell_turned()
        self._alarms = 0
        self._turned_at = time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, min(self._limits.values()), _SHORTEST_SECONDS / 2)
        faulthandler.dump_traceback_later(self._last, exit=True, file=_STANDARD_ERROR)
        self._turn = asyncio.get_running_loop().call_later(_TURN_SECONDS, self._turned)

    def _turned(self) -> None:
        if self._limits:
            self._arm()
        else:
            self._turn = None
            self._tell_rests()
            self._disarm()

    def _disarm(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.cancel_dump_traceback_later()

    def _alarm(self, _: int, frame: FrameType | None) -> None:
        """Interrupt the call that is on the stack, if any; not at once, because the whole process may have stood."""
        self._alarms += 1
        stood = time.monotonic() - self._turned_at
        while frame is not None and self._alarms > 1:
            if frame.f_code is guarded.__code__ and stood >= self._limit(frame.f_locals["most_seconds"]):
                raise Interrupted
            frame = frame.f_back
