"""What somebody can do about a finding, as data: the command line and other front ends put it into words."""

from dataclasses import dataclass
from enum import StrEnum


class Action(StrEnum):
    """What can be done."""

    MEND = "mend"  # something outside of the gateway: a folder, a service, a file
    START_GATEWAY = "start_gateway"
    CHECK_CONFIG = "check_config"
    EXPLAIN = "explain"  # ask why it is where it is
    LIST_QUEUE = "list_queue"  # look at the unfinished messages of a port
    RELEASE_JOB = "release_job"
    LIST_JOBS = "list_jobs"
    SHOW_RUN = "show_run"


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """One thing to do: to what, and what comes of it.

    Shape: `target` is a name or number as commands take it, None when the action needs none; `reason` is one or
    more sentences.
    """

    action: Action
    reason: str
    target: str | None = None
