"""Bears gateways by fork: a process that has imported everything once, so that a life takes a fraction of a second.

Run as `python -m tests.crash.process_factory`. Each line on standard input is a `Birth` as JSON; each line on standard
output tells the process id of a child that began, or that ended and how. A child is the real `gateway run` from
its first statement on, in a session of its own, and dies with the process factory.

What differs from a start by `exec`, beside the time it takes: the list of processes shows the command line of the
factory, and `/proc` its environment; modules of the tests are in memory, too, and all children have the same seed for
the order of sets; the first launcher of readers is forked before the gateway begins and not a program of its own, so
that it has in memory what the factory has, but it has no environment either. Everything else is that of a start in a
session of its own with nothing as its input: environment, signals, mask of new files, limits, descriptors. Starts that
prove the start itself are made by `exec`: those with an embedded database in `tests.e2e`, and `test_command_line`.
"""

import asyncio
import contextlib
import ctypes
import json
import os
import random
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from gateway.cli import db, run
from gateway.cli.main import main
from gateway.kernel.faultpoints import switched_on
from gateway.workers.launcher import Launcher
from gateway.xml import reader
from gateway.xml.process import ReaderLauncher
from tests.crash import mutants

ROOT = Path(__file__).resolve().parents[2]
_PR_SET_PDEATHSIG = 1
_MOST_DESCRIPTORS = 100
COMMANDS = (db, run)
"""What children are, imported before they are born."""


@dataclass(frozen=True, kw_only=True)
class Birth:
    """What a child is to be: *build* names one of the mutants or of the environments, `pauses` where it waits."""

    config: str
    log: str
    command: str = "run"
    faults: str = ""
    build: str = ""
    pauses: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] | None = None
    """All of it; None is that of the process factory."""


class Child:
    """A gateway that was born; looks like a process of asyncio."""

    def __init__(self, pid: int, ended: "Future[int]") -> None:
        self.pid = pid
        self._ended = ended

    @property
    def returncode(self) -> int | None:
        return self._ended.result() if self._ended.done() else None

    def send_signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    async def wait(self) -> int:
        return await asyncio.wrap_future(self._ended)


class ProcessFactory:
    """The test's side; the process starts with the first birth."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._born: list[Future[Child]] = []
        self._ended: dict[int, Future[int]] = {}
        self._reader = threading.Thread(target=self._listen, name="nursery", daemon=True)

    def bear(self, birth: Birth) -> Child:
        """Fork a gateway; returns as soon as it exists."""
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.crash.process_factory"], cwd=ROOT,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
            )  # fmt: skip
            self._reader.start()
        born: Future[Child] = Future()
        self._born.append(born)
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asdict(birth)) + "\n")
        return born.result(60)

    def close(self) -> None:
        """End the process factory, and with it every child."""
        if self._process is None:
            return
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        self._process.stdout.close()

    def _listen(self) -> None:
        assert self._process is not None and self._process.stdout is not None
        for line in self._process.stdout:
            told: dict[str, Any] = json.loads(line)
            pid = told["pid"]
            if told["what"] == "born":
                self._ended[pid] = Future()
                self._born.pop(0).set_result(Child(pid, self._ended[pid]))
            else:
                self._ended.pop(pid).set_result(told["status"])


def _serve() -> Birth | None:
    """Bear children until standard input closes; returns in each child, and in the factory at its end (None)."""
    woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake)
    children: set[int] = set()
    buffer = b""
    while True:
        ready, _, _ = select.select([0, woken], [], [])
        if woken in ready:
            os.read(woken, 1000)
            _bury(children)
        if 0 not in ready:
            continue
        data = os.read(0, 65536)
        if not data:
            break
        *lines, buffer = (buffer + data).split(b"\n")
        for line in lines:
            pid = os.fork()
            if pid == 0:
                os.close(woken)
                os.close(wake)
                return Birth(**json.loads(line))
            children.add(pid)
            _tell(what="born", pid=pid)
    for pid in children:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
    return None


def _bury(children: set[int]) -> None:
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        children.discard(pid)
        _tell(what="ended", pid=pid, status=os.waitstatus_to_exitcode(status))


def _tell(**facts: object) -> None:
    os.write(1, json.dumps(facts).encode() + b"\n")


def _become(birth: Birth) -> None:
    """Turn this fork into `gateway run`, or the command of that name; ends as that does."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    log = os.open(birth.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    sys.stdout.reconfigure(write_through=True)  # type: ignore[union-attr]
    random.seed()
    if birth.environment is not None:
        os.environ.clear()
        os.environ.update(birth.environment)
    if birth.command == "run":
        _have_launcher_of_readers()
    observers = mutants.apply(birth.build, Path(birth.config).parent)
    paused: set[str] = set()

    def pause(point: str) -> None:
        """Wait at a point, the first time, until the test says go on."""
        if point in birth.pauses and point not in paused:
            paused.add(point)
            signs = Path(birth.pauses[point])
            (signs / f"{point}.here").touch()
            while not (signs / f"{point}.go").exists():
                time.sleep(0.002)

    sys.argv = ["gateway", *birth.command.split(), "--config", birth.config]
    if birth.pauses:
        observers.append(pause)

    def observe(point: str) -> None:
        for observer in observers:
            observer(point)

    with switched_on(birth.faults, observer=observe if observers else None):
        main()


def _have_launcher_of_readers() -> None:
    """Fork the launcher of readers that this gateway is going to ask for first; others are programs of their own."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    words, mouth = os.pipe()
    gateway = os.getpid()
    pid = os.fork()
    if pid == 0:
        os.environ.clear()
        for source, target in ((0, 1), (mouth, 2), (theirs.fileno(), 3)):
            os.dup2(source, target)
        os.closerange(4, _MOST_DESCRIPTORS)
        reader.launch_readers(socket.socket(fileno=3), gateway)
    theirs.close()
    os.close(mouth)
    start = ReaderLauncher.start

    async def first() -> ReaderLauncher:
        if os.getpid() != gateway:  # a fork of it
            return await start()
        ReaderLauncher.start = start  # type: ignore[method-assign]
        return ReaderLauncher(_Forked(pid, words), Launcher(ours, pid))  # type: ignore[arg-type]

    ReaderLauncher.start = first  # type: ignore[method-assign, assignment]


class _Forked:
    """A process forked from this one; what is needed of it looks like a process of asyncio."""

    def __init__(self, pid: int, words: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._words = words

    async def communicate(self) -> tuple[bytes, bytes]:
        loop, ended, gone = asyncio.get_running_loop(), os.pidfd_open(self.pid), asyncio.Event()
        loop.add_reader(ended, gone.set)
        try:
            await gone.wait()
        finally:
            loop.remove_reader(ended)
            os.close(ended)
        _, status = os.waitpid(self.pid, 0)
        self.returncode = os.waitstatus_to_exitcode(status)
        with os.fdopen(self._words, "rb") as words:
            return b"", words.read()


if __name__ == "__main__":
    found = _serve()
    if found is not None:
        _become(found)
