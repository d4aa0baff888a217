"""Is a file ready to be taken? The ladder of questions, from the surest to the slowest.

1. Its `.done` marker is there (when the port wants one): ready. 2. The kernel says that nobody has it open for
writing, or, where the kernel cannot say (on shares, and for files of another account), it was seen to be renamed in,
or size and times have not changed for `settle_seconds`: go on. 3. It ends like a whole document: ready. Otherwise it
waits until `grace_seconds` after its last change and is then claimed as it is, so that the reader can refuse it with
the reason; a silent writer gets no longer than that either. Only a parser can tell cut off from broken, and it checks
less and less often about a file that keeps changing: reading a large one to its end costs more than writing a byte.

A file with two names waits for `settle_seconds`, whatever else is known of it: SFTP servers rename by making the new
name and then removing the old one.

Source: rulings, "Files: when"; reliability reference 5.2.
"""

import os
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from adapters.file.inbound.ending import Ending, ending
from adapters.file.linux import Writers, probe_writer
from adapters.file.settings import LocalClock
from gateway.kernel.retry import Backoff

_FIRST_WAIT_SECONDS = 0.05  # after a writer was seen; doubles with the age of its last change
_LONGEST_WAIT_SECONDS = 2.0
_CHECK_AGAIN = Backoff(first_seconds=2.0)  # so long a file must be left alone before it is checked again


class Readiness(StrEnum):
    """What the ladder says of a file."""

    READY = "ready"  # claim it
    WAIT = "wait"  # judge it again later
    CHECK = "check"  # its end is suspicious: only a parser can tell cut off from broken


class Signature(NamedTuple):
    """What changes when a file changes; ctime, because partners' tools set old modification times."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int


def signature_of(status: os.stat_result) -> Signature:
    """Take the signature from a descriptor's status."""
    return Signature(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


@dataclass(slots=True)
class WaitingFile:
    """A file that was not ready: its signature, since when that stands, why it waits, when to look again.

    Shape: `since` and `due` by the monotonic clock; `broken` is what the parser found, None before it checked; `checks`
    counts how often it did, of all that this name has been.
    """

    signature: Signature
    since: float
    code: str = ""
    text: str = ""
    due: float | None = None
    broken: bool | None = None
    checks: int = 0


class ReadyLadder:
    """Remembers what waits in one inbound folder and judges file by file; used by one thread at a time."""

    def __init__(self, clock: LocalClock, *, settle_seconds: float, grace_seconds: float, has_parser: bool) -> None:
        self._clock = clock
        self._settle_seconds = settle_seconds
        self._grace_seconds = grace_seconds
        self._has_parser = has_parser
        self._before: dict[bytes, WaitingFile] = {}
        self._now: dict[bytes, WaitingFile] = {}

    def begin_sweep(self) -> None:
        """Forget what the last sweep did not see again."""
        self._before, self._now = self._now, {}

    def due_seconds(self) -> float | None:
        """Return in how many seconds a waiting file may have become ready, None when nothing waits."""
        seen = (*self._before.values(), *self._now.values())
        dues = [waiting.due for waiting in seen if waiting.due is not None]
        return max(0.0, min(dues) - self._clock.monotonic()) if dues else None

    def waiting(self, name: bytes) -> WaitingFile | None:
        """Return what is remembered of *name* in this sweep."""
        return self._now.get(name)

    def forget(self, name: bytes) -> None:
        """Drop *name*: it was claimed or has gone."""
        self._before.pop(name, None)
        self._now.pop(name, None)

    def checked(self, name: bytes, signature: Signature, *, broken: bool | None) -> None:
        """Keep what the parser found in a file that had *signature* before; None: it had no time to say."""
        waiting = self._now.get(name)
        if waiting is None:
            return
        if broken is None:
            waiting.due = self._clock.monotonic() + _CHECK_AGAIN.first_seconds
            return
        waiting.checks += 1
        if waiting.signature == signature:
            waiting.broken = broken

    def judge(
        self, name: bytes, fd: int, status: os.stat_result, *, kernel_tells: bool, renamed: bool = False
    ) -> Readiness:
        """Judge the open regular file *fd*; *renamed* when it was seen to be renamed in and left alone since."""
        now = self._clock.monotonic()
        signature = signature_of(status)
        known = self._now.get(name) or self._before.pop(name, None)
        if known is None or known.signature != signature:
            known = WaitingFile(signature, now, checks=known.checks if known else 0)
        quiet = now - known.since
        writer = probe_writer(fd) if kernel_tells else Writers.UNKNOWN
        if writer is Writers.SOMEBODY and quiet < self._grace_seconds:
            due = now + min(max(quiet, _FIRST_WAIT_SECONDS), _LONGEST_WAIT_SECONDS)
            return self._wait(name, known, "file.being-written", "A program has it open for writing.", due)
        settled = known.since + self._settle_seconds
        if status.st_nlink > 1 and now < settled:
            text = "It has a second name (hard link). It is refused when it keeps it."
            return self._wait(name, known, "file.second-name", text, settled)
        if writer is Writers.UNKNOWN and not renamed and now < settled:
            return self._wait(name, known, "file.being-written", "It changed a moment ago.", settled)
        end = Ending.COMPLETE if status.st_nlink > 1 else ending(fd, status.st_size)
        # asked again after its end was read: a writer may have come between
        if (after := signature_of(os.fstat(fd))) != signature:
            known = WaitingFile(after, now, checks=known.checks)
            return self._wait(name, known, "file.being-written", "It is changing.", now + _FIRST_WAIT_SECONDS)
        return self._judge_end(name, known, end, now)

    def _judge_end(self, name: bytes, known: WaitingFile, end: Ending, now: float) -> Readiness:
        over = known.since + self._grace_seconds
        if end in (Ending.COMPLETE, Ending.FOREIGN) or now >= over or known.broken:
            return Readiness.READY
        if end is Ending.SUSPICIOUS and self._has_parser and known.broken is None:
            may_check = known.since + (_CHECK_AGAIN.delay(known.checks) if known.checks else 0.0)
            if now < may_check:
                return self._wait(name, known, "file.incomplete", self._incomplete(end), min(may_check, over))
            self._wait(name, known, "file.incomplete", self._incomplete(end), over)
            return Readiness.CHECK
        return self._wait(name, known, "file.incomplete", self._incomplete(end), over)

    def _incomplete(self, end: Ending) -> str:
        return f"{_INCOMPLETE[end]} It is refused when it stays so for {self._grace_seconds:g} s."

    def _wait(self, name: bytes, waiting: WaitingFile, code: str, text: str, due: float) -> Readiness:
        waiting.code, waiting.text, waiting.due = code, text, due
        self._now[name] = waiting
        return Readiness.WAIT


_INCOMPLETE = {
    Ending.EMPTY: "It is empty.",
    Ending.UNFILLED: "It ends in NUL bytes, reserved for what is still to come.",
    Ending.SUSPICIOUS: "It does not end with the closing tag of its document.",
}
