"""What to do, as a person at a terminal would type it."""

import re
import shlex
from collections.abc import Mapping
from typing import Final

from gateway.kernel.remedy import Action, Remedy

COMMANDS: Final[Mapping[Action, str]] = {
    Action.START_GATEWAY: "run",
    Action.MIGRATE: "db migrate",
    Action.CREATE_SITE: "init DIR",
    Action.CHECK_CONFIG: "check",
    Action.EXPLAIN: "explain {0}",
    Action.EXAMINE: "doctor",
    Action.REPORT: "doctor --json",
    Action.LIST_PORTS: "ports",
    Action.RETRY_PORT: "ports retry {0}",
    Action.LIST_NODES: "nodes",
    Action.HOLD_MESSAGE: "queue hold {0}",
    Action.RELEASE_MESSAGE: "queue release {0}",
    Action.DELETE_MESSAGE: "queue delete {0}",
    Action.SHOW_MESSAGE: "queue show {0}",
    Action.SHOW_FINISHED: "history show {0}",
    Action.RESTAGE: "queue restage {0}",
    Action.RELEASE_FILE: "queue release --port {0} --file {1}",
    Action.RELEASE_FAILED: "queue release --port {0} --status error",
    Action.RELEASE_HELD: "queue release --port {0} --status hold",
    Action.RELEASE_ANSWERS: "queue release --port {0} --direction out",
    Action.DELETE_REFUSED: "queue delete --port {0} --status malformed",
    Action.LIST_QUEUE: "queue list[ --port {0}]",
    Action.LIST_CAUSES: "queue list --by-cause --port {0}",
    Action.LIST_FAILURES: "exceptions list --port {0}",
    Action.SUBMIT: "submit {0} --port {1}",
    Action.SEND: "send",
    Action.LIST_LANES: "lanes list[ --port {0}]",
    Action.RELEASE_LANE: "lanes release {0}",
    Action.CONTINUE_LANE: "lanes set {0} --on-error continue",
    Action.SHOW_JOB: "jobs show {0}",
    Action.START_JOB: "jobs run {0}",
    Action.HOLD_JOB: "jobs hold {0}",
    Action.RELEASE_JOB: "jobs release {0}",
    Action.REQUEUE_JOB: "jobs requeue {0}",
    Action.EDIT_JOB: "jobs edit {0} FILE",
    Action.RELEASE_TASK: "tasks release {0} {1}",
    Action.RUN_TASKS: "tasks run",
    Action.SHOW_RUN: "runs show {0}",
    Action.RERUN: "runs rerun {0} --failed",
    Action.RESUME_GROUP: "groups set {0} --concurrency 0",
    Action.LIST_SERVERS: "servers list",
    Action.RESUME_SERVER: "servers resume {0}",
    Action.SERVE_GROUPS: "servers set {0} --groups",
    Action.LIST_ALERT_RULES: "alerts list",
    Action.LIST_ALERTS: "alerts sent",
    Action.LIST_FAILED_ALERTS: "alerts sent --status failed",
    Action.SHOW_SESSION: "sessions show {0}",
    Action.LIST_SESSIONS: "sessions list --all",
    Action.CANCEL_SESSION: "sessions cancel {0}",
    Action.RERUN_SESSION: "sessions rerun {0}",
    Action.COPY_MESSAGES: "status-messages run",
    Action.LIST_STORES: "status-messages stores",
    Action.LIST_REFUSED: "status-messages refused",
    Action.LIST_WAITING: "status-messages list --waiting",
    Action.LIST_ENTRIES: "entries list",
    Action.READ_ENTRY_LOG: "entries log[ {0}]",
    Action.READY_ENTRY: "entries ready {0}",
    Action.HOLD_ENTRY: "entries hold {0}",
    Action.EDIT_ENTRY: "entries edit {0} FILE",
    Action.DELETE_ENTRY: "entries delete {0}",
    Action.RESTART_ENTRY: "entries restart {0}",
    Action.TRY_ENTRY: "entries run-once {0}",
    Action.START_QUEUE: "queues start {0}",
    Action.SHOW_DOCUMENT: "documents show {0} {1}",
    Action.POST_DOCUMENT: "documents post {0} {1}[ --company {2}]",
    Action.FAILED_DOCUMENTS: "documents to-handle",
    Action.LIST_REPORTS: "inbox list",
}
"""The command for each action; what stands in brackets belongs to a target that may be missing.

Other actions have no command: their reason says all.
"""
_OPTIONAL: Final = re.compile(r"\[([^]]*\{(\d)\})\]")


def command(remedy: Remedy) -> str | None:
    """Return what to type, None when it is nothing to type."""
    template = COMMANDS.get(remedy.action)
    if template is None:
        return None
    given = len(remedy.target)
    template = _OPTIONAL.sub(lambda part: part[1] if int(part[2]) < given else "", template)
    return f"gateway {template.format(*map(shlex.quote, remedy.target))}"


def worded(*remedies: Remedy) -> str:
    """Return what to do in words: each command with what comes of it."""
    return " ".join(_worded(one) for one in remedies)


def _worded(remedy: Remedy) -> str:
    typed = command(remedy)
    return remedy.reason if typed is None else f"`{typed}`: {remedy.reason[0].lower()}{remedy.reason[1:]}"
