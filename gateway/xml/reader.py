"""The processes that touch bytes of strangers, and the one they are forked from.

That one, `python -m gateway.xml.reader SOCKET PARENT`, is a launcher (`gateway.workers.forking`). It has no
environment, and knows no database, no secret and no byte of a stranger. It imports what readers need, loads the schemas
of a site when it is told to, and gets ready to explain faults. A reader that is forked from it closes its cage, says
that it is ready and serves files until it ends: it gets one open descriptor at a time, with the rules for it, and
answers with messages. It can open nothing itself. Readers end with their launcher, and that with its parent.
"""

import gc
import json
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
from gateway.workers.link import HEAD, packed
from gateway.xml import protocol
from gateway.xml.catalog import Catalog
from gateway.xml.encoding import load_codecs
from gateway.xml.limits import ReadRules, file_seconds
from gateway.xml.locate import Locator
from gateway.xml.protocol import READER, MessageKind
from gateway.xml.reading import read_envelopes
from gateway.xml.verdict import Checker

MESSAGE_ENVELOPES = 200
MESSAGE_BYTES = 150_000
"""How much the parent gets at once: it takes a message apart in its event loop, which nothing may hold for long."""

_CPU_FACTOR = 3
"""How much more processor time than its budget a file gets before the kernel ends its reader."""
_CPU_FOR_SCHEMAS = 30.0
"""Seconds on top, because a file may be the first that needs a schema; nobody needs more than a few."""

_MAX_REQUEST_BYTES = 1_000_000


class _ParentGone(Exception):
    """The other end of the socket is closed."""


class LauncherOfReaders:
    """What the launcher does for its readers, and what each of them is."""

    def __init__(self) -> None:
        self._catalog: Catalog | None = None
        load_codecs()
        gc.freeze()  # what lives as long as the process: a collector that walks over it would unshare it

    def load(self, folders: Sequence[str]) -> None:
        """Load the schemas of all readers, once; none can be forked before."""
        self._catalog = Catalog([Path(folder) for folder in folders])
        gc.freeze()

    def prepare(self, document: str) -> int:
        """Get ready to explain faults of a document (`{namespace}local`); returns the memory this process holds."""
        assert self._catalog is not None
        self._catalog.prepare(document)
        gc.freeze()
        return resident_bytes()

    def read(self, connection: socket.socket, descriptors: Sequence[int]) -> None:
        """Be a reader (`gateway.workers.forking.Role`); the descriptor is for its last words."""
        assert self._catalog is not None
        os.dup2(descriptors[0], 2)
        os.close(descriptors[0])
        give_way()
        reader = FileReader(connection, self._catalog)
        try:
            reader.serve(cage.close(os.getppid()))
        except _ParentGone:
            return
        except MemoryError:
            reader.crash("The file needs more memory than one file may take.")
        except Exception:  # the parent cannot see it otherwise; it treats us as dead
            reader.crash(traceback.format_exc(limit=-8))


class FileReader:
    """Answers requests until its parent hangs up."""

    def __init__(self, connection: socket.socket, catalog: Catalog) -> None:
        self._connection = connection
        self._checker = Checker(catalog)
        self._locator = Locator()
        self._clock = catalog.clock

    def serve(self, lacking: Sequence[str]) -> None:
        """Say that it is ready, and what its cage lacks; then read files until the parent closes the socket."""
        self._send(packed(MessageKind.READY, *lacking))
        while (request := self._request()) is not None:
            rules, fd = request
            last = self._read(fd, rules)
            os.close(fd)
            self._send(last)

    def crash(self, text: str) -> None:
        """Say why this reader ends."""
        self._connection.sendall(packed(MessageKind.CRASHED, text))

    def _read(self, fd: int, rules: ReadRules) -> bytes:
        """Send one file, message by message; return the last piece, which for a small file is all of it."""
        renew_limits(_CPU_FACTOR * file_seconds(os.fstat(fd).st_size) + _CPU_FOR_SCHEMAS, rules.max_memory_bytes)
        head = last = b""
        rows: list[object] = []
        bodies: list[bytes] = []
        size = 0
        try:
            checker = self._checker if rules.validate else None
            for item in read_envelopes(fd, rules, checker, self._locator, self._clock):
                if isinstance(item, FileHead):
                    head = packed(MessageKind.HEAD, *protocol.head_fields(item))
                elif isinstance(item, FileEnd):
                    last = packed(MessageKind.END, *protocol.end_fields(item), resident_bytes())
                else:
                    rows.append(protocol.envelope_fields(item))
                    bodies.append(item.content)
                    size += len(item.content)
                    if len(rows) >= MESSAGE_ENVELOPES or size >= MESSAGE_BYTES:
                        self._send(head + _envelopes(rows, bodies))
                        head, size = b"", 0
                        rows.clear()
                        bodies.clear()
        except FileRefused as refused:
            last = packed(MessageKind.REFUSED, *protocol.refused_fields(refused), resident_bytes())
        assert last, "a file ends well or is refused"
        return head + _envelopes(rows, bodies) + last

    def _request(self) -> tuple[ReadRules, int] | None:
        """Return the rules and the descriptor of the next file, None when the parent has closed the socket."""
        data, descriptors, _, _ = socket.recv_fds(self._connection, HEAD.size, 1)
        if not data:
            return None
        data += self._receive(HEAD.size - len(data))
        length, _ = HEAD.unpack(data)
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
    _, fields = json.loads(text)
    return ReadRules.from_fields(fields)


def _envelopes(rows: list[object], bodies: list[bytes]) -> bytes:
    return packed(MessageKind.ENVELOPES, rows, body=b"".join(bodies)) if rows else b""


def launch_readers(connection: socket.socket, parent: int) -> NoReturn:
    """Limit this process and with it all readers, then be their launcher."""
    set_limits()
    launcher = LauncherOfReaders()
    preparations = {"load": launcher.load, "prepare": launcher.prepare}
    serve_to_the_end(connection, parent, {READER: launcher.read}, preparations, name="readers")


def main() -> NoReturn:
    """Be the program."""
    launch_readers(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]))


if __name__ == "__main__":
    main()
