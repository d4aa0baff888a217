"""The life of a job queue entry: its statuses, what changes them, and what each change leads to.

`MOVES` are all changes there are, by the numbers of the reference; the functions choose one. Source: batch reference,
sections 19.2 to 19.5, 20.3.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from gateway.batch.rules.definition import MOST_ATTEMPTS
from gateway.kernel.errors import IllegalTransition, JobRefused
from gateway.kernel.retry import Backoff
from gateway.queues.rules.timing import Timing


class EntryStatus(StrEnum):
    """Where an entry stands, as the database checks it."""

    ON_HOLD = "on_hold"  # not considered
    READY = "ready"  # runs at its earliest start
    WAITING = "waiting"  # due, and another one has its place
    IN_PROCESS = "in_process"  # a run of it is under way
    ERROR = "error"  # its attempts are used up
    FINISHED = "finished"  # done; one of the configuration, which would come again if it were gone
    INACTIVE = "inactive"  # "On Hold with Inactivity Timeout": the last run found nothing to do


class KeptBy(StrEnum):
    """What keeps an entry from starting although it may be due, as the view `entry_place` says it."""

    STOPPED = "stopped"  # the queue that takes it is stopped
    NO_QUEUE = "no_queue"  # a queue took it, and none does any more
    USER = "user"  # its user has as many in process as a user may have


class EntryAction(StrEnum):
    """What a person may ask of an entry."""

    READY = "ready"  # let it run; a failed one again, with all its attempts
    HOLD = "hold"  # do not consider it; one in process is held when its run has ended
    DELETE = "delete"  # remove it; its runs stay in history
    EDIT = "edit"  # change what it says
    RUN_ONCE = "run-once"  # run it now, for a try; it stands as before then


_S = EntryStatus
MOVES: Final[Mapping[str, tuple[frozenset[EntryStatus | None], EntryStatus | None]]] = MappingProxyType({
    "Q1": (frozenset({None}), _S.ON_HOLD),
    "Q2": (frozenset({None}), _S.READY),
    "Q3": (frozenset({_S.ON_HOLD, _S.ERROR, _S.FINISHED}), _S.READY),
    "Q4": (frozenset({_S.READY, _S.WAITING, _S.ERROR}), _S.ON_HOLD),
    "Q5": (frozenset({_S.READY}), None),
    "Q6": (frozenset({_S.READY}), _S.READY),
    "Q7": (frozenset({_S.READY}), _S.WAITING),
    "Q8": (frozenset({_S.WAITING}), _S.READY),
    "Q9": (frozenset({_S.READY}), _S.IN_PROCESS),
    "Q10": (frozenset({_S.IN_PROCESS}), None),
    "Q11": (frozenset({_S.IN_PROCESS}), _S.READY),
    "Q12": (frozenset({_S.IN_PROCESS}), _S.INACTIVE),
    "Q13": (frozenset({_S.INACTIVE}), _S.READY),
    "Q14": (frozenset({_S.IN_PROCESS}), _S.READY),
    "Q15": (frozenset({_S.IN_PROCESS}), _S.ERROR),
    "Q16": (frozenset({_S.IN_PROCESS}), _S.READY),
})  # fmt: skip
"""By its number in the reference: from which statuses, to which one; None: there is no entry."""

TIMING: Final = "entry.timing"
"""Code of an entry of which nobody knows when it runs next."""
FREE_INTERRUPTIONS: Final = 3
"""So often a lost server costs an entry no attempt: one that kills its server must not do so for ever."""
EXTRA_DELAY: Final = Backoff(first_seconds=0.01, most_seconds=6 * 3600.0, factor=10.0)
"""What is added to the rerun delay before each attempt: 10 ms, 100 ms, ... 2.8 hours, then six hours."""

_ALLOWED: Final[Mapping[EntryAction, Mapping[EntryStatus, EntryStatus | None]]] = MappingProxyType({
    EntryAction.READY: {
        _S.ON_HOLD: _S.READY, _S.ERROR: _S.READY, _S.FINISHED: _S.READY, _S.INACTIVE: _S.READY,
    },
    EntryAction.HOLD: {
        _S.READY: _S.ON_HOLD, _S.WAITING: _S.ON_HOLD, _S.ERROR: _S.ON_HOLD, _S.INACTIVE: _S.ON_HOLD,
        _S.FINISHED: _S.ON_HOLD, _S.IN_PROCESS: _S.IN_PROCESS,
    },
    EntryAction.DELETE: {status: None for status in _S if status is not _S.IN_PROCESS},
    EntryAction.EDIT: {_S.ON_HOLD: _S.ON_HOLD},
    EntryAction.RUN_ONCE: dict.fromkeys((_S.ON_HOLD, _S.READY, _S.ERROR, _S.FINISHED, _S.INACTIVE), _S.IN_PROCESS),
})  # fmt: skip
_STANDING: Final = {
    _S.ON_HOLD: "on hold", _S.IN_PROCESS: "in process", _S.ERROR: "in error",
    _S.INACTIVE: "on hold with inactivity timeout",
}  # fmt: skip
_WORDS: Final = {
    EntryAction.READY: "be set to ready", EntryAction.HOLD: "be put on hold", EntryAction.DELETE: "be deleted",
    EntryAction.EDIT: "be changed", EntryAction.RUN_ONCE: "be tried",
}  # fmt: skip
_INSTEAD: Final = {
    (EntryAction.EDIT, _S.IN_PROCESS): "Put it on hold; it is held when its run has ended.",
    (EntryAction.DELETE, _S.IN_PROCESS): "Cancel its run, or wait until it has ended.",
}


def standing(status: EntryStatus) -> str:
    """Return a status as people read it."""
    return _STANDING.get(status, status.value)


def act(action: EntryAction, status: EntryStatus, *, name: str) -> EntryStatus | None:
    """Return the status of an entry after *action*; None: it is gone.

    *name* is for the text of a refusal. Rule: one in process that is put on hold stays so until its run has ended.
    Raises: IllegalTransition with the present status and what is possible in it; nothing is changed.
    """
    if status in _ALLOWED[action]:
        return _ALLOWED[action][status]
    possible = [other.value for other in EntryAction if status in _ALLOWED[other]]
    instead = _INSTEAD.get((action, status), "Put it on hold first." if action is EntryAction.EDIT else "")
    raise IllegalTransition(
        f"Entry {name} is {standing(status)}: it cannot {_WORDS[action]}. {instead}{' ' if instead else ''}"
        f"Possible now: {', '.join(possible)}.",
        entry=name, status=status.value, action=action.value,
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What becomes of an entry: the row of `MOVES`, its status then (None: gone) and its earliest start.

    `error` is set where nobody can tell any more when it runs: it is in Error, and the others go on.
    """

    row: str
    status: EntryStatus | None
    earliest: datetime | None = None
    attempts: int = 0
    interruptions: int = 0
    error: str | None = None


class Outcome(StrEnum):
    """How the run of an entry ended."""

    WELL = "well"
    FAILED = "failed"
    HOPELESS = "hopeless"  # it failed, and trying again cannot help
    LOST = "lost"  # nobody knows how far it came: its server is gone, or was stopped
    CANCELED = "canceled"  # somebody wanted it to stop: it is not tried again by itself


def come_due(*, timing: Timing, expires: datetime | None, has_place: bool, now: datetime) -> Step:
    """Return what becomes of a ready entry whose earliest start has come: expired, in its window, place free, run.

    *has_place*: its category has one for it.
    """
    if expires is not None and now > expires:
        return Step(row="Q5", status=None)
    try:
        opens = timing.opens(now)
    except JobRefused as error:
        return _unknown_time(error)
    if opens > now:
        return Step(row="Q6", status=EntryStatus.READY, earliest=opens)
    if not has_place:
        return Step(row="Q7", status=EntryStatus.WAITING)
    return Step(row="Q9", status=EntryStatus.IN_PROCESS)


def come_back(
    outcome: Outcome,
    *,
    timing: Timing,
    attempts: int,
    max_attempts: int,
    rerun_delay_seconds: float,
    interruptions: int,
    idle: bool,
    inactivity_minutes: int,
    keeps: bool,
    started: datetime,
    now: datetime,
) -> Step:
    """Return what becomes of an entry whose run has ended.

    *idle*: the run found nothing to do; *keeps*: one that is done stays, as finished; the run began at *started*.
    """
    if outcome is Outcome.LOST and interruptions < FREE_INTERRUPTIONS:
        return Step(
            row="Q16", status=EntryStatus.READY, earliest=now, attempts=attempts, interruptions=interruptions + 1
        )
    if outcome is Outcome.WELL and not timing.recurs:
        return Step(row="Q10", status=EntryStatus.FINISHED if keeps else None)
    if outcome is Outcome.WELL:
        try:
            if idle and inactivity_minutes:
                wakes = timing.opens(now + timedelta(minutes=inactivity_minutes))
                return Step(row="Q12", status=EntryStatus.INACTIVE, earliest=wakes)
            return Step(row="Q11", status=EntryStatus.READY, earliest=timing.following(started=started, ended=now))
        except JobRefused as error:
            return _unknown_time(error)
    again = outcome in {Outcome.FAILED, Outcome.LOST} and attempts < min(max_attempts, MOST_ATTEMPTS)
    if again:
        pause = timedelta(seconds=rerun_delay_seconds + EXTRA_DELAY.delay(attempts + 1))
        return Step(row="Q14", status=EntryStatus.READY, earliest=now + pause, attempts=attempts + 1)
    return Step(row="Q15", status=EntryStatus.ERROR, attempts=attempts)


def _unknown_time(error: JobRefused) -> Step:
    """Return what becomes of an entry whose time zone is gone."""
    return Step(row="Q15", status=EntryStatus.ERROR, error=f"Nobody knows when it runs next. {error.message}")
