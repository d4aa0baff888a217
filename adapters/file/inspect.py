"""Where a file of a given name lies among the folders of a port, and whether it would be taken. Nothing is moved.

Everything blocks. The rules are those by which files are taken: the same claimer is asked, which takes nothing here.
"""

import errno
import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from datetime import date, datetime
from hashlib import file_digest
from pathlib import Path
from time import monotonic
from uuid import UUID

from adapters.file.claim import Claimer
from adapters.file.deliver import marked_as, staged_names
from adapters.file.describe import moment
from adapters.file.errors import folder_errors
from adapters.file.folder import EntryKind, Folder, opened, scan, status_of
from adapters.file.fsops import FileOps
from adapters.file.names import (
    TEMPORARY_PREFIXES,
    TEMPORARY_SUFFIXES,
    display,
    matcher,
    parse_work_name,
    sort_key,
    work_name,
)
from adapters.file.settings import Clock, FileReceiveSettings, FileSendSettings
from adapters.file.tidy import archived_days
from gateway.explanations.facts import Lies, Trace
from gateway.explanations.finding import ArchivedFile, Staged, WorkFile
from gateway.kernel.errors import AdapterUnavailable
from gateway.kernel.ids import ClaimId
from gateway.messaging.rules.delivery import LeftInPlace

_MOST_SUBFOLDERS = 100
_DIGEST_SECONDS = 5.0


def find_file(settings: FileReceiveSettings, clock: Clock, name: bytes, claims: Collection[str]) -> list[Trace]:
    """Return where a file that its partner named *name* lies: inbound, claimed or refused; empty when nowhere.

    *claims* are those under which it is known to have been taken: of these the archive is looked for, too.
    Rule: a folder that cannot be used has no file to show; what is wrong with it the port says.
    """
    traces: list[Trace] = []
    with suppress(AdapterUnavailable):
        traces += _inbound(settings, clock, name)
    for lies, path in ((Lies.WORK, settings.work_place), (Lies.ERROR, settings.error_place)):
        with suppress(AdapterUnavailable), folder_errors(path), opened(path.path) as folder:
            traces += _claimed(settings, folder, lies, name)
    with suppress(AdapterUnavailable):
        traces += _archived(settings, name, claims)
    return traces


def claimed_files(settings: FileReceiveSettings) -> list[WorkFile]:
    """Return what lies in the work folder, in claim order; nothing before it was made. Raises: AdapterUnavailable."""
    found: list[WorkFile] = []
    if not os.path.lexists(settings.work):
        return found
    with folder_errors(settings.work_place), opened(settings.work) as work:
        for entry in sorted(entry for part in scan(work) for entry, _ in part):
            parsed, status = parse_work_name(entry), status_of(work, entry)
            if parsed is not None and status is not None:
                found.append(WorkFile(str(parsed[0]), display(parsed[1]), status.st_size, moment(status.st_ctime)))
    return found


def waiting_files(settings: FileReceiveSettings) -> list[str]:
    """Return the names in the inbound folder that the port takes, in order; nothing before the folder was made.

    Raises: AdapterUnavailable.
    """
    if not os.path.lexists(settings.inbound):
        return []
    takes = matcher(settings.pattern)
    with folder_errors(settings.inbound_place), opened(settings.inbound) as inbound:
        names = [name for part in scan(inbound) for name, kind in part if kind is EntryKind.FILE and takes(name)]
    return [display(name) for name in sorted(names, key=sort_key(settings.order))]


def archived_files(settings: FileReceiveSettings) -> list[ArchivedFile]:
    """Return what lies in the archive, the oldest day first; nothing before it was made. Raises: AdapterUnavailable."""
    found: list[ArchivedFile] = []
    for day in archived_days(settings, date.max) if os.path.lexists(settings.archive) else ():
        with (
            folder_errors(settings.archive_place),
            suppress(FileNotFoundError),
            opened(settings.archive / day) as folder,
        ):
            for name in sorted(name for part in scan(folder) for name, _ in part):
                if (parsed := parse_work_name(name)) is not None:
                    found.append(ArchivedFile(day, name, str(parsed[0])))
    return found


def archived_digests(settings: FileReceiveSettings, files: Sequence[ArchivedFile]) -> list[bytes | None]:
    """Return the SHA-256 of the first of *files* in the archive, None for one that has gone meanwhile.

    At least one; then as many as a few seconds allow: large files must not look like a folder that hangs.
    Raises: AdapterUnavailable.
    """
    found: list[bytes | None] = []
    until = monotonic() + _DIGEST_SECONDS
    with folder_errors(settings.archive_place):
        for file in files:
            found.append(_digest(settings.archive / file.day, file.name))
            if monotonic() > until:
                break
    return found


def _digest(day: Path, name: bytes) -> bytes | None:
    try:
        with opened(day) as folder:
            descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder.fd)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:
            return b""  # a link in its place is not what was received
        raise
    with os.fdopen(descriptor, "rb") as file:
        return file_digest(file, "sha256").digest()


def staged_files(settings: FileSendSettings) -> Staged | None:
    """Return what lies in the staging folder, None when nothing was ever staged in it: absence proves nothing there.

    Raises: AdapterUnavailable.
    """
    if not os.path.lexists(settings.staging):
        return None
    with folder_errors(settings.staging_place), opened(settings.staging) as staging:
        identity = marked_as(staging)
    return None if identity is None else Staged(identity, frozenset(staged_names(settings)))


def _inbound(settings: FileReceiveSettings, clock: Clock, name: bytes) -> Iterator[Trace]:
    with folder_errors(settings.inbound_place), opened(settings.inbound) as inbound:
        for form in _forms(name):
            status = status_of(inbound, form)
            if status is not None:
                since = moment(status.st_ctime)
                yield _trace(settings, form, _why_left(settings, clock, inbound, form, since), since)
        for folder in _subfolders(inbound):
            path = settings.inbound / os.fsdecode(folder)
            with suppress(OSError), opened(path) as inner:
                status = status_of(inner, name)
                if status is not None:
                    text = f"It is in the subfolder {display(folder)}, which is not looked into."
                    left = LeftInPlace(name=name, display=display(name), code="entry.in-subfolder", text=text,
                                       since=clock.now())  # fmt: skip
                    yield _trace(settings, folder + b"/" + name, left, moment(status.st_ctime))


class _Later:
    """A clock that has seen the file when it last changed: a single look cannot tell by itself how long that is ago."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.passed = 0.0

    def now(self) -> datetime:
        return self._clock.now()

    def monotonic(self) -> float:
        return self._clock.monotonic() + self.passed


def _why_left(
    settings: FileReceiveSettings, clock: Clock, inbound: Folder, name: bytes, since: datetime
) -> LeftInPlace | None:
    later = _Later(clock)
    claimer = Claimer(settings, later, FileOps(), can_ask=False)
    claimer.would_leave(inbound, name)
    later.passed = max(0.0, (clock.now() - since).total_seconds())
    return claimer.would_leave(inbound, name)


def _forms(name: bytes) -> Iterator[bytes]:
    """Yield the name and what it is called while somebody still writes it."""
    yield name
    yield from (prefix + name for prefix in TEMPORARY_PREFIXES)
    yield from (name + suffix for suffix in TEMPORARY_SUFFIXES)
    yield from (b"." + name + suffix for suffix in TEMPORARY_SUFFIXES)


def _subfolders(inbound: Folder) -> list[bytes]:
    found: list[bytes] = []
    for part in scan(inbound):
        found += [name for name, kind in part if kind is EntryKind.FOLDER]
        if len(found) >= _MOST_SUBFOLDERS:
            break
    return found[:_MOST_SUBFOLDERS]


def _trace(settings: FileReceiveSettings, name: bytes, left: LeftInPlace | None, since: datetime) -> Trace:
    path = settings.inbound / display(name)
    return Trace(
        port=settings.port, lies=Lies.INBOUND, name=display(name), path=str(path), since=since, left=left
    )  # fmt: skip


def _claimed(settings: FileReceiveSettings, folder: Folder, lies: Lies, name: bytes) -> Iterator[Trace]:
    for part in scan(folder):
        for entry, _ in part:
            parsed = parse_work_name(entry)
            if parsed is None or entry != work_name(parsed[0], name)[0]:
                continue
            if (status := status_of(folder, entry)) is not None:
                yield Trace(
                    port=settings.port, lies=lies, name=display(name),
                    path=str((settings.work if lies is Lies.WORK else settings.error) / os.fsdecode(entry)),
                    since=moment(status.st_ctime), claim_id=str(parsed[0]),
                )  # fmt: skip


def _archived(settings: FileReceiveSettings, name: bytes, claims: Collection[str]) -> Iterator[Trace]:
    names = [(claim, work_name(ClaimId(UUID(claim)), name)[0]) for claim in claims]
    for day in archived_days(settings, date.max) if names and settings.archive.is_dir() else ():
        with folder_errors(settings.archive_place), opened(settings.archive / day) as folder:
            for claim, entry in names:
                if (status := status_of(folder, entry)) is not None:
                    yield Trace(
                        port=settings.port, lies=Lies.ARCHIVE, name=display(name), claim_id=claim,
                        path=str(settings.archive / day / os.fsdecode(entry)), since=moment(status.st_ctime),
                    )  # fmt: skip
