"""What becomes of claimed files once the store knows them, and of the archive in time; all of it can be done again.

Everything blocks and runs in one thread. Source: reliability reference 5.3, step A1.
"""

import errno
import re
from collections.abc import Collection, Sequence, Set
from contextlib import ExitStack
from datetime import date
from typing import assert_never

import structlog

from adapters.file.folder import EntryKind, Folder, entries, moment, opened, status_of
from adapters.file.fsops import FileOps
from adapters.file.names import display, name_file, parse_work_name
from adapters.file.settings import FileReceiveSettings
from gateway.kernel.ids import ClaimId
from gateway.messaging.rules.delivery import Claim, Settled, Settlement

log = structlog.get_logger()

_DAY = re.compile(r"\d{4}-\d\d-\d\d")


def settle_files(ops: FileOps, settings: FileReceiveSettings, settled: Sequence[Settled], day: str) -> None:
    """Archive under *day*, delete or quarantine; every folder that changed is flushed once at the end.

    A file that is no longer there was settled before. The reason beside a quarantined file is written first,
    by the caller, so that no file ever lies there without one.
    Raises: AdapterUnavailable; what was done stays done.
    """
    kinds = {item.settlement for item in settled}
    with ExitStack() as folders:
        work = folders.enter_context(settings.work.opened())
        changed = [work]
        archive = error = work
        if Settlement.ARCHIVE in kinds:
            root = folders.enter_context(settings.archive.opened(settings.work))
            if ops.make_folder(root, day):
                changed.append(root)
            archive = folders.enter_context(opened(settings.archive.path / day))
            changed.append(archive)
        if Settlement.QUARANTINE in kinds:
            error = folders.enter_context(settings.error.opened(settings.work))
            changed.append(error)
        for item in settled:
            _settle(ops, item, work, archive, error)
        for folder in changed:
            ops.flush_folder(folder, "settle")


def _settle(ops: FileOps, item: Settled, work: Folder, archive: Folder, error: Folder) -> None:
    claim = item.claim
    match item.settlement:
        case Settlement.ARCHIVE:
            _report_change(claim, work)
            ops.move(work, claim.handle, archive, claim.handle)
        case Settlement.DELETE:
            _report_change(claim, work)
            ops.unlink(work, claim.handle, "settle")
        case Settlement.QUARANTINE:
            ops.move(work, claim.handle, error, claim.handle)
        case _:
            assert_never(item.settlement)
    parsed = parse_work_name(claim.handle)
    if parsed is not None and not parsed[2]:
        ops.unlink(work, name_file(claim.id), "settle")


def _report_change(claim: Claim, work: Folder) -> None:
    """Say so when a writer that still held the file changed it after the claim: what we read may differ."""
    status = status_of(work, claim.handle)
    if status is None or (status.st_size, moment(status.st_mtime)) == (claim.size, claim.modified_at):
        return
    log.warning(
        "file.changed_after_claim",
        port=claim.port,
        file=display(claim.name),
        claim_id=str(claim.id),
        claimed_bytes=claim.size,
        size_bytes=status.st_size,
    )


def claimed_ids(settings: FileReceiveSettings) -> set[ClaimId]:
    """Return the ids of the files that lie in the work folder. Raises: AdapterUnavailable."""
    with settings.work.opened() as work:
        parsed = [parse_work_name(name) for name, _ in entries(work)]
    return {found[0] for found in parsed if found is not None}


def archived_days(settings: FileReceiveSettings, before: date) -> list[str]:
    """Return the day folders of the archive that are older than *before*, oldest first. Raises: AdapterUnavailable."""
    with settings.archive.opened() as archive:
        names = [name.decode("ascii", "replace") for name, kind in entries(archive) if kind is EntryKind.FOLDER]
    return sorted(name for name in names if _DAY.fullmatch(name) and name < before.isoformat())


def archived_names(settings: FileReceiveSettings, day: str, keep: Set[ClaimId]) -> list[bytes]:
    """Return the names of the files that were archived on a day, but for those of *keep*. Raises: AdapterUnavailable.

    Nothing is among them but what `settle_files` put there.
    """
    with settings.archive.opened() as archive:
        if status_of(archive, day.encode()) is None:
            return []
        with opened(settings.archive.path / day) as folder:
            parsed = [(name, parse_work_name(name)) for name, _ in entries(folder)]
    return [name for name, claim in parsed if claim is not None and claim[0] not in keep]


def remove_archived(ops: FileOps, settings: FileReceiveSettings, day: str, names: Collection[bytes]) -> int:
    """Remove archived files of a day; a day that is empty then goes too. Returns how many were there.

    Raises: AdapterUnavailable; what was removed stays removed.
    """
    with settings.archive.opened() as archive:
        if status_of(archive, day.encode()) is None:
            return 0  # it went with its last file
        with opened(settings.archive.path / day) as folder:
            removed = sum(ops.unlink(folder, name, "settle") for name in names)
        try:
            ops.remove_folder(archive, day)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
    return removed
