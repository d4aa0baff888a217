"""Claiming files: one rename each into the work folder, made durable once per batch, then described by descriptor.

Everything here blocks and runs in one thread at a time. Source: reliability reference 5.3, steps C1 and C2.
"""

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass

from adapters.file.errors import AWAY, FULL, unavailable
from adapters.file.folder import EntryKind, Folder, NotRegular, entries, kind_of, open_checked, opened, status_of
from adapters.file.fsops import FileOps
from adapters.file.identity import FolderIdentities
from adapters.file.inbound.claimed import ClaimedFiles, ClaimIds
from adapters.file.inbound.ready import Readiness, ReadyLadder, Signature, signature_of
from adapters.file.inbound.sweep import SkippedFiles, Sweep
from adapters.file.linux import tells_writers
from adapters.file.names import DONE_SUFFIX, display, is_temporary, matcher, name_file, sort_key, work_name
from adapters.file.settings import FileReceiveSettings, LocalClock
from gateway.messaging.rules.delivery import Claim, SkippedFile

_BUSY = frozenset({errno.EAGAIN, errno.EBUSY, errno.ETXTBSY})
_MOST_REFUSED = 20


@dataclass(frozen=True, slots=True)
class CompletenessCheck:
    """A file whose end only a parser can judge; `signature` is what the file was before."""

    name: bytes
    signature: Signature


class Claimer:
    """Claims files of one port. `fresh` holds durable claims that nobody has been handed yet.

    A caller that was cancelled or gave up waiting finds them there the next time. `renamed` holds the names of files
    that were renamed into the folder and not written to since; who watches the folder keeps it.
    """

    def __init__(
        self,
        settings: FileReceiveSettings,
        clock: LocalClock,
        ops: FileOps,
        *,
        has_parser: bool,
        identities: FolderIdentities | None = None,
    ) -> None:
        self._settings = settings
        self._identities = identities or FolderIdentities()
        self._ops = ops
        self._ids = ClaimIds(clock)
        self._claimed = ClaimedFiles(settings, clock, ops, self._identities)
        self._takes = matcher(settings.pattern)
        self._key = sort_key(settings.order)
        self._ladder = ReadyLadder(
            clock, settle_seconds=settings.settle_seconds, grace_seconds=settings.grace_seconds, has_parser=has_parser
        )
        self._skipped = SkippedFiles(clock)
        self._sweep: Sweep | None = None
        self._listed = False
        self._checked: bytes | None = None
        self._stranded: list[Claim] = []
        self._opened: int | None = None
        self.fresh: list[Claim] = []
        self.renamed: set[bytes] = set()

    def skipped(self) -> tuple[SkippedFile, ...]:
        """Return what the last poll did not claim."""
        return self._skipped.seen

    def may_find(self) -> bool:
        """Tell whether anything lies in the inbound folder. Raises: AdapterUnavailable."""
        with self._identities.opened(self._settings.inbound, inbound=True) as inbound:
            return any(entries(inbound))

    def next_poll_seconds(self) -> float | None:
        """Return when to poll again for what waits; 0 while a walk through the folder is unfinished."""
        return 0.0 if self._sweep is not None or self.fresh else self._ladder.due_seconds()

    def would_skip(self, inbound: Folder, name: bytes) -> SkippedFile | None:
        """Say why one entry of the folder would be skipped now, None when it would be claimed; nothing is moved."""
        self._skipped.begin()
        status = status_of(inbound, name)
        if status is not None and (kind := kind_of(status.st_mode)) is not EntryKind.FILE:
            self._skip(name, kind)
        elif not self._takes(name):
            self._skip(name, None)
        else:
            self._judge(inbound, name, tells_writers(inbound.fd))
        self._skipped.publish()
        return next(iter(self._skipped.seen), None)

    def poll(self, limit: int, *, first: bool) -> CompletenessCheck | None:
        """Claim ready files until `fresh` holds *limit*; or stop at a file that a parser must judge.

        *first* begins a call, which ends only after a listing made during it; otherwise the call goes on.
        Raises: AdapterUnavailable; what was claimed before the trouble is in `fresh` all the same.
        """
        settings = self._settings
        if first:
            self._listed, self._checked = False, None
        batch, self._stranded = self._stranded, []
        with (
            self._identities.opened(settings.inbound, inbound=True) as inbound,
            settings.work.opened() as work,
        ):
            try:
                return self._claim_batch(inbound, work, limit, batch)
            except OSError as error:
                if error.errno in FULL | AWAY:
                    self._sweep = None  # not this file's own trouble: it must not be passed by those behind it
                # what was claimed goes on; the next poll meets the same trouble and reports it
                if not batch:
                    raise self._unavailable(error) from error
                return None
            finally:
                # also after trouble and before anybody is handed one: a claim that was not flushed may be undone by a
                # power cut when the store knows it already
                self._make_durable(inbound, work, batch)
                self._skipped.publish()

    def open_for_check(self, check: CompletenessCheck) -> int | None:
        """Open the file for the parser, None when it has gone; `close_checked` closes it."""
        self.close_checked()
        try:
            with opened(self._settings.inbound.path) as inbound, open_checked(inbound, check.name) as (fd, _):
                self._opened = os.dup(fd)
        except OSError:
            return None
        return self._opened

    def close_checked(self) -> None:
        """Close what `open_for_check` opened."""
        if self._opened is not None:
            os.close(self._opened)
            self._opened = None

    def checked(self, check: CompletenessCheck, broken: bool | None) -> None:
        """Keep what the parser found: broken (or whole) as it is, cut off, or None when it could not say."""
        self._ladder.checked(check.name, check.signature, broken=broken)
        if broken is not None:
            self._checked = check.name

    def _unavailable(self, error: OSError) -> Exception:
        settings = self._settings
        at_work = error.errno in (errno.EXDEV, errno.ENOSPC, errno.EDQUOT) or error.filename == str(settings.work.path)
        near, far = settings.inbound, settings.work
        return unavailable(error, far, near) if at_work else unavailable(error, near, far)

    def _names(self, inbound: Folder) -> Iterator[bytes]:
        """Yield names to judge: first what an unfinished walk left, then those of a new listing."""
        if self._checked is not None:
            name, self._checked = self._checked, None
            yield name
        while self._sweep is not None or not self._listed:
            if self._sweep is None:
                self._sweep, self._listed = Sweep(self._takes, self._key), True
                self._ladder.begin_sweep()
                self._skipped.begin()
            yield from self._sweep.names(inbound, self._skip)
            self._sweep = None

    def _claim_batch(self, inbound: Folder, work: Folder, limit: int, batch: list[Claim]) -> CompletenessCheck | None:
        kernel_tells = tells_writers(inbound.fd)
        refused: list[OSError] = []
        for name in self._names(inbound):
            verdict, signature = self._judge(inbound, name, kernel_tells)
            if verdict is Readiness.CHECK and signature is not None:
                return CompletenessCheck(name, signature)
            if verdict is not Readiness.READY:
                continue
            try:
                claim = self._claim(inbound, work, name)
            except PermissionError as error:
                self._skipped.add(name, "entry.cannot-claim", f"It cannot be moved: {error.strerror}.")
                refused.append(error)
            else:
                if claim is not None:
                    batch.append(claim)
            if len(batch) + len(self.fresh) >= limit:
                return None
            if len(refused) >= _MOST_REFUSED and not batch:
                break
        if refused and not batch:
            raise refused[0]
        return None

    def _judge(self, inbound: Folder, name: bytes, kernel_tells: bool) -> tuple[Readiness, Signature | None]:
        if self._settings.done_marker and status_of(inbound, name + DONE_SUFFIX) is None:
            self._skipped.add(name, "file.no-done-marker", f"Its marker {display(name)}.done is not there.")
            return Readiness.WAIT, None
        try:
            with open_checked(inbound, name) as (fd, status):
                if self._settings.done_marker:
                    return Readiness.READY, None
                verdict = self._ladder.judge(name, fd, status, kernel_tells=kernel_tells, renamed=name in self.renamed)
                if verdict is not Readiness.READY and (waiting := self._ladder.waiting(name)) is not None:
                    self._skipped.add(name, waiting.code, waiting.text)
                return verdict, signature_of(status)
        except NotRegular as found:
            self._skip(name, found.kind)
        except OSError as error:
            self._skip_unreadable(name, error)
        self._ladder.forget(name)
        return Readiness.WAIT, None

    def _skip_unreadable(self, name: bytes, error: OSError) -> None:
        """Note why one file could not be opened; its neighbours are not touched by that."""
        if error.errno in (errno.ENOENT, errno.ESTALE):
            return
        if error.errno == errno.ELOOP:
            self._skip(name, EntryKind.SYMLINK)
        elif error.errno == errno.ENXIO:
            self._skip(name, EntryKind.SOCKET)
        elif error.errno in _BUSY:
            self._skipped.add(name, "file.being-written", f"Another program holds it: {error.strerror}.")
        elif error.errno in AWAY:
            raise error
        else:
            self._skipped.add(name, "entry.unreadable", f"It cannot be read: {error.strerror}. Give read permission.")

    def _skip(self, name: bytes, kind: EntryKind | None) -> None:
        if kind is not None:
            self._skipped.add(name, f"entry.{kind}", f"It is a {kind}, not a regular file; it is never followed.")
        elif self._settings.done_marker and name.lower().endswith(DONE_SUFFIX):
            return
        elif is_temporary(name):
            text = "Its name says that it is hidden, temporary or unfinished; rename it when it is complete."
            self._skipped.add(name, "not-matched", text)
        else:
            self._skipped.add(name, "not-matched", f"Its name does not match {self._settings.pattern}.")

    def _claim(self, inbound: Folder, work: Folder, name: bytes) -> Claim | None:
        claim_id = self._ids.next()
        target, whole = work_name(claim_id, name)
        if not whole:
            # before the rename: a claimed file whose name was cut is never without the whole one
            self._ops.keep_name(work, name_file(claim_id), name)
        if not self._ops.claim_rename(inbound, name, work, target):
            if not whole:
                self._ops.unlink(work, name_file(claim_id), "claim")
            self._ladder.forget(name)
            return None
        self._ladder.forget(name)
        self._skipped.drop(name)
        if self._settings.done_marker:
            # after the rename: without its marker a file would never be claimed again; `recover` removes what stays
            self._ops.unlink(inbound, name + DONE_SUFFIX, "claim")
        try:
            return self._claimed.describe(work, claim_id, target, name)
        except OSError as error:
            # replaced between our judgement and the rename by something we cannot take: give it back
            self._claimed.put_aside(inbound, work, target, name, error)
            return None

    def _make_durable(self, inbound: Folder, work: Folder, batch: list[Claim]) -> None:
        """Flush both folders once; claims that cannot be made durable are undone, last first.

        A failed flush is never tried again on the same names: the files go back and get new ids next time.
        """
        if not batch:
            return
        try:
            # work first: once a file has gone from inbound for good it must be in work for good
            self._ops.flush_folder(work, "claim.work")
            self._ops.flush_folder(inbound, "claim.inbound")
        except OSError as error:
            for claim in reversed(batch):
                self._undo(inbound, work, claim)
            self._sweep = None  # they come before what the walk has not reached yet
            raise self._unavailable(error) from error
        self.fresh += batch

    def _undo(self, inbound: Folder, work: Folder, claim: Claim) -> None:
        try:
            self._ops.put_back(work, claim.handle, inbound, claim.name)
        except OSError:
            # its name is taken again, or the disk refuses: it stays ours and joins the next batch
            self._stranded.append(claim)
            return
        if self._settings.done_marker:
            self._ops.restore_marker(inbound, claim.name + DONE_SUFFIX)

    def recover(self) -> list[Claim]:
        """Return everything that lies claimed in the work folder, in claim order, renames made durable first."""
        claims = self._claimed.recover()
        # what we claimed ourselves and nobody was handed yet is among them
        self.fresh.clear()
        self._stranded.clear()
        return claims
