"""A claimed file as a record: everything about it comes from its descriptor, never from a path."""

import os
import pwd
from datetime import UTC, datetime
from uuid import UUID

import structlog

from adapters.file.errors import folder_errors
from adapters.file.folder import Folder, open_checked, opened
from adapters.file.fsops import FileOps
from adapters.file.names import display
from adapters.file.settings import Clock, FileReceiveSettings
from gateway.kernel.ids import ClaimId
from gateway.messaging.rules.delivery import Claim

log = structlog.get_logger()


class ClaimIds:
    """Makes claim ids (UUID version 7) that grow, so that names in the work folder sort in claim order."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last = 0

    def next(self) -> ClaimId:
        """Return a new id, greater than all before, also when the clock steps back."""
        tick = int(self._clock.now().timestamp() * 1000) << 12
        self._last = max(self._last + 1, tick)
        high, low = self._last >> 12, self._last & 0xFFF
        return ClaimId(UUID(int=high << 80 | 7 << 76 | low << 64 | 2 << 62 | int.from_bytes(os.urandom(8)) >> 2))


class Describer:
    """Describes claimed files of one port, and puts aside what turns out to be none."""

    def __init__(self, settings: FileReceiveSettings, ops: FileOps) -> None:
        self._settings = settings
        self._ops = ops
        self._owners: dict[int, str] = {}

    def claim(self, work: Folder, claim_id: ClaimId, target: bytes, name: bytes) -> Claim:
        """Describe a claimed file. Raises: OSError when it is no regular file that we can read."""
        with open_checked(work, target) as (_, status):
            return Claim(
                id=claim_id,
                port=self._settings.port,
                name=name,
                display=display(name),
                work_name=target,
                size=status.st_size,
                modified_at=moment(status.st_mtime),
                owner_uid=status.st_uid,
                owner=self._owner(status.st_uid),
                hard_linked=status.st_nlink > 1,
            )

    def _owner(self, uid: int) -> str | None:
        # asked once per account: the answer may come over the network
        if uid not in self._owners:
            try:
                self._owners[uid] = pwd.getpwuid(uid).pw_name
            except KeyError:
                return None
        return self._owners[uid]

    def put_aside(self, inbound: Folder, work: Folder, target: bytes, name: bytes, error: OSError) -> None:
        """Give back what cannot be taken, or keep it in the error folder when its name is taken again."""
        try:
            self._ops.put_back(work, target, inbound, name)
        except FileExistsError:
            with folder_errors(self._settings.error_place), opened(self._settings.error) as folder:
                self._ops.move(work, target, folder, target)
        log.warning("file.put_aside", port=self._settings.port, file=display(name), reason=str(error))


def moment(seconds: float) -> datetime:
    """Return a file's time as UTC; a time beyond the calendar, which anybody may set, counts as the epoch."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(0, UTC)
