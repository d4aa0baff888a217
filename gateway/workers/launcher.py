"""Starts the processes of a gateway that run code of other people: by fork, from a process that did nothing yet.

The launcher is forked before the gateway has an event loop, a thread or a connection, and never gets one. So those
it forks begin in a moment with everything imported, share that memory, and hold nothing that belongs to the gateway:
no lock, no connection, no descriptor but those they are given. Whatever ends the gateway ends the launcher, and
whatever ends the launcher ends all of them, by the kernel.
"""

import asyncio
import contextlib
import ctypes
import gc
import json
import os
import select
import signal
import socket
import sys
import traceback
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, NoReturn

import structlog

from gateway.domain.errors import GatewayError
from gateway.workers.cage import end_with
from gateway.workers.limits import forbid_core_dumps

log = structlog.get_logger()

Role = Callable[[socket.socket, Sequence[int]], None]
"""What a process does from its beginning to its end: its socket to the gateway, and the descriptors it was given."""

LAUNCHER_DIED: Final = 75
_PR_SET_NAME: Final = 15
_MOST_DESCRIPTORS: Final = 8
_LONGEST: Final = 10_000
_OUT_OF_MEMORY_FIRST: Final = 300
"""When memory runs out the kernel ends these before the gateway; readers of files even before them."""


class NotLaunched(GatewayError):
    """No process could be started: the machine, the account or its container has too many, or no memory left."""

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
    """The gateway's side. Made before the event loop runs; `launch` may be called from it, side by side."""

    def __init__(self, connection: socket.socket, pid: int) -> None:
        self._connection = connection
        self.pid = pid
        self._asked: deque[asyncio.Future[Child]] = deque()
        self._children: dict[int, Child] = {}
        self._listening = False
        self.died: asyncio.Future[None] | None = None

    @classmethod
    def start(cls, roles: Mapping[str, Role]) -> "Launcher":
        """Fork the launcher. Before: this process has one thread, and no event loop that runs."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        parent = os.getpid()
        gc.collect()
        gc.freeze()  # a collector that walks over what is shared would make copies of it
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            _serve_to_the_end(ours, theirs, parent, roles)
        theirs.close()
        return cls(ours, pid)

    async def launch(self, role: str, *descriptors: int) -> Child:
        """Start a process in a role, with copies of descriptors; the first is the socket it listens to.

        Raises: NotLaunched.
        """
        self._listen()
        asked: asyncio.Future[Child] = asyncio.get_running_loop().create_future()
        try:
            socket.send_fds(self._connection, [json.dumps(["launch", role]).encode()], descriptors)
        except OSError as error:
            raise NotLaunched(f"no process could be started: {error.strerror}") from error
        self._asked.append(asked)
        return await asyncio.shield(asked)

    def send_signal(self, pid: int, number: int) -> None:
        """Send a signal to a child."""
        if pid in self._children:
            with contextlib.suppress(OSError):
                self._connection.send(json.dumps(["signal", pid, number]).encode())

    def close(self) -> None:
        """End the launcher, and with it what it has launched."""
        if self._listening:
            asyncio.get_running_loop().remove_reader(self._connection.fileno())
        self._connection.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)

    def _listen(self) -> None:
        if not self._listening:
            self._listening = True
            self._connection.setblocking(False)
            loop = asyncio.get_running_loop()
            self.died = loop.create_future()
            loop.add_reader(self._connection.fileno(), self._heard)

    def _heard(self) -> None:
        try:
            data = self._connection.recv(_LONGEST)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._lost()
            return
        match json.loads(data):
            case ["born", int(pid)]:
                child = self._children[pid] = Child(pid, self)
                self._asked.popleft().set_result(child)
            case ["failed", str(reason)]:
                self._asked.popleft().set_exception(NotLaunched(f"no process could be started: {reason}"))
            case ["ended", int(pid), int(status)]:
                self._children.pop(pid).ended.set_result(status)

    def _lost(self) -> None:
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


def _serve_to_the_end(ours: socket.socket, theirs: socket.socket, parent: int, roles: Mapping[str, Role]) -> NoReturn:
    """Be the launcher, and in each fork of it what was asked for; nothing of the caller runs in either."""
    status = LAUNCHER_DIED
    try:
        ours.close()
        os.setsid()  # what is typed at the gateway's terminal is for the gateway
        end_with(parent)
        _name("gateway-launch")
        status = _Serving(theirs, roles).serve()
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


class _Serving:
    """The launcher itself: one thread, no event loop."""

    def __init__(self, connection: socket.socket, roles: Mapping[str, Role]) -> None:
        self._connection = connection
        self._roles = roles
        self._children: set[int] = set()

    def serve(self) -> int:
        """Launch until the gateway hangs up; returns the exit status, of a launched process its own."""
        woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        for typed in (signal.SIGINT, signal.SIGTERM):
            signal.signal(typed, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake)
        while True:
            ready, _, _ = select.select([self._connection.fileno(), woken], [], [])
            if woken in ready:
                os.read(woken, 1000)
                self._bury()
            if self._connection.fileno() not in ready:
                continue
            data, descriptors, _, _ = socket.recv_fds(self._connection, _LONGEST, _MOST_DESCRIPTORS)
            if not data:
                return 0
            for descriptor in descriptors:
                os.set_inheritable(descriptor, False)  # programs that a process starts must not hold its link open
            match json.loads(data):
                case ["launch", str(role)]:
                    if (status := self._launch(role, descriptors)) is not None:
                        return status
                case ["signal", int(pid), int(number)] if pid in self._children:
                    os.kill(pid, number)
            for descriptor in descriptors:
                os.close(descriptor)

    def _launch(self, role: str, descriptors: list[int]) -> int | None:
        """Fork; returns None in the launcher, and in the process its exit status when its role is over."""
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            self._tell("failed", error.strerror or str(error))
            return None
        if pid:
            self._children.add(pid)
            self._tell("born", pid)
            return None
        end_with(parent)
        self._become(role)
        self._roles[role](socket.socket(fileno=descriptors[0]), descriptors[1:])
        return 0

    def _become(self, role: str) -> None:
        self._connection.close()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        os.setsid()
        _name(f"gateway-{role}")
        forbid_core_dumps()
        if sys.platform == "linux":
            with contextlib.suppress(OSError):
                Path("/proc/self/oom_score_adj").write_text(str(_OUT_OF_MEMORY_FIRST), encoding="ascii")

    def _bury(self) -> None:
        """Take note of those that have ended, and end what they have started and left behind in their groups."""
        while self._children:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is None:
                return
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(ended.si_pid, signal.SIGKILL)  # before it is buried: its number is still its own
            pid, status = os.waitpid(ended.si_pid, 0)
            self._children.discard(pid)
            self._tell("ended", pid, os.waitstatus_to_exitcode(status))

    def _tell(self, *message: object) -> None:
        with contextlib.suppress(OSError):  # the gateway has gone, and we are about to
            self._connection.send(json.dumps(message).encode())


def _name(name: str) -> None:
    """Name this process for those who look at a list of processes."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_NAME, name[:15].encode(), 0, 0, 0)
