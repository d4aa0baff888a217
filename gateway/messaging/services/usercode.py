"""Run code of other people so that whatever it does, the gateway goes on.

it raises                 the message fails, or is tried again for a passing reason
it calls `sys.exit`       it ends nothing but its own call
it takes too long         it is stopped; when it does not stop, it is abandoned, and its process is replaced
it holds the event loop   its process is ended, which counts as a try that took too long (see `in_flight`)
it ends the process       only this worker ends, and the gateway knows by whom (see `in_flight`)
"""

import asyncio
import inspect
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import structlog

from gateway.contracts.service import Request, ServiceContext
from gateway.db.waiting import uninterrupted
from gateway.kernel.errors import GatewayError, OperationTimeout, TransientError
from gateway.kernel.meter import METER
from gateway.messaging.services.in_flight import CALLED_FOR, Held, InFlightJournal
from gateway.messaging.services.own_thread import AbandonableThread

log = structlog.get_logger()

Function = Callable[[Request, ServiceContext], object]

ABANDONED_SECONDS = 5.0
"""Abandoned code that has not come back by then costs its process: another one takes its place."""
_INSIST_SECONDS = 1.0
_INSIST_TIMES = 3


class CodeEnded(GatewayError):
    """The code tried to end more than its own call."""

    code = "operation.failed"


class UserCode:
    """Calls functions of other people. One for the process; calls may run side by side.

    `abandoned` is called when code does not come back.
    """

    def __init__(self, journal: InFlightJournal, abandoned: Callable[[], None] = lambda: None) -> None:
        self._journal = journal
        self._tell_abandoned = abandoned

    async def call(
        self, function: Function, request: Request, context: ServiceContext, most_seconds: float, *, what: str = ""
    ) -> object:
        """Return what *function* returns: an `async` one runs on the event loop, a plain one in its own thread.

        *what* stands before the name of the operation in texts, when it is not the operation itself.

        Rule: takes hardly longer than *most_seconds*, unless an `async` function holds the event loop; what the
        function does with its context later has no effect.
        Raises: OperationTimeout; whatever the function raises, as an `Exception`.
        """
        name = f"{what}{request.service}.{request.operation}"
        lent = [
            RevocableConnection(context.connection),
            RevocableConnection(context.numbers),
            RevocableConnection(context.job_queue),
        ]
        own = replace(
            context, connection=lent[0], numbers=cast("Any", lent[1]), job_queue=cast("Any", lent[2])
        )  # fmt: skip
        run, held = (self._on_loop, Held.LOOP) if is_async(function) else (self._in_thread, Held.THREAD)
        called_for = CALLED_FOR.set(request.key)
        try:
            return await run(self._begin(name, request, most_seconds, held), partial(function, request, own))
        except (Exception, asyncio.CancelledError):
            raise
        except BaseException as error:
            text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            raise CodeEnded(f"{name} tried to end the gateway ({text}); only its own call was ended.") from error
        finally:
            CALLED_FOR.reset(called_for)
            for thing in lent:
                thing.take_back()

    def _begin(self, name: str, request: Request, most_seconds: float, held: Held) -> "_Work":
        """Write the message down, until the work is over."""
        return _Work(name, self._journal.set(request.key, held), most_seconds)

    def _over(self, work: "_Work") -> None:
        self._journal.unset(work.place)
        work.is_over = True

    def _abandon(self, work: "_Work") -> None:
        self._journal.abandon(work.place)
        log.warning("handler.abandoned", operation=work.name)
        asyncio.get_running_loop().call_later(ABANDONED_SECONDS, self._miss, work)

    def _miss(self, work: "_Work") -> None:
        if not work.is_over:
            self._tell_abandoned()

    async def _on_loop(self, work: "_Work", function: Callable[[], object]) -> object:
        task = asyncio.create_task(METER.get().metered(_outcome(function), foreign=True), name=work.name)
        task.add_done_callback(lambda _: self._over(work))
        try:
            await asyncio.wait({task}, timeout=work.most_seconds)
        finally:
            if stopped := not task.done():
                await uninterrupted(_stop(task))
            if not task.done():
                self._abandon(work)
        if stopped:
            raise _too_long(work)
        return _unpacked(work.name, (None, asyncio.CancelledError()) if task.cancelled() else task.result())

    async def _in_thread(self, work: "_Work", function: Callable[[], object]) -> object:
        try:
            thread = AbandonableThread(partial(METER.get().watched, function), name=work.name)
        except RuntimeError as error:  # not of the function: the system gives no more threads
            self._over(work)
            raise TransientError(f"{work.name} cannot be called: {error}.", code="operation.no-thread") from error
        thread.ended.add_done_callback(lambda _: self._over(work))
        try:
            await asyncio.wait({thread.ended}, timeout=work.most_seconds)
        finally:
            if left := not thread.ended.done():
                thread.abandon()
                self._abandon(work)
        if left:
            METER.get().processor += work.most_seconds  # it may compute all the time, and goes on
            raise _too_long(work)
        return _unpacked(work.name, thread.ended.result())


@dataclass(slots=True, eq=False)
class _Work:
    """One call, until its code is over: that may be long after anybody waits for it."""

    name: str
    place: int
    most_seconds: float
    is_over: bool = False


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
    """Cancel a task that may not want to end."""
    for _ in range(_INSIST_TIMES):
        task.cancel()
        await asyncio.wait({task}, timeout=_INSIST_SECONDS)
        if task.done():
            return


def _too_long(work: _Work) -> OperationTimeout:
    return OperationTimeout(f"{work.name} took longer than {work.most_seconds:g} seconds.")


_OURS = frozenset({"close", "terminate", "reset", "_con", "_holder"})
_ASKS = frozenset({"execute", "executemany", "fetch", "fetchrow", "fetchval", "prepare", "cursor"})
_ENDS = re.compile(
    r"(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/|;)*(?:commit|end|abort|begin|start|rollback(?!\s+to\b)|prepare\s+transaction)\b",
    re.IGNORECASE | re.DOTALL,
)
"""A statement that ends or begins a transaction."""


class ForbiddenOperation(GatewayError):
    """The code asked for what is not its own, or not any more."""

    code = "operation.misuse"


class RevocableConnection:
    """Stands before an object until the call that it was lent to is over.

    Code that was given up goes on to hold it, but reaches nothing: the transaction behind it is by then another
    message's.
    """

    def __init__(self, thing: Any) -> None:
        self._thing = thing

    def take_back(self) -> None:
        """Let nothing through from now on."""
        self._thing = None

    def __getattr__(self, name: str) -> Any:
        if self._thing is None:
            raise ForbiddenOperation(f"the call is over: its '{name}' cannot be used any more")
        if name in _OURS:
            raise ForbiddenOperation(f"the connection belongs to the gateway: a handler must not use its '{name}'")
        found = getattr(self._thing, name)
        return _guarded(found) if name in _ASKS else found


def _guarded(ask: Callable[..., Any]) -> Callable[..., Any]:
    """Refuse statements that would end the transaction: the effects of other messages are in it."""

    def call(statement: str, *arguments: Any, **options: Any) -> Any:
        if _ENDS.match(statement):
            raise ForbiddenOperation(
                f"the transaction belongs to the gateway: a handler must not say {statement.strip()[:40]!a}"
            )
        return ask(statement, *arguments, **options)

    return call
