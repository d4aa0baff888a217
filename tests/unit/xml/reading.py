"""Helpers for the tests of the reader: bytes in, what was read out."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from gateway.messaging.rules.envelope import FileEnd, FileHead, ReadEnvelope
from gateway.xml.limits import ReadRules
from gateway.xml.locate import Locator
from gateway.xml.reading import read_envelopes
from gateway.xml.verdict import Checker


def still() -> float:
    """Tell no time, so that no outcome depends on how quick the machine is; `test_limits.py` has clocks of its own."""
    return 0.0


@dataclass(frozen=True)
class Read:
    """A file that was read to its end."""

    head: FileHead
    envelopes: Sequence[ReadEnvelope]
    end: FileEnd


@contextmanager
def file_of(content: bytes | Iterable[bytes]) -> Iterator[int]:
    """Give a descriptor of a file in memory."""
    fd = os.memfd_create("test")
    try:
        for piece in [content] if isinstance(content, bytes) else content:
            view = memoryview(piece)
            while view:
                view = view[os.write(fd, view) :]
        yield fd
    finally:
        os.close(fd)


def read(
    content: bytes | str | Iterable[bytes],
    rules: ReadRules | None = None,
    checker: Checker | None = None,
    locator: Locator | None = None,
    clock: Callable[[], float] = still,
) -> Read:
    """Read a whole file."""
    with file_of(content.encode() if isinstance(content, str) else content) as fd:
        head, *envelopes, end = read_envelopes(fd, rules or ReadRules(), checker, locator, clock)
    assert isinstance(head, FileHead) and isinstance(end, FileEnd)
    return Read(head, [each for each in envelopes if isinstance(each, ReadEnvelope)], end)
