"""Asks the store what stands between a partner and an answer, by a cause that is known. Writes nothing."""

from collections.abc import Sequence
from uuid import UUID

from gateway.domain.explanation import quoted
from gateway.domain.finding import PATIENCE, Place
from gateway.store.doctor import MOST
from gateway.store.open import Store

MANY = 10
"""So many failures are no chance."""


async def find_unanswered(store: Store) -> list[Place]:
    """Return what is refused, held, failed without a word to the partner, or not delivered, and the lanes that stand.

    A port whose requests fail in numbers is told of although its partner gets a fault for each.
    """
    sql, patience = store.queries, PATIENCE.total_seconds()
    async with store.transaction(long=True) as connection:
        waiting = await connection.fetch(sql.unanswered, patience)
        failing = await connection.fetch(sql.failing_ports, patience, MANY)
        lanes = await connection.fetch(sql.stopped_lanes, MOST)
    found = [
        _place(row["code"], row["port"], row["number"], row["first"], row["error"],
               "send request" if row["code"] == "document-not-sent" else "message")
        for row in waiting
    ]  # fmt: skip
    told = {(place.code, place.port) for place in found}
    found += [
        _place("requests-fail", row["port"], row["number"], row["first"], row["error"], "message")
        for row in failing
        if ("request-failed", row["port"]) not in told
    ]
    for row in lanes:
        name = f"{row['port']}/{row['name']}"
        how = "blocked" if row["blocked"] else "parked"
        found.append(Place("lane-stopped", row["port"], f"lane {name}, {how} by message {row['message']}", name))
    return found


async def archived_digests(store: Store, claims: Sequence[str]) -> dict[str, bytes]:
    """Return by claim the SHA-256 of the files as they were received."""
    async with store.transaction() as connection:
        rows = await connection.fetch(store.queries.archived_digests, [UUID(claim) for claim in claims])
    return {row["claim_id"]: row["sha256"] for row in rows}


def _place(code: str, port: str, number: int, first: int, error: str | None, kind: str) -> Place:
    which = f"{kind} {first}" if number == 1 else f"{number} {kind}s, the first is {first}"
    return Place(code, port, f"{which} ({quoted(error)})" if error else which, str(first))
