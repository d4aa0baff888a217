"""The process that touches bytes of strangers: `python -m gateway.xml.worker SOCKET PARENT`.

It gets one open descriptor at a time, with the rules for it, and answers with frames; it knows no path but
those of schemas, no database, no secret. It ends when its parent does.
"""

import gc
import json
import os
import socket
import sys
import traceback
from pathlib import Path

from gateway.domain.envelope import FileEnd, FileHead
from gateway.domain.errors import FileRefused
from gateway.xml import frames
from gateway.xml.catalog import Catalog
from gateway.xml.confine import confine, renew_limits, resident_bytes
from gateway.xml.explain import Explainer
from gateway.xml.frames import PREFIX, Kind
from gateway.xml.limits import ReadRules
from gateway.xml.stream import read_envelopes
from gateway.xml.verdict import Checker

FRAME_ENVELOPES = 200
FRAME_BYTES = 150_000
"""How much the parent gets at once: it takes a frame apart in its event loop, which nothing may hold for long."""

_KEPT_SCHEMAS = 8
_MAX_REQUEST_BYTES = 1_000_000


class _ParentGone(Exception):
    """The other end of the socket is closed."""


class _Schemas:
    """Judge and explainer of each set of schemas this worker has met lately."""

    def __init__(self) -> None:
        self._known: dict[tuple[tuple[str, ...], str], tuple[Checker, Explainer]] = {}

    def get(self, rules: ReadRules) -> tuple[Checker, Explainer]:
        """Return judge and explainer for a port's schemas, loading them when they are new."""
        key = (rules.schema_folders, rules.schema_version)
        known = self._known.pop(key, None)
        if known is None:
            catalog = Catalog([Path(folder) for folder in rules.schema_folders])
            known = (Checker(catalog), Explainer(catalog))
            while len(self._known) >= _KEPT_SCHEMAS:
                del self._known[next(iter(self._known))]
        self._known[key] = known  # the latest used is last
        return known


class Worker:
    """Answers requests until its parent hangs up."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._schemas = _Schemas()

    def serve(self) -> None:
        """Read files until the parent closes the socket."""
        while (request := self._request()) is not None:
            kind, rules, document, fd = request
            if kind is Kind.WARM:
                self._schemas.get(rules)[1].prepare(document)
                gc.freeze()  # schemas live as long as the process
                last = frames.pack(Kind.READY, resident_bytes())
            else:
                assert fd is not None
                last = self._read(fd, rules)
                os.close(fd)
            self._send(last)

    def _read(self, fd: int, rules: ReadRules) -> bytes:
        """Send one file, frame by frame; return the last piece, which for a small file is all of it."""
        checker, explainer = self._schemas.get(rules)
        renew_limits(os.fstat(fd).st_size, rules.max_memory_bytes)
        head = b""
        rows: list[object] = []
        bodies: list[bytes] = []
        size = 0
        try:
            for item in read_envelopes(fd, rules, checker if rules.validate else None, explainer):
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
        rules, document = json.loads(self._receive(length))
        return Kind(number), ReadRules.from_json(rules), document, (descriptors[0] if descriptors else None)

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


def _envelopes(rows: list[object], bodies: list[bytes]) -> bytes:
    return frames.pack(Kind.ENVELOPES, rows, b"".join(bodies)) if rows else b""


def main() -> int:
    """Confine this process, then serve."""
    number, parent = int(sys.argv[1]), int(sys.argv[2])
    confine(parent)
    gc.freeze()  # what was imported lives as long as the process
    with socket.socket(fileno=number) as connection:
        try:
            Worker(connection).serve()
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
