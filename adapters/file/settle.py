"""What becomes of claimed files once the store knows them; everything here can be done again.

Everything blocks and runs in one thread. Source: reliability reference 5.3, step A1.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import assert_never

import structlog

from adapters.file.describe import moment
from adapters.file.errors import folder_errors
from adapters.file.folder import Folder, opened, status_of
from adapters.file.fsops import FileOps
from adapters.file.names import display, name_file, parse_work_name
from adapters.file.settings import FileReceiveSettings
from gateway.messaging.rules.delivery import Claim, Settled, Settlement

log = structlog.get_logger()


def archive_files(ops: FileOps, settings: FileReceiveSettings, settled: Sequence[Settled], day: str) -> None:
    """Archive under *day*, delete or quarantine; every folder that changed is flushed once at the end.

    A file that is no longer there was settled before. The reason beside a quarantined file is written first,
    by the caller, so that no file ever lies there without one.
    Raises: AdapterUnavailable; what was done stays done.
    """
    kinds = {item.settlement for item in settled}
    with ExitStack() as folders:
        folders.enter_context(folder_errors(settings.work_place))
        work = folders.enter_context(opened(settings.work))
        changed = [work]
        archive = error = work
        if Settlement.ARCHIVE in kinds:
            folders.enter_context(folder_errors(settings.archive_place, settings.work_place))
            root = folders.enter_context(opened(settings.archive))
            if ops.make_folder(root, day):
                changed.append(root)
            archive = folders.enter_context(opened(settings.archive / day))
            changed.append(archive)
        if Settlement.QUARANTINE in kinds:
            folders.enter_context(folder_errors(settings.error_place, settings.work_place))
            error = folders.enter_context(opened(settings.error))
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
            ops.move(work, claim.work_name, archive, claim.work_name)
        case Settlement.DELETE:
            _report_change(claim, work)
            ops.unlink(work, claim.work_name, "settle")
        case Settlement.QUARANTINE:
            ops.move(work, claim.work_name, error, claim.work_name)
        case _:
            assert_never(item.settlement)
    parsed = parse_work_name(claim.work_name)
    if parsed is not None and not parsed[2]:
        ops.unlink(work, name_file(claim.id), "settle")


def _report_change(claim: Claim, work: Folder) -> None:
    """Say so when a writer that still held the file changed it after the claim: what we read may differ."""
    status = status_of(work, claim.work_name)
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
