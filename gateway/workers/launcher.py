"""Starts the processes of a gateway that run code, or read files, of other people: the gateway's side.

They are forked from a launcher (`gateway.workers.forking`). The gateway has two kinds. One is forked from it before it
has an event loop, a thread or a connection (`Launcher.start`): what that forks may know what the gateway knows. The
other is a program of its own and knows no secret: readers of files are forked from it (`gateway.xml.process`).
"""

import asyncio
import contextlib
import gc
import json
import os
import signal
import socket
import sys
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from gateway.kernel.errors import GatewayError
from gateway.workers.forking import LONGEST, Role, serve_to_the_end
from gateway.workers.link import Link

_LAST_SECONDS: Final = 1.0
"""For a process that is not needed any more, to end by itself."""
_REASONS: Final[Mapping[int, str]] = {
    signal.SIGKILL: "perhaps the machine had no memory left",
    signal.SIGSEGV: "a library that it uses is broken; standard error has the place",
    signal.SIGABRT: "a library that it uses gave up; standard error has the place",
}


class NotLaunched(GatewayError):
    """No process could be started: the machine, the account or its container has too many, or no memory left.

    Or its launcher could not prepare it, or has ended.
    """

    code = "process.not-started"


class Child:
    """A process that was launched. `ended` becomes its exit status, negative for the signal that ended it."""

    def __init__(self, pid: int, launcher: "Launcher") -> None:
        self.pid = pid
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._launcher = launcher

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended: the launcher knows, so that none reaches another process."""
        self._launcher.send_signal(self.pid, number)

    async def end(self, *, seconds: float = 0.0) -> int:
        """Wait so long for it to end by itself, then end it; returns its exit status."""
        await asyncio.wait({self.ended}, timeout=seconds)
        if not self.ended.done():
            self.send_signal(signal.SIGKILL)
        return await asyncio.shield(self.ended)


class Launcher:
    """The gateway's side, over the socket to a launcher; `launch` may be called from its event loop, side by side."""

    def __init__(self, connection: socket.socket, pid: int) -> None:
        self._connection = connection
        self.pid = pid
        self._asked: deque[asyncio.Future[Any]] = deque()
        self._children: dict[int, Child] = {}
        self._loop: asyncio.AbstractEventLoop | None = None  # that listens
        self.died: asyncio.Future[None] | None = None

    @classmethod
    def start(cls, roles: Mapping[str, Role]) -> "Launcher":
        """Fork a launcher. Before: this process has one thread, and no event loop that runs."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        parent = os.getpid()
        gc.collect()
        gc.freeze()  # a collector that walks over what is shared would make copies of it
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            ours.close()
            serve_to_the_end(theirs, parent, roles, name="launch")
        theirs.close()
        return cls(ours, pid)

    async def launch(self, role: str, *descriptors: int) -> tuple[Child, socket.socket]:
        """Start a process in a role, with copies of descriptors; returns it, and our end of the socket it listens to.

        Raises: NotLaunched.
        """
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                child: Child = await self._ask(["launch", role], (theirs.fileno(), *descriptors))
        except BaseException:
            ours.close()  # a process that is forked meanwhile ends with it
            raise
        return child, ours

    async def prepare(self, what: str, *fields: object) -> Any:
        """Let the launcher do one of its preparations, for all that it launches later; returns what that returns.

        Shape: fields and result are JSON. Raises: NotLaunched, with the last line of what went wrong.
        """
        return await self._ask(["prepare", what, *fields])

    def send_signal(self, pid: int, number: int) -> None:
        """Send a signal to a child."""
        if pid in self._children:
            with contextlib.suppress(OSError):
                self._connection.send(json.dumps(["signal", pid, number]).encode())

    def close(self) -> None:
        """End a launcher that was forked from here, and with it what it has launched."""
        self.hang_up()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)

    def hang_up(self) -> None:
        """Ask the launcher nothing more; it ends when it hears that, and with it what it has launched."""
        if self._loop is not None and not self._loop.is_closed():  # who closes it may have no loop any more
            self._loop.remove_reader(self._connection.fileno())
        self._connection.close()

    async def _ask(self, question: Sequence[object], descriptors: Sequence[int] = ()) -> Any:
        self._listen()
        asked: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        try:
            socket.send_fds(self._connection, [json.dumps(question).encode()], descriptors)
        except OSError as error:
            raise NotLaunched(f"no process could be started: {error.strerror}") from error
        self._asked.append(asked)
        asked.add_done_callback(asyncio.Future.exception)  # who asked may not wait for the answer any more
        return await asyncio.shield(asked)

    def _listen(self) -> None:
        if self._loop is None:
            self._connection.setblocking(False)
            loop = self._loop = asyncio.get_running_loop()
            self.died = loop.create_future()
            loop.add_reader(self._connection.fileno(), self._on_message)

    def _on_message(self) -> None:
        try:
            data = self._connection.recv(LONGEST)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._on_end()
            return
        match json.loads(data):
            case ["launched", int(pid)]:
                child = self._children[pid] = Child(pid, self)
                self._asked.popleft().set_result(child)
            case ["failed", str(reason)]:
                self._asked.popleft().set_exception(NotLaunched(reason))
            case ["prepared", result]:
                self._asked.popleft().set_result(result)
            case ["ended", int(pid), int(status)]:
                self._children.pop(pid).ended.set_result(status)

    def _on_end(self) -> None:
        """The launcher has ended, and so has everything it launched."""
        asyncio.get_running_loop().remove_reader(self._connection.fileno())
        for child in self._children.values():
            child.ended.set_result(-signal.SIGKILL)
        self._children.clear()
        for asked in self._asked:
            asked.set_exception(NotLaunched("the process that starts others has ended"))
        self._asked.clear()
        if self.died is not None:
            self.died.set_result(None)


@asynccontextmanager
async def launched(launcher: Launcher, role: str) -> AsyncIterator[tuple[Child, Link]]:
    """Start a process in a role; it is gone at the end of the block. Raises: NotLaunched."""
    child, connection = await launcher.launch(role)
    link = await Link.over(connection)
    try:
        yield child, link
    finally:
        link.close()
        try:
            await child.end(seconds=_LAST_SECONDS)
        except asyncio.CancelledError:
            child.send_signal(signal.SIGKILL)
            raise


def ending(status: int) -> str:
    """Say how a process has ended, after its name: with an exit status, or by a signal when it is negative."""
    if status >= 0:
        return f"ended with exit status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    reason = _REASONS.get(-status)
    return f"was ended by {name}" if reason is None else f"was ended by {name} ({reason})"
