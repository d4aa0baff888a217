"""Job queues as they are written: categories that exclude, queues that are started and stopped, entries that run."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from gateway.batch.rules.definition import (
    LEAST_INACTIVITY_MINUTES,
    MOST_ATTEMPTS,
    MOST_MINUTES,
    MOST_PRIORITY,
    MOST_RERUN_DELAY_SECONDS,
    NORMAL_PRIORITY,
    LimitsDefinition,
)
from gateway.batch.rules.formula import check_formula
from gateway.batch.rules.job import Location, ReportOutput
from gateway.config.models_base import Count, Flag, Listed, Name, RunsSomething, Seconds, Section, Text, reread
from gateway.config.models_jobs import Moment, TimeOfDay, Weekdays, Zone
from gateway.kernel.errors import EntryRefused

PRIORITIES: Final[Mapping[str, int]] = {"high": 500, "normal": NORMAL_PRIORITY, "low": 1500}
"""Words for priorities within a category; the lower number goes first."""


class EntryFirstStatus(StrEnum):
    """Status of an entry when it is seen for the first time; later an operator decides."""

    READY = "ready"  # it starts when it is due
    ON_HOLD = "on_hold"


def _priority(value: object) -> object:
    value = reread(value)
    if isinstance(value, str) and value in PRIORITIES:
        return PRIORITIES[value]
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_PRIORITY:
        return value
    raise ValueError("must be high, normal, low, or a number from 0 on; the lower goes first")


def _formula(value: str) -> str:
    try:
        check_formula(value)
    except EntryRefused as error:
        raise ValueError(error.message.rstrip(".")) from None
    return value


def _inactivity(value: int) -> int:
    if 0 < value < LEAST_INACTIVITY_MINUTES:
        raise ValueError(f"must be 0, or at least {LEAST_INACTIVITY_MINUTES}")
    return value


class EntryCategory(Section):
    """Entries that must not run beside one another."""

    description: Text | None = Field(default=None, description="What the category is for. Default: its name.")
    width: Count = Field(default=1, ge=1, le=1000, description="Entries of it that may be in process at once.")


class JobQueue(Section):
    """A container of entries that is started and stopped as a whole."""

    description: Text | None = Field(default=None, description="What the queue is for. Default: its name.")
    categories: Annotated[Listed[Text], Field(min_length=1)] | None = Field(
        default=None, description="Categories whose entries it takes. Default: all entries."
    )
    group: Text | None = Field(default=None, description="Batch group whose servers run them. Default: default.")
    start_automatically: Flag = Field(
        default=True, description="false: nothing of it runs until somebody starts it with `gateway queues start`."
    )


class QueueEntry(RunsSomething):
    """A job queue entry: what runs, and when."""

    status: EntryFirstStatus = Field(
        default=EntryFirstStatus.READY, description="Status when it is first seen: ready | on_hold."
    )
    user: Text | None = Field(
        default=None, description="Account it runs as, until somebody sets it to ready. Default: gateway."
    )
    company: Text | None = Field(default=None, description="Company it works in. Default: `default_company`.")
    partition: Text | None = Field(default=None, description="Partition it belongs to. Default: `default_partition`.")
    record: Text | None = Field(
        default=None, description="What it is about, such as SalesOrder/SO-1. There is one entry about it at a time."
    )
    category: Text | None = Field(default=None, description="Category: entries of it wait for one another.")
    priority: Annotated[
        int,
        BeforeValidator(_priority),
        WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, {"enum": list(PRIORITIES)}]}),
    ] = Field(
        default=NORMAL_PRIORITY,
        description="Within the category: high | normal | low, or a number; the lower goes first.",
    )
    earliest: Moment | None = Field(default=None, description="It starts not before. Default: as soon as it may.")
    expires: Moment | None = Field(
        default=None, description="When it comes due after this moment it is removed, not run. Default: never."
    )
    on: Weekdays = Field(
        default=(), description="Weekdays on which it repeats. Default: none, and without `formula` it runs once."
    )
    minutes: Count = Field(
        default=0, ge=0, le=MOST_MINUTES, description="Minutes from the end of a run to the next; 0: once a day."
    )
    formula: Annotated[Text, AfterValidator(_formula)] | None = Field(
        default=None, description="Day of the next run, counted from the end of one: 1D, D4, CM+1D. Without `minutes`."
    )
    starting: TimeOfDay | None = Field(
        default=None, alias="from", description="Time of day from which it starts. Default: the whole day."
    )
    ending: TimeOfDay | None = Field(
        default=None, alias="to", description="Time of day until which it starts; before `from` it is the next day's."
    )
    zone: Zone | None = Field(
        default=None, description="Time zone of all its times. Default: that of the user's account, or UTC."
    )
    attempts: Count = Field(
        default=0, ge=0, le=MOST_ATTEMPTS, description="How often it is tried again before it has failed."
    )
    rerun_delay_seconds: Seconds = Field(
        default=0.0,
        ge=0,
        le=MOST_RERUN_DELAY_SECONDS,
        description="Seconds before it is tried again; a little more each time.",
    )
    inactivity_minutes: Annotated[Count, AfterValidator(_inactivity)] = Field(
        default=0, ge=0, description="Minutes it sleeps after a run that found nothing to do; 0: it does not."
    )
    wakes_on: Listed[Text] = Field(
        default=(), description="Document services; a new document of one wakes the entry when it sleeps."
    )
    timeout_seconds: Seconds | None = Field(
        default=None, gt=0, description="Seconds a run may take. Default: that of what it runs, mostly 12 hours."
    )
    retry_timeout: Flag = Field(default=True, description="false: a run that took too long is not tried again.")
    location: Location = Field(
        default=Location.SERVER,
        description="server, or operator: its user runs it with `gateway tasks run`; then it cannot repeat.",
    )
    output: ReportOutput = Field(
        default=ReportOutput.PRINT,
        description="Where what it prints goes: print (to the printer selected) | pdf (its user's inbox) | none.",
    )
    notify_on_success: Flag = Field(default=False, description="Its user hears of successes, too.")


class SystemTasks(Section):
    """When the jobs may start that the gateway brings along."""

    start: TimeOfDay = Field(alias="from", description="Begin, such as 01:00.")
    end: TimeOfDay = Field(alias="to", description="End, not included; before the begin it is the next day's.")
    zone: Zone | None = Field(
        default=None, description="Time zone of the two times. Default: that of the machine, or UTC."
    )


class EntryLimits(Section):
    """What all entries have to keep to."""

    max_timeout_seconds: Seconds = Field(
        default=LimitsDefinition().max_timeout_seconds, gt=0,
        description="Seconds that a run may take at most: an entry that asks for more is refused.",
    )  # fmt: skip
    per_user: Count | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="Entries of one user that may be in process at once. Default: no limit.",
    )
    waiting_per_user: Count | None = Field(
        default=None, ge=1,
        description="Entries of one user that may be ready or wait; one more is refused. Default: no limit.",
    )  # fmt: skip
    waiting_hours: Seconds | None = Field(
        default=None, gt=0,
        description="One that runs once is removed when its turn comes so many hours after it was due. Default: never.",
    )  # fmt: skip
    system_tasks: SystemTasks | None = Field(
        default=None, description="When the gateway's own jobs may start. Default: at any time."
    )


class Queues(Section):
    """Everything about job queues."""

    limits: EntryLimits = Field(default_factory=EntryLimits, description="What all entries have to keep to.")
    categories: Mapping[Name, EntryCategory] = Field(default_factory=dict, description="Categories by name.")
    queues: Mapping[Name, JobQueue] = Field(default_factory=dict, description="Queues by name.")
    entries: Mapping[Name, QueueEntry] = Field(default_factory=dict, description="Entries by name.")
