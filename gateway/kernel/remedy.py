"""What somebody can do about a thing, as data: the command line and other front ends put it into words."""

from dataclasses import dataclass
from enum import StrEnum


class Action(StrEnum):
    """What can be done, and to what: the targets of a remedy are named beside it."""

    NOTHING = "nothing"  # it goes on by itself
    MEND = "mend"  # something outside of the gateway: a folder, a service, a file
    START_GATEWAY = "start_gateway"
    MIGRATE = "migrate"  # bring the schema of the database up to date
    CREATE_SITE = "create_site"
    CHECK_CONFIG = "check_config"
    EXPLAIN = "explain"  # ask why it is where it is; anything that has a name
    EXAMINE = "examine"  # ask whether everything is in order
    REPORT = "report"  # ask the same, in the form that is sent along with a report
    LIST_PORTS = "list_ports"
    RETRY_PORT = "retry_port"  # port
    LIST_NODES = "list_nodes"
    HOLD_MESSAGE = "hold_message"  # message
    RELEASE_MESSAGE = "release_message"  # message
    DELETE_MESSAGE = "delete_message"  # message
    SHOW_MESSAGE = "show_message"  # message that is not finished
    SHOW_FINISHED = "show_finished"  # message
    RESTAGE = "restage"  # answer
    RELEASE_FILE = "release_file"  # port, file: all messages of it that failed or are held
    RELEASE_FAILED = "release_failed"  # port: all requests that failed
    RELEASE_HELD = "release_held"  # port: all that is held
    RELEASE_ANSWERS = "release_answers"  # port: all answers that failed or are held
    DELETE_REFUSED = "delete_refused"  # port: the notes of refused files
    LIST_QUEUE = "list_queue"  # port, or none: all
    LIST_CAUSES = "list_causes"  # port: of what is not finished
    LIST_FAILURES = "list_failures"  # port: its exceptions
    SUBMIT = "submit"  # file, port
    SEND = "send"  # a document
    LIST_LANES = "list_lanes"  # port, or none: all
    RELEASE_LANE = "release_lane"  # lane
    CONTINUE_LANE = "continue_lane"  # lane: what fails in it does not stop the others
    SHOW_JOB = "show_job"  # job
    START_JOB = "start_job"  # job
    HOLD_JOB = "hold_job"  # job
    RELEASE_JOB = "release_job"  # job
    REQUEUE_JOB = "requeue_job"  # job
    EDIT_JOB = "edit_job"  # job
    RELEASE_TASK = "release_task"  # job, task
    RUN_TASKS = "run_tasks"  # those that wait for a person
    SHOW_RUN = "show_run"  # run
    RERUN = "rerun"  # run: what failed of it
    RESUME_GROUP = "resume_group"  # group
    LIST_SERVERS = "list_servers"
    RESUME_SERVER = "resume_server"  # server
    SERVE_GROUPS = "serve_groups"  # server: say which groups it serves
    LIST_ALERT_RULES = "list_alert_rules"
    LIST_ALERTS = "list_alerts"  # that were sent, or why not
    LIST_FAILED_ALERTS = "list_failed_alerts"
    SHOW_SESSION = "show_session"  # session
    LIST_SESSIONS = "list_sessions"
    CANCEL_SESSION = "cancel_session"  # session
    RERUN_SESSION = "rerun_session"  # session
    COPY_MESSAGES = "copy_messages"  # start the job that copies status messages
    LIST_STORES = "list_stores"
    LIST_REFUSED = "list_refused"  # status messages that were not copied
    LIST_WAITING = "list_waiting"  # status messages that have moved no session
    LIST_ENTRIES = "list_entries"
    READ_ENTRY_LOG = "read_entry_log"  # entry, or none: all
    READY_ENTRY = "ready_entry"  # entry
    HOLD_ENTRY = "hold_entry"  # entry
    EDIT_ENTRY = "edit_entry"  # entry
    DELETE_ENTRY = "delete_entry"  # entry
    RESTART_ENTRY = "restart_entry"  # entry
    TRY_ENTRY = "try_entry"  # entry: run it once, whatever its time
    START_QUEUE = "start_queue"  # job queue
    SHOW_DOCUMENT = "show_document"  # kind, number
    POST_DOCUMENT = "post_document"  # kind, number
    FAILED_DOCUMENTS = "failed_documents"  # list those that somebody must handle
    LIST_REPORTS = "list_reports"


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """One thing to do: to what, and what comes of it.

    Shape: `target` are names or numbers, empty when the action needs none; `reason` is one or more sentences.
    """

    action: Action
    reason: str
    target: tuple[str, ...] = ()


def do(action: Action, *target: object, then: str) -> Remedy:
    """Return what somebody may do here, and what happens *then*."""
    return Remedy(action=action, target=tuple(map(str, target)), reason=then)


def mend(reason: str) -> Remedy:
    """Return what is to be done outside of the gateway."""
    return Remedy(action=Action.MEND, reason=reason)


def wait(reason: str) -> Remedy:
    """Return how it goes on by itself."""
    return Remedy(action=Action.NOTHING, reason=reason)
