"""Batch jobs as they are written: tasks, when they start and repeat, and around them groups, servers and accounts."""

import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, time
from enum import StrEnum
from functools import cache
from typing import Annotated, Final, Literal, Self
from zoneinfo import available_timezones

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from gateway.batch.rules.alert import AlertEvent, Channel
from gateway.batch.rules.job import Base, ConditionType, HistoryMode, JobMode, Location, Missed, Priority, Wanted
from gateway.batch.rules.recurrence import MONTHS, WEEKDAYS, Kind, Place, RecurrenceError, Unit, from_dict
from gateway.batch.rules.throttle import PER_MINUTE
from gateway.config.models_base import Count, Date, Flag, Listed, Name, RunsSomething, Seconds, Section, Text, reread
from gateway.config.suggest import did_you_mean
from gateway.kernel.errors import JobRefused
from gateway.kernel.local_time import zone_named

GATEWAY_JOB: Final = "gateway"
SERVICES: Final = ("receive", "inbound", "outbound", "send")
"""The tasks that move messages, in the order in which they depend on one another."""
FIRST_YEAR, LAST_YEAR = 1970, 2999
"""Years in which a job may start for the first time: arithmetic with days never leaves the calendar."""
DEFAULT_GROUP = "default"
"""How the configuration writes the group of everything that names none."""
_ANY_START: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""For asking whether a rule makes sense whenever it starts."""
_EVERY = re.compile(r"(?:(?P<count>[1-9][0-9]{0,5}) )?(?P<unit>[a-z]+?)s?")
_UNITS: Final = tuple(unit.removesuffix("s") for unit in Unit)
_MONTHS: Final = tuple(month.lower() for month in MONTHS)
_DAYS: Final = (*WEEKDAYS, *(f"{place} {kind}" for place in Place for kind in Kind))


class Weekday(StrEnum):
    """A day of the week; `number` counts from Monday, which is 0."""

    MONDAY = "monday"
    TUESDAY = "tuesday"
    WEDNESDAY = "wednesday"
    THURSDAY = "thursday"
    FRIDAY = "friday"
    SATURDAY = "saturday"
    SUNDAY = "sunday"

    @property
    def number(self) -> int:
        """Return the place of the day in the week."""
        return list(Weekday).index(self)


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _zone(value: str) -> str:
    try:
        zone_named(value)
    except JobRefused:
        hint = did_you_mean(value, _zones()) or "; write a name such as Europe/Copenhagen or UTC"
        raise ValueError(f"there is no time zone {value!a}{hint}") from None
    return value


def _moment(value: object) -> object:
    """Read a date with or without a time of day; one without an offset is meant in the zone that stands beside it."""
    found = value if isinstance(value, datetime) else None
    with suppress(ValueError):
        found = datetime.fromisoformat(value) if isinstance(value, str) else found
    if found is None:
        raise ValueError("must be a date, or a date and a time such as 2026-01-31 02:00, in the zone of the job")
    if not FIRST_YEAR <= found.year <= LAST_YEAR:
        raise ValueError(f"must be a moment of the years {FIRST_YEAR} to {LAST_YEAR}")
    return found


def _time_of_day(value: object) -> object:
    """Read `18:00`, or `24:00` for midnight at the end of a day."""
    if isinstance(value, time):
        return value
    try:
        found = time.fromisoformat("00:00" if value == "24:00" else value) if isinstance(value, str) else None
    except ValueError:
        found = None
    if found is None or found.tzinfo is not None:
        raise ValueError("must be a time of day such as 18:00")
    return found


Zone = Annotated[Text, AfterValidator(_zone)]
Moment = Annotated[
    datetime,
    BeforeValidator(_moment),
    WithJsonSchema({"type": "string", "pattern": r"^\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d)?(Z|[+-]\d\d:\d\d)?)?$"}),
]
TimeOfDay = Annotated[
    time, BeforeValidator(_time_of_day), WithJsonSchema({"type": "string", "pattern": r"^\d\d:\d\d(:\d\d)?$"})
]
Weekdays = Listed[Weekday]


class Group(Section):
    """A batch group: says which servers may run a task, and how soon."""

    description: Text | None = Field(default=None, description="What the group is for. Default: its name.")
    priority: Priority = Field(
        default=Priority.NORMAL,
        description="How often its tasks are picked, relative to others: low | normal | high | critical | reserved.",
    )
    concurrency: Count = Field(
        default=0, ge=-1, description="Tasks of each single job at once; 0: no limit; -1: the group is paused."
    )


class Hours(Section):
    """Threads of a server for a part of the day."""

    threads: Count = Field(ge=0, le=1000, description="Tasks that may run at the same time.")
    start: TimeOfDay = Field(alias="from", description="Begin, such as 18:00.")
    end: TimeOfDay = Field(alias="to", description="End, not included; before the begin it is the next day's.")
    zone: Zone = Field(default="UTC", description="Time zone of the two times.")


class Server(Section):
    """A gateway process that runs tasks, by its name."""

    groups: Annotated[tuple[Text, ...], Field(min_length=1)] | None = Field(
        default=None, description="Groups whose tasks it runs, and no others. Default: the group `default`."
    )
    batch: Flag = Field(default=True, description="Whether it runs tasks at all.")
    threads: Count = Field(
        default=8, ge=1, le=1000, description="Tasks that may run at the same time, where no hours are given."
    )
    reserved_percent: Annotated[Literal[0, 10, 15, 25], BeforeValidator(reread)] = Field(
        default=0, description="Part of the threads kept free for priority reserved: 0 | 10 | 15 | 25."
    )
    hours: tuple[Hours, ...] = Field(
        default=(), description="Threads by time of day; outside of all rows nothing is started."
    )


PerMinute = Annotated[Count, Field(ge=0, le=100_000)]


class Throttling(Section):
    """What is started too often waits for a minute as long as others want to start."""

    per_minute: PerMinute = Field(
        default=PER_MINUTE,
        description="Starts within a minute after which a kind of task is deferred for a minute; 0: never.",
    )
    runnables: Mapping[Text, PerMinute] = Field(
        default_factory=dict, description="Numbers of their own for single words that stand in `run`; 0: never."
    )


class ActivePeriod(Section):
    """A part of the day, or of some days, in which jobs that name it may start."""

    start: TimeOfDay = Field(alias="from", description="Begin, such as 18:00.")
    end: TimeOfDay = Field(alias="to", description="End, not included; before the begin it is the next day's.")
    on: Weekdays = Field(default=(), description="Weekdays on which the period opens. Default: all.")
    zone: Zone = Field(default="UTC", description="Time zone of the two times.")


class Account(Section):
    """A person or a service that owns jobs, runs tasks and hears of them."""

    email: Text | None = Field(default=None, description="Address for alerts.")
    zone: Zone = Field(default="UTC", description="Time zone of the account: jobs it owns are read in it.")
    enabled: Flag = Field(default=True, description="Runs of an account that is switched off fail.")
    partitions: tuple[Text, ...] | None = Field(
        default=None, description="Partitions it may see and work in. Default: all."
    )
    companies: tuple[Text, ...] | None = Field(default=None, description="Companies it may work in. Default: all.")


def _every(value: str) -> str:
    match = _EVERY.fullmatch(value)
    if match is None or match["unit"] not in _UNITS:
        word = match["unit"] if match else ""
        hint = did_you_mean(word, _UNITS) or "; write a number and a unit: minutes, hours, days, weeks, months or years"
        raise ValueError(f"{value!a} is no interval such as 15 minutes or 2 weeks{hint}")
    return value


def _on(value: tuple[str, ...]) -> tuple[str, ...]:
    for words in value:
        if words not in _DAYS:
            hint = did_you_mean(words, _DAYS) or "; write a weekday, or a place and a day such as last friday"
            raise ValueError(f"{words!a} is no day{hint}")
    return value


def _month(value: object) -> object:
    """Return the name of a month, also for its number."""
    value = reread(value)
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= len(_MONTHS):
        return _MONTHS[value - 1]
    if value is None or value in _MONTHS:
        return value
    hint = did_you_mean(value, _MONTHS) if isinstance(value, str) else ""
    raise ValueError(f"must be the name of a month, or its number from 1 to 12{hint}")


def _day(value: object) -> object:
    value = reread(value)
    if value in (None, "last") or (isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 31):
        return value
    raise ValueError("must be a day of the month from 1 to 31, or last")


class Recurrence(Section):
    """When a job starts again. One of every, cron and rrule says how."""

    every: Annotated[Text, AfterValidator(_every)] | None = Field(
        default=None, description="A number and a unit from minutes to years, such as 15 minutes, day or 2 weeks."
    )
    on: Annotated[Listed[Text], AfterValidator(_on)] = Field(
        default=(), description="Weeks: weekdays. Months and years: a day such as last friday or first weekday."
    )
    day: Annotated[int | Literal["last"] | None, BeforeValidator(_day)] = Field(
        default=None, description="Months and years: day of the month, 1 to 31, or last. Default: that of the start."
    )
    month: Annotated[Text | None, BeforeValidator(_month)] = Field(
        default=None, description="Years: the month. Default: that of the start."
    )
    cron: Text | None = Field(default=None, description="Minute, hour, day, month, weekday; such as 0 2 * * 1-5.")
    rrule: Text | None = Field(default=None, description="RRULE of RFC 5545, such as FREQ=MONTHLY;BYMONTHDAY=-1.")
    end_after: Count | None = Field(default=None, ge=1, description="Occurrences after which it ends. Default: never.")
    end_by: Date | None = Field(
        default=None, description="Last day on which it may start, in the zone of the job. Default: none."
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        try:
            from_dict(self.plain(), start=_ANY_START)
        except RecurrenceError as error:
            raise ValueError(error.message.removeprefix("recurrence: ").rstrip(".")) from None
        return self

    def plain(self) -> dict[str, object]:
        """Return what is said, as `gateway.batch.rules.recurrence.from_dict` takes it."""
        return self.model_dump(mode="json", exclude_defaults=True)


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

    on: Annotated[Listed[AlertEvent], Field(min_length=1)] = Field(
        description="ended | error | finished | canceled | overrun | overdue | long_running, as a list."
    )
    by: Annotated[Listed[Channel], Field(min_length=1)] = Field(
        default=(Channel.POPUP,), description="popup | email | webhook | command, as a list."
    )


class Task(RunsSomething):
    """One step of a job."""

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
