"""What the kernel tells of one folder, with names as the bytes they are."""

import ctypes
import os
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntFlag
from pathlib import Path
from typing import NamedTuple

_LIBC = ctypes.CDLL(None, use_errno=True)
_HEAD = struct.Struct("iIII")  # watch, mask, cookie, length of the name with its NULs
_READ_BYTES = 65_536
_ONLY_FOLDERS = 0x0100_0000

AVAILABLE = sys.platform.startswith("linux")


class Happened(IntFlag):
    """What happened to an entry of the folder, or to the folder. Source: inotify(7)."""

    MODIFIED = 0x2
    CHANGED = 0x4  # permissions, owner, times
    WRITER_CLOSED = 0x8
    RENAMED_AWAY = 0x40
    RENAMED_IN = 0x80
    CREATED = 0x100  # made to be written, or linked
    DELETED = 0x200
    FOLDER_DELETED = 0x400
    FOLDER_MOVED = 0x800
    UNMOUNTED = 0x2000
    LOST = 0x4000  # events: there were too many
    IGNORED = 0x8000  # the watch has ended


WHOLE = Happened.WRITER_CLOSED | Happened.RENAMED_IN
"""Whoever made the file is probably done with it."""
GONE = Happened.RENAMED_AWAY | Happened.DELETED
FOLDER_GONE = Happened.FOLDER_DELETED | Happened.FOLDER_MOVED | Happened.UNMOUNTED | Happened.IGNORED
_ENTRIES = GONE | Happened.MODIFIED | Happened.CHANGED | Happened.WRITER_CLOSED | Happened.RENAMED_IN | Happened.CREATED


class Event(NamedTuple):
    """One event; `name` is empty for the folder itself."""

    what: Happened
    name: bytes


@contextmanager
def watched(path: Path) -> Iterator[int]:
    """Give a descriptor that becomes readable when something happens in the folder *path*; `events` reads it.

    Raises: OSError, also when the account has used up its watches.
    """
    fd = _checked(_LIBC.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC), path)
    try:
        mask = int(_ENTRIES | Happened.FOLDER_DELETED | Happened.FOLDER_MOVED) | _ONLY_FOLDERS
        _checked(_LIBC.inotify_add_watch(fd, os.fsencode(path), mask), path)
        yield fd
    finally:
        os.close(fd)


def events(fd: int) -> Iterator[Event]:
    """Yield what has happened since the last call, in order."""
    while True:
        try:
            data = os.read(fd, _READ_BYTES)
        except BlockingIOError:
            return
        offset = 0
        while offset < len(data):
            _, mask, _, length = _HEAD.unpack_from(data, offset)
            offset += _HEAD.size + length
            yield Event(Happened(mask & 0xFFFF), data[offset - length : offset].rstrip(b"\0"))


def _checked(result: int, path: Path) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(path))
    return result
