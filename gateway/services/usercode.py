"""Run code of other people so that whatever it does, the gateway goes on.

it raises                 the message fails, or is tried again for a passing reason
it calls `sys.exit`       it ends nothing but its own call
it takes too long         it is stopped; when it does not stop, it is left behind
it holds the event loop   it is interrupted (see `standstill`)
it ends the process       its message is marked, and the next start counts that (see `marks`)
"""

import asyncio
import inspect
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any, cast

import structlog

from gateway.contracts.service import Request, ServiceContext
from gateway.domain.errors import GatewayError, OperationTimeout, TransientError
from gateway.services.lent import Lent
from gateway.services.marks import Marks
from gateway.services.own_thread import OwnThread
from gateway.services.standstill import STANDSTILL_SECONDS, Interrupted, Standstill, guarded
from gateway.store.waiting import uninterrupted

log = structlog.get_logger()

Function = Callable[[Request, ServiceContext], object]

MOST_LEFT_BEHIND = 20
"""So many calls of one operation may hang at the same time before no more are begun."""
_INSIST_SECONDS = 1.0
_INSIST_TIMES = 3


class CodeEnded(GatewayError):
    """The code tried to end more than its own call."""

    code = "operation.failed"


class UserCode:
    """Calls functions of other people. One for the process; calls may run side by side."""

    def __init__(self, marks: Marks, standstill: Standstill) -> None:
        self._marks = marks
        self._standstill = standstill
        self._left_behind: Counter[str] = Counter()

    async def call(
        self, function: Function, request: Request, context: ServiceContext, most_seconds: float, *, what: str = ""
    ) -> object:
        """Return what *function* returns: an `async` one runs on the event loop, a plain one in its own thread.

        *what* stands before the name of the operation in texts, when it is not the operation itself.

        Rule: takes hardly longer than *most_seconds*; what the function does with its context later has no effect.
        Raises: OperationTimeout; whatever the function raises, as an `Exception`.
        """
        name = f"{what}{request.service}.{request.operation}"
        if self._left_behind[name] >= MOST_LEFT_BEHIND:
            raise TransientError(
                f"{name} is not called: {MOST_LEFT_BEHIND} earlier calls of it still hang. Mend it, then restart.",
                code="operation.hangs",
            )
        lent = [Lent(context.connection), Lent(context.numbers)]
        own = replace(context, connection=lent[0], numbers=cast("Any", lent[1]))
        run = self._on_loop if is_async(function) else self._in_thread
        try:
            return await run(name, partial(function, request, own), self._watch(request, most_seconds), most_seconds)
        except Interrupted as error:
            raise OperationTimeout(
                f"{name} held the event loop for {min(most_seconds, STANDSTILL_SECONDS):g} seconds without awaiting "
                "anything. Make a function that computes or blocks a plain `def`: it then runs in a thread."
            ) from error
        except (Exception, asyncio.CancelledError):
            raise
        except BaseException as error:
            text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            raise CodeEnded(f"{name} tried to end the gateway ({text}); only its own call was ended.") from error
        finally:
            for thing in lent:
                thing.take_back()

    def _watch(self, request: Request, most_seconds: float) -> Callable[[], None]:
        """Mark the message and watch the loop until the code is over, which the returned function tells."""
        place = self._marks.set(request.key)
        self._standstill.begin(place, most_seconds)

        def over() -> None:
            self._standstill.end(place)
            self._marks.unset(place)

        return over

    async def _on_loop(
        self, name: str, function: Callable[[], object], over: Callable[[], None], seconds: float
    ) -> object:
        task = asyncio.create_task(guarded(_outcome(function), seconds), name=name)
        task.add_done_callback(lambda _: over())
        try:
            await asyncio.wait({task}, timeout=seconds)
        finally:
            if stopped := not task.done():
                await uninterrupted(_stop(task))
            if not task.done():
                self._leave_behind(name, task.add_done_callback)
        if stopped:
            raise _too_long(name, seconds)
        return _unpacked(name, (None, asyncio.CancelledError()) if task.cancelled() else task.result())

    async def _in_thread(
        self, name: str, function: Callable[[], object], over: Callable[[], None], seconds: float
    ) -> object:
        try:
            thread = OwnThread(function, name=name)
        except RuntimeError as error:  # not of the function: the system gives no more threads
            over()
            raise TransientError(f"{name} cannot be called: {error}.", code="operation.no-thread") from error
        thread.ended.add_done_callback(lambda _: over())
        try:
            await asyncio.wait({thread.ended}, timeout=seconds)
        finally:
            if left := not thread.ended.done():
                thread.leave_behind()
                self._leave_behind(name, thread.ended.add_done_callback)
        if left:
            raise _too_long(name, seconds)
        return _unpacked(name, thread.ended.result())

    def _leave_behind(self, name: str, at_its_end: Callable[[Callable[[object], None]], None]) -> None:
        def ended(_: object) -> None:
            self._left_behind[name] -= 1

        self._left_behind[name] += 1
        at_its_end(ended)
        log.warning("handler.left_behind", operation=name, hanging=self._left_behind[name])


def is_async(function: Function) -> bool:
    """Tell whether a function runs on the event loop; it may be an instance of a class with an async `__call__`."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004
    )


async def _outcome(function: Callable[[], object]) -> tuple[object, BaseException | None]:
    """Return what the code returned or raised; some of what it may raise would end the loop."""
    try:
        return await cast("Awaitable[object]", function()), None
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        return None, error


def _unpacked(name: str, outcome: tuple[object, BaseException | None]) -> object:
    result, error = outcome
    if isinstance(error, asyncio.CancelledError):  # not by us: that would cancel the stage
        raise CodeEnded(f"{name} was cancelled from within.") from error
    if error is not None:
        raise error
    return result


async def _stop(task: asyncio.Task[Any]) -> None:
    """Cancel a task that may not want to end; in the end nobody waits for it any more, not even at the end of all."""
    for _ in range(_INSIST_TIMES):
        task.cancel()
        await asyncio.wait({task}, timeout=_INSIST_SECONDS)
        if task.done():
            return
    asyncio.tasks._unregister_task(task)


def _too_long(name: str, seconds: float) -> OperationTimeout:
    return OperationTimeout(f"{name} took longer than {seconds:g} seconds.")
