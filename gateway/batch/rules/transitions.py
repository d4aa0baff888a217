"""Which steps a job and a task may take: what people may ask for, and what the end of an attempt or a run leads to.

`JOB_MOVES` and `TASK_MOVES` are all changes of status there are; what people may ask for is a function of its own,
because it also depends on facts beside the status and each refusal says what is possible instead.
Source: batch reference, sections 6.2 (J1-J20), 6.3 (T1-T14), 8, 17; rulings, "Scheduler".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import assert_never

from gateway.batch.rules.job import JobStatus, TaskStatus
from gateway.kernel.errors import IllegalTransition


class JobAction(StrEnum):
    """What a person may ask of a job."""

    ARM = "arm"  # let it start when it is due: release, restart, run again
    WITHHOLD = "withhold"  # park it; one that runs is parked when its occurrence has ended
    CANCEL = "cancel"  # nothing more starts, what runs may finish, and the job does not come back by itself
    FORCE_REQUEUE = "force_requeue"  # back to waiting although it shows executing: nobody works on it any more
    DELETE = "delete"  # remove it; its history stays


class TaskAction(StrEnum):
    """What a person may ask of one task of a job."""

    HOLD = "hold"  # leave it out of the next occurrences
    RELEASE = "release"  # take it in again


class Attempt(StrEnum):
    """How one execution of a task ended, as the database checks it."""

    ENDED = "ended"  # its code returned
    ERROR = "error"  # its code raised, or ran out of time
    CANCELED = "canceled"  # stopped because its run was cancelled
    LOST = "lost"  # its server died or was taken for dead


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStep:
    """What an action makes of a job."""

    status: JobStatus | None  # None: the job is gone
    hold_after: bool = False  # park it when the occurrence under way has ended


JOB_MOVES: Mapping[JobStatus | None, frozenset[JobStatus | None]] = MappingProxyType(
    {
        None: frozenset({JobStatus.WITHHOLD, JobStatus.WAITING}),
        JobStatus.WITHHOLD: frozenset({JobStatus.WAITING, None}),
        JobStatus.WAITING: frozenset({JobStatus.WITHHOLD, JobStatus.EXECUTING, JobStatus.CANCELED, None}),
        JobStatus.EXECUTING: frozenset(
            {JobStatus.ENDED, JobStatus.ERROR, JobStatus.WAITING, JobStatus.CANCELLING, JobStatus.WITHHOLD}
        ),
        JobStatus.CANCELLING: frozenset({JobStatus.CANCELED}),
        JobStatus.ERROR: frozenset({JobStatus.WAITING, JobStatus.WITHHOLD, None}),
        JobStatus.ENDED: frozenset({JobStatus.WAITING, JobStatus.WITHHOLD, None}),
        JobStatus.CANCELED: frozenset({JobStatus.WAITING, JobStatus.WITHHOLD, None}),
    }
)
"""Every change of a job's status; None is a job that is not there. Source: batch reference, section 6.2."""

TASK_MOVES: Mapping[TaskStatus | None, frozenset[TaskStatus]] = MappingProxyType(
    {
        None: frozenset({TaskStatus.WAITING, TaskStatus.READY, TaskStatus.WITHHOLD}),
        TaskStatus.WITHHOLD: frozenset({TaskStatus.NOT_RUN}),
        TaskStatus.WAITING: frozenset({TaskStatus.READY, TaskStatus.NOT_RUN}),
        TaskStatus.READY: frozenset({TaskStatus.EXECUTING, TaskStatus.NOT_RUN, TaskStatus.CANCELED}),
        TaskStatus.EXECUTING: frozenset(
            {TaskStatus.ENDED, TaskStatus.READY, TaskStatus.ERROR, TaskStatus.CANCELLING, TaskStatus.CANCELED}
        ),
        TaskStatus.CANCELLING: frozenset({TaskStatus.CANCELED}),
        TaskStatus.ENDED: frozenset(),
        TaskStatus.ERROR: frozenset(),
        TaskStatus.NOT_RUN: frozenset(),
        TaskStatus.CANCELED: frozenset(),
    }
)
"""Every change of a task's status inside one run; None is a task that is not there.

A task without conditions is born ready. A definition that is armed again (T13) is a new run with new tasks; a task that
is parked (T14) is so before its run. One that is refused at its claim (unknown handler, parameters, account) fails as
executed. A parent whose code has returned is canceled at once when no child of it is under way (T11 and T12 in one).
Source: batch reference, sections 6.3, 8.
"""

_IDLE = frozenset(JobStatus) - {JobStatus.EXECUTING, JobStatus.CANCELLING}
_FINISHED = frozenset({JobStatus.ERROR, JobStatus.ENDED, JobStatus.CANCELED})


def act_on_job(
    action: JobAction,
    status: JobStatus,
    *,
    name: str,
    hold_after: bool = False,
    is_system: bool = False,
    in_work: bool = True,
) -> JobStep:
    """Return what *action* makes of a job in *status*.

    *name* is for the text of a refusal; *hold_after*: it is to be parked after its occurrence; *in_work*: somebody
    alive holds the lease of one of its tasks (asked only of an executing job).
    Rule: arming an executing job takes back that it is to be parked. A system job is neither cancelled nor deleted.
    Raises: IllegalTransition with the present status and what is possible in it; nothing is changed.
    Source: batch reference, J4, J5, J11, J13-J20, 17.1.
    """
    step = _step(action, status, hold_after=hold_after, is_system=is_system, in_work=in_work)
    if step is not None:
        return step
    possible = [
        _COMMANDS[other]
        for other in JobAction
        if _step(other, status, hold_after=hold_after, is_system=is_system, in_work=in_work) is not None
    ]
    raise IllegalTransition(
        f"Job {name!r} is {_standing(status, hold_after=hold_after)}: it cannot {_WORDS[action]}"
        f"{_reason(action, status, is_system=is_system, in_work=in_work)}. "
        f"Possible now: {', '.join(possible) or 'nothing; wait until it has come back'}.",
        job=name,
        status=status.value,
        action=action.value,
    )


def act_on_task(action: TaskAction, *, withheld: bool, job: JobStatus, name: str) -> bool:
    """Return whether the task called *name* is withheld after *action*.

    Raises: IllegalTransition while its job is executing or cancelling, and when there is nothing to change.
    Source: batch reference, T14.
    """
    if job not in _IDLE:
        raise IllegalTransition(
            f"Task {name!r} cannot be changed while its job is {job.value}. Wait until the occurrence has ended.",
            task=name,
            status=job.value,
            action=action.value,
        )
    match action:
        case TaskAction.HOLD:
            wanted, other = True, TaskAction.RELEASE
        case TaskAction.RELEASE:
            wanted, other = False, TaskAction.HOLD
        case _:
            assert_never(action)
    if withheld == wanted:
        raise IllegalTransition(
            f"Task {name!r} is {'on hold' if withheld else 'not on hold'} already. Possible now: {other.value}.",
            task=name,
            action=action.value,
        )
    return wanted


def after_attempt(
    attempt: Attempt,
    status: TaskStatus,
    *,
    retries: int,
    max_retries: int,
    can_help: bool = True,
    has_open_children: bool = False,
) -> TaskStatus:
    """Return the status of a task in *status* (executing, cancelling) whose *attempt* is over.

    *retries* are those used so far; ready means: use one more. *can_help* is False when trying again cannot: unknown
    handler, parameters, account. *has_open_children*: it is to wait for children that are not yet at their end.
    Rule: a cancelled task ends canceled, however its code came back.
    Raises: IllegalTransition for a task that nobody executes.
    Source: batch reference, T4-T8, T12, sections 8, 9.7.
    """
    if status not in (TaskStatus.EXECUTING, TaskStatus.CANCELLING):
        raise IllegalTransition(f"A task that is {status.value} has no attempt to end.", status=status.value)
    if has_open_children and attempt is Attempt.ENDED:
        return status
    if status is TaskStatus.CANCELLING:
        return TaskStatus.CANCELED
    match attempt:
        case Attempt.ENDED:
            return TaskStatus.ENDED
        case Attempt.ERROR | Attempt.LOST | Attempt.CANCELED:
            return TaskStatus.READY if can_help and retries < max_retries else TaskStatus.ERROR
        case _:
            assert_never(attempt)


def after_run(outcome: JobStatus, *, hold_after: bool, comes_back: bool) -> JobStatus:
    """Return where a job stands when its run has ended with *outcome* (ended, error, canceled).

    *comes_back*: another occurrence is planned, or work that appears starts it.
    Rule: a cancelled job stays canceled. One that was to be parked is withheld. One that comes back waits, whether
    this occurrence went well or not; the outcome is kept beside it.
    Source: batch reference, J8-J10, J12, J20, section 10.3.
    """
    if outcome is JobStatus.CANCELED:
        return JobStatus.CANCELED
    if hold_after:
        return JobStatus.WITHHOLD
    return JobStatus.WAITING if comes_back else outcome


def _step(action: JobAction, status: JobStatus, *, hold_after: bool, is_system: bool, in_work: bool) -> JobStep | None:
    match action:
        case JobAction.ARM:
            if status is JobStatus.EXECUTING and hold_after:
                return JobStep(status=JobStatus.EXECUTING)
            if status is JobStatus.WITHHOLD or status in _FINISHED:
                return JobStep(status=JobStatus.WAITING)
        case JobAction.WITHHOLD:
            if status is JobStatus.EXECUTING and not hold_after:
                return JobStep(status=JobStatus.EXECUTING, hold_after=True)
            if status is JobStatus.WAITING or status in _FINISHED:
                return JobStep(status=JobStatus.WITHHOLD)
        case JobAction.CANCEL:
            if status is JobStatus.WAITING and not is_system:
                return JobStep(status=JobStatus.CANCELED)
            if status is JobStatus.EXECUTING and not is_system:
                return JobStep(status=JobStatus.CANCELLING)
        case JobAction.FORCE_REQUEUE:
            if status is JobStatus.EXECUTING and not in_work:
                return JobStep(status=JobStatus.WAITING)
        case JobAction.DELETE:
            if status in _IDLE and not is_system:
                return JobStep(status=None)
        case _:
            assert_never(action)
    return None


_COMMANDS: Mapping[JobAction, str] = MappingProxyType(
    {
        JobAction.ARM: "release",
        JobAction.WITHHOLD: "hold",
        JobAction.CANCEL: "cancel",
        JobAction.FORCE_REQUEUE: "requeue",
        JobAction.DELETE: "delete",
    }
)
"""What people type for it."""
_WORDS: Mapping[JobAction, str] = MappingProxyType(
    {
        JobAction.ARM: "be set to waiting",
        JobAction.WITHHOLD: "be put on hold",
        JobAction.CANCEL: "be canceled",
        JobAction.FORCE_REQUEUE: "be requeued by force",
        JobAction.DELETE: "be deleted",
    }
)


def _standing(status: JobStatus, *, hold_after: bool) -> str:
    if hold_after and status is JobStatus.EXECUTING:
        return "executing, and on hold as soon as its run has ended"
    return {JobStatus.WITHHOLD: "on hold"}.get(status, status.value)


def _reason(action: JobAction, status: JobStatus, *, is_system: bool, in_work: bool) -> str:
    if is_system and action in (JobAction.CANCEL, JobAction.DELETE):
        return ", because the gateway itself needs it"
    if action is JobAction.FORCE_REQUEUE and status is JobStatus.EXECUTING and in_work:
        return ", because a server that is alive works on it"
    return ""
