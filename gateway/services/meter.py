"""How much of the processor a piece of work takes: what it waits for outside costs the others nothing."""

from collections.abc import Callable, Coroutine, Generator
from contextvars import ContextVar
from time import thread_time
from types import coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Meter:
    """Seconds of the processor that one piece of work has taken so far: on the event loop, and in threads it used."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def timed(self, compute: Callable[..., T], *arguments: object) -> T:
        """Call a plain function, in whatever thread this is, and count what it takes."""
        began = thread_time()
        try:
            return compute(*arguments)
        finally:
            self.seconds += thread_time() - began

    @coroutine
    def metered(self, work: Coroutine[Any, Any, T]) -> Generator[Any, Any, T]:
        """Await *work* and count each of its steps on the event loop."""
        step: Callable[[], Any] = lambda: work.send(None)  # noqa: E731
        while True:
            try:
                waits_for = self.timed(step)
            except StopIteration as end:
                result: T = end.value
                return result
            try:
                yield waits_for
            except BaseException as error:
                thrown = error
                step = lambda: work.throw(thrown)  # noqa: B023, E731
            else:
                step = lambda: work.send(None)  # noqa: E731


METER: ContextVar[Meter] = ContextVar("meter", default=Meter())  # noqa: B039 nobody reads the one of nobody
"""The meter of the work that is under way here."""
