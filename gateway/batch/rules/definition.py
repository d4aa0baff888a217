"""Definitions of jobs: what YAML, the command line and the API all make, and what the store keeps.

A definition says what shall happen; a run is a copy of it that is carried out. Source: batch reference, sections 3, 4.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, time
from hashlib import sha256

from gateway.batch.rules.job import (
    Base,
    ConditionType,
    HistoryMode,
    JobMode,
    Location,
    Missed,
    Priority,
    ReportOutput,
    Wanted,
)

INITIAL_PARTITION = "initial"
DEFAULT_COMPANY = "DAT"
DEFAULT_GROUP = ""
"""The group of tasks that name none. Source: batch reference, section 13.1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionDefinition:
    """What a task asks of an earlier one, by its name."""

    parent: str
    wanted: Wanted = Wanted.ENDED


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskDefinition:
    """One step of a job. `handler` names a runnable, `parameters` are its own.

    None stands for what the job says (`company`, `batch_group`), and for the version of the runnable that is there when
    it runs (`parameters_version`). Units: seconds.
    """

    name: str
    handler: str
    description: str = ""
    parameters: Mapping[str, object] = field(default_factory=dict)
    parameters_version: int | None = None
    company: str | None = None
    batch_group: str | None = None
    location: Location = Location.SERVER
    is_private: bool = False
    conditions: tuple[ConditionDefinition, ...] = ()
    condition_type: ConditionType = ConditionType.ALL
    ignore_failure: bool = False
    max_retries: int = 0
    retry_seconds: float = 0.0
    timeout_seconds: float | None = None
    wait_for_children: bool = True
    is_withheld: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DependencyDefinition:
    """What a job asks of another one of its partition, by its name: an outcome since its own last start."""

    parent: str
    wanted: Wanted = Wanted.ENDED


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertDefinition:
    """Who hears of what, and how: one per user and job."""

    user: str
    events: tuple[str, ...]
    channels: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobDefinition:
    """A job with its tasks.

    `start` is aware; None: the moment of saving. `recurrence` is the plain form of a rule of `recurrence`, None: once.
    None stands for: `owner` who saves it, `batch_group` the default group, `priority` that of the group, `run_as`
    its owner, `max_retries` what each task says. Units: seconds.
    """

    name: str
    description: str = ""
    partition: str = INITIAL_PARTITION
    company: str = DEFAULT_COMPANY
    mode: JobMode = JobMode.TIMED
    owner: str | None = None
    run_as: str | None = None
    start: datetime | None = None
    recurrence: Mapping[str, object] | None = None
    base: Base = Base.SCHEDULE
    missed: Missed = Missed.COALESCE
    tolerance_seconds: float = 300.0
    history: HistoryMode = HistoryMode.ALWAYS
    batch_group: str | None = None
    priority: Priority | None = None
    active_period: str | None = None
    concurrency: int = 0
    max_retries: int | None = None
    dependency_type: ConditionType = ConditionType.ALL
    dependencies: tuple[DependencyDefinition, ...] = ()
    overdue_seconds: float | None = None
    long_seconds: float | None = None
    category: str | None = None
    is_critical: bool = False
    is_system: bool = False
    is_private: bool = False
    tasks: tuple[TaskDefinition, ...] = ()
    alerts: tuple[AlertDefinition, ...] = ()

    def digest(self) -> str:
        """Return a digest of everything it says: equal definitions have equal ones."""
        return _digest(self)


NORMAL_PRIORITY = 1000
"""Of entries that name none; the lower number goes first. Source: batch reference, section 19.1."""
MOST_PRIORITY = 1_000_000
MOST_ATTEMPTS = 10
MOST_RERUN_DELAY_SECONDS = 3600.0
LEAST_INACTIVITY_MINUTES = 5
MOST_MINUTES = 525_600
"""Between runs of an entry: a year."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryDefinition:
    """A job queue entry: what runs, and when. `run` names a runnable, `parameters` are its own.

    `record` is what it is about, such as one document: there is one entry about it at a time. `weekdays` (Monday 0) on
    which it repeats; without any and without a date `formula` it runs once. `starting` and `ending` bound the day in
    `zone`. `wakes_on` are documents, `{namespace}local`, whose change wakes one that found nothing to do.
    `max_attempts` are those after the first. `then_run` is a second task of its runs, once the first has ended;
    it takes no parameters. None stands for: `parameters_version` that of the runnable that is there when it runs,
    `earliest` the moment of saving, `expires` never, `timeout_seconds` that of what it runs.
    Source: batch reference, section 19.1.
    """

    run: str
    parameters: Mapping[str, object] = field(default_factory=dict)
    parameters_version: int | None = None
    name: str | None = None
    description: str = ""
    record: str | None = None
    partition: str = INITIAL_PARTITION
    company: str = DEFAULT_COMPANY
    category: str | None = None
    priority: int = NORMAL_PRIORITY
    earliest: datetime | None = None
    expires: datetime | None = None
    weekdays: tuple[int, ...] = ()
    minutes: int = 0
    formula: str | None = None
    starting: time | None = None
    ending: time | None = None
    zone: str = "UTC"
    max_attempts: int = 0
    rerun_delay_seconds: float = 0.0
    inactivity_minutes: int = 0
    wakes_on: tuple[str, ...] = ()
    timeout_seconds: float | None = None
    retries_timeout: bool = True
    location: Location = Location.SERVER
    notify_on_success: bool = False
    output: ReportOutput = ReportOutput.PRINT
    then_run: str | None = None

    def digest(self) -> str:
        """Return a digest of everything it says: equal definitions have equal ones."""
        return _digest(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryDefinition:
    """Entries that exclude one another: at most `width` of them are in process."""

    name: str
    description: str = ""
    width: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueDefinition:
    """A container of the entries whose category it takes (None: all), started and stopped as a whole."""

    name: str
    description: str = ""
    categories: tuple[str, ...] | None = None
    batch_group: str = DEFAULT_GROUP
    starts_automatically: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitsDefinition:
    """What all entries have to keep to; None: no limit. `max_timeout_seconds` also ends what asks for no time-out.

    `per_user` may be in process at once, `waiting_per_user` ready or waiting. One that runs once, and is due for longer
    than `waiting_hours` when its turn comes, is removed. Source: batch reference, section 19.6.
    """

    max_timeout_seconds: float = 48 * 3600.0
    per_user: int | None = None
    waiting_per_user: int | None = None
    waiting_hours: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupDefinition:
    """A batch group. `concurrency` bounds the tasks of each single job at once; 0: no bound, -1: paused."""

    name: str
    description: str = ""
    priority: Priority = Priority.NORMAL
    concurrency: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class HoursDefinition:
    """Threads of a server by time of day: half-open; an end before its start crosses midnight."""

    threads: int
    start: time
    end: time
    zone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerDefinition:
    """What a server may do. `groups` None: the default group, until somebody gives it a named one.

    `threads` counts where no `hours` are given; `reserved_percent` of them are kept for the priority *reserved*.
    """

    name: str
    is_batch: bool = True
    threads: int = 8
    reserved_percent: int = 0
    groups: tuple[str, ...] | None = None
    hours: tuple[HoursDefinition, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodDefinition:
    """When jobs that name it may start: half-open, in its own zone. `weekdays`: on which it opens, Monday 0."""

    name: str
    start: time
    end: time
    weekdays: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6)
    zone: str = "UTC"


def _digest(definition: JobDefinition | EntryDefinition) -> str:
    return sha256(json.dumps(asdict(definition), sort_keys=True, default=str).encode()).hexdigest()
