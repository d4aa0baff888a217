"""Look into the folders of a port, by descriptor; nothing in here changes them.

A path is used once, to open a folder; inside it names are bytes relative to its descriptor, and no symbolic
link is followed.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

SLICE_ENTRIES = 2_000


class EntryKind(StrEnum):
    """What an entry of a folder is, without following it."""

    FILE = "file"
    SYMLINK = "symlink"
    FOLDER = "folder"
    FIFO = "fifo"
    SOCKET = "socket"
    DEVICE = "device"


@dataclass(frozen=True, slots=True)
class Folder:
    """An open folder; valid inside the `opened` block that made it."""

    path: Path
    fd: int

    def named(self, name: bytes) -> str:
        """Return the path of *name* in it, for records only."""
        return f"{self.path}/{os.fsdecode(name)}"


class NotRegular(OSError):
    """An entry that should be a regular file is something else."""

    def __init__(self, kind: EntryKind) -> None:
        super().__init__(f"it is a {kind}, not a regular file")
        self.kind = kind


@contextmanager
def opened(path: Path) -> Iterator[Folder]:
    """Open a folder for the operations below.

    Raises: OSError; ENOTDIR or ELOOP when the path is a symbolic link.
    """
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield Folder(path, fd)
    finally:
        os.close(fd)


def scan(folder: Folder, slice_entries: int = SLICE_ENTRIES) -> Iterator[list[tuple[bytes, EntryKind]]]:
    """List *folder* in slices, in no order; a folder of a million entries never lies in memory at once."""
    part: list[tuple[bytes, EntryKind]] = []
    with os.scandir(folder.fd) as entries:
        for entry in entries:
            try:
                kind = EntryKind.FILE if entry.is_file(follow_symlinks=False) else _kind_of(entry)
            except FileNotFoundError:
                continue
            part.append((os.fsencode(entry.name), kind))
            if len(part) >= slice_entries:
                yield part
                part = []
    if part:
        yield part


def _kind_of(entry: "os.DirEntry[str]") -> EntryKind:
    if entry.is_symlink():
        return EntryKind.SYMLINK
    if entry.is_dir(follow_symlinks=False):
        return EntryKind.FOLDER
    return kind_of(entry.stat(follow_symlinks=False).st_mode)


def kind_of(mode: int) -> EntryKind:
    """Return what the mode of an entry says it is."""
    for test, kind in (
        (stat.S_ISREG, EntryKind.FILE),
        (stat.S_ISLNK, EntryKind.SYMLINK),
        (stat.S_ISDIR, EntryKind.FOLDER),
        (stat.S_ISFIFO, EntryKind.FIFO),
        (stat.S_ISSOCK, EntryKind.SOCKET),
    ):
        if test(mode):
            return kind
    return EntryKind.DEVICE


@contextmanager
def open_checked(folder: Folder, name: bytes) -> Iterator[tuple[int, os.stat_result]]:
    """Open a regular file read-only; a link is not followed, a FIFO does not block.

    Raises: NotRegular, or OSError (ELOOP: a symbolic link; ENXIO: a socket).
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    fd = os.open(name, flags, dir_fd=folder.fd)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise NotRegular(kind_of(status.st_mode))
        yield fd, status
    finally:
        os.close(fd)


def status_of(folder: Folder, name: bytes) -> os.stat_result | None:
    """Return the status of the entry itself, None when there is none, nor can be under so long a name."""
    try:
        return os.stat(name, dir_fd=folder.fd, follow_symlinks=False)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return None
        raise


def read_small(folder: Folder, name: bytes, limit: int = 4096) -> bytes | None:
    """Return the beginning of a small file of ours, None when it is not there."""
    try:
        with open_checked(folder, name) as (fd, _):
            return os.read(fd, limit)
    except FileNotFoundError:
        return None
