"""Why something is where it is: the facts around one message, one lane, one file name."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from asyncpg import Connection

from gateway.batch.rules.job import JobStatus
from gateway.db.open import Store
from gateway.explanations.facts import Answered, DeliveryFacts, JobFacts, Other, SetFacts
from gateway.kernel.ids import LaneName, MessageKey, PortName
from gateway.messaging.rules.states import Policy, Reason, Stage, Status

_MOST_DELIVERIES = 5
_LATEST_MESSAGES = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseHolder:
    """A lease and the process that holds it, as far as the store knows."""

    fence: int
    stage: str
    port: str
    taken_at: datetime
    host: str
    pid: int
    stopped_at: datetime | None
    lost_at: datetime | None
    silent_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class IntakeTurn:
    """The process that takes the files of a port, as far as the store knows."""

    since: datetime
    host: str
    pid: int
    stopped_at: datetime | None
    lost_at: datetime | None
    silent_seconds: float


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
    sql = store.queries
    async with store.transaction() as connection:
        row = await connection.fetchrow(sql.place_of_message, key)
        fence = row["fence"] if row is not None else await connection.fetchval(sql.fence_of_request, key)
        set_key = None if row is None else row["set_key"]
        ahead = None if lane is None else await connection.fetchval(sql.nearest_ahead, port, lane, key)
        culprit = None if set_key is None else await connection.fetchval(sql.culprit_of_set, set_key)
        answers = await connection.fetch(sql.answers_of_message, key)
        return MessagePlace(
            set_key=set_key,
            policy=Policy(row["policy"]) if row is not None and row["policy"] else None,
            file=None if row is None else row["file"],
            staged_name=None if row is None else row["staged_name"],
            before=0 if row is None else row["before"],
            holder=await _holder(store, connection, fence),
            lane=None if lane is None else await _lane(store, connection, port, lane),
            ahead=await _other(store, connection, ahead),
            culprit=await _other(store, connection, culprit),
            answers=[
                Answered(**{**answer, "reason": None if answer["reason"] is None else Reason(answer["reason"])})
                for answer in answers
            ],
        )


async def read_lane(store: Store, port: PortName, lane: LaneName) -> LanePlace:
    """Return a lane and what stands in it; an empty one has no head and counts of zero."""
    async with store.transaction() as connection:
        return await _lane(store, connection, port, lane)


async def sets_named(store: Store, text: str, ports: Sequence[str]) -> list[SetFacts]:
    """Return the message sets with this number, as `set:17`, or with this batch id, the newest first."""
    number = text.removeprefix("set:")
    key = int(number) if text.startswith("set:") and number.isdecimal() and len(number) <= 18 else None
    async with store.transaction() as connection:
        rows = await connection.fetch(store.queries.sets_named, key, text, list(ports))
    return [SetFacts(**row) for row in rows]


async def lanes_named(store: Store, name: str) -> list[tuple[PortName, LaneName]]:
    """Return the lanes of this name, of any port, that have something unfinished."""
    async with store.transaction() as connection:
        rows = await connection.fetch(store.queries.lanes_named, name)
    return [(PortName(row["port"]), LaneName(row["name"])) for row in rows]


async def lane_was(store: Store, port: PortName, lane: LaneName) -> bool:
    """Tell whether messages of a lane were seen lately, finished ones too."""
    kind, _, rest = lane.partition(":")
    number = rest.partition(":")[0]
    set_key = int(number) if kind == "set" and number.isdecimal() and len(number) <= 18 else None
    conversation = rest if kind == "conversation" else None
    async with store.transaction() as connection:
        found: bool = await connection.fetchval(store.queries.lane_was, port, conversation, set_key, _LATEST_MESSAGES)
        return found


async def messages_in_work(store: Store, port: PortName, stage: Stage | None = None) -> int:
    """Return how many messages of a port are claimed now, by anybody; by one *stage*, or by all."""
    async with store.transaction() as connection:
        return int(await connection.fetchval(store.queries.messages_in_work, port, stage))


async def ports_in_work(store: Store, stage: Stage) -> set[PortName]:
    """Return the ports that the stage works on now, in any process."""
    async with store.transaction() as connection:
        return {PortName(row["port"]) for row in await connection.fetch(store.queries.ports_in_work, stage)}


async def turn_of_intake(store: Store, port: PortName) -> IntakeTurn | None:
    """Return whose turn it is to take the files of a port; None while every node is idle there."""
    async with store.transaction() as connection:
        row = await connection.fetchrow(store.queries.turn_of_intake, port)
    return None if row is None else IntakeTurn(**row)


async def deliveries_named(store: Store, name: str) -> list[DeliveryFacts]:
    """Return the latest files of this name that were taken, the newest first."""
    async with store.transaction() as connection:
        rows = await connection.fetch(store.queries.deliveries_named, os.fsencode(name), _MOST_DELIVERIES)
    return [DeliveryFacts(**row) for row in rows]


async def unfinished_of_claim(store: Store, claim_id: str, limit: int) -> list[MessageKey]:
    """Return messages of a file that are not finished, those that need somebody first."""
    async with store.transaction() as connection:
        rows = await connection.fetch(store.queries.unfinished_of_claim, claim_id, limit)
    return [MessageKey(row["key"]) for row in rows]


async def messages_by_file(store: Store, name: str, ports: Sequence[str]) -> list[MessageKey]:
    """Return the messages whose file is written under this name."""
    async with store.transaction() as connection:
        rows = await connection.fetch(store.queries.messages_by_file, name, list(ports))
    return [MessageKey(row["key"]) for row in rows]


async def latest_file_names(store: Store, limit: int) -> list[str]:
    """Return the names of the files that came or went last, each once."""
    async with store.transaction() as connection:
        return [row["name"] for row in await connection.fetch(store.queries.latest_file_names, limit)]


async def service_jobs(store: Store) -> dict[Stage, list[JobFacts]]:
    """Return the jobs that have one of the four services as a task, by service."""
    found: dict[Stage, list[JobFacts]] = {}
    async with store.transaction() as connection:
        rows = await connection.fetch(store.queries.service_jobs, list(Stage))
    for row in rows:
        job = JobFacts(
            name=row["name"], status=JobStatus(row["status"]), timed=row["timed"], next_start=row["next_start"]
        )  # fmt: skip
        found.setdefault(Stage(row["handler"]), []).append(job)
    return found


async def _lane(store: Store, connection: Connection, port: PortName, lane: LaneName) -> LanePlace:
    row = await connection.fetchrow(store.queries.read_lane, port, lane)
    assert row is not None  # its FROM always gives one
    return LanePlace(
        head=row["head"],
        not_before=row["not_before"],
        on_error=row["on_error"],
        ruled=row["ruled"],
        blocked_by=await _other(store, connection, row["blocked_by"]),
        parked_by=await _other(store, connection, row["parked_by"]),
        first=await _other(store, connection, row["first"]),
        holder=await _holder(store, connection, row["fence"]),
        waiting=row["waiting"],
        held=row["held"],
        failed=row["failed"],
    )


async def _other(store: Store, connection: Connection, key: int | None) -> Other | None:
    row = None if key is None else await connection.fetchrow(store.queries.other_message, key)
    if row is None:
        return None
    return Other(**{**row, "status": Status(row["status"]), "reason": Reason(row["reason"])})


async def _holder(store: Store, connection: Connection, fence: int | None) -> LeaseHolder | None:
    row = None if fence is None else await connection.fetchrow(store.queries.holder_of_lease, fence)
    return None if row is None else LeaseHolder(**row)
