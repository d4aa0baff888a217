"""Removing what the archive has kept for long enough. Nothing but files that `settle` put there is ever touched.

Everything blocks and runs in one thread.
"""

import errno
import re
from collections.abc import Collection, Set
from datetime import date

from adapters.file.errors import folder_errors
from adapters.file.folder import EntryKind, Folder, opened, scan, status_of
from adapters.file.fsops import FileOps
from adapters.file.names import parse_work_name
from adapters.file.settings import FileReceiveSettings
from gateway.kernel.ids import ClaimId

_DAY = re.compile(r"\d{4}-\d\d-\d\d")


def held_claims(settings: FileReceiveSettings) -> set[ClaimId]:
    """Return the ids of the files that lie in the work folder. Raises: AdapterUnavailable."""
    with folder_errors(settings.work_place), opened(settings.work) as work:
        parsed = [parse_work_name(name) for part in scan(work) for name, _ in part]
    return {found[0] for found in parsed if found is not None}


def archived_days(settings: FileReceiveSettings, before: date) -> list[str]:
    """Return the day folders of the archive that are older than *before*, oldest first. Raises: AdapterUnavailable."""
    with folder_errors(settings.archive_place), opened(settings.archive) as archive:
        names = [name.decode("ascii", "replace") for part in scan(archive) for name, kind in part
                 if kind is EntryKind.FOLDER]  # fmt: skip
    return sorted(name for name in names if _DAY.fullmatch(name) and name < before.isoformat())


def remove_archived(ops: FileOps, settings: FileReceiveSettings, day: str, keep: Set[ClaimId], limit: int) -> int:
    """Remove up to *limit* files of a day, but none of *keep*; an empty day goes too. Returns how many files went.

    Raises: AdapterUnavailable; what was removed stays removed.
    """
    removed = 0
    with folder_errors(settings.archive_place), opened(settings.archive) as archive:
        if status_of(archive, day.encode()) is None:
            return 0  # it went with its last file
        with opened(settings.archive / day) as folder:
            for name in [name for part in scan(folder) for name, _ in part]:
                if removed >= limit:
                    return removed
                parsed = parse_work_name(name)
                if parsed is not None and parsed[0] not in keep:
                    removed += ops.unlink(folder, name, "settle")
        _remove_empty(ops, archive, day)
    return removed


def remove_kept(ops: FileOps, settings: FileReceiveSettings, day: str, names: Collection[bytes]) -> int:
    """Remove files of a day by their names; an empty day goes too. Returns how many were there.

    Raises: AdapterUnavailable; what was removed stays removed.
    """
    with folder_errors(settings.archive_place), opened(settings.archive) as archive:
        if status_of(archive, day.encode()) is None:
            return 0
        with opened(settings.archive / day) as folder:
            removed = sum(ops.unlink(folder, name, "settle") for name in names)
        _remove_empty(ops, archive, day)
    return removed


def _remove_empty(ops: FileOps, archive: Folder, day: str) -> None:
    try:
        ops.remove_folder(archive, day)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
