"""The processes that touch bytes of strangers, and the one they are forked from.

That one, `python -m gateway.xml.worker SOCKET PARENT`, is a launcher (`gateway.workers.forking`). It has no
environment, and knows no database, no secret and no byte of a stranger. It imports what readers need, loads the schemas
of a site when it is told to, and gets ready to explain faults. A reader that is forked from it closes its cage, says
that it is ready and serves files until it ends: it gets one open descriptor at a time, with the rules for it, and
answers with frames. It can open nothing itself. Readers end with their launcher, and that with its parent.
"""

import gc
import os
import socket
import sys
import traceback
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NoReturn

import xmlschema  # noqa: F401  # its cage lets nothing be imported later

from gateway.kernel.errors import FileRefused
from gateway.messaging.rules.envelope import FileEnd, FileHead
from gateway.workers import cage
from gateway.workers.forking import serve_to_the_end
from gateway.workers.limits import give_way, renew_limits, resident_bytes, set_limits
from gateway.xml import frames
from gateway.xml.budget import file_seconds
from gateway.xml.catalog import Catalog
from gateway.xml.encoding import load_codecs
from gateway.xml.explain import Explainer
from gateway.xml.frames import PREFIX, READER, Kind
from gateway.xml.limits import ReadRules
from gateway.xml.stream import read_envelopes
from gateway.xml.verdict import Checker

FRAME_ENVELOPES = 200
FRAME_BYTES = 150_000
"""How much the parent gets at once: it takes a frame apart in its event loop, which nothing may hold for long."""

_CPU_FACTOR = 3
"""How much more processor time than its budget a file gets before the kernel ends its reader."""
_CPU_FOR_SCHEMAS = 30.0
"""Seconds on top, because a file may be the first that needs a schema; nobody needs more than a few."""

_MAX_REQUEST_BYTES = 1_000_000


class _ParentGone(Exception):
    """The other end of the socket is closed."""


class Schemas:
    """The schemas that a launcher has loaded and its readers judge by, with what it knows of explaining faults."""

    def __init__(self, folders: Sequence[str]) -> None:
        self.catalog = Catalog([Path(folder) for folder in folders])
        self.checker = Checker(self.catalog)
        self.explainer = Explainer(self.catalog)


class ReaderLauncher:
    """What the launcher does for its readers, and what each of them is."""

    def __init__(self) -> None:
        self._schemas: Schemas | None = None
        load_codecs()
        gc.freeze()  # what lives as long as the process: a collector that walks over it would unshare it

    def load(self, folders: Sequence[str]) -> None:
        """Load the schemas of all readers, once; none can be forked before."""
        self._schemas = Schemas(folders)
        gc.freeze()

    def prepare(self, document: str) -> int:
        """Get ready to explain faults of a document (`{namespace}local`); returns the memory this process holds."""
        assert self._schemas is not None
        self._schemas.explainer.prepare(document)
        gc.freeze()
        return resident_bytes()

    def read(self, connection: socket.socket, descriptors: Sequence[int]) -> None:
        """Be a reader (`gateway.workers.forking.Role`); the descriptor is for its last words."""
        assert self._schemas is not None
        os.dup2(descriptors[0], 2)
        os.close(descriptors[0])
        give_way()
        reader = Worker(connection, self._schemas)
        try:
            reader.serve(cage.close(os.getppid()))
        except _ParentGone:
            return
        except MemoryError:
            reader.crash("The file needs more memory than one file may take.")
        except Exception:  # the parent cannot see it otherwise; it treats us as dead
            reader.crash(traceback.format_exc(limit=-8))


class Worker:
    """A reader: answers requests until its parent hangs up."""

    def __init__(self, connection: socket.socket, schemas: Schemas) -> None:
        self._connection = connection
        self._schemas = schemas

    def serve(self, lacking: Sequence[str]) -> None:
        """Say that it is ready, and what its cage lacks; then read files until the parent closes the socket."""
        self._send(frames.pack(Kind.READY, lacking))
        while (request := self._request()) is not None:
            rules, fd = request
            last = self._read(fd, rules)
            os.close(fd)
            self._send(last)

    def crash(self, text: str) -> None:
        """Say why this worker ends."""
        self._connection.sendall(frames.pack(Kind.CRASHED, text))

    def _read(self, fd: int, rules: ReadRules) -> bytes:
        """Send one file, frame by frame; return the last piece, which for a small file is all of it."""
        checker, explainer, clock = self._schemas.checker, self._schemas.explainer, self._schemas.catalog.clock
        renew_limits(_CPU_FACTOR * file_seconds(os.fstat(fd).st_size) + _CPU_FOR_SCHEMAS, rules.max_memory_bytes)
        head = b""
        rows: list[object] = []
        bodies: list[bytes] = []
        size = 0
        try:
            for item in read_envelopes(fd, rules, checker if rules.validate else None, explainer, clock):
                if isinstance(item, FileHead):
                    head = frames.pack(Kind.HEAD, frames.head_fields(item))
                elif isinstance(item, FileEnd):
                    end = frames.pack(Kind.END, [*frames.end_fields(item), resident_bytes()])
                    return head + _envelopes(rows, bodies) + end
                else:
                    rows.append(frames.envelope_fields(item))
                    bodies.append(item.content)
                    size += len(item.content)
                    if len(rows) >= FRAME_ENVELOPES or size >= FRAME_BYTES:
                        self._send(head + _envelopes(rows, bodies))
                        head, size = b"", 0
                        rows.clear()
                        bodies.clear()
        except FileRefused as refused:
            end = frames.pack(Kind.REFUSED, [*frames.refused_fields(refused), resident_bytes()])
            return head + _envelopes(rows, bodies) + end
        raise AssertionError("a file without end and without refusal")

    def _request(self) -> tuple[ReadRules, int] | None:
        """Return the rules and the descriptor of the next file, None when the parent has closed the socket."""
        data, descriptors, _, _ = socket.recv_fds(self._connection, PREFIX.size, 1)
        if not data:
            return None
        data += self._receive(PREFIX.size - len(data))
        _, length, _ = PREFIX.unpack(data)
        assert length <= _MAX_REQUEST_BYTES
        return _rules(self._receive(length)), descriptors[0]

    def _receive(self, length: int) -> bytes:
        data = b""
        while len(data) < length:
            part = self._connection.recv(length - len(data))
            if not part:
                raise _ParentGone
            data += part
        return data

    def _send(self, data: bytes) -> None:
        try:
            self._connection.sendall(data)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise _ParentGone from error


@lru_cache(maxsize=16)
def _rules(text: bytes) -> ReadRules:
    """Return the rules of a request; most files of a port come with the same."""
    return ReadRules.from_json(text.decode())


def _envelopes(rows: list[object], bodies: list[bytes]) -> bytes:
    return frames.pack(Kind.ENVELOPES, rows, b"".join(bodies)) if rows else b""


def launch_readers(connection: socket.socket, parent: int) -> NoReturn:
    """Limit this process and with it all readers, then be their launcher."""
    set_limits()
    launcher = ReaderLauncher()
    preparations = {"load": launcher.load, "prepare": launcher.prepare}
    serve_to_the_end(connection, parent, {READER: launcher.read}, preparations, name="readers")


def main() -> NoReturn:
    """Be the program."""
    launch_readers(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]))


if __name__ == "__main__":
    main()
