"""Words of the batch framework, as the database checks them.

Source: batch reference, sections 3, 4, 6, 7, 10, 12, 18.
"""

from collections.abc import Mapping
from enum import StrEnum

Counts = Mapping[str, int]
"""What a task or a run has done: numbers by name."""
Parameters = Mapping[str, object]
"""What a task is told: values by name."""


class JobStatus(StrEnum):
    """Where a job stands. The outcome of its last occurrence is kept beside it."""

    WITHHOLD = "withhold"  # parked: not considered
    WAITING = "waiting"  # armed: starts when it is due
    EXECUTING = "executing"  # an occurrence is under way
    CANCELLING = "cancelling"  # cancel was asked for; what runs is not yet back
    ERROR = "error"  # its last occurrence failed, and nothing more is planned
    ENDED = "ended"  # its last occurrence went well, and nothing more is planned
    CANCELED = "canceled"  # it was cancelled; it does not come back by itself


class TaskStatus(StrEnum):
    """Where a task of a run stands."""

    WITHHOLD = "withhold"  # parked by itself
    WAITING = "waiting"  # its conditions are not met yet
    READY = "ready"  # any server that serves its group may take it
    EXECUTING = "executing"  # a server works on it
    ENDED = "ended"  # it went well
    ERROR = "error"  # it failed, and no retry is left
    NOT_RUN = "not_run"  # its conditions cannot come true, or the job was cancelled before it began
    CANCELLING = "cancelling"  # it runs on after the job was cancelled
    CANCELED = "canceled"  # it came back after that

    @property
    def final(self) -> bool:
        """True when nothing more happens to the task in this run."""
        return self in FINAL


FINAL = frozenset({TaskStatus.ENDED, TaskStatus.ERROR, TaskStatus.NOT_RUN, TaskStatus.CANCELED})


class Wanted(StrEnum):
    """What a condition asks of the parent."""

    ENDED = "ended"  # it went well
    ERROR = "error"  # it failed
    ENDED_OR_ERROR = "ended_or_error"  # it came to an end, whichever


class ConditionType(StrEnum):
    """How several conditions of one task combine."""

    ALL = "all"
    ANY = "any"


class HistoryMode(StrEnum):
    """Which occurrences are kept once they have ended. Counters and the last outcome always are."""

    ALWAYS = "always"
    ERRORS = "errors"  # those that failed or were cancelled
    NEVER = "never"


class Priority(StrEnum):
    """The odds of being picked next, about 5 / 10 / 15 / 30 / 40 in a hundred: nothing is starved."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"
    CRITICAL = "critical"
    RESERVED = "reserved"  # may use the threads that are kept free for this level


class ReportOutput(StrEnum):
    """Where what a job queue entry prints goes. Source: batch reference, section 19.1."""

    PRINT = "print"  # to the printer that is selected
    PDF = "pdf"  # into the report inbox of its user
    NONE = "none"  # nothing is printed


class Location(StrEnum):
    """Who runs a task."""

    SERVER = "server"  # any server that serves its group
    OPERATOR = "operator"  # a person, by `gateway tasks run`


class JobMode(StrEnum):
    """What starts an occurrence."""

    TIMED = "timed"  # its planned start
    EVENT = "event"  # work that appears: the tasks then stream side by side until all is done


class Base(StrEnum):
    """From where the next planned start is counted."""

    SCHEDULE = "schedule"  # the grid: it does not drift
    FINISH = "finish"  # the end of the occurrence


class Missed(StrEnum):
    """What becomes of planned starts that nobody was there for."""

    COALESCE = "coalesce"  # one late occurrence, then back on the grid
    SKIP = "skip"  # later than the tolerance: dropped
    ALL = "all"  # each of them runs, one after another


class Cause(StrEnum):
    """What started a run."""

    SCHEDULE = "schedule"
    OPERATOR = "operator"
    DEPENDENCY = "dependency"
    EVENT = "event"
    QUEUE = "queue"  # a job queue entry that came due
