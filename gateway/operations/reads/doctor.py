"""Asks the store for places where a rule is broken, or where something waits for too long. Writes nothing."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from gateway.db.open import Store
from gateway.explanations.finding import PATIENCE, RULES, SILENCE, Place
from gateway.kernel.ids import MessageKey, PortName
from gateway.kernel.remedy import Action
from gateway.messaging.queue.exceptions import Entry, insert_exceptions

MOST = 100
"""Places told of one rule."""


async def find_wrong(store: Store, answering: Sequence[str] = ()) -> list[Place]:
    """Return where a rule is broken that must always hold; *answering* are the ports that respond now.

    Rule: each question is one statement and sees one moment, so that work in progress is never seen half done.
    """
    sql = store.queries
    checks = (
        ("lease-missing", sql.wrong_lease_missing),
        ("lease-empty", sql.wrong_lease_empty),
        ("lane-head", sql.wrong_lane_head),
        ("lane-missing", sql.wrong_lane_missing),
        ("lane-order", sql.wrong_lane_order),
        ("message-lost", sql.wrong_message_lost),
        ("message-twice", sql.wrong_message_twice),
        ("answer-twice", sql.wrong_answer_twice),
        ("set-count", sql.wrong_set_count),
    )
    found: list[Place] = []
    async with store.transaction(long=True) as connection:
        for code, statement in checks:
            rows = await connection.fetch(statement, MOST)
            found += [Place(code, row["port"], row["what"]) for row in rows]
        rows = await connection.fetch(sql.wrong_answer_missing, MOST, list(answering))
        found += [Place("answer-missing", row["port"], row["what"]) for row in rows]
    return found


async def find_stuck(store: Store) -> list[Place]:
    """Return what waits although it could move, as far as the store knows; cheap, however long the queue is."""
    sql = store.queries
    patience, silence = PATIENCE.total_seconds(), SILENCE.total_seconds()
    checks = (
        ("dead-owner", sql.stuck_dead_owner, silence),
        ("response-waits", sql.stuck_response_waits, patience),
        ("request-waits", sql.stuck_request_waits, patience),
        ("overdue", sql.stuck_overdue, silence),
    )
    found: list[Place] = []
    async with store.transaction() as connection:
        for code, statement, seconds in checks:
            rows = await connection.fetch(statement, MOST, seconds)
            found += [Place(code, row["port"], row["what"]) for row in rows]
        rows = await connection.fetch(sql.stuck_address_away, MOST)
        found += [Place("address-away", row["port"], row["what"]) for row in rows]
    return found


async def unknown_claims(store: Store, claims: Sequence[str]) -> set[str]:
    """Return which claimed files no delivery knows."""
    async with store.transaction() as connection:
        rows = await connection.fetch(store.queries.known_deliveries, [UUID(claim) for claim in claims])
    return set(claims) - {str(row["claim_id"]) for row in rows}


class PromisedFile(NamedTuple):
    """A staged file that is promised, its message, and the identity of the folder that it lies in."""

    key: MessageKey
    name: str
    staging: UUID | None


async def promised_files(store: Store, port: PortName) -> list[PromisedFile]:
    """Return the staged files that are promised and that nobody is just publishing."""
    async with store.transaction() as connection:
        rows = await connection.fetch(store.queries.promised_files, port)
    return [PromisedFile(MessageKey(row["key"]), row["staged_name"], row["staged_in"]) for row in rows]


async def unfinished_work(store: Store) -> list[str]:
    """Return the ports that have something which a running gateway would move."""
    async with store.transaction() as connection:
        return sorted(row["port"] for row in await connection.fetch(store.queries.unfinished_work))


async def note_stuck(store: Store, places: Sequence[Place]) -> None:
    """Note in the exception log what waits too long, each once a day, whichever node sees it first."""
    sql = store.queries
    async with store.transaction() as connection:
        told = {(row["code"], row["port"], row["text"]) for row in await connection.fetch(sql.stuck_told)}
        entries = [entry for entry in map(_entry, places) if (entry.code, entry.port, entry.text) not in told]
        await insert_exceptions(connection, sql, entries)


def _entry(place: Place) -> Entry:
    rule = RULES[place.code]
    advice = [one.reason for one in rule.remedies if one.action in {Action.MEND, Action.NOTHING}]
    text = " ".join([f"{place.what} {rule.text}.", *advice])
    port = None if place.port is None else PortName(place.port)
    return Entry(severity="warning", code=f"stuck.{place.code}", text=text, port=port)
