"""What somebody can do about a finding, as data: the command line and other front ends put it into words."""

from dataclasses import dataclass
from enum import StrEnum


class Action(StrEnum):
    """What can be done."""

    NOTHING = "nothing"  # it goes on by itself
    MEND = "mend"  # something outside of the gateway: a folder, a service, a file
    START_GATEWAY = "start_gateway"
    CHECK_CONFIG = "check_config"
    EXPLAIN = "explain"  # ask why it is where it is
    START_JOB = "start_job"
    RELEASE_JOB = "release_job"
    REQUEUE_JOB = "requeue_job"
    RELEASE_TASK = "release_task"  # target: job and task
    RUN_TASKS = "run_tasks"  # those that wait for a person
    SHOW_RUN = "show_run"
    RERUN = "rerun"  # what failed of a run
    RELEASE_FAILED = "release_failed"  # all requests of a port that failed
    RELEASE_LANE = "release_lane"
    LIST_CAUSES = "list_causes"  # of what is not finished
    RESUME_GROUP = "resume_group"
    LIST_SERVERS = "list_servers"
    SHOW_SESSION = "show_session"
    CANCEL_SESSION = "cancel_session"
    RERUN_SESSION = "rerun_session"
    COPY_MESSAGES = "copy_messages"  # start the job that copies status messages
    READY_ENTRY = "ready_entry"
    RESTART_ENTRY = "restart_entry"
    START_QUEUE = "start_queue"
    POST_DOCUMENT = "post_document"
    FAILED_DOCUMENTS = "failed_documents"  # list those that somebody must handle


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """One thing to do: to what, and what comes of it.

    Shape: `target` are names or numbers as commands take them, empty when the action needs none; `reason` is one or
    more sentences.
    """

    action: Action
    reason: str
    target: tuple[str, ...] = ()
