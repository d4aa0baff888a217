"""The process that touches bytes of strangers: `python -m gateway.xml.worker SOCKET PARENT`.

It loads the schemas that its first request names, closes its cage, and serves files with these schemas until it ends:
it gets one open descriptor at a time, with the rules for it, and answers with frames. It can open nothing itself; it
knows no database, no secret. It ends when its parent does.
"""

import gc
import json
import os
import socket
import sys
import traceback
from functools import lru_cache
from pathlib import Path

import xmlschema  # noqa: F401  # its cage lets nothing be imported later

from gateway.domain.envelope import FileEnd, FileHead
from gateway.domain.errors import FileRefused
from gateway.workers import cage
from gateway.workers.limits import renew_limits, resident_bytes, set_limits
from gateway.xml import frames
from gateway.xml.budget import WorkClock, file_seconds
from gateway.xml.catalog import Catalog
from gateway.xml.encoding import load_codecs
from gateway.xml.explain import Explainer
from gateway.xml.frames import PREFIX, Kind
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


class Worker:
    """Answers requests until its parent hangs up."""

    def __init__(self, connection: socket.socket, parent: int) -> None:
        self._connection = connection
        self._parent = parent

    def serve(self) -> None:
        """Read files until the parent closes the socket; all of them with the schemas of the first request."""
        request = self._request()
        if request is None:
            return
        schemas = request[1].schemas
        catalog = Catalog([Path(folder) for folder in schemas[0]])
        judge = Checker(catalog), Explainer(catalog)
        load_codecs()
        lacking = cage.close(self._parent)
        while request is not None:
            kind, rules, document, fd = request
            assert rules.schemas == schemas, "a reader knows the schemas it has loaded before its cage was closed"
            if kind is Kind.WARM:
                if document is not None:
                    judge[1].prepare(document)
                gc.freeze()  # schemas live as long as the process
                last = frames.pack(Kind.READY, [resident_bytes(), lacking])
            else:
                assert fd is not None
                last = self._read(fd, rules, *judge, catalog.clock)
                os.close(fd)
            self._send(last)
            request = self._request()

    def _read(self, fd: int, rules: ReadRules, checker: Checker, explainer: Explainer, clock: WorkClock) -> bytes:
        """Send one file, frame by frame; return the last piece, which for a small file is all of it."""
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

    def _request(self) -> tuple[Kind, ReadRules, str | None, int | None] | None:
        """Return the next request with its document and its descriptor, None when the parent has closed the socket."""
        data, descriptors, _, _ = socket.recv_fds(self._connection, PREFIX.size, 1)
        if not data:
            return None
        data += self._receive(PREFIX.size - len(data))
        number, length, _ = PREFIX.unpack(data)
        assert length <= _MAX_REQUEST_BYTES
        return Kind(number), *_question(self._receive(length)), (descriptors[0] if descriptors else None)

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
def _question(text: bytes) -> tuple[ReadRules, str | None]:
    """Return the rules and the document of a request; most files of a port come with the same."""
    rules, document = json.loads(text)
    return ReadRules.from_json(rules), document


def _envelopes(rows: list[object], bodies: list[bytes]) -> bytes:
    return frames.pack(Kind.ENVELOPES, rows, b"".join(bodies)) if rows else b""


def main() -> int:
    """Limit this process, then serve."""
    number, parent = int(sys.argv[1]), int(sys.argv[2])
    cage.end_with(parent)
    set_limits()
    gc.freeze()  # what was imported lives as long as the process
    with socket.socket(fileno=number) as connection:
        try:
            Worker(connection, parent).serve()
        except _ParentGone:
            return 0
        except MemoryError:
            return _crash(connection, "The file needs more memory than one file may take.")
        except Exception:  # the parent cannot see it otherwise; it treats us as dead
            return _crash(connection, traceback.format_exc(limit=-8))
    return 0


def _crash(connection: socket.socket, text: str) -> int:
    """Say why this worker ends."""
    connection.sendall(frames.pack(Kind.CRASHED, text))
    return 70


if __name__ == "__main__":
    sys.exit(main())
