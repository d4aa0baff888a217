from itertools import product

import pytest

from gateway.batch.rules.conditions import Changes, Condition, TaskState, settle
from gateway.batch.rules.job import FINAL, JobStatus, TaskStatus, Wanted
from gateway.batch.rules.transitions import (
    JOB_MOVES,
    TASK_MOVES,
    Attempt,
    JobAction,
    JobStep,
    TaskAction,
    act_on_job,
    act_on_task,
    after_attempt,
    after_run,
)
from gateway.kernel.errors import IllegalTransition

ARM, WITHHOLD, CANCEL = JobAction.ARM, JobAction.WITHHOLD, JobAction.CANCEL
REQUEUE, DELETE = JobAction.FORCE_REQUEUE, JobAction.DELETE
WAITING, EXECUTING = JobStatus.WAITING, JobStatus.EXECUTING

IN_WORK = (TaskStatus.EXECUTING, TaskStatus.CANCELLING)
ARMED = JobStep(status=WAITING)
PARKED = JobStep(status=JobStatus.WITHHOLD)
GONE = JobStep(status=None)

ALLOWED = {
    (ARM, JobStatus.WITHHOLD): ARMED,
    (ARM, JobStatus.ERROR): ARMED,
    (ARM, JobStatus.ENDED): ARMED,
    (ARM, JobStatus.CANCELED): ARMED,
    (WITHHOLD, WAITING): PARKED,
    (WITHHOLD, JobStatus.ERROR): PARKED,
    (WITHHOLD, JobStatus.ENDED): PARKED,
    (WITHHOLD, JobStatus.CANCELED): PARKED,
    (WITHHOLD, EXECUTING): JobStep(status=EXECUTING, hold_after=True),
    (CANCEL, WAITING): JobStep(status=JobStatus.CANCELED),
    (CANCEL, EXECUTING): JobStep(status=JobStatus.CANCELLING),
    (REQUEUE, EXECUTING): ARMED,
    (DELETE, JobStatus.WITHHOLD): GONE,
    (DELETE, WAITING): GONE,
    (DELETE, JobStatus.ERROR): GONE,
    (DELETE, JobStatus.ENDED): GONE,
    (DELETE, JobStatus.CANCELED): GONE,
}


@pytest.mark.parametrize(("action", "status"), list(product(JobAction, JobStatus)))
def test_each_action_is_allowed_in_just_these_statuses(action: JobAction, status: JobStatus) -> None:
    expected = ALLOWED.get((action, status))
    if expected is None:
        with pytest.raises(IllegalTransition):
            act_on_job(action, status, name="nightly", in_work=False)
    else:
        assert act_on_job(action, status, name="nightly", in_work=False) == expected
        assert expected.status is status or expected.status in JOB_MOVES[status]


def test_what_only_the_scheduler_gives_cannot_be_asked_for() -> None:
    asked = {step.status for (_, status), step in ALLOWED.items() if step.status is not status}

    assert asked == {WAITING, JobStatus.WITHHOLD, JobStatus.CANCELED, JobStatus.CANCELLING, None}
    assert all(
        action is CANCEL
        for (action, _), step in ALLOWED.items()
        if step.status in (JobStatus.CANCELED, JobStatus.CANCELLING)
    )


def test_a_refusal_names_the_present_status_and_what_is_possible() -> None:
    with pytest.raises(IllegalTransition) as refused:
        act_on_job(DELETE, EXECUTING, name="nightly")

    assert str(refused.value) == ("Job 'nightly' is executing: it cannot be deleted. Possible now: hold, cancel.")
    assert refused.value.context == {"job": "nightly", "status": "executing", "action": "delete"}


def test_a_job_that_comes_back_from_cancel_can_only_be_waited_for() -> None:
    with pytest.raises(IllegalTransition, match="nothing; wait until it has come back"):
        act_on_job(ARM, JobStatus.CANCELLING, name="nightly")


def test_an_executing_job_is_not_requeued_while_somebody_alive_works_on_it() -> None:
    with pytest.raises(IllegalTransition, match="a server that is alive works on it"):
        act_on_job(REQUEUE, EXECUTING, name="nightly", in_work=True)


@pytest.mark.parametrize(("action", "status"), [(CANCEL, EXECUTING), (CANCEL, WAITING), (DELETE, WAITING)])
def test_a_system_job_is_neither_cancelled_nor_deleted(action: JobAction, status: JobStatus) -> None:
    with pytest.raises(IllegalTransition, match="the gateway itself needs it"):
        act_on_job(action, status, name="gateway", is_system=True)


def test_arming_takes_back_that_a_job_is_parked_after_its_occurrence() -> None:
    assert act_on_job(ARM, EXECUTING, name="nightly", hold_after=True) == JobStep(status=EXECUTING)
    with pytest.raises(IllegalTransition, match="on hold as soon as its run has ended"):
        act_on_job(WITHHOLD, EXECUTING, name="nightly", hold_after=True)


@pytest.mark.parametrize("job", JobStatus)
def test_single_tasks_are_held_and_released_only_between_occurrences(job: JobStatus) -> None:
    if job in (EXECUTING, JobStatus.CANCELLING):
        for action in TaskAction:
            with pytest.raises(IllegalTransition) as refused:
                act_on_task(action, withheld=action is TaskAction.RELEASE, job=job, name="export")
            assert str(refused.value) == (
                f"Task 'export' cannot be changed while its job is {job.value}. Wait until the occurrence has ended."
            )
    else:
        assert act_on_task(TaskAction.HOLD, withheld=False, job=job, name="export")
        assert not act_on_task(TaskAction.RELEASE, withheld=True, job=job, name="export")


@pytest.mark.parametrize(("action", "withheld"), [(TaskAction.HOLD, True), (TaskAction.RELEASE, False)])
def test_a_task_that_is_so_already_is_told_so(action: TaskAction, withheld: bool) -> None:
    with pytest.raises(IllegalTransition, match="already"):
        act_on_task(action, withheld=withheld, job=WAITING, name="export")


NEW_TASK = {None: {TaskStatus.WAITING, TaskStatus.WITHHOLD, TaskStatus.READY}}
ROWS: dict[str, dict[TaskStatus | None, set[TaskStatus]]] = {
    "T1": NEW_TASK,
    "T2": {TaskStatus.WAITING: {TaskStatus.READY}},
    "T3": {TaskStatus.READY: {TaskStatus.EXECUTING}},
    "T4": {TaskStatus.EXECUTING: {TaskStatus.ENDED}},
    "T5": {TaskStatus.EXECUTING: {TaskStatus.READY}},
    "T6": {TaskStatus.EXECUTING: {TaskStatus.ERROR}},
    "T7": {TaskStatus.EXECUTING: {TaskStatus.READY}},
    "T8": {TaskStatus.EXECUTING: {TaskStatus.ERROR}},
    "T9": {TaskStatus.WAITING: {TaskStatus.NOT_RUN}},
    "T10": {TaskStatus.WAITING: {TaskStatus.NOT_RUN}, TaskStatus.READY: {TaskStatus.NOT_RUN, TaskStatus.CANCELED}},
    "T11": {TaskStatus.EXECUTING: {TaskStatus.CANCELLING}},
    "T12": {TaskStatus.CANCELLING: {TaskStatus.CANCELED}},
    "T11 and T12": {TaskStatus.EXECUTING: {TaskStatus.CANCELED}},
    "T13": NEW_TASK,  # in a new run
    "T14": {TaskStatus.WITHHOLD: {TaskStatus.NOT_RUN}},  # parked before its run, it is left out of it
}


def test_the_moves_of_a_task_are_those_of_the_table() -> None:
    table = {(before, after) for row in ROWS.values() for before, afters in row.items() for after in afters}

    assert table == {(before, after) for before, afters in TASK_MOVES.items() for after in afters}


def state(status: TaskStatus, *parents: tuple[int, Wanted], key: int = 1, attempts: int = 0) -> TaskState:
    conditions = tuple(Condition(parent=parent, wanted=wanted) for parent, wanted in parents)
    return TaskState(id=key, status=status, conditions=conditions, attempts=attempts)


ENDED_PARENT = state(TaskStatus.ENDED, key=2)
WITH_CHILD = TaskState(id=1, status=TaskStatus.EXECUTING, waits_for_children=True)
CHILD = TaskState(id=2, status=TaskStatus.READY, spawned_by=1)
FOLLOWS = {
    "T2 no conditions": ([state(TaskStatus.WAITING)], False, TaskStatus.READY),
    "T2 conditions met": ([state(TaskStatus.WAITING, (2, Wanted.ENDED)), ENDED_PARENT], False, TaskStatus.READY),
    "T9": ([state(TaskStatus.WAITING, (2, Wanted.ERROR)), ENDED_PARENT], False, TaskStatus.NOT_RUN),
    "T10 waiting": ([state(TaskStatus.WAITING)], True, TaskStatus.NOT_RUN),
    "T10 ready": ([state(TaskStatus.READY)], True, TaskStatus.NOT_RUN),
    "T10 ready for a retry": ([state(TaskStatus.READY, attempts=1)], True, TaskStatus.CANCELED),
    "T11": ([state(TaskStatus.EXECUTING, attempts=1)], True, TaskStatus.CANCELLING),
    "T11 and T12": ([WITH_CHILD, CHILD], True, TaskStatus.CANCELED),
    "T14": ([state(TaskStatus.WITHHOLD)], False, TaskStatus.NOT_RUN),
}


@pytest.mark.parametrize("row", FOLLOWS)
def test_what_follows_for_a_task_is_a_row_of_the_table(row: str) -> None:
    tasks, canceled, expected = FOLLOWS[row]

    assert 1 in getattr(settle(tasks, canceled=canceled), expected.value)
    assert expected in ROWS[row if row in ROWS else row.split(maxsplit=1)[0]][tasks[0].status]


@pytest.mark.parametrize(("status", "canceled"), list(product(sorted(FINAL), [False, True])))
def test_a_task_at_its_end_stays_there(status: TaskStatus, canceled: bool) -> None:
    assert settle([state(status, attempts=1)], canceled=canceled) == Changes()


@pytest.mark.parametrize("status", [TaskStatus.READY, TaskStatus.EXECUTING, TaskStatus.CANCELLING])
def test_a_task_that_needs_a_server_waits_for_one(status: TaskStatus) -> None:
    assert settle([state(status)], canceled=status is TaskStatus.CANCELLING) == Changes()


ATTEMPTS = [
    (Attempt.ENDED, 0, 0, TaskStatus.ENDED),
    (Attempt.ERROR, 0, 1, TaskStatus.READY),
    (Attempt.ERROR, 0, 0, TaskStatus.ERROR),
    (Attempt.ERROR, 3, 3, TaskStatus.ERROR),
    (Attempt.LOST, 0, 1, TaskStatus.READY),
    (Attempt.LOST, 1, 1, TaskStatus.ERROR),
]


@pytest.mark.parametrize(("attempt", "retries", "most", "expected"), ATTEMPTS)
def test_an_attempt_ends_or_is_tried_again(attempt: Attempt, retries: int, most: int, expected: TaskStatus) -> None:
    status = after_attempt(attempt, TaskStatus.EXECUTING, retries=retries, max_retries=most)

    assert status is expected
    assert status in TASK_MOVES[TaskStatus.EXECUTING]


def test_three_retries_are_four_executions() -> None:
    executions = 1
    while after_attempt(Attempt.ERROR, TaskStatus.EXECUTING, retries=executions - 1, max_retries=3) is TaskStatus.READY:
        executions += 1

    assert executions == 4


def test_what_no_retry_can_help_fails_at_once() -> None:
    status = after_attempt(Attempt.ERROR, TaskStatus.EXECUTING, retries=0, max_retries=5, can_help=False)

    assert status is TaskStatus.ERROR


@pytest.mark.parametrize("attempt", Attempt)
def test_a_cancelled_task_ends_canceled_however_it_comes_back(attempt: Attempt) -> None:
    assert after_attempt(attempt, TaskStatus.CANCELLING, retries=0, max_retries=5) is TaskStatus.CANCELED


@pytest.mark.parametrize("status", IN_WORK)
def test_a_parent_with_open_children_keeps_its_status(status: TaskStatus) -> None:
    assert after_attempt(Attempt.ENDED, status, retries=0, max_retries=0, has_open_children=True) is status


@pytest.mark.parametrize("status", [status for status in TaskStatus if status not in IN_WORK])
def test_only_an_executed_task_has_an_attempt_to_end(status: TaskStatus) -> None:
    with pytest.raises(IllegalTransition) as refused:
        after_attempt(Attempt.ENDED, status, retries=0, max_retries=0)

    assert str(refused.value) == f"A task that is {status.value} has no attempt to end."
    assert refused.value.context == {"status": status.value}


RUNS = [
    (JobStatus.ENDED, False, False, JobStatus.ENDED),
    (JobStatus.ERROR, False, False, JobStatus.ERROR),
    (JobStatus.ENDED, False, True, WAITING),
    (JobStatus.ERROR, False, True, WAITING),
    (JobStatus.ERROR, True, True, JobStatus.WITHHOLD),
    (JobStatus.ENDED, True, False, JobStatus.WITHHOLD),
    (JobStatus.CANCELED, False, True, JobStatus.CANCELED),
    (JobStatus.CANCELED, True, True, JobStatus.CANCELED),
]


@pytest.mark.parametrize(("outcome", "hold_after", "comes_back", "expected"), RUNS)
def test_the_end_of_a_run_says_where_its_job_stands(
    outcome: JobStatus, hold_after: bool, comes_back: bool, expected: JobStatus
) -> None:
    before = JobStatus.CANCELLING if outcome is JobStatus.CANCELED else EXECUTING

    assert after_run(outcome, hold_after=hold_after, comes_back=comes_back) is expected
    assert expected in JOB_MOVES[before]


def test_every_status_has_its_row_of_moves() -> None:
    assert set(JOB_MOVES) == {None, *JobStatus}
    assert set(TASK_MOVES) == {None, *TaskStatus}
    assert all(bool(TASK_MOVES[status]) != status.final for status in TaskStatus)
