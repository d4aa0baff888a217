"""The one module that touches the folders of a port: small steps, by descriptor, each between fault points.

A path is used once, to open a folder; inside it names are bytes relative to its descriptor, and no symbolic
link is followed. Each step can be told to a recorder, so that tests see the order of flushes and can build
every state a power loss may leave.
"""

import asyncio
import errno
import os
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import aiofiles

from adapters.file.kernel import rename_new, sync_file_system
from gateway.domain.faultpoints import reach

FAULT_POINTS = (
    "claim.name_kept",
    "claim.rename",
    "claim.renamed",
    "claim.unmark",
    "claim.unmarked",
    "claim.put_back",
    "claim.work.flush",
    "claim.work.flushed",
    "claim.inbound.flush",
    "claim.inbound.flushed",
    "settle.reason",
    "settle.reason_written",
    "settle.move",
    "settle.moved",
    "settle.unlink",
    "settle.unlinked",
    "settle.folder_made",
    "settle.flush",
    "settle.flushed",
    "stage.create",
    "stage.write",
    "stage.written",
    "stage.fsync",
    "stage.fsynced",
    "stage.syncfs",
    "stage.syncfs_done",
    "stage.folder.flush",
    "stage.folder.flushed",
    "stage.unlink",
    "stage.unlinked",
    "publish.rename",
    "publish.renamed",
    "publish.outbound.flush",
    "publish.outbound.flushed",
    "publish.staging.flush",
    "publish.staging.flushed",
)
"""Every name this module reaches."""

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
class Operation:
    """One step that changed a disk or made it durable.

    Shape: *op* is create, write, rename, unlink, mkdir, rmdir, fsync, fsync_folder or syncfs; *target* the new path.
    """

    op: str
    path: str
    target: str | None = None


Recorder = Callable[[Operation], None]


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


def try_move(source: Path, target: Path, name: bytes) -> None:
    """Write, flush, move and remove a file of that name, as a test. Raises: OSError; nothing is left behind."""
    with opened(source) as here, opened(target) as there:
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=here.fd)
        left = here
        try:
            os.fsync(fd)
            rename_new(name, here.fd, name, there.fd)
            left = there
            os.fsync(there.fd)
            os.fsync(here.fd)
        finally:
            os.close(fd)
            os.unlink(name, dir_fd=left.fd)


class FileOps:
    """The changing steps; *recorder* is told each one after it happened."""

    def __init__(self, recorder: Recorder | None = None) -> None:
        self._recorder = recorder

    def _record(self, op: str, folder: Folder, name: bytes | None = None, target: str | None = None) -> None:
        if self._recorder is not None:
            path = str(folder.path) if name is None else folder.named(name)
            self._recorder(Operation(op, path, target))

    def claim_rename(self, inbound: Folder, name: bytes, work: Folder, work_name: bytes) -> bool:
        """Take a file by renaming it; return False when it has gone meanwhile.

        On ENOENT we look whether our own name is there: NFS repeats a rename whose reply got lost.
        """
        reach("claim.rename")
        try:
            os.rename(name, work_name, src_dir_fd=inbound.fd, dst_dir_fd=work.fd)
        except FileNotFoundError:
            if status_of(work, work_name) is None:
                # a folder removed under our descriptor says ENOENT as well: that is no vanished file
                inbound.path.stat()
                work.path.stat()
                return False
        self._record("rename", inbound, name, work.named(work_name))
        reach("claim.renamed")
        return True

    def put_back(self, work: Folder, work_name: bytes, inbound: Folder, name: bytes) -> None:
        """Undo a claim that could not be made durable. Raises: FileExistsError when the name is taken again."""
        reach("claim.put_back")
        rename_new(work_name, work.fd, name, inbound.fd)
        self._record("rename", work, work_name, inbound.named(name))

    def restore_marker(self, inbound: Folder, name: bytes) -> None:
        """Make the partner's marker again after a claim was undone."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        os.close(os.open(name, flags, 0o640, dir_fd=inbound.fd))
        self._record("create", inbound, name)

    def move(self, source: Folder, name: bytes, target: Folder, new_name: bytes) -> bool:
        """Move a settled file; return False when it is no longer there."""
        reach("settle.move")
        try:
            os.rename(name, new_name, src_dir_fd=source.fd, dst_dir_fd=target.fd)
        except FileNotFoundError:
            return False
        self._record("rename", source, name, target.named(new_name))
        reach("settle.moved")
        return True

    def unlink(self, folder: Folder, name: bytes, step: str) -> bool:
        """Remove a file; return False when it is no longer there."""
        before, after = _UNLINK_POINTS[step]
        reach(before)
        try:
            os.unlink(name, dir_fd=folder.fd)
        except FileNotFoundError:
            return False
        self._record("unlink", folder, name)
        reach(after)
        return True

    def make_folder(self, parent: Folder, name: str) -> bool:
        """Make a private folder in one of ours; return False when it is there."""
        try:
            os.mkdir(name, 0o700, dir_fd=parent.fd)
        except FileExistsError:
            return False
        self._record("mkdir", parent, name.encode())
        reach("settle.folder_made")
        return True

    def remove_folder(self, parent: Folder, name: str) -> None:
        """Remove an empty folder of ours. Raises: OSError; ENOTEMPTY when something lies in it."""
        os.rmdir(name, dir_fd=parent.fd)
        self._record("rmdir", parent, name.encode())

    def keep_name(self, work: Folder, name: bytes, content: bytes) -> None:
        """Write a durable small file of ours that keeps a name too long for the work name."""
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=work.fd)
        try:
            _write_all(fd, content)
            os.fsync(fd)
        finally:
            os.close(fd)
        self._record("create", work, name)
        self._record("fsync", work, name)
        reach("claim.name_kept")

    async def write_reason(self, folder: Path, name: bytes, text: str, executor: Executor) -> None:
        """Write the durable text that lies beside a quarantined file, over one of an earlier attempt."""
        reach("settle.reason")

        def create(path: str, _: int) -> int:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
            with opened(folder) as parent:
                return os.open(path, flags, 0o600, dir_fd=parent.fd)

        content = text.encode("utf-8", "backslashreplace")
        async with aiofiles.open(os.fsdecode(name), "wb", opener=create, executor=executor) as file:
            await file.write(content)
            await file.flush()
            await asyncio.get_running_loop().run_in_executor(executor, os.fsync, file.fileno())
        if self._recorder is not None:
            for op in ("create", "write", "fsync"):
                self._recorder(Operation(op, f"{folder}/{os.fsdecode(name)}"))
        reach("settle.reason_written")

    def mark_staging(self, staging: Folder, name: bytes, identity: bytes) -> None:
        """Put our mark into a staging folder, whole or not at all; the flush of the first group makes it durable.

        Raises: FileExistsError when somebody else was faster.
        """
        temporary = identity + b".mark.tmp"  # looks like a staged file, so that it is found when we end here
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600,
                     dir_fd=staging.fd)  # fmt: skip
        try:
            self._record("create", staging, temporary)
            _write_all(fd, identity)
            self._record("write", staging, temporary)
            os.fsync(fd)
            self._record("fsync", staging, temporary)
        finally:
            os.close(fd)
        try:
            rename_new(temporary, staging.fd, name, staging.fd)
        except FileExistsError:
            os.unlink(temporary, dir_fd=staging.fd)
            raise
        self._record("rename", staging, temporary, staging.named(name))

    def write_staged(self, staging: Folder, name: bytes, content: bytes, *, group: int | None, flush: bool) -> None:
        """Write a new file where the partner cannot see it; *flush* makes its content durable at once.

        Shape: mode 0640 whatever the umask; *group* is the group it gets, None: as it comes.
        Raises: OSError, also when closing fails (network file systems report there); a file may be left.
        """
        reach("stage.create")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(name, flags, 0o640, dir_fd=staging.fd)
        try:
            self._record("create", staging, name)
            if group is not None:
                _give_to_group(fd, group)
            os.fchmod(fd, 0o640)
            reach("stage.write")
            _write_all(fd, content)
            self._record("write", staging, name)
            reach("stage.written")
            if flush:
                self._fsync(staging, name, fd)
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)

    def fsync_staged(self, staging: Folder, name: bytes) -> None:
        """Make the content of a staged file durable that was written and closed before.

        A failed write-back is reported to this new descriptor as well, as long as nobody was told before.
        """
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=staging.fd)
        try:
            self._fsync(staging, name, fd)
        finally:
            os.close(fd)

    def _fsync(self, folder: Folder, name: bytes, fd: int) -> None:
        reach("stage.fsync")
        os.fsync(fd)
        self._record("fsync", folder, name)
        reach("stage.fsynced")

    def sync_staged(self, staging: Folder) -> None:
        """Make all staged files durable with one call; *staging* was opened before they were written."""
        reach("stage.syncfs")
        sync_file_system(staging.fd)
        self._record("syncfs", staging)
        reach("stage.syncfs_done")

    def publish(self, staging: Folder, name: bytes, outbound: Folder, final_name: bytes) -> bool:
        """Show a staged file to the partner with one rename; return False when it is no longer staged.

        Raises: FileExistsError when the final name is taken; OSError when a folder has gone, which ENOENT from
        the rename alone would not tell from a published file.
        """
        reach("publish.rename")
        try:
            rename_new(name, staging.fd, final_name, outbound.fd)
        except FileNotFoundError:
            if status_of(staging, name) is not None:
                raise
            return False
        self._record("rename", staging, name, outbound.named(final_name))
        reach("publish.renamed")
        return True

    def flush_folder(self, folder: Folder, step: str) -> None:
        """Make the entries of *folder* durable."""
        before, after = _FLUSH_POINTS[step]
        reach(before)
        os.fsync(folder.fd)
        self._record("fsync_folder", folder)
        reach(after)


_UNLINK_POINTS = {
    "claim": ("claim.unmark", "claim.unmarked"),
    "settle": ("settle.unlink", "settle.unlinked"),
    "stage": ("stage.unlink", "stage.unlinked"),
}
_FLUSH_POINTS = {
    "claim.work": ("claim.work.flush", "claim.work.flushed"),
    "claim.inbound": ("claim.inbound.flush", "claim.inbound.flushed"),
    "settle": ("settle.flush", "settle.flushed"),
    "stage": ("stage.folder.flush", "stage.folder.flushed"),
    "publish.outbound": ("publish.outbound.flush", "publish.outbound.flushed"),
    "publish.staging": ("publish.staging.flush", "publish.staging.flushed"),
}


def _write_all(fd: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(fd, view) :]


def _give_to_group(fd: int, group: int) -> None:
    """Give a response to the partner's group; an account outside it may not, and `check` says so."""
    try:
        os.fchown(fd, -1, group)
    except PermissionError:
        return
