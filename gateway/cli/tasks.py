"""Commands on the tasks of jobs, and those that a person runs."""

import asyncio
import os
from contextlib import closing
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.batch.rules.transitions import TaskAction
from gateway.batch.store.runs import OperatorTask, RunTask, read_run
from gateway.batch.store.tasks import ClaimedTask
from gateway.cli.common import (
    COMMAND_LOGS,
    DEFAULT_CONFIG,
    KNOWN_ERROR,
    ConfigOption,
    JsonOption,
    find_handlers_beside,
    load_site,
    perform,
)
from gateway.cli.desk import JobArgument, MineOption, PartitionOption, ReasonOption, open_session
from gateway.cli.render import age, job_status, plain, print_fields, print_json, print_rows
from gateway.config.definitions import group_name
from gateway.contracts.task import Runnable
from gateway.operations import tasks as operations
from gateway.operations.audit import recorded
from gateway.operations.tasks import TaskReport, TaskRow
from gateway.runtime.identity import refused_identity
from gateway.runtime.jobs import runnables_to_check, shipped_by_hand
from gateway.runtime.operator_task import run_operator_task
from gateway.runtime.roles import ROLES
from gateway.runtime.runnables import PreparedRunnables
from gateway.workers.launcher import Launcher

app = typer.Typer(no_args_is_help=True, help="Tasks of jobs, and those that wait for a person.")
_OF_PARAMETERS = ("name", "type", "default", "description")
TaskArgument = Annotated[str, typer.Argument(metavar="TASK", help="The name of a task of the job.")]


@app.command("list")
def list_tasks(
    job: Annotated[str | None, typer.Argument(metavar="JOB", help="The name of a job. Default: all.")] = None,
    waiting: Annotated[
        bool, typer.Option("--waiting", "-w", help="Only tasks that wait for a person and that you may run.")
    ] = False,
    partition: PartitionOption = None,
    mine: MineOption = False,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """List the tasks of a job, or those that wait for a person."""
    if waiting:
        _list_waiting(config, partition, as_json=as_json)
        return

    async def work() -> list[TaskRow]:
        async with open_session(config, partition, mine) as desk:
            return await operations.list_tasks(desk.store, desk.who, job)

    found = perform(work())
    if as_json:
        print_json({"tasks": found})
        return
    columns = ("job", "task", "runs", "after", "group", "by", "retries", "time-out", "notes")
    rows = [
        (one.job, one.name, one.run, _after(one), one.group, one.location, one.retries or None,
         f"{one.timeout_seconds:g} s" if one.timeout_seconds else None, _notes(one))
        for one in found
    ]  # fmt: skip
    print_rows(columns, rows, nothing="There are no tasks here.", narrow=("task", "runs", "after", "notes"))


@app.command("show")
def show_task(
    job: JobArgument,
    task: TaskArgument,
    partition: PartitionOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Show one task with its parameters, as written in the job."""

    async def work() -> TaskReport:
        async with open_session(config, partition) as desk:
            return await operations.show_task(desk.store, desk.who, job, task)

    found = perform(work())
    if as_json:
        print_json(found)
        return
    one = found.task
    print_fields(
        [
            ("job", one.job), ("description", one.description), ("runs", one.run), ("after", _after(one)),
            ("group", one.group), ("company", one.company), ("run by", one.location), ("retries", one.retries),
            ("first retry after", f"{one.retry_seconds:g} s" if one.retry_seconds else None),
            ("time-out", f"{one.timeout_seconds:g} s" if one.timeout_seconds else None), ("notes", _notes(one)),
            *((f"with {name}", _shown(value)) for name, value in found.parameters.items()),
        ],
        title=one.name,
    )  # fmt: skip


@app.command("run")
def run_tasks(
    job: Annotated[str | None, typer.Argument(metavar="JOB", help="Only of this job.")] = None,
    task: Annotated[str | None, typer.Argument(metavar="TASK", help="Only this task.")] = None,
    group: Annotated[str | None, typer.Option("--group", "-g", help="Only of this group.")] = None,
    private: Annotated[bool, typer.Option("--private", help="Only your own private tasks.")] = False,
    partition: PartitionOption = None,
    reason: ReasonOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Run the tasks that wait for a person, on this machine and under your name, one after another.

    Exit code 1 when one of them has failed.
    """
    find_handlers_beside(config)
    launcher = Launcher.start(ROLES)  # now: this process has no event loop yet, no thread, no connection

    async def work() -> list[tuple[ClaimedTask, RunTask]]:
        with closing(launcher):
            return await _run(launcher, config, partition, job, task, group, private=private, reason=reason)

    ran = perform(work())
    if as_json:
        print_json({"tasks": [_plain(one) for one in ran]})
    else:
        rows = [(one.id, one.run_id, of.job, one.name, job_status(one.status), one.error) for of, one in ran]
        columns = ("number", "run", "job", "task", "status", "error")
        print_rows(columns, rows, nothing="Nothing waits for a person like you.", narrow=columns[2:])
    if any(one.status == "error" for _, one in ran):
        raise typer.Exit(KNOWN_ERROR)


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
    if as_json:
        print_json({"kinds": [_kind(one) for one in found]})
    elif name is None:
        rows = [(one.name, one.description) for one in found]
        print_rows(("run", "what it does"), rows, nothing="")
    else:
        for one in found:
            print_fields([("", one.description)], title=one.name)
            values = [[_written(parameter[key]) for key in _OF_PARAMETERS] for parameter in _parameters(one)]
            print_rows(("with", "type", "default", "meaning"), values, nothing="It takes no parameters.")


@app.command("hold")
def hold_task(
    job: JobArgument,
    task: TaskArgument,
    partition: PartitionOption = None,
    mine: MineOption = False,
    reason: ReasonOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Leave a task out of the next runs of its job. Tasks that wait for it do not run either."""
    _change(config, partition, mine, job, task, TaskAction.HOLD, reason=reason, as_json=as_json)


@app.command("release")
def release_task(
    job: JobArgument,
    task: TaskArgument,
    partition: PartitionOption = None,
    mine: MineOption = False,
    reason: ReasonOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Let a task on hold take part in the next runs again."""
    _change(config, partition, mine, job, task, TaskAction.RELEASE, reason=reason, as_json=as_json)


def _change(
    config: ConfigOption,
    partition: str | None,
    mine: bool,
    job: str,
    task: str,
    action: TaskAction,
    *,
    reason: str | None,
    as_json: bool,
) -> None:
    async def work() -> TaskRow:
        async with open_session(config, partition, mine, reason) as desk:
            return await operations.change_task(desk.store, desk.who, job, task, action, now=desk.now)

    found = perform(work())
    if as_json:
        print_json({"task": found})
    else:
        print_rows(("job", "task", "result"), [(job, task, "held" if found.held else "released")], nothing="")


def _list_waiting(config: ConfigOption, partition: str | None, *, as_json: bool) -> None:
    async def work() -> tuple[list[OperatorTask], datetime]:
        async with open_session(config, partition) as desk:
            return await operations.waiting_tasks(desk.store, desk.who), desk.now

    found, now = perform(work())
    if as_json:
        print_json({"tasks": found})
        return
    rows = [
        (one.id, one.run_id, one.job, one.name, group_name(one.batch_group), "yes" if one.is_private else None,
         one.owner, age(one.ready_at, now))
        for one in found
    ]  # fmt: skip
    columns = ("number", "run", "job", "task", "group", "private", "owner", "waits since")
    narrow = ("number", "job", "task", "waits since")
    print_rows(columns, rows, nothing="Nothing waits for a person.", narrow=narrow)


async def _run(
    launcher: Launcher,
    config: Path,
    partition: str | None,
    job: str | None,
    task: str | None,
    group: str | None,
    *,
    private: bool,
    reason: str | None,
) -> list[tuple[ClaimedTask, RunTask]]:
    async with open_session(config, partition, reason=reason) as desk:
        waiting = await operations.waiting_tasks(desk.store, desk.who, job=job, task=task, group=group, private=private)
        if not waiting:
            return []
        base = config.absolute().parent
        runnables = PreparedRunnables(
            shipped_by_hand(base, desk.store, desk.settings, launcher), environ=os.environ, base=base,
            launcher=launcher, logging=lambda: COMMAND_LOGS,
        )  # fmt: skip
        identity = partial(refused_identity, desk.settings)
        ran = []
        named = ", ".join(f"{one.job}/{one.name}" for one in waiting)
        async with recorded(desk.store, desk.who, "task.run", named):
            async for done in run_operator_task(desk.store, runnables, desk.who.name, waiting, identity=identity):
                tasks = (await read_run(desk.store, done.run_id)).tasks
                ran.append((done, next(one for one in tasks if one.id == done.id)))
        return ran


async def _kinds(config: ConfigOption, name: str | None) -> list[Runnable]:
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


def _plain(ran: tuple[ClaimedTask, RunTask]) -> dict[str, object]:
    record = plain(ran[1])
    assert isinstance(record, dict)
    return {**record, "job": ran[0].job}


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
