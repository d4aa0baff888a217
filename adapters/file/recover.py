"""Finding again what lies claimed in a work folder: the folder itself is the only memory this needs."""

from adapters.file.describe import Describer
from adapters.file.errors import folder_errors
from adapters.file.folder import Folder, opened, read_small, scan, status_of
from adapters.file.fsops import FileOps
from adapters.file.identity import Identities
from adapters.file.names import DONE_SUFFIX, NAME_SUFFIX, name_file, parse_work_name
from adapters.file.settings import Clock, FileReceiveSettings
from gateway.messaging.rules.delivery import Claim

_ORPHAN_SECONDS = 3_600.0


def recover(
    settings: FileReceiveSettings, clock: Clock, ops: FileOps, describer: Describer, identities: Identities
) -> list[Claim]:
    """Return the claimed files in claim order, their renames made durable.

    The process that claimed them may have died between the rename and the flush.
    Raises: AdapterUnavailable when a folder cannot be used.
    """
    claims: list[Claim] = []
    with (
        identities.opened(settings.inbound_place, inbound=True) as inbound,
        folder_errors(settings.work_place),
        opened(settings.work) as work,
    ):
        names = sorted(name for part in scan(work) for name, _ in part)
        for target in names:
            claim = _recovered(settings, ops, describer, inbound, work, target)
            if claim is not None:
                claims.append(claim)
        _remove_orphans(clock, ops, work, names)
        if claims:
            ops.flush_folder(work, "claim.work")
            ops.flush_folder(inbound, "claim.inbound")
    return claims


def _recovered(
    settings: FileReceiveSettings, ops: FileOps, describer: Describer, inbound: Folder, work: Folder, target: bytes
) -> Claim | None:
    parsed = parse_work_name(target)
    if parsed is None:
        return None
    claim_id, name, whole = parsed
    if not whole:
        name = read_small(work, name_file(claim_id)) or name
    try:
        claim = describer.claim(work, claim_id, target, name)
    except FileNotFoundError:
        return None  # another node settled it meanwhile
    except OSError as error:
        describer.put_aside(inbound, work, target, name, error)
        return None
    # a marker that outlived its file would make the next file of that name look ready
    marker = name + DONE_SUFFIX
    if settings.done_marker and status_of(inbound, name) is None and status_of(inbound, marker) is not None:
        ops.unlink(inbound, marker, "claim")
    return claim


def _remove_orphans(clock: Clock, ops: FileOps, work: Folder, names: list[bytes]) -> None:
    """Remove kept names whose file was settled; young ones may belong to a claim being made elsewhere."""
    needed = {name_file(parsed[0]) for parsed in map(parse_work_name, names) if parsed is not None}
    for name in names:
        if name in needed or b"~" in name or not name.endswith(NAME_SUFFIX):
            continue
        status = status_of(work, name)
        if status is not None and clock.now().timestamp() - status.st_mtime > _ORPHAN_SECONDS:
            ops.unlink(work, name, "claim")
