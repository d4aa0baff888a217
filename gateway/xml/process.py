"""One reader process as the gateway sees it, forked, asked, listened to, ended; and the launcher it is forked from."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Awaitable
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from gateway.kernel.errors import TransientError
from gateway.workers.launcher import Child, Launcher, NotLaunched, ending
from gateway.workers.link import Message, packed, take_message
from gateway.xml.limits import ReadRules, SchemaSet
from gateway.xml.protocol import READER, MessageKind

T = TypeVar("T")

READY_SECONDS = 120.0
"""For one step of getting ready, on a machine that has much else to do."""
_RECEIVE_BYTES = 262_144
_MOST_BYTES = 512_000_000
"""Of one message of a reader."""
_STDERR_CHARACTERS = 2000
_PROGRAM = ("-m", "gateway.xml.reader")
_PACKAGE_ROOT = Path(__file__).resolve().parents[2]


class ReaderDied(TransientError):
    """The process that read the file has ended, by a limit, a crash or a signal; nothing of the file counts.

    The caller tries the file alone, twice, then quarantines it.
    """

    code = "worker.crashed"


class TookTooLong(ReaderDied):
    """The process was ended, because the file took longer than it may."""


class ReadersUnavailable(TransientError):
    """No process that reads files gets ready: the trouble of the gateway's machine, never of a file. Files wait."""

    code = "reader.not-ready"

    @classmethod
    def because(cls, error: Exception) -> "ReadersUnavailable":
        """Say what keeps readers from getting ready."""
        text = str(error.context.get("details") or "") if isinstance(error, ReaderDied) else ""
        last = text.strip().rpartition("\n")[2]
        reason = f"{str(error).rstrip('.')}{f': {last}' if last and last not in str(error) else ''}"
        return cls(
            f"No process that reads files gets ready: {reason}. Files wait and are taken when one does. "
            "If the gateway was upgraded or its machine has reached a limit of processes or memory, mend that and "
            "restart the gateway."
        )


class ReaderLauncher:
    """The process that readers are forked from (`gateway.xml.reader`), with what it has made ready for them.

    `schemas` are those that it has loaded, `documents` those whose faults it can explain. A fork has both at once.
    """

    def __init__(self, process: Process, launcher: Launcher) -> None:
        self._process = process
        self._launcher = launcher
        self._gone = asyncio.create_task(process.communicate(), name="launcher of readers ends")
        self.schemas: SchemaSet | None = None
        self.documents: set[str] = set()

    @classmethod
    async def start(cls) -> "ReaderLauncher":
        """Start one with an empty environment. Raises: ReadersUnavailable when there can be none."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-P",
                    "-s",
                    *_PROGRAM,
                    str(theirs.fileno()),
                    str(os.getpid()),
                    stdin=DEVNULL,
                    stdout=DEVNULL,
                    stderr=PIPE,
                    cwd="/",
                    env={"PYTHONPATH": str(_PACKAGE_ROOT), "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"},
                    pass_fds=(theirs.fileno(),),
                )
            except OSError as error:  # no such program any more, or no process or memory left for it
                ours.close()
                raise ReadersUnavailable.because(error) from error
            except BaseException:
                ours.close()
                raise
        return cls(process, Launcher(ours, process.pid))

    @property
    def pid(self) -> int:
        """Return the process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Tell whether the process has not ended, as far as is known."""
        lost = self._launcher.died is not None and self._launcher.died.done()
        return self._process.returncode is None and not lost

    async def load(self, schemas: SchemaSet) -> None:
        """Load the schemas of its readers, before it gets any. Raises: ReadersUnavailable."""
        await self._prepare("load", list(schemas[0]))
        self.schemas = schemas

    async def prepare(self, document: str) -> int:
        """Get ready to explain faults of a document; returns the memory it holds then. Raises: ReadersUnavailable."""
        held: int = await self._prepare("prepare", document)
        self.documents.add(document)
        return held

    async def fork(self) -> "ReaderProcess":
        """Fork a reader; it is ready when it says so. Raises: ReadersUnavailable."""
        errors, its_errors = os.pipe()  # its standard error: read when it has ended
        try:
            child, connection = await self._in_time(self._launcher.launch(READER, its_errors))
        except BaseException:
            os.close(errors)
            raise
        finally:
            os.close(its_errors)
        connection.setblocking(False)
        os.set_blocking(errors, False)
        return ReaderProcess(child, connection, os.fdopen(errors, "rb"), self)

    def kill(self) -> None:
        """End the process at once, and with it its readers; `wait` still has to be awaited."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                # not Process.kill: it polls first, and so takes the exit status away from those who wait for it
                os.kill(self._process.pid, signal.SIGKILL)

    async def wait(self) -> str:
        """Wait until the process has gone, and its readers; returns what it said on standard error."""
        _, text = await asyncio.shield(self._gone)
        if self._launcher.died is not None:
            await asyncio.wait({self._launcher.died})
        self._launcher.hang_up()
        return _end_of(text)

    async def unavailable(self) -> ReadersUnavailable:
        """Say how the process has ended, when it has."""
        text = await self.wait()
        status = self._process.returncode
        assert status is not None
        return ReadersUnavailable.because(ReaderDied(f"The process that starts them {ending(status)}.", details=text))

    async def _prepare(self, what: str, *fields: object) -> Any:
        return await self._in_time(self._launcher.prepare(what, *fields))

    async def _in_time(self, asked: Awaitable[T]) -> T:
        """Return what the launcher answers. Raises: ReadersUnavailable; it is ended when there is no answer."""
        try:
            async with asyncio.timeout(READY_SECONDS):
                return await asked
        except NotLaunched as error:
            if self.alive:
                raise ReadersUnavailable.because(error) from error
            raise await self.unavailable() from error
        except TimeoutError as error:
            self.kill()
            raise ReadersUnavailable.because(TookTooLong("It took longer than it may; it was ended.")) from error


class ReaderProcess:
    """A reader and the socket to it. It answers requests one after the other, in order.

    `owes` counts the files it was asked to read and has not ended yet, `resident` is the memory it held at the last
    end, in bytes.
    """

    def __init__(self, process: Child, connection: socket.socket, errors: BinaryIO, launcher: ReaderLauncher) -> None:
        self._process = process
        self._connection = connection
        self._errors: BinaryIO | None = errors
        self.launcher = launcher
        self._buffer = bytearray()
        self.owes = 0
        self.resident = 0
        self.explains = frozenset(launcher.documents)

    @property
    def pid(self) -> int:
        """Return the process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Tell whether the process has not ended, as far as is known."""
        return not self._process.ended.done()

    async def request(self, rules: ReadRules, fd: int) -> None:
        """Ask the reader to read the file behind a descriptor, which travels with the question.

        Raises: ReaderDied when nobody listens; ReadersUnavailable.
        """
        data = _question(rules)
        self.owes += 1
        try:
            sent = socket.send_fds(self._connection, [data], [fd])
            if sent < len(data):
                await asyncio.get_running_loop().sock_sendall(self._connection, data[sent:])
        except OSError as error:
            raise await self._died() from error

    async def receive(self) -> Message:
        """Return the next message.

        Raises: ReaderDied when the reader ends before, or says that it will; ReadersUnavailable when its launcher has
        ended, and the reader with it.
        """
        while (message := self.next_message()) is None:
            await self._receive_more()
        return message

    def next_message(self) -> Message | None:
        """Return the next message when all of it is here. Raises: ReaderDied when the reader says that it ends."""
        try:
            message = take_message(self._buffer, _MOST_BYTES)
        except ValueError as error:
            raise ReaderDied(f"The reader cannot be understood: {error}.") from error
        match message:
            case Message(MessageKind.CRASHED, (text,)):
                raise ReaderDied(f"The reader of the file failed: {str(text).strip().splitlines()[-1]}", details=text)
        return message

    def answered(self, resident: int) -> None:
        """Say that a file has ended, and what memory the reader held then."""
        self.owes -= 1
        self.resident = resident

    def kill(self) -> None:
        """End the process at once; `wait` still has to be awaited."""
        self._connection.close()
        self._process.send_signal(signal.SIGKILL)

    async def wait(self) -> None:
        """Wait until the process has gone."""
        await asyncio.shield(self._process.ended)
        self._last_words()

    async def _receive_more(self) -> None:
        """Wait for bytes; what nobody asks for stays in the socket."""
        try:
            data = await asyncio.get_running_loop().sock_recv(self._connection, _RECEIVE_BYTES)
        except OSError as error:
            raise await self._died() from error
        if not data:
            raise await self._died()
        self._buffer += data

    async def _died(self) -> ReaderDied | ReadersUnavailable:
        """Return what is known about the death of this reader."""
        self.kill()
        status = await asyncio.shield(self._process.ended)
        if not self.launcher.alive:
            return await self.launcher.unavailable()
        how = f"signal {-status}" if status < 0 else f"exit status {status}"
        text = self._last_words()
        return ReaderDied(f"The process that read the file ended unexpectedly ({how}).", status=status, details=text)

    def _last_words(self) -> str:
        """Return what the reader, which has ended, said on standard error, when this is asked for the first time."""
        errors, self._errors = self._errors, None
        if errors is None:
            return ""
        with errors:
            return _end_of(errors.read() or b"")


@lru_cache(maxsize=64)
def _question(rules: ReadRules) -> bytes:
    """Return a request as it travels; most files of a port come with the same."""
    return packed(MessageKind.READ, asdict(rules))


def _end_of(text: bytes) -> str:
    return text.decode("utf-8", "replace")[-_STDERR_CHARACTERS:].strip()
