"""What a piece of work takes: of the processor, and of the time of others; what it waits for us is neither."""

from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from time import monotonic, thread_time
from types import coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Meter:
    """Counts what one piece of work has taken so far, in seconds: on the event loop, and in threads it used.

    `waited` is how long it has waited for us.
    """

    def __init__(self) -> None:
        self.processor = 0.0
        self._outside = 0.0
        self._watched = 0
        self._with_us = 0
        self.waited = 0.0

    @property
    def outside(self) -> float:
        """Return how long foreign code has waited for something that is not ours."""
        return max(self._outside, 0.0)

    def timed(self, compute: Callable[..., T], *arguments: object) -> T:
        """Call a plain function, in whatever thread this is, and count what it takes of the processor."""
        began = thread_time()
        try:
            return compute(*arguments)
        finally:
            self.processor += thread_time() - began

    def watched(self, compute: Callable[[], T]) -> T:
        """Call a plain function of foreign code, and count also how long it waits."""
        began, before = monotonic(), self.processor
        try:
            return self.timed(compute)
        finally:
            self._outside += monotonic() - began - (self.processor - before)

    @contextmanager
    def with_us(self) -> Iterator[None]:
        """Do not count as outside what foreign code waits for in this block: a connection, or a number.

        It waits there for others of its own kind. Counted, many that run side by side would look slow, and would run
        side by side for ever because they look slow.
        """
        began = monotonic()
        self._with_us += 1
        try:
            yield
        finally:
            self._with_us -= 1
            if not self._with_us:
                waited = monotonic() - began
                self.waited += waited
                if self._watched:
                    self._outside -= waited

    @coroutine
    def metered(self, work: Coroutine[Any, Any, T], *, foreign: bool = False) -> Generator[Any, Any, T]:
        """Await *work* and count each of its steps on the event loop; of foreign code also the time between them."""
        step: Callable[[], Any] = lambda: work.send(None)  # noqa: E731
        self._watched += foreign
        try:
            while True:
                try:
                    waits_for = self.timed(step)
                except StopIteration as end:
                    result: T = end.value
                    return result
                since = monotonic()
                try:
                    yield waits_for
                except BaseException as error:
                    thrown = error
                    step = lambda: work.throw(thrown)  # noqa: B023, E731
                else:
                    step = lambda: work.send(None)  # noqa: E731
                if foreign:
                    self._outside += monotonic() - since
        finally:
            self._watched -= foreign


METER: ContextVar[Meter] = ContextVar("meter", default=Meter())  # noqa: B039 nobody reads the one of nobody
"""The meter of the work that is under way here."""
