"""Runs as people look at them: under way and in history, what was said, which files were made."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from gateway.batch.rules.capacity import next_change, threads_at
from gateway.batch.rules.job import JobStatus, TaskStatus
from gateway.batch.rules.throttle import Starts
from gateway.batch.statements.run_log_sql import RunFile
from gateway.batch.statements.runs_sql import LogLine
from gateway.batch.store import cancel, runs
from gateway.batch.store.jobs import read_job_by_id
from gateway.batch.store.run_log import list_run_files, read_run_file
from gateway.batch.store.runs import RunDetails
from gateway.batch.store.servers import list_servers
from gateway.batch.store.starting import Repeat, start_now
from gateway.batch.store.tasks import read_set_aside
from gateway.config.definitions import group_name
from gateway.config.masks import without_passwords
from gateway.kernel.errors import GatewayError, IllegalTransition, JobRefused, NoSuchJob
from gateway.kernel.ids import JobId, RunId
from gateway.kernel.remedy import Action, do
from gateway.kernel.window import beginning, end
from gateway.operations.audit import recorded
from gateway.operations.jobs import find_job
from gateway.operations.principal import OperatorSession
from gateway.operations.reads.history import By, Page, Search, search_runs
from gateway.operations.references import NotFound

_PAGE = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Unserved:
    """The group of a ready task that no server takes tasks of now.

    `opens_at`: the first of those that run and serve it takes tasks again then, by its hours; None: none runs.
    """

    group: str
    opens_at: datetime | None


class NothingToFind(GatewayError):
    """A text that could stand anywhere."""

    code = "search.empty"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a person asks the history for, as it was typed; None does not narrow. See `reads.history.Search`."""

    text: Sequence[str] = ()
    job: str | None = None
    by: By = By.STARTED
    since: str | None = None
    until: str | None = None
    statuses: Sequence[JobStatus] | None = None
    user: str | None = None
    server: str | None = None
    task_status: TaskStatus | None = None
    file: str | None = None


async def search(session: OperatorSession, asked: Asked, *, before: int | None = None, limit: int = 50) -> Page:
    """Return a page of runs of the partition, the newest first; *before* is the number to go on from.

    Raises: NotFound; NoMoment; NothingToFind when the text has neither letters nor digits.
    """
    pieces = [piece for text in asked.text for piece in text.split()]
    if asked.text and not any(character.isalnum() for piece in pieces for character in piece):
        raise NothingToFind("a text to search for needs a letter or a digit")
    wanted = Search(
        partition=session.partition,
        job=None if asked.job is None else (await find_job(session, asked.job)).id,
        text=pieces,
        by=asked.by,
        since=None if asked.since is None else beginning(asked.since, now=session.now, zone=session.zone),
        until=None if asked.until is None else end(asked.until, now=session.now, zone=session.zone),
        statuses=asked.statuses,
        user=asked.user,
        server=asked.server,
        task_status=asked.task_status,
        file=asked.file,
        owner=session.actor if session.principal.mine else None,
    )
    try:
        return await search_runs(session.store, wanted, before=None if before is None else RunId(before), limit=limit)
    except NoSuchJob as error:
        raise NotFound(error.message) from None


async def show_run(session: OperatorSession, number: int) -> RunDetails:
    """Return a run with its tasks and attempts, passwords in addresses masked. Raises: NotFound."""
    try:
        found = await runs.read_run(session.store, RunId(number))
    except NoSuchJob as error:
        raise NotFound(error.message) from None
    if found.run.partition_key != session.partition:
        raise NotFound(f"there is no run {number} in the partition {session.partition}")
    session.principal.check_owner(f"the run {number}", found.run.created_by)
    return replace(found, tasks=[task._replace(parameters=_shown(task.parameters)) for task in found.tasks])


def _shown(parameters: Mapping[str, object]) -> Mapping[str, object]:
    return {name: without_passwords(value) for name, value in parameters.items()}


async def nobody_takes(session: OperatorSession, found: RunDetails) -> dict[str, Unserved]:
    """Return the ready tasks whose group no server takes tasks of now, each with what it waits for."""
    ready = {one.name: one.batch_group for one in found.tasks if one.status == "ready" and one.location == "server"}
    if not ready:
        return {}
    running = [one for one in await list_servers(session.store) if one.incarnation is not None]
    taking = [one for one in running if one.definition.is_batch and not one.draining]
    served = {group for one in taking if threads_at(one.definition, session.now) for group in one.takes}
    opening = [(one.takes, next_change(one.definition, session.now)) for one in taking]
    return {
        name: Unserved(
            group=group_name(group),
            opens_at=min((moment for takes, moment in opening if group in takes and moment is not None), default=None),
        )
        for name, group in ready.items()
        if group not in served
    }


async def set_aside(session: OperatorSession, found: RunDetails) -> dict[str, Starts]:
    """Return what ready tasks would run that was started too often: it waits until others have been taken."""
    wanted = {one.handler for one in found.tasks if one.status == "ready" and one.location == "server"}
    aside = await read_set_aside(session.store, session.now) if wanted else {}
    return {handler: aside[handler] for handler in sorted(wanted & set(aside))}


async def log_lines(session: OperatorSession, number: int, after: int = 0) -> Sequence[LogLine]:
    """Return what the tasks of a run have said since the line *after*."""
    lines: list[LogLine] = []
    while True:
        page = await runs.read_log(session.store, RunId(number), after=lines[-1].id if lines else after, limit=_PAGE)
        lines += page
        if len(page) < _PAGE:
            return lines


async def follow_log(session: OperatorSession, number: int, *, poll_seconds: float) -> AsyncIterator[Sequence[LogLine]]:
    """Yield what is said, look by look, until the run has ended."""
    last = 0
    while True:
        ended = (await runs.read_run(session.store, RunId(number))).run.ended_at is not None
        lines = await log_lines(session, number, last)
        last = lines[-1].id if lines else last
        yield lines
        if ended:
            return
        await asyncio.sleep(poll_seconds)


async def list_files(session: OperatorSession, number: int) -> list[RunFile]:
    """Return the files that the tasks of a run made. Raises: NotFound."""
    await show_run(session, number)
    return await list_run_files(session.store, RunId(number))


async def read_file(session: OperatorSession, number: int, name: str) -> bytes:
    """Return the content of a file of a run; of several with one name that of the last task.

    Raises: NotFound; FileNotKept when it was changed in the database.
    """
    files = await list_files(session, number)
    for one in reversed(files):
        if one.name == name and (found := await read_run_file(session.store, one.id)) is not None:
            return found[1]
    names = ", ".join(dict.fromkeys(one.name for one in files)) or "none"
    raise NotFound(f"the run {number} has no file {name!a}; it has: {names}")


async def cancel_run(session: OperatorSession, number: int) -> JobStatus:
    """Cancel one run: nothing more of it starts, what runs may finish; a recurring job comes back, an entry does not.

    Raises: NotFound; IllegalTransition when it has ended.
    """
    async with recorded(session, "run.cancel", str(number)):
        run = (await show_run(session, number)).run
        if run.entry_id is not None:
            await cancel.cancel_run(session.store, run.id, by=session.actor, now=session.now)
            return JobStatus((await show_run(session, number)).run.status)
        return await cancel.cancel_job(
            session.store, await _under_way(session, number), by=session.actor, now=session.now, only_this=True
        )


async def rerun(session: OperatorSession, number: int, *, first: str | None = None, failed: bool = False) -> RunId:
    """Start the job of a run again: whole, from the task *first* on, or what *failed* and all that comes after it.

    The other tasks stand as they were in that run; the job counts as it is defined now. Returns the new run.
    Raises: NotFound; IllegalTransition while the run, or another of its job, is under way; JobRefused when nothing has
    failed, a task is unknown, the job is gone, or history has not kept all tasks of the run.
    """
    async with recorded(session, "run.rerun", str(number)):
        run = (await show_run(session, number)).run
        if run.ended_at is None:
            raise IllegalTransition(f"the run {number} of {run.job} is under way: wait until it has ended", run=number)
        if run.entry_id is not None:
            raise JobRefused(
                f"the run {number} is of {run.job} of the job queue: it is the entry that runs again",
                run=number,
            ).remedied(
                do(Action.RESTART_ENTRY, run.entry_id, then="It runs again after a failure."),
                do(Action.TRY_ENTRY, run.entry_id, then="It runs at any time."),
            )
        if run.tasks_left_out and (first is not None or failed):
            raise JobRefused(
                f"history has not kept all tasks of the run {number}, so that it can only be repeated whole", run=number
            )
        job = await find_job(session, run.job)
        repeat = Repeat(run=RunId(number), first=first, failed=failed)
        return await start_now(session.store, job.id, by=session.actor, now=session.now, repeat=repeat)


async def abort_run(session: OperatorSession, number: int) -> JobStatus:
    """Do not wait for what runs on after a cancel. Raises: NotFound, IllegalTransition."""
    async with recorded(session, "run.abort", str(number)):
        return await cancel.abort_job(
            session.store, await _under_way(session, number), by=session.actor, now=session.now
        )


async def _under_way(session: OperatorSession, number: int) -> JobId:
    run = (await show_run(session, number)).run
    if run.ended_at is not None or run.job_id is None:
        raise IllegalTransition(f"the run {number} of {run.job} has ended: {run.status}", run=number)
    job = await read_job_by_id(session.store, run.job_id)
    if job.run_id != number:
        raise IllegalTransition(f"the run {number} of {run.job} is not under way any more", run=number)
    return run.job_id
