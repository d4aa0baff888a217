"""Why does this job, run or task not move, or how did it end? Facts of the batch framework become two sentences."""

from collections.abc import Sequence
from datetime import datetime

from gateway.batch.rules.definition import TaskDefinition
from gateway.batch.rules.job import JobMode, JobStatus, TaskStatus
from gateway.batch.statements.runs_sql import Run, RunTask
from gateway.batch.store.jobs import read_job
from gateway.batch.store.runs import RunDetails
from gateway.batch.store.servers import list_groups
from gateway.config.definitions import group_name
from gateway.explanations.facts import Deed, Explanation, at, quoted
from gateway.kernel.ids import RunId
from gateway.kernel.remedy import Action, Remedy
from gateway.operations.audit import last_deed
from gateway.operations.jobs import JobReport, show_job
from gateway.operations.principal import OperatorSession
from gateway.operations.references import NotFound
from gateway.operations.runs import Unserved, nobody_takes, show_run

_LONGEST_NUMBER = 18
_MOST_TASKS = 5
_QUIET = frozenset({TaskStatus.WAITING, TaskStatus.ENDED, TaskStatus.NOT_RUN, TaskStatus.CANCELED})
"""Tasks of which a run says nothing by itself: what they wait for, or how they ended, is seen at others."""
_NOTHING = Remedy(action=Action.NOTHING, reason="It goes on by itself.")


class JobExplainer:
    """Explains what a person may see; *running*: a gateway runs on this store."""

    def __init__(self, session: OperatorSession, *, running: bool) -> None:
        self._session = session
        self._store = session.store
        self._now = session.now
        self._running = running

    async def job(self, name: str) -> list[Explanation]:
        """Explain the job of this name, with the run that is under way; empty when there is none."""
        if await read_job(self._store, name, partition=self._session.partition, viewer=self._session.actor) is None:
            return []
        report = await show_job(self._session, name)
        held = report.job.status is JobStatus.WITHHOLD
        found = [self._job(report, await last_deed(self._store, "job.hold", subject=name) if held else None)]
        under_way = next((run for run in report.runs if run.ended_at is None), None)
        return found if under_way is None else [*found, *await self.run(str(under_way.id))]

    async def run(self, text: str) -> list[Explanation]:
        """Explain a run, as `17` or `run:17`, with its tasks that failed or are under way; empty when there is none."""
        details = await self._details(text)
        if details is None:
            return []
        tasks = [task for task in details.tasks if task.status not in _QUIET][:_MOST_TASKS]
        return [_run(details), *await self._tasks(details, tasks)]

    async def task(self, text: str) -> list[Explanation]:
        """Explain a task, as `run:17/export`, or `nightly/export` in the run under way, else in the last one."""
        where, _, name = text.rpartition("/")
        if not where:
            return []
        number = where
        if not where.startswith("run:"):
            if (
                await read_job(self._store, where, partition=self._session.partition, viewer=self._session.actor)
                is None
            ):
                return []
            report = await show_job(self._session, where)
            if not report.runs:
                return [_never_ran(where, task) for task in report.definition.tasks if task.name == name]
            number = str(report.runs[0].id)
        details = await self._details(number)
        if details is None:
            return []
        return await self._tasks(details, [task for task in details.tasks if task.name == name])

    async def _details(self, text: str) -> RunDetails | None:
        number = text.removeprefix("run:")
        if not (number.isascii() and number.isdecimal() and len(number) <= _LONGEST_NUMBER):
            return None
        try:
            return await show_run(self._session, RunId(int(number)))
        except NotFound:
            return None

    def _job(self, report: JobReport, held: Deed | None) -> Explanation:
        job, last = report.job, next((run for run in report.runs if run.ended_at is not None), None)

        def said(code: str, why: str, remedy: Remedy, until: datetime | None = None) -> Explanation:
            return Explanation(subject=f"job {job.name}", code=code, why=why, remedies=(remedy,), until=until)

        run_again = Remedy(action=Action.REQUEUE_JOB, target=(job.name,), reason="It then waits for its next start.")
        match job.status:
            case JobStatus.WITHHOLD:
                reason = (
                    "It starts as planned then." if job.mode is JobMode.TIMED else "It runs as soon as there is work."
                )
                return said(
                    "job.on-hold",
                    f"It is on hold{f', put there {held.told},' if held else ''} and does not start.",
                    Remedy(action=Action.RELEASE_JOB, target=(job.name,), reason=reason),
                )
            case JobStatus.EXECUTING | JobStatus.CANCELLING:
                run = next((run for run in report.runs if run.ended_at is None), None)
                which = "It runs now." if run is None else f"Its run {run.id} is under way since {at(run.started_at)}."
                return said(f"job.{job.status}", which, _NOTHING)
            case JobStatus.CANCELED:
                by = f" by {last.canceled_by}" if last and last.canceled_by else ""
                return said("job.canceled", f"It was cancelled{by}, and does not come back by itself.", run_again)
            case JobStatus.ERROR:
                return said("job.failed", f"{_last(last)} Nothing more is planned.", _look(last) or run_again)
            case JobStatus.ENDED:
                return said("job.ended", f"{_last(last)} Nothing more is planned.", run_again)
            case JobStatus.WAITING:
                pass
        if not self._running:
            start = Remedy(action=Action.START_GATEWAY, reason="It starts what is due.")
            return said("gateway.not-running", "It waits for its start, and no gateway runs on this store.", start)
        if job.mode is JobMode.EVENT:
            return said("job.waiting", "It runs as soon as there is work for it.", _NOTHING)
        planned = job.next_start
        when = f"It starts next at {at(planned)}."
        start_now = Remedy(action=Action.START_JOB, target=(job.name,), reason="It starts now instead.")
        if planned is not None and planned < self._now:
            return said(
                "job.due",
                f"It was to start at {at(planned)} and has not started: it waits for another job, or for a gateway.",
                start_now,
            )
        if job.last_outcome == "error":
            return said("job.last-failed", f"{_last(last)} {when}", _look(last) or start_now, planned)
        return said("job.waiting", when, start_now, planned)

    async def _tasks(self, details: RunDetails, tasks: Sequence[RunTask]) -> list[Explanation]:
        if not tasks:
            return []
        unserved = await nobody_takes(self._session, details)
        paused = {one.definition.name for one in await list_groups(self._store) if one.definition.concurrency < 0}
        return [self._task(details, task, unserved.get(task.name), paused) for task in tasks]

    def _task(
        self, details: RunDetails, task: RunTask, unserved: Unserved | None, paused: set[str]
    ) -> Explanation:  # fmt: skip
        run = details.run

        def said(code: str, why: str, remedy: Remedy, until: datetime | None = None) -> Explanation:
            subject = f"task {task.name} of run {run.id} (job {run.job})"
            return Explanation(subject=subject, code=f"task.{code}", why=why, remedies=(remedy,), until=until)

        match TaskStatus(task.status):
            case TaskStatus.WITHHOLD:
                return said(
                    "on-hold", "It is on hold and left out of the runs of its job.",
                    Remedy(action=Action.RELEASE_TASK, target=(run.job, task.name), reason="The next run takes it."),
                )  # fmt: skip
            case TaskStatus.WAITING:
                of = ", ".join(_condition(details, one) for one in task.conditions) or "nothing that is known"
                return said("waiting", f"It waits for {of}.", _NOTHING)
            case TaskStatus.EXECUTING | TaskStatus.CANCELLING:
                who = task.run_by or task.server or "somebody"
                return said(task.status, f"{who} works on it since {at(task.started_at)}.", _NOTHING)
            case TaskStatus.ENDED:
                return said("ended", f"It ended well at {at(task.ended_at)}.", _NOTHING)
            case TaskStatus.NOT_RUN:
                return said("not-run", "Its conditions did not come true, so it did not run.", _look(run) or _NOTHING)
            case TaskStatus.CANCELED:
                return said("canceled", f"It was cancelled at {at(task.ended_at)}.", _again(run))
            case TaskStatus.ERROR:
                return said(
                    "failed",
                    f"It failed at try {task.attempts}, at {at(task.ended_at)}: {quoted(task.error)}.",
                    _again(run),
                )
            case TaskStatus.READY:
                pass
        if task.location == "operator":
            return said(
                "waits-for-person", f"It waits for a person since {at(task.ready_at)}.",
                Remedy(action=Action.RUN_TASKS, reason="It asks, and runs the task."),
            )  # fmt: skip
        if not self._running:
            start = Remedy(action=Action.START_GATEWAY, reason="It takes what is ready.")
            return said("no-gateway", "It is ready, and no gateway runs on this store.", start)
        if task.ready_at is not None and task.ready_at > self._now:
            return said(
                "retried", f"It failed at try {task.attempts}: {quoted(task.error)}.",
                Remedy(action=Action.NOTHING, reason=f"It is tried again by itself at {at(task.ready_at)}."),
                task.ready_at,
            )  # fmt: skip
        if task.batch_group in paused:
            return said(
                "group-paused", f"It is ready, and its group {group_name(task.batch_group)} is paused.",
                Remedy(action=Action.RESUME_GROUP, target=(group_name(task.batch_group),), reason="The group goes on."),
            )  # fmt: skip
        if unserved is not None:
            opens = f" The first of them opens at {at(unserved.opens_at)}." if unserved.opens_at else ""
            return said(
                "no-server", f"It is ready, and no server takes tasks of its group {unserved.group} now.{opens}",
                Remedy(action=Action.LIST_SERVERS, reason="It says which server should take them."),
                unserved.opens_at,
            )  # fmt: skip
        return said("ready", f"It is ready since {at(task.ready_at)}.", _NOTHING)


def _never_ran(job: str, task: TaskDefinition) -> Explanation:
    start = Remedy(action=Action.START_JOB, target=(job,), reason="It runs with the job.")
    return Explanation(
        subject=f"task {task.name} of the job {job}", code="task.no-run",
        why="No run of its job is kept, so nothing is known of it.", remedies=(start,),
    )  # fmt: skip


def _run(details: RunDetails) -> Explanation:
    run = details.run

    def said(code: str, why: str, remedy: Remedy) -> Explanation:
        return Explanation(
            subject=f"run {run.id} of the job {run.job}", code=f"run.{code}", why=why, remedies=(remedy,)
        )

    counts = {status: sum(task.status == status for task in details.tasks) for status in TaskStatus}
    tasks = ", ".join(f"{number} {status}" for status, number in counts.items() if number)
    of = f" Its tasks: {tasks}." if tasks else ""
    started = f"It was started by {_CAUSES.get(run.cause, run.cause)} at {at(run.started_at)}"
    match JobStatus(run.status):
        case JobStatus.EXECUTING:
            return said("executing", f"{started} and is under way.{of}", _NOTHING)
        case JobStatus.CANCELLING:
            return said("cancelling", f"{started} and is being cancelled by {run.canceled_by}.{of}", _NOTHING)
        case JobStatus.ERROR:
            why = f"{started} and failed at {at(run.ended_at)}{_first_error(details)}.{of}"
            return said("failed", why, _again(run))
        case JobStatus.CANCELED:
            by = f" by {run.canceled_by}" if run.canceled_by else ""
            return said("canceled", f"{started} and was cancelled{by} at {at(run.ended_at)}.{of}", _again(run))
        case _:
            return said("ended", f"{started} and ended well at {at(run.ended_at)}.{of}", _NOTHING)


_CAUSES = {
    "schedule": "its plan", "operator": "an operator", "dependency": "another job", "event": "work that appeared"
}  # fmt: skip


def _first_error(details: RunDetails) -> str:
    failed = next((task for task in details.tasks if task.status == TaskStatus.ERROR), None)
    if failed is not None:
        return f", in the task {failed.name}: {quoted(failed.error)}"
    return f": {quoted(details.run.error)}" if details.run.error else ""


def _condition(details: RunDetails, text: str) -> str:
    """Say a condition such as `export ended_or_error` with how that task stands."""
    name, _, wanted = text.rpartition(" ")
    now = next((task.status for task in details.tasks if task.name == name), "gone")
    return f"{name} to be {wanted.replace('_', ' ')} (now {now})"


def _last(run: Run | None) -> str:
    if run is None:
        return "It has ended, and no run of it is kept."
    how = {"ended": "ended well", "error": "failed", "canceled": "was cancelled"}.get(run.status, run.status)
    return f"Its last run {run.id} {how} at {at(run.ended_at)}{': ' + quoted(run.error) if run.error else ''}."


def _look(run: Run | None) -> Remedy | None:
    if run is None:
        return None
    return Remedy(action=Action.SHOW_RUN, target=(str(run.id),), reason="It says what each task did.")


def _again(run: Run) -> Remedy:
    return Remedy(
        action=Action.RERUN, target=(str(run.id),), reason="Mend the cause first; what failed then runs again."
    )
