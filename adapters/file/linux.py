"""What Linux offers beyond Python's os module: lease probe, group flush, rename that never overwrites, folder events.

Elsewhere each function says "cannot tell" or "not supported", and the callers fall back to portable ways.
"""

import ctypes
import errno
import fcntl
import os
import signal
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntFlag, StrEnum
from pathlib import Path
from typing import NamedTuple

_LIBC = ctypes.CDLL(None, use_errno=True)
_RENAME_NOREPLACE = 1
_AT_EMPTY_PATH = 0x1000
_STATX_BTIME = 0x800
_EVENT_HEAD = struct.Struct("iIII")  # watch, mask, cookie, length of the name with its NULs
_EVENT_BYTES = 65_536
_ONLY_FOLDERS = 0x0100_0000

_FILE_SYSTEMS = {
    0xEF53: "ext4",
    0x58465342: "xfs",
    0x9123683E: "btrfs",
    0xF2F52010: "f2fs",
    0xCA451A4E: "bcachefs",
    0x01021994: "tmpfs",
    0x2FC12FC1: "zfs",
    0x794C7630: "overlay",
    0x6969: "nfs",
    0xFF534D42: "cifs",
    0xFE534D42: "smb2",
    0x517B: "smb",
    0x65735546: "fuse",
    0x4D44: "vfat",
    0x2011BAB0: "exfat",
    0x01021997: "9p",
    0x00C36400: "ceph",
    0x0BD00BD0: "lustre",
}
_LOCAL = frozenset({"ext4", "xfs", "btrfs", "f2fs", "bcachefs", "tmpfs"})


Identity = tuple[int, int, bytes]
"""What tells a folder from any other, also from one that got its number later: device, number, time of birth."""


def identity_of(fd: int) -> Identity:
    """Return what *fd* is; where the file system knows no time of birth, device and number must do."""
    status = os.fstat(fd)
    # struct statx has the same layout on every Linux; the time of birth begins at byte 80
    buffer = ctypes.create_string_buffer(256)
    statx = getattr(_LIBC, "statx", None)
    known = statx is not None and statx(fd, b"", _AT_EMPTY_PATH, _STATX_BTIME, buffer) == 0
    return status.st_dev, status.st_ino, buffer.raw[80:92] if known else b""


class Writers(StrEnum):
    """What the kernel says about writers of a file."""

    NOBODY = "nobody"  # no process has it open for writing
    SOMEBODY = "somebody"  # some process has
    UNKNOWN = "unknown"  # this file system, platform or account cannot tell


def file_system(fd: int) -> str | None:
    """Return the name of the file system that holds *fd*, None when it is unknown to us."""
    if not sys.platform.startswith("linux"):
        return None
    # struct statfs begins with f_type on every Linux; 256 bytes are more than any architecture fills
    buffer = ctypes.create_string_buffer(256)
    if _LIBC.fstatfs(fd, buffer) != 0:
        return None
    return _FILE_SYSTEMS.get(ctypes.c_long.from_buffer(buffer).value & 0xFFFFFFFF)


def file_system_at(path: Path) -> str | None:
    """Return the name of the file system that holds the folder *path*, None when it is unknown to us."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return file_system(fd)
    finally:
        os.close(fd)


def tells_writers(fd: int) -> bool:
    """Return whether the lease probe can be believed here.

    Network file systems answer EAGAIN for reasons of their own (no delegation) and never see remote writers.
    """
    return file_system(fd) in _LOCAL


def probe_writer(fd: int) -> Writers:
    """Ask the kernel whether any process has a regular file open for writing, by a lease of microseconds.

    Shape: *fd* was opened read-only. Needs the same owner or CAP_LEASE; otherwise UNKNOWN.
    Source: reliability reference 5.2 d; fcntl(2), "Leases".
    """
    if not sys.platform.startswith("linux"):
        return Writers.UNKNOWN
    try:
        # A writer that opens the file while we hold the lease makes the kernel signal us. Its default, SIGIO,
        # would end the process; SIGURG is ignored unless somebody asks for it.
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return Writers.SOMEBODY if error.errno == errno.EAGAIN else Writers.UNKNOWN
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return Writers.NOBODY


def sync_file_system(fd: int) -> None:
    """Make everything written to the file system of *fd* durable.

    Since Linux 5.8 it also reports a failed write to any file of it since *fd* was opened.
    Raises: OSError; ENOSYS where there is no such call.
    """
    syncfs = getattr(_LIBC, "syncfs", None)
    if syncfs is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    _checked(syncfs(fd))


def rename_new(source: bytes, source_fd: int, target: bytes, target_fd: int) -> None:
    """Rename, but never over an existing name.

    Where the file system cannot do both at once (NFS, some FUSE) we look first and rename then. A hard link
    followed by an unlink would close that gap, yet a crash between the two would leave the staged file beside
    the published one, and the absence of the staged file would no longer prove publication: a partner that
    had taken the response would get it again. Our names are unique, so the gap is only open to a partner that
    creates our very name in these microseconds.

    Raises: FileExistsError when *target* is there, FileNotFoundError when *source* is not, other OSError.
    """
    renameat2 = getattr(_LIBC, "renameat2", None)
    if renameat2 is not None:
        if renameat2(source_fd, source, target_fd, target, _RENAME_NOREPLACE) == 0:
            return
        code = ctypes.get_errno()
        if code not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
            raise OSError(code, os.strerror(code), os.fsdecode(source), None, os.fsdecode(target))
    try:
        os.stat(target, dir_fd=target_fd, follow_symlinks=False)
    except FileNotFoundError:
        os.rename(source, target, src_dir_fd=source_fd, dst_dir_fd=target_fd)
    else:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fsdecode(target))


EVENTS_AVAILABLE = sys.platform.startswith("linux")


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
    fd = _checked(_LIBC.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC), str(path))
    try:
        mask = int(_ENTRIES | Happened.FOLDER_DELETED | Happened.FOLDER_MOVED) | _ONLY_FOLDERS
        _checked(_LIBC.inotify_add_watch(fd, os.fsencode(path), mask), str(path))
        yield fd
    finally:
        os.close(fd)


def events(fd: int) -> Iterator[Event]:
    """Yield what has happened since the last call, in order."""
    while True:
        try:
            data = os.read(fd, _EVENT_BYTES)
        except BlockingIOError:
            return
        offset = 0
        while offset < len(data):
            _, mask, _, length = _EVENT_HEAD.unpack_from(data, offset)
            offset += _EVENT_HEAD.size + length
            yield Event(Happened(mask & 0xFFFF), data[offset - length : offset].rstrip(b"\0"))


def _checked(result: int, path: str | None = None) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), path)
    return result
