"""What stands between a partner and an answer although nothing is broken: somebody has to know of it, and act."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from gateway.config.models import InboundPort, Settings
from gateway.db.open import Store
from gateway.explanations.facts import JobFacts, quoted, waits_by_plan
from gateway.explanations.finding import PATIENCE, Place
from gateway.messaging.rules.states import Stage
from gateway.operations.reads.doctor_answers import find_unanswered
from gateway.operations.reads.gateway import PortStatusRow

_NOT_OPEN = frozenset({"degraded", "paused", "stopped"})
_NOBODYS = frozenset({"not-matched", "entry.folder", "entry.in-subfolder"})
"""Entries that lie in a folder and were hardly meant for us."""


async def find_attention(
    store: Store, settings: Settings, ports: Sequence[PortStatusRow], jobs: Mapping[Stage, Sequence[JobFacts]], *,
    running: bool,
) -> list[Place]:  # fmt: skip
    """Return everything that needs attention in the store; what ports and jobs say counts while a gateway is *running*.

    Rule: what waits for the start of a timed job needs none.
    """
    found = await find_unanswered(store)
    if running:
        active = set(settings.active_ports())
        found += _ports([row for row in ports if row.port in active], settings)
    return found + _services(jobs)


def _ports(ports: Sequence[PortStatusRow], settings: Settings) -> list[Place]:
    found: list[Place] = []
    long_ago = datetime.now(UTC) - PATIENCE
    for row in ports:
        if row.state in _NOT_OPEN:
            found.append(Place(f"port-{row.state}", row.port, quoted(row.reason), row.port, row.changed_at))
        if not isinstance(settings.ports[row.port], InboundPort):
            continue
        found += [
            Place("file-not-taken", row.port, f"{left['name']} ({quoted(left['text'])})", left["name"], since)
            for left in row.left_in_place
            if left["code"] not in _NOBODYS and (since := datetime.fromisoformat(left["since"])) < long_ago
        ]
    return found


def _services(jobs: Mapping[Stage, Sequence[JobFacts]]) -> list[Place]:
    """Return services that nothing runs; nothing is known of jobs before a gateway has ever run."""
    if not jobs:
        return []
    stopped: dict[tuple[str, str], list[str]] = {}
    found: list[Place] = []
    for stage in Stage:
        its = jobs.get(stage, ())
        if not its:
            found.append(Place("service-without-job", None, f"service {stage}", stage))
        elif not any(job.moving for job in its) and not waits_by_plan(its):
            stopped.setdefault((its[0].name, its[0].stands), []).append(stage)
    return found + [
        Place("service-stopped", None, f"job {name}, which runs {', '.join(stages)}, {stands}", name)
        for (name, stands), stages in stopped.items()
    ]
