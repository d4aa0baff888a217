"""Taking files: one rename each into the work folder, made durable once per wave, then looked at by descriptor.

Everything here blocks and runs in one thread at a time. Source: reliability reference 5.3, steps C1 and C2.
"""

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass

from adapters.file.describe import ClaimIds, Describer
from adapters.file.errors import AWAY, FULL, folder_errors, unavailable
from adapters.file.folder import EntryKind, Folder, NotRegular, kind_of, open_checked, opened, scan, status_of
from adapters.file.fsops import FileOps
from adapters.file.identity import Identities
from adapters.file.kernel import tells_writers
from adapters.file.left import LeftEntries
from adapters.file.names import DONE_SUFFIX, display, is_temporary, matcher, name_file, sort_key, work_name
from adapters.file.ready import Look, ReadyLadder, ReadyRules, Signature, signature_of
from adapters.file.recover import recover
from adapters.file.settings import Clock, FileReceiveSettings
from adapters.file.sweep import Sweep
from gateway.messaging.rules.delivery import Claim, LeftInPlace

_BUSY = frozenset({errno.EAGAIN, errno.EBUSY, errno.ETXTBSY})
_MOST_REFUSED = 20


@dataclass(frozen=True, slots=True)
class Question:
    """A file whose end only a parser can judge; *signature* is what it was when it was looked at."""

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
        clock: Clock,
        ops: FileOps,
        *,
        can_ask: bool,
        identities: Identities | None = None,
    ) -> None:
        self._settings = settings
        self._identities = identities or Identities()
        self._clock = clock
        self._ops = ops
        self._ids = ClaimIds(clock)
        self._describer = Describer(settings, ops)
        self._takes = matcher(settings.pattern)
        self._key = sort_key(settings.order)
        rules = ReadyRules(settle_seconds=settings.settle_seconds, grace_seconds=settings.grace_seconds)
        self._ladder = ReadyLadder(rules, clock, can_ask=can_ask)
        self._left = LeftEntries(clock)
        self._sweep: Sweep | None = None
        self._listed = False
        self._again: bytes | None = None
        self._stranded: list[Claim] = []
        self._asked: int | None = None
        self.fresh: list[Claim] = []
        self.renamed: set[bytes] = set()

    def left_in_place(self) -> tuple[LeftInPlace, ...]:
        """Return what the last look did not take."""
        return self._left.seen

    def may_find(self) -> bool:
        """Tell whether anything lies in the inbound folder. Raises: AdapterUnavailable."""
        with self._identities.opened(self._settings.inbound_place, inbound=True) as inbound:
            return any(scan(inbound))

    def next_look_seconds(self) -> float | None:
        """Return when to look again for what waits; 0 while a walk through the folder is unfinished."""
        return 0.0 if self._sweep is not None or self.fresh else self._ladder.due_seconds()

    def would_leave(self, inbound: Folder, name: bytes) -> LeftInPlace | None:
        """Say why one entry of the folder would be left in place now, None when it would be taken; nothing is moved."""
        self._left.begin()
        status = status_of(inbound, name)
        if status is not None and (kind := kind_of(status.st_mode)) is not EntryKind.FILE:
            self._leave(name, kind)
        elif not self._takes(name):
            self._leave(name, None)
        else:
            self._look_at(inbound, name, tells_writers(inbound.fd))
        self._left.show()
        return next(iter(self._left.seen), None)

    def look(self, limit: int, *, first: bool) -> Question | None:
        """Claim ready files until `fresh` holds *limit*; or stop at a file that a parser must judge.

        *first* begins a call, which ends only after a listing made during it; otherwise the call goes on.
        Raises: AdapterUnavailable; what was claimed before the trouble is in `fresh` all the same.
        """
        settings = self._settings
        if first:
            self._listed, self._again = False, None
        wave, self._stranded = self._stranded, []
        with (
            self._identities.opened(settings.inbound_place, inbound=True) as inbound,
            folder_errors(settings.work_place),
            opened(settings.work) as work,
        ):
            try:
                return self._claim_wave(inbound, work, limit, wave)
            except OSError as error:
                if error.errno in FULL | AWAY:
                    self._sweep = None  # not this file's own trouble: it must not be passed by those behind it
                # what was claimed goes on; the next look meets the same trouble and reports it
                if not wave:
                    raise self._unavailable(error) from error
                return None
            finally:
                self._make_durable(inbound, work, wave)
                self._left.show()

    def open_asked(self, question: Question) -> int | None:
        """Open the file in question for the parser, None when it has gone; `close_asked` closes it."""
        self.close_asked()
        try:
            with (
                opened(self._settings.inbound) as inbound,
                open_checked(inbound, question.name) as (fd, _),
            ):
                self._asked = os.dup(fd)
        except OSError:
            return None
        return self._asked

    def close_asked(self) -> None:
        """Close what `open_asked` opened."""
        if self._asked is not None:
            os.close(self._asked)
            self._asked = None

    def answer(self, question: Question, broken: bool | None) -> None:
        """Take the parser's answer: broken (or whole) as it is, cut off, or None when it could not say."""
        self._ladder.answer(question.name, question.signature, broken=broken)
        if broken is not None:
            self._again = question.name

    def _unavailable(self, error: OSError) -> Exception:
        settings = self._settings
        at_work = error.errno in (errno.EXDEV, errno.ENOSPC, errno.EDQUOT) or error.filename == str(settings.work)
        near, far = settings.inbound_place, settings.work_place
        return unavailable(error, far, near) if at_work else unavailable(error, near, far)

    def _names(self, inbound: Folder) -> Iterator[bytes]:
        """Yield names to look at: first what an unfinished walk left, then those of a new listing."""
        if self._again is not None:
            name, self._again = self._again, None
            yield name
        while self._sweep is not None or not self._listed:
            if self._sweep is None:
                self._sweep, self._listed = Sweep(self._takes, self._key), True
                self._ladder.begin_sweep()
                self._left.begin()
            yield from self._sweep.names(inbound, self._leave)
            self._sweep = None

    def _claim_wave(self, inbound: Folder, work: Folder, limit: int, wave: list[Claim]) -> Question | None:
        kernel_tells = tells_writers(inbound.fd)
        refused: list[OSError] = []
        for name in self._names(inbound):
            look, signature = self._look_at(inbound, name, kernel_tells)
            if look is Look.ASK and signature is not None:
                return Question(name, signature)
            if look is not Look.READY:
                continue
            try:
                claim = self._claim(inbound, work, name)
            except PermissionError as error:
                self._left.add(name, "entry.cannot-claim", f"It cannot be moved: {error.strerror}.")
                refused.append(error)
            else:
                if claim is not None:
                    wave.append(claim)
            if len(wave) + len(self.fresh) >= limit:
                return None
            if len(refused) >= _MOST_REFUSED and not wave:
                break
        if refused and not wave:
            raise refused[0]
        return None

    def _look_at(self, inbound: Folder, name: bytes, kernel_tells: bool) -> tuple[Look, Signature | None]:
        if self._settings.done_marker and status_of(inbound, name + DONE_SUFFIX) is None:
            self._left.add(name, "file.no-done-marker", f"Its marker {display(name)}.done is not there.")
            return Look.WAIT, None
        try:
            with open_checked(inbound, name) as (fd, status):
                if self._settings.done_marker:
                    return Look.READY, None
                look = self._ladder.look(name, fd, status, kernel_tells=kernel_tells, renamed=name in self.renamed)
                if look is not Look.READY and (waiting := self._ladder.waiting(name)) is not None:
                    self._left.add(name, waiting.code, waiting.text)
                return look, signature_of(status)
        except NotRegular as found:
            self._leave(name, found.kind)
        except OSError as error:
            self._leave_unreadable(name, error)
        self._ladder.forget(name)
        return Look.WAIT, None

    def _leave_unreadable(self, name: bytes, error: OSError) -> None:
        """Note why one file could not be looked at; its neighbours are not touched by that."""
        if error.errno in (errno.ENOENT, errno.ESTALE):
            return
        if error.errno == errno.ELOOP:
            self._leave(name, EntryKind.SYMLINK)
        elif error.errno == errno.ENXIO:
            self._leave(name, EntryKind.SOCKET)
        elif error.errno in _BUSY:
            self._left.add(name, "file.being-written", f"Another program holds it: {error.strerror}.")
        elif error.errno in AWAY:
            raise error
        else:
            self._left.add(name, "entry.unreadable", f"It cannot be read: {error.strerror}. Give read permission.")

    def _leave(self, name: bytes, kind: EntryKind | None) -> None:
        if kind is not None:
            self._left.add(name, f"entry.{kind}", f"It is a {kind}, not a regular file; it is never followed.")
        elif self._settings.done_marker and name.lower().endswith(DONE_SUFFIX):
            return
        elif is_temporary(name):
            text = "Its name says that it is hidden, temporary or unfinished; rename it when it is complete."
            self._left.add(name, "not-matched", text)
        else:
            self._left.add(name, "not-matched", f"Its name does not match {self._settings.pattern}.")

    def _claim(self, inbound: Folder, work: Folder, name: bytes) -> Claim | None:
        claim_id = self._ids.next()
        target, whole = work_name(claim_id, name)
        if not whole:
            self._ops.keep_name(work, name_file(claim_id), name)
        if not self._ops.claim_rename(inbound, name, work, target):
            if not whole:
                self._ops.unlink(work, name_file(claim_id), "claim")
            self._ladder.forget(name)
            return None
        self._ladder.forget(name)
        self._left.drop(name)
        if self._settings.done_marker:
            self._ops.unlink(inbound, name + DONE_SUFFIX, "claim")
        try:
            return self._describer.claim(work, claim_id, target, name)
        except OSError as error:
            # replaced between our look and the rename by something we cannot take: give it back
            self._describer.put_aside(inbound, work, target, name, error)
            return None

    def _make_durable(self, inbound: Folder, work: Folder, wave: list[Claim]) -> None:
        """Flush both folders once; claims that cannot be made durable are undone, last first.

        A failed flush is never tried again on the same names: the files go back and get new ids next time.
        """
        if not wave:
            return
        try:
            self._ops.flush_folder(work, "claim.work")
            self._ops.flush_folder(inbound, "claim.inbound")
        except OSError as error:
            for claim in reversed(wave):
                self._undo(inbound, work, claim)
            self._sweep = None  # they come before what the walk has not reached yet
            raise self._unavailable(error) from error
        self.fresh += wave

    def _undo(self, inbound: Folder, work: Folder, claim: Claim) -> None:
        try:
            self._ops.put_back(work, claim.work_name, inbound, claim.name)
        except OSError:
            # its name is taken again, or the disk refuses: it stays ours and joins the next wave
            self._stranded.append(claim)
            return
        if self._settings.done_marker:
            self._ops.restore_marker(inbound, claim.name + DONE_SUFFIX)

    def recover(self) -> list[Claim]:
        """Return everything that lies claimed in the work folder, in claim order, renames made durable first."""
        claims = recover(self._settings, self._clock, self._ops, self._describer, self._identities)
        # what we took ourselves and nobody was handed yet is among them
        self.fresh.clear()
        self._stranded.clear()
        return claims
