"""Around the jobs: groups, servers with their hours, active periods, accounts."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, time
from enum import StrEnum
from functools import cache
from typing import Annotated, Literal
from zoneinfo import available_timezones

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from gateway.batch.rules.job import Priority
from gateway.batch.rules.throttle import PER_MINUTE
from gateway.config.models_base import Count, Flag, Section, Text, reread
from gateway.config.suggest import did_you_mean
from gateway.kernel.errors import JobRefused
from gateway.kernel.local_time import zone_named

FIRST_YEAR, LAST_YEAR = 1970, 2999
"""Years in which a job may start for the first time: arithmetic with days never leaves the calendar."""
DEFAULT_GROUP = "default"
"""How the configuration writes the group of everything that names none."""


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


def as_list(value: object) -> object:
    """Let a single word stand for a list of it."""
    return [value] if isinstance(value, str) else value


def text_or_list(words: Mapping[str, object]) -> WithJsonSchema:
    """Describe a list that may also be written as a single word."""
    return WithJsonSchema({"anyOf": [words, {"type": "array", "items": words}]})


Zone = Annotated[Text, AfterValidator(_zone)]
Moment = Annotated[
    datetime,
    BeforeValidator(_moment),
    WithJsonSchema({"type": "string", "pattern": r"^\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d)?(Z|[+-]\d\d:\d\d)?)?$"}),
]
TimeOfDay = Annotated[
    time, BeforeValidator(_time_of_day), WithJsonSchema({"type": "string", "pattern": r"^\d\d:\d\d(:\d\d)?$"})
]
Weekdays = Annotated[
    tuple[Weekday, ...],
    BeforeValidator(as_list),
    text_or_list({"type": "string", "enum": [day.value for day in Weekday]}),
]


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
