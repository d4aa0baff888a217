"""How many bytes an envelope has as received.

The parser tells no offsets, so the reader knows only in which chunks an envelope begins and ends. That is enough
for nearly all; only an envelope within two chunks of the limit is measured, by looking for its tags in the two
chunks. A serialised length would be wrong by everything the serialiser changes (UTF-16, references, CDATA).
"""

import re

from gateway.xml.encoding import Encoding
from gateway.xml.source import CHUNK_BYTES, Source

_TAG_BYTES = 4096  # a tag may begin before the chunk in which it ends
_NO_TAG = r"<!--.*?(?:-->|\Z)|<!\[CDATA\[.*?(?:\]\]>|\Z)|"
_START = re.compile(_NO_TAG + r"(<(?:[^\s<>/:!?]+:)?Envelope(?=[\s>/]))", re.DOTALL)
_END = re.compile(_NO_TAG + r"(</(?:[^\s<>/:!?]+:)?Envelope\s*>)", re.DOTALL)


def measure(source: Source, encoding: Encoding, opened: int, closed: int) -> int:
    """Return the bytes from start tag to end tag of an envelope.

    Units: *opened* and *closed* are the offsets of the chunks in which the tags were complete. The envelope is
    larger than a chunk: its start tag is the last one of the first chunk, its end tag the first one of the last.
    """
    width = encoding.unit
    first = max(encoding.mark, opened - _TAG_BYTES)
    first += (first - encoding.mark) % width
    head = source.peek(first, opened + CHUNK_BYTES - first)
    last = max(encoding.mark, closed - _TAG_BYTES)
    last += (last - encoding.mark) % width
    tail = source.peek(last, closed + CHUNK_BYTES - last)
    text = _decode(head, encoding)
    starts = [match.start() for match in _START.finditer(text) if match[1]]
    begin = first + _length(text[: starts[-1]], encoding) if starts else opened
    text = _decode(tail, encoding)
    for match in _END.finditer(text):
        end = last + _length(text[: match.end()], encoding)
        if match[1] and end > closed:
            return end - begin
    return closed + CHUNK_BYTES - begin


def _decode(data: bytes, encoding: Encoding) -> str:
    """Decode so that every byte (or code unit) is one character that `_length` can count back."""
    return (
        data.decode("utf-16-le" if encoding.name == "UTF-16LE" else "utf-16-be", "replace")
        if (encoding.unit == 2)
        else data.decode("latin-1")
    )


def _length(text: str, encoding: Encoding) -> int:
    """Return how many bytes of the file decoded text stands for."""
    return len(text) if encoding.unit == 1 else len(text.encode("utf-16-le", "surrogatepass"))
