"""Commands on the tasks of jobs, and those that a person runs."""

import asyncio
import os
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.batch.rules.transitions import TaskAction
from gateway.batch.statements.runs_sql import RunTask
from gateway.batch.store.runs import read_run
from gateway.batch.store.tasks import ClaimedTask
from gateway.cli.commands import Answer, Commands, tell
from gateway.cli.common import COMMAND_LOGS, load_site, perform
from gateway.cli.options import DEFAULT_CONFIG, ConfigOption, JobArgument, JsonOption
from gateway.cli.render import Fields, Part, Rows, age, job_status, record
from gateway.config.definitions import group_name
from gateway.contracts.task import Runnable
from gateway.operations import tasks as operations
from gateway.operations.audit import recorded
from gateway.operations.principal import OperatorSession
from gateway.operations.tasks import TaskRow
from gateway.runtime.identity import refused_identity
from gateway.runtime.jobs import runnables_to_check, shipped_for_operators
from gateway.runtime.operator_task import run_operator_task
from gateway.runtime.runnables import PreparedRunnables
from gateway.workers.launcher import Launcher

app = Commands("Tasks of jobs, and those that wait for a person.")
_OF_PARAMETERS = ("name", "type", "default", "description")
TaskArgument = Annotated[str, typer.Argument(metavar="TASK", help="The name of a task of the job.")]


@app.query("list", "partition", "mine")
async def list_tasks(
    session: OperatorSession,
    job: Annotated[str | None, typer.Argument(metavar="JOB", help="The name of a job. Default: all.")] = None,
    waiting: Annotated[
        bool, typer.Option("--waiting", "-w", help="Only tasks that wait for a person and that you may run.")
    ] = False,
) -> Answer:
    """List the tasks of a job, or those that wait for a person."""
    if waiting:
        return await _waiting(session)
    found = await operations.list_tasks(session, job)
    columns = ("job", "task", "runs", "after", "group", "by", "retries", "time-out", "notes")
    rows = [
        (one.job, one.name, one.run, _after(one), one.group, one.location, one.retries or None,
         f"{one.timeout_seconds:g} s" if one.timeout_seconds else None, _notes(one))
        for one in found
    ]  # fmt: skip
    return Answer(
        {"tasks": found}, Rows(columns, rows, "There are no tasks here.", narrow=("task", "runs", "after", "notes"))
    )


@app.query("show", "partition")
async def show_task(session: OperatorSession, job: JobArgument, task: TaskArgument) -> Answer:
    """Show one task with its parameters, as written in the job."""
    found = await operations.show_task(session, job, task)
    one = found.task
    fields = Fields(
        [
            ("job", one.job), ("description", one.description), ("runs", one.run), ("after", _after(one)),
            ("group", one.group), ("company", one.company), ("run by", one.location), ("retries", one.retries),
            ("first retry after", f"{one.retry_seconds:g} s" if one.retry_seconds else None),
            ("time-out", f"{one.timeout_seconds:g} s" if one.timeout_seconds else None), ("notes", _notes(one)),
            *((f"with {name}", _shown(value)) for name, value in found.parameters.items()),
        ],
        title=one.name,
    )  # fmt: skip
    return Answer(found, fields)


@app.action("run", "partition")
async def run_tasks(
    session: OperatorSession,
    launcher: Launcher,
    config: Path,
    job: Annotated[str | None, typer.Argument(metavar="JOB", help="Only of this job.")] = None,
    task: Annotated[str | None, typer.Argument(metavar="TASK", help="Only this task.")] = None,
    group: Annotated[str | None, typer.Option("--group", "-g", help="Only of this group.")] = None,
    private: Annotated[bool, typer.Option("--private", help="Only your own private tasks.")] = False,
) -> Answer:
    """Run the tasks that wait for a person, on this machine and under your name, one after another.

    Exit code 1 when one of them has failed.
    """
    waiting = await operations.waiting_tasks(session, job=job, task=task, group=group, private=private)
    ran: list[tuple[ClaimedTask, RunTask]] = []
    if waiting:
        base = config.absolute().parent
        runnables = PreparedRunnables(
            shipped_for_operators(base, session.store, session.settings, launcher), environ=os.environ, base=base,
            launcher=launcher, logging=lambda: COMMAND_LOGS,
        )  # fmt: skip
        identity = partial(refused_identity, session.settings)
        named = ", ".join(f"{one.job}/{one.name}" for one in waiting)
        async with recorded(session, "task.run", named):
            async for done in run_operator_task(session.store, runnables, session.actor, waiting, identity=identity):
                tasks = (await read_run(session.store, done.run_id)).tasks
                ran.append((done, next(one for one in tasks if one.id == done.id)))
    rows = [(one.id, one.run_id, of.job, one.name, job_status(one.status), one.error) for of, one in ran]
    columns = ("number", "run", "job", "task", "status", "error")
    return Answer(
        {"tasks": [record(one, job=of.job) for of, one in ran]},
        Rows(columns, rows, "No task waits for you.", narrow=columns[2:]),
        failed=any(one.status == "error" for _, one in ran),
    )


@app.command("kinds")
def kinds(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="What a task runs, such as command or module:object.")
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """List what tasks can run. With a name: show the parameters that go below `with`."""
    found = perform(_kinds(config, name))
    if name is None:
        parts: list[Part] = [Rows(("run", "what it does"), [(one.name, one.description) for one in found])]
    else:
        parts = []
        for one in found:
            values = [[_written(parameter[key]) for key in _OF_PARAMETERS] for parameter in _parameters(one)]
            parts.append(Fields([("", one.description)], title=one.name))
            parts.append(Rows(("with", "type", "default", "meaning"), values, "It takes no parameters."))
    tell(Answer({"kinds": [_kind(one) for one in found]}, *parts), as_json=as_json)


@app.action("hold", "partition", "mine")
async def hold_task(session: OperatorSession, job: JobArgument, task: TaskArgument) -> Answer:
    """Leave a task out of the next runs of its job. Tasks that wait for it do not run either."""
    return await _change(session, job, task, TaskAction.HOLD)


@app.action("release", "partition", "mine")
async def release_task(session: OperatorSession, job: JobArgument, task: TaskArgument) -> Answer:
    """Let a task on hold take part in the next runs again."""
    return await _change(session, job, task, TaskAction.RELEASE)


async def _change(session: OperatorSession, job: str, task: str, action: TaskAction) -> Answer:
    found = await operations.change_task(session, job, task, action)
    row = (job, task, "held" if found.held else "released")
    return Answer({"task": found}, Rows(("job", "task", "result"), [row]))


async def _waiting(session: OperatorSession) -> Answer:
    found = await operations.waiting_tasks(session)
    rows = [
        (one.id, one.run_id, one.job, one.name, group_name(one.batch_group), "yes" if one.is_private else None,
         one.owner, age(one.ready_at, session.now))
        for one in found
    ]  # fmt: skip
    columns = ("number", "run", "job", "task", "group", "private", "owner", "waits since")
    narrow = ("number", "job", "task", "waits since")
    return Answer({"tasks": found}, Rows(columns, rows, "No task waits for you.", narrow=narrow))


async def _kinds(config: Path, name: str | None) -> list[Runnable]:
    await asyncio.to_thread(load_site, config)  # it says where modules of one's own are found
    known = runnables_to_check(config)
    return list(known.known()) if name is None else [known.find(name)]


def _kind(runnable: Runnable) -> dict[str, object]:
    return {
        "name": runnable.name, "description": runnable.description, "version": runnable.version,
        "cancellable": runnable.cancellable, "idempotent": runnable.idempotent,
        "allows_recurrence": runnable.allows_recurrence, "timeout_seconds": runnable.timeout_seconds,
        "parameters": _parameters(runnable),
    }  # fmt: skip


def _parameters(runnable: Runnable) -> list[dict[str, object]]:
    """Return the parameters as they stand in a file: name, kind of value, default (None: none), meaning."""
    schema = runnable.parameters.model_json_schema(by_alias=True)
    required = schema.get("required", [])
    return [
        {
            "name": name,
            "type": _type(field),
            "default": "required" if name in required else field.get("default"),
            "description": field.get("description", ""),
        }
        for name, field in schema.get("properties", {}).items()
    ]


def _written(value: object) -> object:
    """Return a value as it would stand in YAML."""
    return str(value).lower() if isinstance(value, bool) else value


def _type(field: dict[str, Any]) -> str:
    """Return what a value may be, in the words of JSON Schema."""
    options = [option for option in field.get("anyOf", [field]) if option.get("type") != "null"]
    words = [
        " | ".join(map(str, option["enum"])) if "enum" in option else option.get("type", "any") for option in options
    ]
    return " or ".join(dict.fromkeys(words))


def _after(task: TaskRow) -> str | None:
    joined = " and " if task.condition == "all" else " or "
    return joined.join(one.removesuffix(": ended").replace("_", " ") for one in task.after) or None


def _notes(task: TaskRow) -> list[str] | None:
    notes = [
        note
        for note, true in (
            ("held", task.held),
            ("private", task.private),
            ("failure ignored", task.ignore_failure),
            ("does not wait for its children", not task.wait_for_children),
        )
        if true
    ]
    return notes or None


def _shown(value: object) -> object:
    return value if isinstance(value, str | int | float | list) else str(value)
