"""Staging: files are written where the partner cannot see them, and made durable in groups.

Everything blocks and runs in one thread. Source: reliability reference 5.3, step S1.
"""

import errno
import grp
import os
from collections.abc import Sequence
from contextlib import suppress
from uuid import UUID, uuid4

from adapters.file.errors import AWAY, FULL, PortFolder, unavailable
from adapters.file.folder import Folder, entries, read_small, status_of
from adapters.file.fsops import FileOps
from adapters.file.settings import FileSendSettings
from gateway.kernel.errors import AdapterUnavailable, GatewayError
from gateway.messaging.rules.delivery import OutgoingFile

STAGING_MARK = b".gateway-staging"
"""Lies in every staging folder we have used and holds its identity: an empty mount point in its place has none."""

FEW_FILES = 4
"""Up to here each file is flushed by itself; above, one syncfs flushes the group.

Measured on ext4, 1.5 kB files, microseconds per file with everything: 500 files 284 with fsync each, 461 with
fsync in four threads, 194 with syncfs, and 1,900 to 220 on a busy disk; 32 files 239 to 69; 4 files 226 to 131;
one file 541 to 646. The other side of syncfs is that it also waits for what others have written to that file
system, which is not worth it for a few files. (ext4 looks past inodes freed in the last seconds: after a partner
took thousands of files, making new ones nearby costs up to 600 more; that is the file system's own doing.)
"""

OTHER_STAGING = "address.other-staging"

Results = list[GatewayError | None]


def probe_folders(settings: FileSendSettings) -> None:
    """Look whether both folders are there, may be written to and have room. Raises: AdapterUnavailable."""
    for place in (settings.staging, settings.outbound):
        with place.opened() as folder:
            system = os.fstatvfs(folder.fd)
            if system.f_flag & os.ST_RDONLY:
                raise OSError(errno.EROFS, os.strerror(errno.EROFS))
            if not os.access(".", os.W_OK | os.X_OK, dir_fd=folder.fd, effective_ids=True):
                raise OSError(errno.EACCES, os.strerror(errno.EACCES))
            if system.f_blocks and not system.f_bavail:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def identity_of_staging(ops: FileOps, settings: FileSendSettings) -> UUID:
    """Return the identity of the staging folder; a folder that has none gets one."""
    with settings.staging.opened() as staging:
        return _identity(ops, staging)


def _identity(ops: FileOps, staging: Folder) -> UUID:
    if (known := marked_as(staging)) is not None:
        return known
    if status_of(staging, STAGING_MARK) is not None:  # a mark that tells nothing, from before it held an identity
        ops.unlink(staging, STAGING_MARK, "stage")
    with suppress(FileExistsError):  # of two nodes that share the folder one makes the mark
        ops.mark_staging(staging, STAGING_MARK, str(uuid4()).encode())
    return marked_as(staging) or uuid4()  # gone again: it is nobody's folder


def marked_as(staging: Folder) -> UUID | None:
    """Return the identity of an open staging folder, None when it has none."""
    content = read_small(staging, STAGING_MARK)
    try:
        return None if content is None else UUID(content.decode())
    except ValueError:
        return None


def stage_files(
    ops: FileOps, settings: FileSendSettings, files: Sequence[OutgoingFile], identity: UUID | None = None
) -> Results:
    """Write all files and make them durable together; a file that could not be is removed, its entry says why.

    *identity* is what the folder was said to be, None when nobody asked.
    A failed flush is never tried again on the same file: the caller comes back with a new staged name.
    """
    place = settings.staging
    with place.opened() as staging:
        if _identity(ops, staging) != identity and identity is not None:
            return [other_staging(settings, file.final_name) for file in files]
        few = len(files) <= FEW_FILES
        results = _write(ops, settings, staging, files, flush=few)
        if not few and None in results:
            _flush_group(ops, place, staging, files, results)
        if None in results:
            try:
                ops.flush_folder(staging, "stage")
            except OSError as error:
                for number, file in enumerate(files):
                    if results[number] is None:
                        results[number] = unavailable(error, place)
                        _remove(ops, staging, file)
    return results


def _write(
    ops: FileOps, settings: FileSendSettings, staging: Folder, files: Sequence[OutgoingFile], *, flush: bool
) -> Results:
    place = settings.staging
    wanted = wanted_group(settings)
    paths = {settings.target(file.final_name).path for file in files}
    groups = {path: _group_for(staging, path) if wanted is None else wanted for path in paths}
    results: Results = []
    hopeless: OSError | None = None
    for file in files:
        if hopeless is not None:
            results.append(unavailable(hopeless, place))
            continue
        group = groups[settings.target(file.final_name).path]
        try:
            ops.write_staged(
                staging, file.staged_name.encode(), file.content, mode=settings.file_mode, group=group, flush=flush
            )
        except FileExistsError:
            # not ours to remove: it may be promised, and its absence would prove a publication that never was
            results.append(name_taken(place, file.staged_name))
        except OSError as error:
            _remove(ops, staging, file)
            results.append(unavailable(error, place))
            if error.errno in FULL | AWAY:
                hopeless = error
        else:
            results.append(None)
    return results


def _flush_group(
    ops: FileOps, place: PortFolder, staging: Folder, files: Sequence[OutgoingFile], results: Results
) -> None:
    try:
        ops.sync_staged(staging)
    except OSError:
        # somebody's file on this file system failed, or there is no such call: ask for each of ours
        for number, file in enumerate(files):
            if results[number] is not None:
                continue
            try:
                ops.fsync_staged(staging, file.staged_name.encode())
            except OSError as error:
                results[number] = unavailable(error, place)
                _remove(ops, staging, file)


def _remove(ops: FileOps, staging: Folder, file: OutgoingFile) -> None:
    # what cannot be removed now is found by `staged` later: no promise will ever name it
    with suppress(OSError):
        ops.unlink(staging, file.staged_name.encode(), "stage")


def wanted_group(settings: FileSendSettings) -> int | None:
    """Return the group that the settings name, None when they name none.

    Raises: AdapterUnavailable when there is no such group, or our account may not give files to it.
    """
    group = settings.group
    try:
        number = grp.getgrnam(group).gr_gid if isinstance(group, str) else group
    except KeyError:
        raise _no_group(settings, "there is no such group. Make it, or change the setting") from None
    if number is not None and not may_give(number):
        raise _no_group(settings, "the gateway's account is not in it. Make it a member, and start the gateway anew")
    return number


def may_give(group: int) -> bool:
    """Tell whether our account may give its files to a group: it is in it, or is root."""
    return os.geteuid() == 0 or group in (os.getegid(), *os.getgroups())


def _no_group(settings: FileSendSettings, why: str) -> AdapterUnavailable:
    return AdapterUnavailable(
        f"The files cannot be given to the group {settings.group} ({settings.group_setting}): {why}.",
        code="address.no-group",
        port=settings.port,
        folder=str(settings.outbound.path),
        setting=settings.group_setting,
    )


def _group_for(staging: Folder, target: os.PathLike[str]) -> int | None:
    """Return the group to give to files for *target*, None when they get it by themselves."""
    try:
        group = os.stat(target).st_gid  # noqa: PTH116  only asked for its group
    except OSError:
        return None
    own = os.fstat(staging.fd)
    natural = own.st_gid if own.st_mode & 0o2000 else os.getegid()
    return None if group == natural else group


def other_staging(settings: FileSendSettings, final_name: str) -> AdapterUnavailable:
    """Say that the staging folder is not the one in which a file was prepared."""
    place = settings.staging
    return place.unavailable(
        OTHER_STAGING,
        f"The folder {place.path} ({place.setting}) is not the one in which {final_name} was prepared: its file "
        f"{STAGING_MARK.decode()} is missing or another one, or it lies on another file system than the outbound "
        "folder. Mount the right one, or restore it.",
    )


def name_taken(place: PortFolder, name: str) -> AdapterUnavailable:
    """Say that a file of that name is there already."""
    return place.unavailable(
        "address.name-taken",
        f"{place.path} already holds a file named {name}, which is never overwritten. Move that file away.",
        file=name,
    )


def discard_files(ops: FileOps, settings: FileSendSettings, staged_names: Sequence[str]) -> None:
    """Remove staged files that no promise names."""
    with settings.staging.opened() as staging:
        for name in staged_names:
            ops.unlink(staging, name.encode(), "stage")


def staged_names(settings: FileSendSettings) -> list[str]:
    """List the staging folder, sorted, without our mark."""
    with settings.staging.opened() as staging:
        return sorted(os.fsdecode(name) for name, _ in entries(staging) if not name.startswith(b"."))
