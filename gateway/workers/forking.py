"""The launcher: forks processes when it is asked to, from one that did nothing yet.

It has one thread, no event loop and no connection. So those it forks begin in a moment with everything imported, share
that memory, and hold nothing that belongs to the gateway: no lock, no connection, no descriptor but those they are
given. Whatever ends the gateway ends its launchers, and whatever ends a launcher ends all that it has forked, by the
kernel.
"""

import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final, NoReturn

from gateway.workers.cage import end_with
from gateway.workers.limits import forbid_core_dumps

Role = Callable[[socket.socket, Sequence[int]], None]
"""What a process does from its beginning to its end: its socket to the gateway, and the descriptors it was given."""
Preparation = Callable[..., object]
"""What a launcher does itself, so that those it forks later need not do it; takes and returns JSON."""

LAUNCHER_DIED: Final = 75
LONGEST: Final = 100_000
"""Bytes of a message between the gateway and its launcher."""
_PR_SET_NAME: Final = 15
_TYPED: Final = (signal.SIGINT, signal.SIGTERM)
"""What a person types, or sends to a group: a launcher is deaf to it, what it launches is not."""
_MOST_DESCRIPTORS: Final = 8
_LONGEST_REASON: Final = 2_000
_OUT_OF_MEMORY_FIRST: Final = 300
"""When memory runs out the kernel ends these before the gateway."""


def serve_to_the_end(
    connection: socket.socket,
    parent: int,
    roles: Mapping[str, Role],
    preparations: Mapping[str, Preparation] = MappingProxyType({}),
    *,
    name: str,
) -> NoReturn:
    """Be a launcher until the gateway, which is *parent*, hangs up or ends, and in each fork of it what was asked for.

    Nothing of the caller runs after it in any of them.
    Before: this process has one thread and no event loop, and leads no group of processes.
    """
    status = LAUNCHER_DIED
    try:
        os.setsid()  # what is typed at the gateway's terminal is for the gateway
        end_with(parent)
        _name(f"gateway-{name}")
        status = _Launcher(connection, roles, preparations).serve()
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


class _Launcher:
    """The launcher itself: one thread, no event loop."""

    def __init__(
        self, connection: socket.socket, roles: Mapping[str, Role], preparations: Mapping[str, Preparation]
    ) -> None:
        self._connection = connection
        self._roles = roles
        self._preparations = preparations
        self._children: set[int] = set()
        self._wakeup = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def serve(self) -> int:
        """Launch until the gateway hangs up; returns the exit status, of a launched process its own."""
        woken, wake = self._wakeup
        for typed in _TYPED:
            signal.signal(typed, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake)
        while True:
            ready, _, _ = select.select([self._connection.fileno(), woken], [], [])
            if woken in ready:
                os.read(woken, 1000)
                self._reap()
            if self._connection.fileno() not in ready:
                continue
            data, descriptors, _, _ = socket.recv_fds(self._connection, LONGEST, _MOST_DESCRIPTORS)
            if not data:
                return 0
            for descriptor in descriptors:
                os.set_inheritable(descriptor, False)  # programs that a process starts must not hold its link open
            match json.loads(data):
                case ["launch", str(role)]:
                    if (status := self._launch(role, descriptors)) is not None:
                        return status
                case ["prepare", str(what), *fields]:
                    self._prepare(what, fields)
                case ["signal", int(pid), int(number)] if pid in self._children:
                    os.kill(pid, number)
            for descriptor in descriptors:
                os.close(descriptor)

    def _launch(self, role: str, descriptors: list[int]) -> int | None:
        """Fork; returns None in the launcher, and in the process its exit status when its role is over."""
        parent = os.getpid()
        signal.pthread_sigmask(signal.SIG_BLOCK, _TYPED)  # what is sent to it before it hears them must not be lost
        try:
            pid = os.fork()
        except OSError as error:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _TYPED)
            self._report("failed", f"no process could be started: {error.strerror or error}")
            return None
        if pid:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _TYPED)
            self._children.add(pid)
            self._report("launched", pid)
            return None
        end_with(parent)
        self._become(role)
        self._roles[role](socket.socket(fileno=descriptors[0]), descriptors[1:])
        return 0

    def _prepare(self, what: str, fields: Sequence[object]) -> None:
        try:
            result = self._preparations[what](*fields)
        except Exception as error:
            self._report("failed", traceback.format_exception_only(error)[-1].strip()[:_LONGEST_REASON])
        else:
            self._report("prepared", result)

    def _become(self, role: str) -> None:
        self._connection.close()
        signal.set_wakeup_fd(-1)
        for end in self._wakeup:  # the launcher's: who takes what is in it keeps the launcher from seeing who ended
            os.close(end)
        for number in (signal.SIGCHLD, *_TYPED):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _TYPED)
        os.setsid()
        _name(f"gateway-{role}")
        forbid_core_dumps()
        if sys.platform == "linux":
            with contextlib.suppress(OSError):
                Path("/proc/self/oom_score_adj").write_text(str(_OUT_OF_MEMORY_FIRST), encoding="ascii")

    def _reap(self) -> None:
        """Take note of those that have ended, and end what they left behind in their groups."""
        while self._children:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is None:
                return
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(ended.si_pid, signal.SIGKILL)  # before it is reaped: its number is still its own
            pid, status = os.waitpid(ended.si_pid, 0)
            self._children.discard(pid)
            self._report("ended", pid, os.waitstatus_to_exitcode(status))

    def _report(self, *message: object) -> None:
        with contextlib.suppress(OSError):  # the gateway has gone, and we are about to
            self._connection.send(json.dumps(message).encode())


def _name(name: str) -> None:
    """Name this process for those who look at a list of processes."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_NAME, name[:15].encode(), 0, 0, 0)
