"""What a process does that runs code of the users for one task: the other side of `process`.

The code has the main thread: an `async` function or a runnable with an event loop, a plain function without one. Two
more threads talk with the gateway, so that code which blocks still learns nothing too late and loses no line.
"""

import asyncio
import faulthandler
import os
import pickle
import signal
import socket
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field, fields
from datetime import datetime
from datetime import time as time_of_day
from operator import index
from queue import Queue
from types import FrameType
from typing import Any, Final

import structlog

from gateway.batch.engine.executor import LONGEST_ERROR, OneShotFeed
from gateway.batch.handlers.own import make_handler, own_runnable
from gateway.batch.handlers.python import PYTHON, PythonTask, python_runnable
from gateway.batch.processes.process import ENDED, EXIT, STOPPED, Work
from gateway.batch.rules.definition import EntryDefinition
from gateway.batch.store.ending import LONGEST_TRACEBACK
from gateway.batch.store.run_log import LONGEST_LINE, check_file
from gateway.config.masks import masking
from gateway.config.models import Logging
from gateway.contracts.task import Mask, SpawnedTask, Tally, TaskContext, TaskHandler
from gateway.kernel.errors import GatewayError, TaskRefused, TransientError
from gateway.kernel.ids import RunTaskId
from gateway.workers.limits import limit_memory
from gateway.workers.link import Message, packed, read_message

MOST_BYTES: Final = 1_000_000_000
"""Memory that the code of a task may take: enough for tables of a million rows, little enough for a small machine."""
_MOST_UNSENT: Final = 1_000
_COUNT_SECONDS: Final = 0.1
"""Counts are told so often at most, and at the end: a function may count every row."""
_TOO_MUCH_MEMORY: Final = (
    f"It needs more memory than the {MOST_BYTES // 1_000_000_000} GB that a task may have. Let it work in smaller "
    "pieces, or make it a program and run that by `command`."
)


def run_task(connection: socket.socket, _: Sequence[int], *, set_up: Callable[[Logging], None]) -> None:
    """Be the process of a task: import what it names where the gateway asks for that, then run it once."""
    limit_memory(MOST_BYTES)
    faulthandler.enable()
    os.dup2(2, 1)  # what the code prints stands beside the log; standard output belongs to the command that runs
    gateway = _Gateway(connection)
    while (message := gateway.receive()) is not None:
        if message.kind == "load":
            gateway.tell(*_loaded(message.fields[0]))
            continue
        work, known = pickle.loads(message.body)  # noqa: S301 (made by the gateway, of which this is a part)
        set_up(work.logging)
        _run(gateway, work, known)
        return


class _Gateway:
    """The gateway as this process sees it; whatever thread the code calls from (`python.Asking`)."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._stream = connection.makefile("rb")
        self._unsent = Queue[bytes | None](_MOST_UNSENT)
        self._asked: dict[int, Future[Any]] = {}
        self._numbers = iter(range(1_000_000_000))
        self._speaking = threading.Thread(target=self._speak, name="gateway:speak", daemon=True)
        self._speaking.start()

    def tell(self, kind: str, *said: object, body: bytes = b"") -> None:
        """Say something; waits only while the gateway has very much to hear."""
        self._unsent.put(packed(kind, *said, body=body))

    def receive(self) -> Message | None:
        """Wait for the next message, before somebody listens."""
        return read_message(self._stream)

    def listen(self, stop: Callable[[], object]) -> None:
        """Hear from now on, in a thread, what the gateway answers, and when it asks the code to end."""
        threading.Thread(target=self._hear, args=(stop,), name="gateway:hear", daemon=True).start()

    def close(self) -> None:
        """Wait until everything is said."""
        self._unsent.put(None)
        self._speaking.join()

    def keep_file(self, name: str, content: bytes) -> Future[None]:
        """Keep a file with the run. Raises: FileNotKept."""
        check_file(name, content)
        return self._ask("keep", name, body=bytes(content))

    def spawn(self, tasks: Sequence[SpawnedTask]) -> Future[Sequence[RunTaskId]]:
        """Add tasks to the run. Raises, with the answer: TaskRefused."""
        return self._ask("spawn", [_written(task) for task in tasks])

    def enqueue(self, entry: EntryDefinition) -> Future[None]:
        """Let an entry be added when the task has ended well. Raises, with the answer: EntryRefused, TaskRefused."""
        return self._ask("enqueue", _written(entry))

    def _ask(self, kind: str, *said: object, body: bytes = b"") -> Future[Any]:
        number = next(self._numbers)
        future = self._asked[number] = Future[Any]()
        self.tell(kind, number, *said, body=body)
        return future

    def _speak(self) -> None:
        while (data := self._unsent.get()) is not None:
            with suppress(OSError):  # the gateway is gone, and this process about to be
                self._connection.sendall(data)

    def _hear(self, stop: Callable[[], object]) -> None:
        while (message := self.receive()) is not None:
            if message.kind == "stop":
                with suppress(RuntimeError):  # the loop is closed: there is nobody to stop
                    stop()
                continue
            result, error = pickle.loads(message.body)  # noqa: S301 (made by the gateway)
            future = self._asked.pop(message.fields[0])
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)


def _written(made: SpawnedTask | EntryDefinition) -> dict[str, object]:
    def plain(value: object) -> object:
        if isinstance(value, datetime | time_of_day):
            return value.isoformat()
        return dict(value) if isinstance(value, Mapping) else value

    return {one.name: plain(getattr(made, one.name)) for one in fields(made)}


@dataclass(slots=True, kw_only=True)
class _ToldTally(Tally):
    """Counts here, and tells the gateway now and then."""

    gateway: _Gateway
    told_at: float = float("-inf")
    lock: threading.RLock = field(default_factory=threading.RLock)

    def add(self, what: str, number: int = 1) -> None:
        """Count *number* more of *what*. Raises: TypeError for what is no number that can be told."""
        with self.lock:
            Tally.add(self, what, number if isinstance(number, float) else index(number))
            if time.monotonic() >= self.told_at + _COUNT_SECONDS:
                self.tell()

    def tell(self) -> None:
        """Tell all counts."""
        with self.lock:
            self.told_at = time.monotonic()
            self.gateway.tell("counts", self.counts)


@dataclass(frozen=True, slots=True)
class _ToldLog:
    """Tells each line, masked and cut (`gateway.contracts.task.RunLog`)."""

    gateway: _Gateway
    mask: Mask

    def info(self, text: str) -> None:
        """Say what was done."""
        self._tell("info", text)

    def warning(self, text: str) -> None:
        """Say what somebody may want to look at."""
        self._tell("warning", text)

    def error(self, text: str) -> None:
        """Say what went wrong."""
        self._tell("error", text)

    def _tell(self, severity: str, text: str) -> None:
        self.gateway.tell("line", severity, self.mask(text)[: LONGEST_LINE + 1])  # one more shows that it was cut


class _Interrupted(SystemExit):
    """Raised in a plain function, wherever it is, when its process is asked to end."""


def _loaded(name: str) -> tuple[Any, ...]:
    """Say what a runnable of the users says of itself, or why there is none."""
    try:
        found = own_runnable(name)
        return (
            "loaded",
            {
                "version": found.version, "cancellable": bool(found.cancellable),
                "idempotent": bool(found.idempotent), "retryable": bool(found.retryable),
                "timeout_seconds": found.timeout_seconds,
            },
        )  # fmt: skip
    except BaseException as error:
        return _failure(error, masking(()))


def _run(gateway: _Gateway, work: Work, known: Mapping[str, Any]) -> None:
    """Run it, and tell how it has ended."""
    structlog.contextvars.bind_contextvars(job=known["job"], run_id=known["run_id"], task=known["task"])
    mask = masking(work.secrets)
    tally = _ToldTally(gateway=gateway)
    context = TaskContext(
        **known, feed=OneShotFeed(), stopping=asyncio.Event(), tally=tally, log=_ToldLog(gateway, mask), mask=mask,
        keep_file=lambda name, content: asyncio.wrap_future(gateway.keep_file(name, content)),
        spawn=lambda tasks: asyncio.wrap_future(gateway.spawn(tasks)),
        enqueue=lambda entry: asyncio.wrap_future(gateway.enqueue(entry)),
    )  # fmt: skip

    def tell(ended: str, *said: str) -> None:
        tally.tell()
        gateway.tell(ended, *said)
        gateway.close()  # what the code has left running is none of the task's business any more

    try:
        runnable = python_runnable() if work.name == PYTHON else own_runnable(work.name)
        handler = make_handler(runnable, work.parameters, work.version, mask=mask, base=work.base)
    except BaseException as error:
        tell(*_failure(error, mask))
        return
    if isinstance(handler, PythonTask) and not handler.is_async:
        tell(*_called(handler, context, gateway))
        return
    try:
        asyncio.run(_on_loop(handler, context, gateway, tell))
    except BaseException as error:
        tell(*_failure(error, mask))


def _called(handler: PythonTask, context: TaskContext, gateway: _Gateway) -> tuple[str, ...]:
    """Call a plain function; returns how it has ended."""
    gateway.listen(context.stopping.set)
    try:
        signal.signal(signal.SIGTERM, _interrupt)
        handler.call(context, gateway)
    except _Interrupted:
        return (STOPPED,)
    except BaseException as error:
        return _failure(error, context.mask)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return (ENDED,)


def _interrupt(_: int, __: FrameType | None) -> None:
    raise _Interrupted


async def _on_loop(handler: TaskHandler, context: TaskContext, gateway: _Gateway, tell: Callable[..., None]) -> None:
    """Run what is `async`, and tell how it has ended before the loop waits for what it has left running."""
    loop, work = asyncio.get_running_loop(), asyncio.current_task()
    assert work is not None
    interrupted = False

    def interrupt() -> None:
        nonlocal interrupted
        interrupted = True
        work.cancel()

    loop.add_signal_handler(signal.SIGTERM, interrupt)
    gateway.listen(lambda: loop.call_soon_threadsafe(context.stopping.set))
    ended: tuple[str, ...] = (ENDED,)
    try:
        await handler.run(context)
    except asyncio.CancelledError:
        if not interrupted:
            raise  # a task beside it may have ended the loop: whoever runs that knows
        ended = (STOPPED,)
    except BaseException as error:
        ended = _failure(error, context.mask)
    loop.remove_signal_handler(signal.SIGTERM)
    tell(*ended)


def _failure(error: BaseException, mask: Mask) -> tuple[str, str, str, str, str]:
    """Say what was raised: whether trying again may help, code, text, traceback. Masked whole, then cut."""
    match error:
        case TransientError():
            kind, code, text = "transient", error.code, error.message
        case TaskRefused():
            kind, code, text = "refused", error.code, error.message
        case GatewayError():
            kind, code, text = "known", error.code, error.message
        case SystemExit():
            kind, code, text = "known", EXIT, f"It called sys.exit({error.code!r}) instead of returning."
        case MemoryError():
            kind, code, text = "known", "task.memory", _TOO_MUCH_MEMORY
        case _:
            kind, code, text = "unknown", "", _text(error)
    stack = "".join(traceback.format_exception(error))
    return "failed", kind, code, mask(text)[:LONGEST_ERROR], mask(stack)[-LONGEST_TRACEBACK:]


def _text(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:  # it cannot even say what it is
        return type(error).__name__
