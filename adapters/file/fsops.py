"""The one module that changes the folders of a port: small steps, by descriptor, each between fault points.

Each step can be told to a recorder, so that tests see the order of flushes and can build every state a power loss
may leave.
"""

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import aiofiles

from adapters.file.errors import PortFolder
from adapters.file.folder import Folder, opened, status_of
from adapters.file.linux import rename_new, sync_file_system
from gateway.kernel.faultpoints import reach

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


@dataclass(frozen=True, slots=True)
class Operation:
    """One step that changed a disk or made it durable.

    Shape: *op* is create, write, rename, unlink, mkdir, rmdir, fsync, fsync_folder or syncfs; *target* the new path.
    """

    op: str
    path: str
    target: str | None = None


Recorder = Callable[[Operation], None]


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


def replace_files(place: PortFolder, files: Mapping[str, bytes]) -> None:
    """Write small files by name over those that are there, none of them ever seen half written.

    Nothing depends on them: they can be written again at any time. All are durable when this returns.
    Raises: AdapterUnavailable.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with place.opened() as folder:
        for name, content in files.items():
            with os.fdopen(os.open(f".{name}.tmp", flags, 0o644, dir_fd=folder.fd), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())  # before the rename: no name may lead to a file that a power cut empties
            os.rename(f".{name}.tmp", name, src_dir_fd=folder.fd, dst_dir_fd=folder.fd)
        os.fsync(folder.fd)


def remove_files(place: PortFolder, names: Iterable[str]) -> None:
    """Remove such files; those that are gone are fine. Raises: AdapterUnavailable."""
    with place.opened() as folder:
        for name in names:
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=folder.fd)


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

    def write_staged(
        self, staging: Folder, name: bytes, content: bytes, *, mode: int, group: int | None, flush: bool
    ) -> None:
        """Write a new file where the partner cannot see it; *flush* makes its content durable at once.

        Shape: *mode* counts whatever the umask; *group* is the group it gets, None: as it comes.
        Raises: OSError, also when closing fails (network file systems report there); a file may be left.
        """
        reach("stage.create")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(name, flags, 0o600, dir_fd=staging.fd)
        try:
            self._record("create", staging, name)
            if group is not None:
                _give_to_group(fd, group)
            os.fchmod(fd, mode)
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
