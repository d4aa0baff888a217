"""Look into the folders of a port, by descriptor; nothing in here changes them.

A path is used once, to open a folder; inside it names are bytes relative to its descriptor, and no symbolic
link is followed. On the way to the folder a link counts only when root or the gateway's account made it: a partner
who owns a folder above his own could lead us into another partner's.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

SLICE_ENTRIES = 2_000
_MOST_LINKS = 40


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


class ForeignLink(OSError):
    """A symbolic link on the way to a folder, made by an account (`owner`, its uid) that is not to decide about it."""

    def __init__(self, link: str, owner: int) -> None:
        super().__init__(errno.ELOOP, f"{link} is a symbolic link of the account {owner}")
        self.link = link
        self.owner = owner


@contextmanager
def opened(path: Path) -> Iterator[Folder]:
    """Open a folder for the operations below; *path* is absolute.

    Raises: OSError; ENOTDIR or ELOOP when the path itself is a symbolic link; ForeignLink when one above it is that
    neither root nor our account made.
    """
    try:
        fd = _open_step_by_step(path)
    except OSError as error:
        error.filename = str(path)
        raise
    try:
        yield Folder(path, fd)
    finally:
        os.close(fd)


def refuse_foreign_link(path: Path) -> None:
    """Make sure that nobody leads us elsewhere before a folder is made. Raises: ForeignLink."""
    try:
        with opened(path):
            pass
    except ForeignLink:
        raise
    except OSError:
        return  # it is not there yet, or something else that is told when it is used


def _open_step_by_step(path: Path) -> int:
    """Open each folder by the descriptor of the one before, so that nobody can exchange one behind our back."""
    parts = list(reversed(path.parts[1:]))
    way, links = "/", 0
    fd = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        while parts:
            part = parts.pop()
            # O_DIRECTORY also where only the path is wanted: without it the kernel mounts no share on demand
            reading = os.O_PATH if parts else os.O_RDONLY
            flags = reading | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            try:
                below = os.open(part, flags, dir_fd=fd)
            except OSError as error:
                links += 1
                if not parts or error.errno not in (errno.ENOTDIR, errno.ELOOP) or links > _MOST_LINKS:
                    raise
                to = Path(_followed(fd, part, os.path.join(way, part)))
                parts += reversed(to.parts[1:] if to.is_absolute() else to.parts)
                if not to.is_absolute():
                    continue
                below, part = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC), "/"
            os.close(fd)
            fd, way = below, os.path.join(way, part)  # a Path costs more than the opening
    except BaseException:
        os.close(fd)
        raise
    return fd


def _followed(parent: int, name: str, shown: str) -> str:
    """Return where a link leads that we may follow. Raises: ForeignLink; NotADirectoryError when it is no link."""
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        status = os.fstat(fd)
        if not stat.S_ISLNK(status.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if status.st_uid not in (0, os.geteuid()):
            raise ForeignLink(shown, status.st_uid)
        return os.readlink("", dir_fd=fd)
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


def entries(folder: Folder) -> Iterator[tuple[bytes, EntryKind]]:
    """List *folder*, in no order."""
    for part in scan(folder):
        yield from part


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


def moment(seconds: float) -> datetime:
    """Return a file's time as UTC; a time beyond the calendar, which anybody may set, counts as the epoch."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(0, UTC)
