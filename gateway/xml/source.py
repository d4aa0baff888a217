"""The bytes of a file, read by descriptor: counted, hashed, and never more than the port allows."""

import hashlib
import os
from collections.abc import Iterator

from gateway.kernel.errors import FileRefused

CHUNK_BYTES = 65536
_HASH_REST_BYTES = 64_000_000


class Source:
    """A file open for reading, at a descriptor that others may share: every read names its own offset.

    Units: bytes; `offset` is where the next chunk begins.
    """

    def __init__(self, fd: int, max_bytes: int) -> None:
        """Take a descriptor of a regular file or of anonymous memory.

        Raises: FileRefused `file.too-large`, before a byte is read.
        """
        self.fd = fd
        self.offset = 0
        self._max_bytes = max_bytes
        self._hash = hashlib.sha256()
        status = os.fstat(fd)
        self._expected = (status.st_size, status.st_mtime_ns)
        self.size = status.st_size
        if self.size > max_bytes:
            raise self._too_large()

    def peek(self, start: int, length: int) -> bytes:
        """Return bytes of the file without counting or hashing them; fewer at its end."""
        parts = []
        while length > 0 and (part := os.pread(self.fd, length, start)):
            parts.append(part)
            start += len(part)
            length -= len(part)
        return b"".join(parts)

    def chunks(self) -> Iterator[bytes]:
        """Read the file once, from its start to its end.

        Raises: FileRefused when it grows beyond the limit meanwhile.
        """
        while chunk := os.pread(self.fd, CHUNK_BYTES, self.offset):
            self._hash.update(chunk)
            self.offset += len(chunk)
            if self.offset > self._max_bytes:
                raise self._too_large()
            yield chunk

    def again(self) -> Iterator[bytes]:
        """Read the file once more, uncounted: for finding out what was wrong with it."""
        offset = 0
        while chunk := os.pread(self.fd, CHUNK_BYTES, offset):
            offset += len(chunk)
            yield chunk

    def digest(self) -> bytes:
        """Return the SHA-256 of what `chunks` has read."""
        return self._hash.digest()

    def check_unchanged(self) -> None:
        """Make sure that nobody wrote to the file while it was read.

        Raises: FileRefused `file.changed`.
        """
        status = os.fstat(self.fd)
        if (status.st_size, status.st_mtime_ns) != self._expected or self.offset != self.size:
            raise FileRefused(
                f"The file changed while it was read ({self.size} bytes at first, {status.st_size} now). "
                "Write it under another name and rename it when it is complete.",
                code="file.changed",
            )

    def facts(self) -> dict[str, object]:
        """Return size and, for a file that is quickly read to its end, SHA-256: what a refusal is recorded with."""
        facts: dict[str, object] = {"size": self.size}
        if self.size - self.offset <= _HASH_REST_BYTES and self.size <= self._max_bytes:
            for _ in self.chunks():
                pass
            facts["sha256"] = self._hash.hexdigest()
        return facts

    def _too_large(self) -> FileRefused:
        return FileRefused(
            f"The file has {max(self.size, self.offset)} bytes; this port takes at most {self._max_bytes}. "
            "Send it in several files.",
            code="file.too-large",
        )
