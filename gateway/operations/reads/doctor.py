"""Asks the store for places where a rule is broken, or where something waits for too long. Writes nothing."""

from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

from asyncpg import Connection

from gateway.db.open import Store
from gateway.explanations.finding import PATIENCE, RULES, SILENCE, Place
from gateway.kernel.ids import ClaimId, PortName
from gateway.kernel.remedy import Action
from gateway.messaging.queue.exceptions import Entry, insert_exceptions
from gateway.messaging.statements import ingest_sql
from gateway.operations.statements import doctor_sql
from gateway.operations.statements.doctor_sql import PortSpot, PromisedFile, Spot

MOST = 100
"""Places told of one rule."""


async def find_wrong(store: Store, answering: Sequence[str] = ()) -> list[Place]:
    """Return where a rule is broken that must always hold; *answering* are the ports that respond now.

    Rule: each question is one statement and sees one moment, so that work in progress is never seen half done.
    """
    checks: Sequence[tuple[str, Callable[[Connection, int], Awaitable[Sequence[Spot | PortSpot]]]]] = (
        ("lease-missing", doctor_sql.wrong_lease_missing),
        ("lease-empty", doctor_sql.wrong_lease_empty),
        ("lane-head", doctor_sql.wrong_lane_head),
        ("lane-missing", doctor_sql.wrong_lane_missing),
        ("lane-order", doctor_sql.wrong_lane_order),
        ("message-lost", doctor_sql.wrong_message_lost),
        ("message-twice", doctor_sql.wrong_message_twice),
        ("answer-twice", doctor_sql.wrong_answer_twice),
        ("set-count", doctor_sql.wrong_set_count),
    )
    found: list[Place] = []
    async with store.transaction(long=True) as connection:
        for code, statement in checks:
            found += [Place(code, *spot) for spot in await statement(connection, MOST)]
        missing = await doctor_sql.wrong_answer_missing(connection, MOST, list(answering))
    return found + [Place("answer-missing", *spot) for spot in missing]


async def find_stuck(store: Store) -> list[Place]:
    """Return what waits although it could move, as far as the store knows; cheap, however long the queue is."""
    patience, silence = PATIENCE.total_seconds(), SILENCE.total_seconds()
    checks: Sequence[tuple[str, Callable[[Connection, int, float], Awaitable[Sequence[Spot | PortSpot]]], float]] = (
        ("dead-owner", doctor_sql.stuck_dead_owner, silence),
        ("response-waits", doctor_sql.stuck_response_waits, patience),
        ("request-waits", doctor_sql.stuck_request_waits, patience),
        ("overdue", doctor_sql.stuck_overdue, silence),
    )
    found: list[Place] = []
    async with store.transaction() as connection:
        for code, statement, seconds in checks:
            found += [Place(code, *spot) for spot in await statement(connection, MOST, seconds)]
        away = await doctor_sql.stuck_address_away(connection, MOST)
    return found + [Place("address-away", *spot) for spot in away]


async def unknown_claims(store: Store, claims: Sequence[str]) -> set[str]:
    """Return which claimed files no delivery knows."""
    async with store.transaction() as connection:
        rows = await ingest_sql.known_deliveries(connection, [ClaimId(UUID(claim)) for claim in claims])
    return set(claims) - {str(row.claim_id) for row in rows}


async def promised_files(store: Store, port: PortName) -> list[PromisedFile]:
    """Return the staged files that are promised and that nobody is just publishing."""
    async with store.transaction() as connection:
        return await doctor_sql.promised_files(connection, port)


async def unfinished_work(store: Store) -> list[str]:
    """Return the ports that have something which a running gateway would move."""
    async with store.transaction() as connection:
        return sorted(await doctor_sql.unfinished_work(connection))


async def note_stuck(store: Store, places: Sequence[Place]) -> None:
    """Note in the exception log what waits too long, each once a day, whichever node sees it first."""
    async with store.transaction() as connection:
        told = {(row.code, row.port, row.text) for row in await doctor_sql.stuck_told(connection)}
        entries = [entry for entry in map(_entry, places) if (entry.code, entry.port, entry.text) not in told]
        await insert_exceptions(connection, entries)


def _entry(place: Place) -> Entry:
    rule = RULES[place.code]
    advice = [one.reason for one in rule.remedies if one.action in {Action.MEND, Action.NOTHING}]
    text = " ".join([f"{place.what} {rule.text}.", *advice])
    port = None if place.port is None else PortName(place.port)
    return Entry(severity="warning", code=f"stuck.{place.code}", text=text, port=port)
