"""What was read of a file, kept until it is written to the database: in memory while it is little, else on the disk.

So no transaction and no connection is open while a file is read. On the disk it lies in a file without a name:
nothing of it survives the process, and the claimed file is read again.
"""

import asyncio
import os
import tempfile
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final

from gateway.db.waiting import uninterrupted
from gateway.kernel.errors import TransientError
from gateway.messaging.rules.envelope import ReadEnvelope
from gateway.workers.link import packed, read_message
from gateway.xml import protocol
from gateway.xml.protocol import MessageKind

MEMORY_BYTES: Final = 4_000_000
"""So much of one file is kept in memory."""
ALL_MEMORY_BYTES: Final = 64_000_000
"""So much of all files together, however many ports read at once."""
_RECORD_BYTES: Final = 1_000
"""What an envelope takes in memory beside its content, about."""


class SpoolFull(TransientError):
    """The disk of the data folder has no room for what is read of a file; the file waits in the work folder."""

    code = "spool.full"


class Spools:
    """Makes spools in *folder*; they leave at least as many bytes of its disk free as *least_free* says then."""

    def __init__(self, folder: Path, least_free: Callable[[], int]) -> None:
        self._folder = folder
        self._least_free = least_free
        self.memory = 0

    @contextmanager
    def open(self) -> Iterator["Spool"]:
        """Open an empty spool; what it holds is gone at the end of the block."""
        spool = Spool(self)
        try:
            yield spool
        finally:
            spool.close()

    def require_room(self, size: int) -> None:
        """Look, before a file of *size* bytes is read, whether there is room for it; blocks. Raises: SpoolFull."""
        if size > MEMORY_BYTES:
            with self._on_disk():
                self._require(size)

    def append(self, file: IO[bytes] | None, data: bytes) -> IO[bytes]:
        """Write to a spool's file, to a new one when it has none; returns the file. Blocks. Raises: SpoolFull."""
        with self._on_disk():
            self._require(len(data))
            if file is None:
                file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 closed by its spool
            file.write(data)
            file.flush()  # what fails must fail here
            return file

    @contextmanager
    def _on_disk(self) -> Iterator[None]:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            yield
        except OSError as error:
            raise SpoolFull(
                f"What is read of files cannot be kept in {self._folder}: {error.strerror}. Files wait until it can."
            ) from error

    def _require(self, size: int) -> None:
        free, least = free_bytes(self._folder), self._least_free()
        if free - size < least:
            raise SpoolFull(
                f"Only {free / 1e6:.0f} MB are free on the disk of {self._folder}. While a file of more than "
                f"{MEMORY_BYTES / 1e6:.0f} MB is read it needs as much there again, and queue.min_free_bytes "
                f"({least / 1e6:.0f} MB) stay free. Free some space; the file is taken then."
            )


class Spool:
    """The envelopes of one file, in order."""

    def __init__(self, spools: Spools) -> None:
        self._spools = spools
        self._held: list[Sequence[ReadEnvelope]] = []
        self._memory = 0
        self._file: IO[bytes] | None = None

    @property
    def on_disk(self) -> bool:
        """Tell whether some of it is on the disk: then writing it to the database takes a while."""
        return self._file is not None

    async def add(self, envelopes: Sequence[ReadEnvelope]) -> None:
        """Append the next envelopes of the file. Raises: SpoolFull."""
        size = sum(_RECORD_BYTES + len(envelope.content) for envelope in envelopes)
        fits = self._memory + size <= MEMORY_BYTES and self._spools.memory + size <= ALL_MEMORY_BYTES
        if fits and self._file is None:
            self._held.append(envelopes)
            self._memory += size
            self._spools.memory += size
        else:
            await uninterrupted(asyncio.to_thread(self._write, envelopes))  # nobody closes it under the thread's hands

    async def pieces(self) -> AsyncGenerator[Sequence[ReadEnvelope], None]:
        """Yield everything from the beginning, a few at a time; may be asked again."""
        for envelopes in self._held:
            yield envelopes
        if (file := self._file) is not None:
            file.seek(0)
            while piece := await uninterrupted(asyncio.to_thread(_next_piece, file)):
                yield piece

    def close(self) -> None:
        """Drop everything; again is fine."""
        self._held.clear()
        self._spools.memory -= self._memory
        self._memory = 0
        if self._file is not None:
            with suppress(OSError):  # what could not be written was told
                self._file.close()
            self._file = None

    def _write(self, envelopes: Sequence[ReadEnvelope]) -> None:
        rows = [protocol.envelope_fields(envelope) for envelope in envelopes]
        data = packed(MessageKind.ENVELOPES, rows, body=b"".join(envelope.content for envelope in envelopes))
        self._file = self._spools.append(self._file, data)


def _next_piece(file: IO[bytes]) -> Sequence[ReadEnvelope]:
    message = read_message(file)
    if message is None:
        return ()
    (rows,) = message.fields
    return tuple(protocol.envelopes_from(rows, message.body))


def free_bytes(folder: Path) -> int:
    """Return how much is free for us on the disk of a folder; blocks. Raises: OSError."""
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize
