"""Where a file of a given name lies among the folders of a port, and whether it would be claimed. Nothing is moved.

Everything blocks. The rules are those by which files are claimed: the same claimer is asked, which claims nothing here.
"""

import errno
import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from datetime import date, datetime
from hashlib import file_digest
from itertools import islice
from pathlib import Path
from time import monotonic
from uuid import UUID

from adapters.file.errors import folder_errors
from adapters.file.folder import EntryKind, Folder, entries, moment, opened, status_of
from adapters.file.fsops import FileOps
from adapters.file.inbound.claim import Claimer
from adapters.file.inbound.settle import archived_days, archived_names
from adapters.file.names import (
    TEMPORARY_PREFIXES,
    TEMPORARY_SUFFIXES,
    display,
    matcher,
    parse_work_name,
    sort_key,
    work_name,
)
from adapters.file.outbound.stage import marked_as, staged_names
from adapters.file.settings import FileReceiveSettings, FileSendSettings, LocalClock
from gateway.explanations.facts import FileLocation, FileSighting
from gateway.explanations.finding import ArchivedFile, Staged, WorkFile
from gateway.kernel.errors import AdapterUnavailable
from gateway.kernel.ids import ClaimId
from gateway.messaging.rules.delivery import SkippedFile

_MOST_SUBFOLDERS = 100
_DIGEST_SECONDS = 5.0


def find_file(
    settings: FileReceiveSettings, clock: LocalClock, name: bytes, claims: Collection[str]
) -> list[FileSighting]:
    """Return where a file that its partner named *name* lies: inbound, claimed or refused; empty when nowhere.

    *claims* are those under which it is known to have been claimed: of these the archive is searched, too.
    Rule: a folder that cannot be used has no file to show; what is wrong with it the port says.
    """
    found: list[FileSighting] = []
    for sightings in (
        _inbound(settings, clock, name), _kept(settings, FileLocation.WORK, name),
        _kept(settings, FileLocation.ERROR, name), _archived(settings, name, claims),
    ):  # fmt: skip
        with suppress(AdapterUnavailable):
            found += sightings
    return found


def claimed_files(settings: FileReceiveSettings) -> list[WorkFile]:
    """Return what lies in the work folder, in claim order; nothing before it was made. Raises: AdapterUnavailable."""
    found: list[WorkFile] = []
    if not os.path.lexists(settings.work.path):
        return found
    with settings.work.opened() as work:
        for entry in sorted(entry for entry, _ in entries(work)):
            parsed, status = parse_work_name(entry), status_of(work, entry)
            if parsed is not None and status is not None:
                found.append(WorkFile(str(parsed[0]), display(parsed[1]), status.st_size, moment(status.st_ctime)))
    return found


def waiting_files(settings: FileReceiveSettings) -> list[str]:
    """Return the names in the inbound folder that the port takes, in order; nothing before the folder was made.

    Raises: AdapterUnavailable.
    """
    if not os.path.lexists(settings.inbound.path):
        return []
    takes = matcher(settings.pattern)
    with settings.inbound.opened() as inbound:
        names = [name for name, kind in entries(inbound) if kind is EntryKind.FILE and takes(name)]
    return [display(name) for name in sorted(names, key=sort_key(settings.order))]


def archived_files(settings: FileReceiveSettings) -> list[ArchivedFile]:
    """Return what lies in the archive, the oldest day first; nothing before it was made. Raises: AdapterUnavailable."""
    found: list[ArchivedFile] = []
    for day in archived_days(settings, date.max) if os.path.lexists(settings.archive.path) else ():
        for name in sorted(archived_names(settings, day, frozenset())):
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
    with folder_errors(settings.archive):
        for file in files:
            found.append(_digest(settings.archive.path / file.day, file.name))
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
    if not os.path.lexists(settings.staging.path):
        return None
    with settings.staging.opened() as staging:
        identity = marked_as(staging)
    return None if identity is None else Staged(identity, frozenset(staged_names(settings)))


def _inbound(settings: FileReceiveSettings, clock: LocalClock, name: bytes) -> Iterator[FileSighting]:
    with settings.inbound.opened() as inbound:
        for form in _forms(name):
            if (status := status_of(inbound, form)) is not None:
                skipped = _why_skipped(settings, clock, inbound, form, moment(status.st_ctime))
                yield _sighting(settings, FileLocation.INBOUND, form, form, status, skipped=skipped)
        folders = (folder for folder, kind in entries(inbound) if kind is EntryKind.FOLDER)
        for folder in islice(folders, _MOST_SUBFOLDERS):
            with suppress(OSError), opened(settings.inbound.path / os.fsdecode(folder)) as inner:
                if (status := status_of(inner, name)) is not None:
                    text = f"It is in the subfolder {display(folder)}, which is not looked into."
                    skipped = SkippedFile(name=name, display=display(name), code="entry.in-subfolder", text=text,
                                          since=clock.now())  # fmt: skip
                    inside = folder + b"/" + name
                    yield _sighting(settings, FileLocation.INBOUND, inside, inside, status, skipped=skipped)


class _Later:
    """A clock that has seen the file when it last changed: a single poll cannot tell by itself how long that is ago."""

    def __init__(self, clock: LocalClock) -> None:
        self._clock = clock
        self.passed = 0.0

    def now(self) -> datetime:
        return self._clock.now()

    def monotonic(self) -> float:
        return self._clock.monotonic() + self.passed


def _why_skipped(
    settings: FileReceiveSettings, clock: LocalClock, inbound: Folder, name: bytes, since: datetime
) -> SkippedFile | None:
    later = _Later(clock)
    claimer = Claimer(settings, later, FileOps(), has_parser=False)
    claimer.would_skip(inbound, name)
    later.passed = max(0.0, (clock.now() - since).total_seconds())
    return claimer.would_skip(inbound, name)


def _forms(name: bytes) -> Iterator[bytes]:
    """Yield the name and what it is called while somebody still writes it."""
    yield name
    yield from (prefix + name for prefix in TEMPORARY_PREFIXES)
    yield from (name + suffix for suffix in TEMPORARY_SUFFIXES)
    yield from (b"." + name + suffix for suffix in TEMPORARY_SUFFIXES)


def _kept(settings: FileReceiveSettings, location: FileLocation, name: bytes) -> Iterator[FileSighting]:
    place = settings.work if location is FileLocation.WORK else settings.error
    with place.opened() as folder:
        for entry, _ in entries(folder):
            parsed = parse_work_name(entry)
            if parsed is None or entry != work_name(parsed[0], name)[0]:
                continue
            if (status := status_of(folder, entry)) is not None:
                yield _sighting(settings, location, name, entry, status, claim_id=str(parsed[0]))


def _archived(settings: FileReceiveSettings, name: bytes, claims: Collection[str]) -> Iterator[FileSighting]:
    handles = [(claim, work_name(ClaimId(UUID(claim)), name)[0]) for claim in claims]
    for day in archived_days(settings, date.max) if handles and settings.archive.path.is_dir() else ():
        with folder_errors(settings.archive), opened(settings.archive.path / day) as folder:
            for claim, handle in handles:
                if (status := status_of(folder, handle)) is not None:
                    inside = day.encode() + b"/" + handle
                    yield _sighting(settings, FileLocation.ARCHIVE, name, inside, status, claim_id=claim)


def _sighting(
    settings: FileReceiveSettings, location: FileLocation, name: bytes, entry: bytes, status: os.stat_result, *,
    skipped: SkippedFile | None = None, claim_id: str | None = None,
) -> FileSighting:  # fmt: skip
    folders = {
        FileLocation.INBOUND: settings.inbound.path,
        FileLocation.WORK: settings.work.path,
        FileLocation.ERROR: settings.error.path,
        FileLocation.ARCHIVE: settings.archive.path,
    }
    return FileSighting(
        port=settings.port, location=location, name=display(name), path=f"{folders[location]}/{display(entry)}",
        since=moment(status.st_ctime), skipped=skipped, claim_id=claim_id,
    )  # fmt: skip
