"""Batch jobs as they are written: their tasks, when they start, what they wait for, who hears of them."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Final

from pydantic import BeforeValidator, Field, WithJsonSchema

from gateway.batch.rules.alert import AlertEvent, Channel
from gateway.batch.rules.job import Base, ConditionType, HistoryMode, JobMode, Location, Missed, Priority, Wanted
from gateway.config.models_base import Count, Flag, Name, Seconds, Section, Text
from gateway.config.models_batch import Moment, Zone, as_list, text_or_list
from gateway.config.models_recurrence import Recurrence

GATEWAY_JOB: Final = "gateway"
SERVICES: Final = ("receive", "inbound", "outbound", "send")
"""The tasks that move messages, in the order in which they depend on one another."""


class FirstStatus(StrEnum):
    """Status of a job when it is seen for the first time; later an operator decides."""

    WAITING = "waiting"  # it starts when it is due
    WITHHOLD = "withhold"  # parked


def _conditions(value: object) -> object:
    """Let `after: export` and `after: [export, mail]` mean that these must have ended well."""
    if isinstance(value, str):
        value = [value]
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        return dict.fromkeys(value, Wanted.ENDED)
    return value


_WANTED = {"type": "string", "enum": [wanted.value for wanted in Wanted]}
Conditions = Annotated[
    Mapping[Name, Wanted],
    BeforeValidator(_conditions),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string"},
                {"type": "array", "items": {"type": "string"}},
                {"type": "object", "additionalProperties": _WANTED},
            ]
        }
    ),
]


class Alerts(Section):
    """What one person wants to hear of a job, and how."""

    on: Annotated[
        tuple[AlertEvent, ...],
        BeforeValidator(as_list),
        Field(min_length=1),
        text_or_list({"type": "string", "enum": [event.value for event in AlertEvent]}),
    ] = Field(description="ended | error | finished | canceled | overrun | overdue | long_running, as a list.")
    by: Annotated[
        tuple[Channel, ...],
        BeforeValidator(as_list),
        Field(min_length=1),
        text_or_list({"type": "string", "enum": [channel.value for channel in Channel]}),
    ] = Field(default=(Channel.POPUP,), description="popup | email | webhook | command, as a list.")


class Task(Section):
    """One step of a job."""

    run: Text = Field(description="What it runs: receive | inbound | outbound | send | python | command | sql | …")
    parameters: Annotated[Mapping[str, object], WithJsonSchema({"type": "object"})] = Field(
        default_factory=dict, alias="with", description="Parameters of what it runs."
    )
    description: Text | None = Field(default=None, description="What it is for. Default: its name.")
    after: Conditions = Field(
        default_factory=dict,
        description="Tasks before it, each with the status it must reach: ended | error | ended_or_error.",
    )
    condition: ConditionType = Field(
        default=ConditionType.ALL, description="How many of `after` must come true: all | any."
    )
    ignore_failure: Flag = Field(default=False, description="Its failure does not make the job fail.")
    retries: Count = Field(default=0, ge=0, le=100, description="How often it is tried again before it has failed.")
    retry_seconds: Seconds = Field(
        default=0.0, ge=0, le=86_400, description="Seconds before the first retry; they double with each one."
    )
    timeout_seconds: Seconds | None = Field(
        default=None, gt=0, description="Seconds one attempt may take. Default: as long as it needs."
    )
    company: Text | None = Field(default=None, description="Company it works in. Default: that of the job.")
    group: Text | None = Field(default=None, description="Batch group. Default: that of the job.")
    location: Location = Field(
        default=Location.SERVER, description="server, or operator: a person runs it with `gateway tasks run`."
    )
    private: Flag = Field(default=False, description="Seen for the owner of the job only, and run for nobody else.")
    wait_for_children: Flag = Field(
        default=True, description="It has ended only when the tasks it made while running have ended."
    )
    hold: Flag = Field(
        default=False, description="Left out, with what waits for it, when it is first seen. Later an operator decides."
    )


class Job(Section):
    """A batch job: tasks with conditions, started by time, by other jobs or by work that appears."""

    description: Text | None = Field(default=None, description="What it is for. Default: its name.")
    active: Flag = Field(default=True, description="false: as if it were not listed.")
    mode: JobMode = Field(
        default=JobMode.TIMED,
        description="What starts it: timed, or event (work that appears; for the four services only).",
    )
    status: FirstStatus = Field(
        default=FirstStatus.WAITING,
        description="Status when it is first seen: waiting | withhold. Later an operator decides.",
    )
    tasks: Mapping[Name, Task] = Field(default_factory=dict, description="Its steps, by name.")
    start: Moment | None = Field(
        default=None, description="Earliest start, such as 2026-01-31 02:00. Default: when it is first seen."
    )
    zone: Zone | None = Field(
        default=None, description="Time zone of start and recurrence. Default: that of the owner's account, or UTC."
    )
    recurrence: Recurrence | None = Field(default=None, description="How it repeats. Default: it runs once.")
    base: Base = Field(
        default=Base.SCHEDULE,
        description="From where the next start is counted: schedule (no drift) | finish.",
    )
    missed: Missed = Field(
        default=Missed.COALESCE,
        description="What happens to missed starts: coalesce (one late run) | skip | all.",
    )
    tolerance_seconds: Seconds = Field(
        default=300.0, ge=0, description="missed: skip drops a start that is later than this."
    )
    after: Conditions = Field(
        default_factory=dict,
        description="Jobs before it, each with the outcome it must reach: ended | error | ended_or_error.",
    )
    condition: ConditionType = Field(
        default=ConditionType.ALL, description="How many of `after` must come true: all | any."
    )
    company: Text | None = Field(default=None, description="Company it works in. Default: `default_company`.")
    partition: Text | None = Field(default=None, description="Partition it belongs to. Default: `default_partition`.")
    owner: Text | None = Field(
        default=None, description="Account that owns it. Default: gateway, or who made it by `gateway jobs create`."
    )
    run_as: Text | None = Field(default=None, description="Account it runs as. Default: its owner.")
    private: Flag = Field(default=False, description="Only its owner may see and run it.")
    group: Text | None = Field(default=None, description="Batch group of tasks that name none. Default: default.")
    priority: Priority | None = Field(
        default=None, description="low | normal | high | critical | reserved. Default: that of the group."
    )
    active_period: Text | None = Field(default=None, description="Active period in which it may start. Default: any.")
    concurrency: Count = Field(default=0, ge=0, description="Tasks of it at once; 0: no limit of its own.")
    retries: Count | None = Field(
        default=None,
        ge=0,
        le=100,
        description="A number replaces the retries of all its tasks. Default: each task has its own.",
    )
    history: HistoryMode = Field(
        default=HistoryMode.ALWAYS, description="Which occurrences are kept: always | errors | never."
    )
    alerts: Mapping[Text, Alerts] = Field(default_factory=dict, description="Who hears of it, by account.")
    overdue_seconds: Seconds | None = Field(
        default=None, gt=0, description="Alert when it starts later than this after its planned start. Default: none."
    )
    long_running_seconds: Seconds | None = Field(
        default=None, gt=0, description="Alert when an occurrence takes longer than this. Default: none."
    )
    category: Text | None = Field(default=None, description="A word to find it by in monitoring.")
    critical: Flag = Field(default=False, description="Marked as critical in lists, alerts and monitoring.")
    max_messages: Count = Field(
        default=100_000, ge=1, description="mode event: messages after which history begins a new run; work goes on."
    )
    max_seconds: Seconds = Field(
        default=300.0, gt=0, description="mode event: seconds after which history begins a new run; work goes on."
    )


def with_gateway(value: object) -> object:
    """Add the job that moves messages where the file does not name it, and let work that appears start it."""
    if value is None:
        value = {}
    if not isinstance(value, dict):
        return value
    written = value.get(GATEWAY_JOB)
    if written is None:
        others = {name: job for name, job in value.items() if name != GATEWAY_JOB}
        return {GATEWAY_JOB: {"mode": JobMode.EVENT.value}, **others}
    if isinstance(written, dict) and "mode" not in written:
        return {**value, GATEWAY_JOB: {"mode": JobMode.EVENT.value, **written}}
    return value


Jobs = Annotated[Mapping[Name, Job], BeforeValidator(with_gateway)]
