"""Can the folders of a port be used? Asked by `gateway check` and at every start; answers are sentences.

Source: reliability reference 5.1 and 3.6.
"""

import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from adapters.file.errors import PortFolder, account, unavailable
from adapters.file.folder import opened
from adapters.file.fsops import try_move
from adapters.file.linux import file_system_at
from adapters.file.names import is_temporary
from adapters.file.outbound.stage import may_give, wanted_group
from adapters.file.settings import FileReceiveSettings, FileSendSettings
from gateway.kernel.errors import AdapterUnavailable

_HARDLINKS = Path("/proc/sys/fs/protected_hardlinks")
_REMOTE = "Changes made elsewhere give no events (set force_polling) and all files may seem to have one owner."
_WARNINGS = {
    "nfs": f"NFS: {_REMOTE} A crash of its server may undo what was promised unless it exports with sync.",
    "cifs": f"a Windows share: {_REMOTE} Whether a flush reaches its disk is up to its server.",
    "smb2": f"a Windows share: {_REMOTE} Whether a flush reaches its disk is up to its server.",
    "smb": f"a Windows share: {_REMOTE} Whether a flush reaches its disk is up to its server.",
    "9p": f"a share of the host: {_REMOTE} Whether a flush reaches its disk is up to the host.",
    "fuse": "a FUSE file system: whether a flush reaches a disk and a rename is one step is up to its program.",
    "overlay": "a container's own layer: what it holds is gone with the container. Mount a volume there.",
    "tmpfs": "memory: everything in it is gone after a restart of the machine.",
    "vfat": "FAT: it has no owners and no journal; a power loss may damage it.",
    "exfat": "exFAT: it has no owners and no journal; a power loss may damage it.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderFinding:
    """One thing about a folder that somebody should know; `setting` is what to change.

    `fatal`: the port cannot run with it; otherwise it can, with less than is promised.
    """

    fatal: bool
    setting: str
    text: str


def check_receive(settings: FileReceiveSettings, *, reach: Sequence[Path] | None = None) -> Sequence[FolderFinding]:
    """Check the folders of an inbound port.

    One that is missing must be such that a start can make it: its parent is there, or it lies in one of *reach* (None:
    anywhere), because elsewhere it may be a share that is not mounted.
    """
    inbound, work = settings.inbound, settings.work
    own = [work, settings.archive, settings.error]
    findings = [
        *_each_folder([inbound, *own], reach),
        *_apart(inbound, own),
        *_one_file_system(inbound, own),
        *_kinds(inbound),
        *_held_by_others(inbound),
        *_private(own),
        *_hard_links(inbound),
    ]
    if is_temporary(os.fsencode(settings.pattern)):
        text = f"no file is ever taken: names like {settings.pattern!a} mean that a file is not ready"
        findings.append(FolderFinding(fatal=True, setting=f"ports.{settings.port}.receive.pattern", text=text))
    if not _errors(findings) and inbound.path.is_dir():
        for place in own:
            if place.path.is_dir():
                findings += _self_test(inbound, place)
    return findings


def check_send(settings: FileSendSettings, *, reach: Sequence[Path] | None = None) -> Sequence[FolderFinding]:
    """Check the folders of an outbound address, as `check_receive` does."""
    staging = settings.staging
    targets = [settings.outbound]
    if settings.faults is not None:
        targets.append(settings.faults)
    findings = [*_each_folder([*targets, staging], reach)]
    for target in targets:
        findings += [*_apart(target, [staging]), *_one_file_system(target, [staging]), *_kinds(target)]
        findings += _held_by_others(target)
    findings += _private([staging])
    try:
        wanted_group(settings)
    except AdapterUnavailable as error:
        findings.append(FolderFinding(fatal=True, setting=settings.group_setting, text=error.message))
    if settings.group is None:
        findings += [finding for target in targets for finding in _group_of(target, settings.group_setting)]
    if not _errors(findings) and staging.path.is_dir():
        for target in targets:
            if target.path.is_dir():
                findings += _self_test(staging, target)
    return findings


def _group_of(target: PortFolder, setting: str) -> Iterator[FolderFinding]:
    """Files get the group of their folder where our account may give it to them."""
    if target.path.is_dir() and not may_give(group := target.path.stat().st_gid):
        yield _warning(
            target,
            f"The files in {target.path} ({target.setting}) will not have its group {group}, because the gateway's "
            f"account is not in it: who reads by that group cannot. Make it a member, or set {setting}.",
        )


def _error(place: PortFolder, text: str) -> FolderFinding:
    return FolderFinding(fatal=True, setting=place.setting, text=text)


def _warning(place: PortFolder, text: str) -> FolderFinding:
    return FolderFinding(fatal=False, setting=place.setting, text=text)


def _errors(findings: Sequence[FolderFinding]) -> bool:
    return any(finding.fatal for finding in findings)


def _each_folder(places: Sequence[PortFolder], reach: Sequence[Path] | None) -> Iterator[FolderFinding]:
    """Each is a folder, itself and not by a link, that we may read, write and enter; or it can be made."""
    for place in places:
        try:
            yield from _usable(place, reach)
        except OSError as error:
            yield _error(place, unavailable(error, place).message)


def _usable(place: PortFolder, reach: Sequence[Path] | None) -> Iterator[FolderFinding]:
    path = place.path
    inside = reach is None or any(path.is_relative_to(folder) for folder in reach)
    if path.is_symlink():
        yield _error(place, f"{path} is a symbolic link. Set {place.setting} to {path.resolve()} itself.")
    elif not path.exists():
        parent = _nearest(path)
        if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
            yield _error(place, f"{path} does not exist and cannot be made in {parent}. Change {place.setting}.")
        elif not inside and parent != path.parent:
            yield _error(
                place,
                f"{path.parent} does not exist. It may be a share that is not mounted, so {path} ({place.setting}) "
                "is not made. Mount the share, or make the folder.",
            )
    elif not path.is_dir():
        yield _error(place, f"{path} is not a folder. Change {place.setting}.")
    elif not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        yield _error(
            place, f"The gateway's account may not read, write and rename in {path} ({place.setting}). Grant it that."
        )
    else:
        with opened(path):  # the way that the gateway goes, which does not follow everybody's links
            pass


def _held_by_others(partner: PortFolder) -> Iterator[FolderFinding]:
    """Whoever owns, or may write, a folder above may put another one in the place of this one."""
    for folder in partner.path.parents if partner.path.is_dir() else ():
        status = folder.stat()
        if status.st_uid not in (0, os.geteuid()):
            who = account(status.st_uid)
        elif status.st_mode & (stat.S_IWOTH | stat.S_ISVTX) == stat.S_IWOTH:
            who = "any account"
        else:
            continue
        yield _warning(
            partner,
            f"{folder}, above {partner.path} ({partner.setting}), can be changed by {who}, who can put another folder "
            "there. The gateway follows no link of theirs and refuses the folder of another port. Better let root own "
            "the folders above.",
        )
        return


def _nearest(path: Path) -> Path:
    """Return the folder itself or the nearest ancestor that exists."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def _apart(partner: PortFolder, own: Sequence[PortFolder]) -> Iterator[FolderFinding]:
    """Our folders are never inside a partner's folder, nor the other way round."""
    theirs = partner.path.resolve()
    for place in own:
        ours = place.path.resolve()
        if ours == theirs or ours.is_relative_to(theirs) or theirs.is_relative_to(ours):
            yield _error(
                place,
                f"{place.path} ({place.setting}) and {partner.path} ({partner.setting}) are one folder or lie in "
                f"each other. Set {place.setting} to a folder that partners cannot reach.",
            )


def _one_file_system(partner: PortFolder, own: Sequence[PortFolder]) -> Iterator[FolderFinding]:
    device = _device(partner.path)
    for place in own:
        ours = _device(place.path)
        if device is not None and ours is not None and ours != device:
            yield _error(
                place,
                f"{place.path} is on another file system than {partner.path}, so files cannot be moved between "
                f"them at one stroke. Set {place.setting} to a folder beside {partner.path}, where partners "
                "cannot reach it.",
            )


def _device(path: Path) -> int | None:
    try:
        return _nearest(path).stat().st_dev
    except OSError:
        return None


def _kinds(partner: PortFolder) -> Iterator[FolderFinding]:
    kind = file_system_at(_nearest(partner.path))
    if kind in _WARNINGS:
        yield _warning(partner, f"{partner.path} ({partner.setting}) is on {_WARNINGS[kind]}")


def _private(own: Sequence[PortFolder]) -> Iterator[FolderFinding]:
    for place in own:
        if place.path.is_dir() and place.path.stat().st_mode & 0o077:
            yield _warning(
                place, f"{place.path} ({place.setting}) can be entered by other accounts. Run chmod 700 on it."
            )


def _hard_links(inbound: PortFolder) -> Iterator[FolderFinding]:
    try:
        protected = _HARDLINKS.read_text().strip() == "1"
    except OSError:
        return
    if not protected:
        yield _warning(
            inbound,
            "Anybody may link a colleague's file into the inbound folder, and such files are refused. "
            "Set the kernel parameter fs.protected_hardlinks to 1.",
        )


def _self_test(source: PortFolder, target: PortFolder) -> Iterator[FolderFinding]:
    """Do once what every file goes through: write, flush, move, flush."""
    name = f".gateway-check-{secrets.token_hex(8)}".encode()
    try:
        try_move(source.path, target.path, name)
    except OSError as error:
        yield _error(target, unavailable(error, target, source).message)
