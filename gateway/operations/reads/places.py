"""Why something is where it is: the facts around one message, one lane, one file name."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from asyncpg import Connection

from gateway.db.open import Store
from gateway.explanations.facts import Answered, DeliveryFacts, JobFacts, Other, SetFacts
from gateway.kernel.ids import LaneName, MessageKey, PortName
from gateway.messaging.rules.states import Policy, Stage
from gateway.operations.statements import places_sql
from gateway.operations.statements.places_sql import IntakeTurn, LeaseHolder

_MOST_DELIVERIES = 5
_LATEST_MESSAGES = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LanePlace:
    """A lane as stored, with who works on it and what stands in it."""

    head: int | None
    not_before: datetime | None
    on_error: str
    ruled: bool
    blocked_by: Other | None
    parked_by: Other | None
    first: Other | None
    holder: LeaseHolder | None
    waiting: int
    held: int
    failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MessagePlace:
    """What surrounds a message: set, lane, who works on it, what is ahead of it, what stopped it, its answers."""

    set_key: int | None
    policy: Policy | None
    file: str | None
    staged_name: str | None
    before: int
    holder: LeaseHolder | None
    lane: LanePlace | None
    ahead: Other | None
    culprit: Other | None
    answers: Sequence[Answered]


async def place_of_message(store: Store, key: MessageKey, port: PortName, lane: LaneName | None) -> MessagePlace:
    """Return what surrounds a message or send request, read in one transaction."""
    async with store.transaction() as connection:
        row = await places_sql.place_of_message(connection, key)
        fence = row.fence if row is not None else await places_sql.fence_of_request(connection, key)
        set_key = None if row is None else row.set_key
        ahead = None if lane is None else await places_sql.nearest_ahead(connection, port, lane, key)
        culprit = None if set_key is None else await places_sql.culprit_of_set(connection, set_key)
        answers = await places_sql.answers_of_message(connection, key)
        return MessagePlace(
            set_key=set_key,
            policy=None if row is None else row.policy,
            file=None if row is None else row.file,
            staged_name=None if row is None else row.staged_name,
            before=0 if row is None else row.before,
            holder=await _holder(connection, fence),
            lane=None if lane is None else await _lane(connection, port, lane),
            ahead=await _other(connection, ahead),
            culprit=await _other(connection, culprit),
            answers=[Answered(**answer._asdict()) for answer in answers],
        )


async def read_lane(store: Store, port: PortName, lane: LaneName) -> LanePlace:
    """Return a lane and what stands in it; an empty one has no head and counts of zero."""
    async with store.transaction() as connection:
        return await _lane(connection, port, lane)


async def sets_named(store: Store, text: str, ports: Sequence[str]) -> list[SetFacts]:
    """Return the message sets with this number, as `set:17`, or with this batch id, the newest first."""
    number = text.removeprefix("set:")
    key = int(number) if text.startswith("set:") and number.isdecimal() and len(number) <= 18 else None
    async with store.transaction() as connection:
        rows = await places_sql.sets_named(connection, key, text, list(ports))
    return [SetFacts(**row._asdict()) for row in rows]


async def lanes_named(store: Store, name: str) -> list[tuple[PortName, LaneName]]:
    """Return the lanes of this name, of any port, that have something unfinished."""
    async with store.transaction() as connection:
        rows = await places_sql.lanes_named(connection, name)
    return [(row.port, row.name) for row in rows]


async def lane_was(store: Store, port: PortName, lane: LaneName) -> bool:
    """Tell whether messages of a lane were seen lately, finished ones too."""
    kind, _, rest = lane.partition(":")
    number = rest.partition(":")[0]
    set_key = int(number) if kind == "set" and number.isdecimal() and len(number) <= 18 else None
    conversation = rest if kind == "conversation" else None
    async with store.transaction() as connection:
        return await places_sql.lane_was(connection, port, conversation, set_key, _LATEST_MESSAGES)


async def messages_in_work(store: Store, port: PortName, stage: Stage | None = None) -> int:
    """Return how many messages of a port are claimed now, by anybody; by one *stage*, or by all."""
    async with store.transaction() as connection:
        return await places_sql.messages_in_work(connection, port, stage)


async def ports_in_work(store: Store, stage: Stage) -> set[PortName]:
    """Return the ports that the stage works on now, in any process."""
    async with store.transaction() as connection:
        return set(await places_sql.ports_in_work(connection, stage))


async def turn_of_intake(store: Store, port: PortName) -> IntakeTurn | None:
    """Return whose turn it is to take the files of a port; None while every node is idle there."""
    async with store.transaction() as connection:
        return await places_sql.turn_of_intake(connection, port)


async def deliveries_named(store: Store, name: str) -> list[DeliveryFacts]:
    """Return the latest files of this name that were taken, the newest first."""
    async with store.transaction() as connection:
        rows = await places_sql.deliveries_named(connection, os.fsencode(name), _MOST_DELIVERIES)
    return [DeliveryFacts(**row._asdict()) for row in rows]


async def unfinished_of_claim(store: Store, claim_id: str, limit: int) -> list[MessageKey]:
    """Return messages of a file that are not finished, those that need somebody first."""
    async with store.transaction() as connection:
        return await places_sql.unfinished_of_claim(connection, claim_id, limit)


async def messages_by_file(store: Store, name: str, ports: Sequence[str]) -> list[MessageKey]:
    """Return the messages whose file is written under this name."""
    async with store.transaction() as connection:
        return await places_sql.messages_by_file(connection, name, list(ports))


async def latest_file_names(store: Store, limit: int) -> list[str]:
    """Return the names of the files that came or went last, each once."""
    async with store.transaction() as connection:
        return await places_sql.latest_file_names(connection, limit)


async def service_jobs(store: Store) -> dict[Stage, list[JobFacts]]:
    """Return the jobs that have one of the four services as a task, by service."""
    found: dict[Stage, list[JobFacts]] = {}
    async with store.transaction() as connection:
        rows = await places_sql.service_jobs(connection, list(Stage))
    for row in rows:
        job = JobFacts(name=row.name, status=row.status, timed=row.timed, next_start=row.next_start)
        found.setdefault(row.handler, []).append(job)
    return found


async def _lane(connection: Connection, port: PortName, lane: LaneName) -> LanePlace:
    row = await places_sql.read_lane(connection, port, lane)
    return LanePlace(
        head=row.head,
        not_before=row.not_before,
        on_error=row.on_error,
        ruled=row.ruled,
        blocked_by=await _other(connection, row.blocked_by),
        parked_by=await _other(connection, row.parked_by),
        first=await _other(connection, row.first),
        holder=await _holder(connection, row.fence),
        waiting=row.waiting,
        held=row.held,
        failed=row.failed,
    )


async def _other(connection: Connection, key: int | None) -> Other | None:
    row = None if key is None else await places_sql.other_message(connection, key)
    return None if row is None else Other(**row._asdict())


async def _holder(connection: Connection, fence: int | None) -> LeaseHolder | None:
    return None if fence is None else await places_sql.holder_of_lease(connection, fence)
