"""What must fit together across sections; needs no disk, no database and no schema.

Each check is a function from the whole to findings, so that all of them are told at once.
"""

from collections.abc import Iterator, Set

from gateway.config.checks import jobs, ports
from gateway.config.checks.folders import folders_do_not_overlap
from gateway.config.checks.whole import Check, Whole
from gateway.config.document import Finding, Path
from gateway.config.models import Settings

CHECKS: tuple[Check, ...] = (
    ports.names_differ_by_more_than_case, ports.operations_exist, ports.rollback_needs_undoable_operations,
    ports.replays_need_the_responses, ports.outbound_ports_only_read, ports.sequences_agree, folders_do_not_overlap,
    jobs.check_jobs, jobs.check_queues, jobs.check_posting, ports.check_alerts, ports.check_message_stores,
)  # fmt: skip


def check(settings: Settings, gone: Set[Path]) -> Iterator[Finding]:
    """Yield everything that does not fit together; nothing is said about what is *gone*, as wrong in itself."""
    whole = Whole(settings, gone)
    for one in CHECKS:
        yield from one(whole)
