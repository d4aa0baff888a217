"""One worker process as its parent sees it: started, asked, listened to, ended."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from gateway.domain.errors import TransientError
from gateway.xml.frames import MAX_FRAME_BYTES, PREFIX, Kind
from gateway.xml.limits import ReadRules

_RECEIVE_BYTES = 262_144
_STDERR_BYTES = 2000
_PROGRAM = ("-m", "gateway.xml.worker")
_PACKAGE_ROOT = Path(__file__).resolve().parents[2]


class WorkerDied(TransientError):
    """The process that read the file has ended, by a limit, a crash or a signal; nothing of the file counts.

    The caller tries the file alone, twice, then quarantines it.
    """

    code = "worker.crashed"


class TookTooLong(WorkerDied):
    """The process was ended, because the file took longer than it may."""


class ReadersUnavailable(TransientError):
    """No process that reads files gets ready: the trouble of the gateway's machine, never of a file. Files wait."""

    code = "reader.not-ready"

    @classmethod
    def because(cls, error: Exception) -> "ReadersUnavailable":
        """Say what keeps readers from getting ready."""
        said = str(error.context.get("details") or "") if isinstance(error, WorkerDied) else ""
        last = said.strip().rpartition("\n")[2]
        reason = f"{str(error).rstrip('.')}{f': {last}' if last and last not in str(error) else ''}"
        return cls(
            f"No process that reads files gets ready: {reason}. Files wait and are taken when one does. "
            "If the gateway was upgraded or its machine has reached a limit of processes or memory, mend that and "
            "restart the gateway."
        )


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of a worker: its kind, its JSON, its body."""

    kind: Kind
    fields: object
    body: bytes


class WorkerProcess:
    """A worker and the socket to it. It answers requests one after the other, in order.

    `owes` counts the files it was asked to read and has not ended yet, `resident` is the memory it held at the last
    end, in bytes.
    """

    def __init__(self, process: Process, connection: socket.socket) -> None:
        self._process = process
        self._connection = connection
        self._buffer = bytearray()
        self.owes = 0
        self.resident = 0

    @classmethod
    async def start(cls) -> "WorkerProcess":
        """Start a worker with an empty environment; it is ready when it answers its first request.

        Raises: ReadersUnavailable when there can be none.
        """
        ours, theirs = socket.socketpair()
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
        ours.setblocking(False)
        return cls(process, ours)

    @property
    def pid(self) -> int:
        """Return the process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Tell whether the process has not ended, as far as is known."""
        return self._process.returncode is None

    async def request(
        self, kind: Kind, rules: ReadRules, fd: int | None = None, *, document: str | None = None
    ) -> None:
        """Ask the worker; a descriptor travels with the question. *document* is what to prepare for.

        Raises: WorkerDied when nobody listens.
        """
        data = _question(kind, rules, document)
        self.owes += kind is Kind.READ
        try:
            sent = socket.send_fds(self._connection, [data], [] if fd is None else [fd])
            if sent < len(data):
                await asyncio.get_running_loop().sock_sendall(self._connection, data[sent:])
        except OSError as error:
            raise await self._died() from error

    async def receive(self) -> Frame:
        """Return the next frame.

        Raises: WorkerDied when the worker ends before, or says that it will.
        """
        while (frame := self.next_frame()) is None:
            await self._receive_more()
        return frame

    def next_frame(self) -> Frame | None:
        """Return the next frame when all of it is here. Raises: WorkerDied when the worker says that it ends."""
        if len(self._buffer) < PREFIX.size:
            return None
        number, text_length, body_length = PREFIX.unpack_from(self._buffer)
        start, end = PREFIX.size + text_length, PREFIX.size + text_length + body_length
        if end > MAX_FRAME_BYTES:
            raise WorkerDied(f"The reader announced a frame of {end} bytes.")
        if len(self._buffer) < end:
            return None
        kind = Kind(number)
        fields = json.loads(self._buffer[PREFIX.size : start].decode())
        body = bytes(self._buffer[start:end])
        del self._buffer[:end]
        if kind is Kind.CRASHED:
            raise WorkerDied(f"The reader of the file failed: {str(fields).strip().splitlines()[-1]}", details=fields)
        return Frame(kind, fields, body)

    def answered(self, resident: int) -> None:
        """Say that a file has ended, and what memory the worker held then."""
        self.owes -= 1
        self.resident = resident

    def kill(self) -> None:
        """End the process at once; `wait` still has to be awaited."""
        self._connection.close()
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                # not Process.kill: it polls first, and so takes the exit status away from those who wait for it
                os.kill(self._process.pid, signal.SIGKILL)

    async def wait(self) -> None:
        """Wait until the process has gone and its pipe is drained."""
        await self._process.communicate()

    async def _receive_more(self) -> None:
        """Wait for bytes; what nobody asks for stays in the socket."""
        try:
            data = await asyncio.get_running_loop().sock_recv(self._connection, _RECEIVE_BYTES)
        except OSError as error:
            raise await self._died() from error
        if not data:
            raise await self._died()
        self._buffer += data

    async def _died(self) -> WorkerDied:
        """Return what is known about the death of this worker."""
        self.kill()
        _, stderr = await self._process.communicate()
        status = self._process.returncode
        how = f"signal {-status}" if status is not None and status < 0 else f"exit status {status}"
        said = stderr.decode("utf-8", "replace")[-_STDERR_BYTES:].strip()
        return WorkerDied(f"The process that read the file ended unexpectedly ({how}).", status=status, details=said)


@lru_cache(maxsize=64)
def _question(kind: Kind, rules: ReadRules, document: str | None) -> bytes:
    """Return a request as it travels; most files of a port come with the same."""
    text = json.dumps([rules.to_json(), document]).encode()
    return PREFIX.pack(kind, len(text), 0) + text
