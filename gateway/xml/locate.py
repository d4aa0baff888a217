"""Finds the line and column, in the partner's file, of every element of an envelope.

libxml2 tells lines only, and no more after 65,535 of them; expat tells both for every start tag. The file was
already accepted by the hardened reader; it is read again only when an envelope failed, once at most, however
many fail.
"""

import codecs
import os
from array import array
from collections.abc import Sequence
from dataclasses import replace
from xml.parsers import expat

from lxml import etree

from gateway.kernel.errors import FileRefused
from gateway.kernel.problem import Problem
from gateway.xml.names import find

CHUNK = 65_536
_ITSELF_UNICODE = {"UTF8": "utf-8-sig", "UTF16": "utf-16"}
_BOM = "\ufeff"


class Locator:
    """Gives problems their places in a file. One per process; remembers how far it read the last file."""

    def __init__(self) -> None:
        self._walk: FileWalk | None = None
        self._file: tuple[int, ...] = ()
        self._position = 0

    def place(
        self, fd: int, encoding: str, position: int, envelope: etree._Element, problems: Sequence[Problem]
    ) -> tuple[Problem, ...]:
        """Return *problems* with line and column in the file behind *fd*, in document order.

        Shape: `position` counts envelopes from 1; *envelope* is its tree; the path of a problem starts at the
        Envelope or at a child of MessageParts. A problem whose element is missing gets the place of the nearest
        element around it.
        """
        elements = [find(envelope, problem.path or "") for problem in problems]
        wanted = set(elements)
        numbers = {element: index for index, element in enumerate(envelope.iter("*")) if element in wanted}
        places = self._walk_to(fd, encoding, position).places(position)
        placed: list[tuple[int, Problem]] = []
        for problem, element in zip(problems, elements, strict=True):
            number = numbers[element]
            line, column = places[2 * number : 2 * number + 2] or (None, None)
            placed.append((number, replace(problem, line=line, column=column)))
        return tuple(problem for _, problem in sorted(placed, key=lambda each: each[0]))

    def _walk_to(self, fd: int, encoding: str, position: int) -> "FileWalk":
        """Return the walk through this file: the last one unless it has gone beyond *position*."""
        status = os.fstat(fd)
        file = (fd, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        if self._walk is None or self._file != file or position < self._position:
            self._walk = FileWalk(fd, encoding)
        self._file, self._position = file, position
        return self._walk


class FileWalk:
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

    def places(self, position: int) -> "array[int]":
        """Return where the elements of the envelope at *position* begin; empty when it cannot be told.

        Shape: line and column of each in turn, in document order, the Envelope first; in so little memory because an
        envelope may hold millions of elements.
        Raises: FileRefused when the file has a DOCTYPE, whatever the reader thought of it.
        """
        self._wanted = position
        for passed in [known for known in self._found if known < position]:
            del self._found[passed]
        while position not in self._found and self._position <= position and not self._ended:
            self._read_on()
        return self._found.get(position, array("Q"))

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


def _refuse_doctype(*_: object) -> None:
    raise FileRefused("The file has a DOCTYPE; remove it, it is never accepted.", code="dtd.forbidden")
