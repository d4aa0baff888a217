"""The bytes of a file, read by descriptor: counted, hashed, measured, and never more than the port allows."""

import hashlib
import os
import re
from collections.abc import Iterator

from gateway.kernel.errors import FileRefused
from gateway.xml.encoding import FileEncoding

CHUNK_BYTES = 65536
_HASH_REST_BYTES = 64_000_000
_TAG_BYTES = 4096  # a tag may begin before the chunk in which it ends
_NO_TAG = r"<!--.*?(?:-->|\Z)|<!\[CDATA\[.*?(?:\]\]>|\Z)|"
_START = re.compile(_NO_TAG + r"(<(?:[^\s<>/:!?]+:)?Envelope(?=[\s>/]))", re.DOTALL)
_END = re.compile(_NO_TAG + r"(</(?:[^\s<>/:!?]+:)?Envelope\s*>)", re.DOTALL)


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

    def reread(self) -> Iterator[bytes]:
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


def measure(source: Source, encoding: FileEncoding, opened: int, closed: int) -> int:
    """Return the bytes from start tag to end tag of an envelope as received.

    The parser tells no offsets, so the reader knows only in which chunks an envelope begins and ends: its tags are
    looked for in them. A serialised length would be wrong by everything the serialiser changes (UTF-16, references,
    CDATA).
    Units: *opened* and *closed* are the offsets of the chunks in which the tags were complete. The envelope is
    larger than a chunk: its start tag is the last one of the first chunk, its end tag the first one of the last.
    """
    first, text = _around(source, encoding, opened)
    starts = [match.start() for match in _START.finditer(text) if match[1]]
    begin = first + _length(text[: starts[-1]], encoding) if starts else opened
    last, text = _around(source, encoding, closed)
    for match in _END.finditer(text):
        end = last + _length(text[: match.end()], encoding)
        if match[1] and end > closed:
            return end - begin
    return closed + CHUNK_BYTES - begin


def _around(source: Source, encoding: FileEncoding, chunk: int) -> tuple[int, str]:
    """Return a chunk with what stands right before it: its offset, and every byte or code unit as a character."""
    start = max(encoding.mark, chunk - _TAG_BYTES)
    start += (start - encoding.mark) % encoding.unit
    data = source.peek(start, chunk + CHUNK_BYTES - start)
    return start, data.decode("latin-1" if encoding.unit == 1 else encoding.codec, "replace")


def _length(text: str, encoding: FileEncoding) -> int:
    """Return how many bytes of the file decoded text stands for."""
    return len(text) if encoding.unit == 1 else len(text.encode("utf-16-le", "surrogatepass"))
