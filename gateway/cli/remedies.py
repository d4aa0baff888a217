"""What to do about a finding, as a person at a terminal would type it."""

import shlex
from collections.abc import Mapping
from typing import Final

from gateway.explanations.remedy import Action, Remedy

_COMMANDS: Final[Mapping[Action, str]] = {
    Action.START_GATEWAY: "run",
    Action.CHECK_CONFIG: "check",
    Action.EXPLAIN: "explain {}",
    Action.START_JOB: "jobs run {}",
    Action.RELEASE_JOB: "jobs release {}",
    Action.REQUEUE_JOB: "jobs requeue {}",
    Action.RELEASE_TASK: "tasks release {}",
    Action.RUN_TASKS: "tasks run",
    Action.SHOW_RUN: "runs show {}",
    Action.RERUN: "runs rerun {} --failed",
    Action.RELEASE_FAILED: "queue release --port {} --status error",
    Action.RELEASE_LANE: "lanes release {}",
    Action.LIST_CAUSES: "queue list --by-cause --port {}",
    Action.RESUME_GROUP: "groups set {} --concurrency 0",
    Action.LIST_SERVERS: "servers list",
    Action.SHOW_SESSION: "sessions show {}",
    Action.CANCEL_SESSION: "sessions cancel {}",
    Action.RERUN_SESSION: "sessions rerun {}",
    Action.COPY_MESSAGES: "status-messages run",
    Action.READY_ENTRY: "entries ready {}",
    Action.RESTART_ENTRY: "entries restart {}",
    Action.START_QUEUE: "queues start {}",
    Action.POST_DOCUMENT: "documents post {}",
    Action.FAILED_DOCUMENTS: "documents to-handle",
}
"""Other actions have no command: their reason says all."""


def worded(remedy: Remedy) -> str:
    """Return the command, where there is one, and what comes of it."""
    command = _COMMANDS.get(remedy.action)
    if command is None:
        return remedy.reason
    return f"`gateway {command.format(shlex.join(remedy.target))}`: {remedy.reason[0].lower()}{remedy.reason[1:]}"
