"""What to do about a finding, as a person at a terminal would type it."""

import shlex
from collections.abc import Mapping
from typing import Final

from gateway.domain.remedy import Action, Remedy

_COMMANDS: Final[Mapping[Action, str]] = {
    Action.START_GATEWAY: "gateway run",
    Action.CHECK_CONFIG: "gateway check",
    Action.EXPLAIN: "gateway explain {target}",
    Action.LIST_QUEUE: "gateway queue list --port {target}",
    Action.RELEASE_JOB: "gateway jobs release {target}",
    Action.LIST_JOBS: "gateway jobs list",
    Action.SHOW_RUN: "gateway runs show {target}",
}


def worded(remedy: Remedy) -> str:
    """Return the command, where there is one, and what comes of it."""
    if remedy.action is Action.MEND:
        return remedy.reason
    command = _COMMANDS[remedy.action].format(target=shlex.quote(remedy.target or ""))
    return f"`{command}`: {remedy.reason[0].lower()}{remedy.reason[1:]}"
