"""Which messages are in the hands of code of other people now: told by a file that outlives the process.

A page of the data folder, mapped into memory, with one number per place: writing one costs nothing, and the kernel
keeps it however the process ends. The next start finds what a process took with it when it died.
"""

import mmap
import os
import struct
from collections.abc import Collection
from pathlib import Path
from typing import Final

from gateway.domain.ids import MessageKey

MARKS_NAME: Final = "marks"
_SIZE: Final = 65_536
_PLACES: Final = _SIZE // 8
_NUMBER: Final = struct.Struct("<q")


class Marks:
    """The marks of one gateway. Before: the caller holds the lock of the data folder."""

    def __init__(self, data: Path) -> None:
        descriptor = os.open(data / MARKS_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(descriptor, _SIZE)
            self._page = mmap.mmap(descriptor, _SIZE)
        finally:
            os.close(descriptor)
        self._free = list(range(_PLACES))

    def left(self) -> Collection[MessageKey]:
        """Return what was at work when an earlier process ended, before anything is set.

        Rule: what was given up, and only still hangs, is to blame when nothing else was at work.
        """
        numbers = [number for (number,) in _NUMBER.iter_unpack(self._page) if number]
        at_work = {MessageKey(number) for number in numbers if number > 0}
        return at_work or {MessageKey(-number) for number in numbers}

    def clear(self) -> None:
        """Take all marks away: an end in good order, or on request, is nobody's fault."""
        self._page[:] = bytes(_SIZE)

    def set(self, key: MessageKey) -> int:
        """Mark a message as at work; returns the place, for `unset`."""
        place = self._free.pop()
        _NUMBER.pack_into(self._page, place * 8, key)
        return place

    def give_up(self, place: int) -> None:
        """Mark a message as given up: its code still runs, and nobody waits for it."""
        (key,) = _NUMBER.unpack_from(self._page, place * 8)
        _NUMBER.pack_into(self._page, place * 8, -key)

    def unset(self, place: int) -> None:
        """Take one mark away."""
        _NUMBER.pack_into(self._page, place * 8, 0)
        self._free.append(place)
