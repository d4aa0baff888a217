"""Finds the line and column, in the partner's file, of every element of an envelope.

libxml2 tells lines only, and no more after 65,535 of them; expat tells both for every start tag. The file was
already accepted by the hardened reader; it is read again only when an envelope failed, once at most, however
many fail.
"""

import codecs
import os
from array import array
from xml.parsers import expat

from gateway.kernel.errors import FileRefused

CHUNK = 65_536
_ITSELF_UNICODE = {"UTF8": "utf-8-sig", "UTF16": "utf-16"}
_BOM = "\ufeff"


class Locator:
    """Walks through one file beside its reader.

    Shape: envelopes are asked for in growing positions, from 1. Lines and columns count from 1; a column counts
    characters, a line break of any kind once.
    Rule: reads with its own offset; the reader's is not touched.
    """

    def __init__(self, fd: int, encoding: str) -> None:
        self._fd = fd
        self._offset = 0
        name = encoding.upper().replace("-", "").replace("_", "")
        self._decoder = codecs.getincrementaldecoder(_ITSELF_UNICODE.get(name, encoding))("replace")
        self._parser = expat.ParserCreate("utf-8")
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.StartDoctypeDeclHandler = _refuse_doctype
        self._depth = 0
        self._envelope_depth = 0
        self._position = 0
        self._wanted = 0
        self._places: array[int] | None = None
        self._found: dict[int, array[int]] = {}
        self._ended = False

    def places(self, position: int) -> "Places":
        """Return where the elements of the envelope at *position* begin; empty when it cannot be told.

        Raises: FileRefused when the file has a DOCTYPE, whatever the reader thought of it.
        """
        self._wanted = position
        for passed in [known for known in self._found if known < position]:
            del self._found[passed]
        while position not in self._found and self._position <= position and not self._ended:
            self._read_on()
        return Places(self._found.get(position, array("Q")))

    def _read_on(self) -> None:
        content = os.pread(self._fd, CHUNK, self._offset)
        text = self._decoder.decode(content, final=not content)
        if self._offset == 0:
            text = text.removeprefix(_BOM)
        self._offset += len(content)
        self._ended = not content
        try:
            self._parser.Parse(text, not content)
        except expat.ExpatError:
            self._ended = True  # the reader has told, or will tell, what is wrong with the file

    def _start(self, name: str, attributes: object) -> None:
        if self._depth == 0:
            self._envelope_depth = 1 if name.rpartition(":")[2] == "Batch" else 0
        if self._depth == self._envelope_depth:
            self._position += 1
            self._places = array("Q") if self._position >= self._wanted else None
        self._depth += 1
        if self._places is not None:
            self._places.append(self._parser.CurrentLineNumber)
            self._places.append(self._parser.CurrentColumnNumber + 1)

    def _end(self, name: str) -> None:
        self._depth -= 1
        if self._depth == self._envelope_depth and self._places is not None:
            self._found[self._position] = self._places
            self._places = None


class Places:
    """Where the elements of one envelope begin: by number from 0, in document order, the Envelope first."""

    __slots__ = ("_numbers",)

    def __init__(self, numbers: "array[int]") -> None:
        self._numbers = numbers

    def __len__(self) -> int:
        return len(self._numbers) // 2

    def __getitem__(self, index: int) -> tuple[int, int]:
        """Return line and column of an element."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self._numbers[2 * index], self._numbers[2 * index + 1]


def _refuse_doctype(*_: object) -> None:
    raise FileRefused("The file has a DOCTYPE; remove it, it is never accepted.", code="dtd.forbidden")
