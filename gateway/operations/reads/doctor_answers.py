"""Asks the store what stands between a partner and an answer, by a cause that is known. Writes nothing."""

from collections import Counter
from collections.abc import Sequence
from uuid import UUID

from gateway.db.open import Store
from gateway.explanations.facts import quoted
from gateway.explanations.finding import PATIENCE, Place
from gateway.operations.reads.doctor import MOST
from gateway.operations.statements import doctor_answers_sql
from gateway.operations.statements.doctor_answers_sql import FailingPort, Unanswered

MANY = 10
"""So many failures are no chance."""
_MENDED_AT_ONCE = frozenset({"service-fails", "requests-fail"})
"""What has one cause, and is released for the port as a whole."""


async def find_unanswered(store: Store) -> list[Place]:
    """Return what is refused, held, failed without a word to the partner, or not delivered, and the lanes that stand.

    Requests whose partner got a fault are told of when their service does not work, or when they fail in numbers.
    """
    patience = PATIENCE.total_seconds()
    async with store.transaction(long=True) as connection:
        waiting = await doctor_answers_sql.unanswered(connection, patience)
        failing = await doctor_answers_sql.failing_ports(connection, patience, MANY)
        lanes = await doctor_answers_sql.stopped_lanes(connection, MOST)
    found: list[Place] = []
    failed: Counter[str] = Counter()  # those told of already
    for row in waiting:
        kind = "send request" if row.code == "document-not-sent" else "message"
        found.append(_place(row.code, row, kind, row.file))
        if row.code in ("request-failed", "service-fails"):
            failed[row.port] += row.number
    found += [_place("requests-fail", row, "message") for row in failing if row.number > failed[row.port]]
    for lane in lanes:
        name = f"{lane.port}/{lane.name}"
        how = f"{'blocked' if lane.blocked else 'parked'} by message {lane.message}"
        why = f" ({quoted(lane.error)})" if lane.error else ""
        found.append(Place("lane-stopped", lane.port, f"lane {name}, {how}{why}", name, lane.since))
    return found


async def archived_digests(store: Store, claims: Sequence[str]) -> dict[str, bytes]:
    """Return by claim the SHA-256 of the files as they were received."""
    async with store.transaction() as connection:
        rows = await doctor_answers_sql.archived_digests(connection, [UUID(claim) for claim in claims])
    return {row.claim_id: row.sha256 for row in rows}


def _place(code: str, row: Unanswered | FailingPort, kind: str, file: str | None = None) -> Place:
    first, number = row.first, row.number
    which = f"{kind} {first}" if number == 1 else f"{number} {kind}s, the first is {first}"
    which += f" of the file {file}" if file else ""
    what = f"{which} ({quoted(row.error)})" if row.error else which
    target = row.port if code in _MENDED_AT_ONCE else str(first)
    return Place(code, row.port, what, target, row.since)
