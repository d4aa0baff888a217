"""Claimed files as records, and finding them again: the work folder is the only memory that this needs.

Everything about a claimed file comes from its descriptor, never from a path.
"""

import os
import pwd
from uuid import UUID

import structlog

from adapters.file.folder import Folder, entries, moment, open_checked, read_small, status_of
from adapters.file.fsops import FileOps
from adapters.file.identity import FolderIdentities
from adapters.file.names import DONE_SUFFIX, NAME_SUFFIX, display, name_file, parse_work_name
from adapters.file.settings import FileReceiveSettings, LocalClock
from gateway.kernel.ids import ClaimId
from gateway.messaging.rules.delivery import Claim

log = structlog.get_logger()

_ORPHAN_SECONDS = 3_600.0


class ClaimIds:
    """Makes claim ids (UUID version 7) that grow, so that names in the work folder sort in claim order."""

    def __init__(self, clock: LocalClock) -> None:
        self._clock = clock
        self._last = 0

    def next(self) -> ClaimId:
        """Return a new id, greater than all before, also when the clock steps back."""
        tick = int(self._clock.now().timestamp() * 1000) << 12
        self._last = max(self._last + 1, tick)
        high, low = self._last >> 12, self._last & 0xFFF
        return ClaimId(UUID(int=high << 80 | 7 << 76 | low << 64 | 2 << 62 | int.from_bytes(os.urandom(8)) >> 2))


class ClaimedFiles:
    """What lies claimed in the work folder of one port."""

    def __init__(
        self, settings: FileReceiveSettings, clock: LocalClock, ops: FileOps, identities: FolderIdentities
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._ops = ops
        self._identities = identities
        self._owners: dict[int, str] = {}

    def describe(self, work: Folder, claim_id: ClaimId, target: bytes, name: bytes) -> Claim:
        """Describe a claimed file. Raises: OSError when it is no regular file that we can read."""
        with open_checked(work, target) as (_, status):
            return Claim(
                id=claim_id,
                port=self._settings.port,
                name=name,
                display=display(name),
                handle=target,
                size=status.st_size,
                modified_at=moment(status.st_mtime),
                owner_uid=status.st_uid,
                owner=self._owner(status.st_uid),
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
            with self._settings.error.opened() as folder:
                self._ops.move(work, target, folder, target)
        log.warning("file.put_aside", port=self._settings.port, file=display(name), reason=str(error))

    def recover(self) -> list[Claim]:
        """Return the claimed files in claim order, their renames made durable.

        Raises: AdapterUnavailable when a folder cannot be used.
        """
        with (
            self._identities.opened(self._settings.inbound, inbound=True) as inbound,
            self._settings.work.opened() as work,
        ):
            names = sorted(name for name, _ in entries(work))
            found = [self._recovered(inbound, work, target) for target in names]
            claims = [claim for claim in found if claim is not None]
            self._remove_orphans(work, names)
            if claims:
                # who claimed them may have died between the rename and the flush; work first: what has gone from
                # inbound for good must be in work for good
                self._ops.flush_folder(work, "claim.work")
                self._ops.flush_folder(inbound, "claim.inbound")
        return claims

    def _recovered(self, inbound: Folder, work: Folder, target: bytes) -> Claim | None:
        parsed = parse_work_name(target)
        if parsed is None:
            return None
        claim_id, name, whole = parsed
        if not whole:
            name = read_small(work, name_file(claim_id)) or name
        try:
            claim = self.describe(work, claim_id, target, name)
        except FileNotFoundError:
            return None  # another node settled it meanwhile
        except OSError as error:
            self.put_aside(inbound, work, target, name, error)
            return None
        # a marker that outlived its file would make the next file of that name look ready
        marker = name + DONE_SUFFIX
        if self._settings.done_marker and status_of(inbound, name) is None and status_of(inbound, marker) is not None:
            self._ops.unlink(inbound, marker, "claim")
        return claim

    def _remove_orphans(self, work: Folder, names: list[bytes]) -> None:
        """Remove kept names whose file was settled; young ones may belong to a claim being made elsewhere."""
        needed = {name_file(parsed[0]) for parsed in map(parse_work_name, names) if parsed is not None}
        for name in names:
            if name in needed or b"~" in name or not name.endswith(NAME_SUFFIX):
                continue
            status = status_of(work, name)
            if status is not None and self._clock.now().timestamp() - status.st_mtime > _ORPHAN_SECONDS:
                self._ops.unlink(work, name, "claim")
