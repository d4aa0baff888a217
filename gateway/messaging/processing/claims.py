"""Inbound work in the queue: claim a chunk, record what became of it."""

import json
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from asyncpg import Connection, LockNotAvailableError

from gateway.db.open import Store
from gateway.db.slices import cooperative_map
from gateway.kernel.errors import GatewayError
from gateway.kernel.ids import Fence, LaneName, MessageKey, PortName, SetKey
from gateway.kernel.namespaces import MESSAGE_2011, kept_of
from gateway.kernel.problem import Problem
from gateway.messaging.intake.writing import problems_json
from gateway.messaging.queue.exceptions import Entry, insert_exceptions
from gateway.messaging.queue.lanes import lock_lanes, park_lanes, recompute_heads
from gateway.messaging.queue.leases import CLAIM_BYTES, claim_in_turn, draw_fence, drop_lease, take_lease
from gateway.messaging.queue.port_health import begin_try, record_health
from gateway.messaging.queue.processed import give_up_processed
from gateway.messaging.rules.health import PAUSE_SECONDS, Findings, ServiceHealth
from gateway.messaging.rules.message import Claimed, Failure, NewResponse, Retry, Work
from gateway.messaging.rules.pace import Alternation, Kind
from gateway.messaging.rules.poison import MOST_CRASHES
from gateway.messaging.rules.states import Direction, LaneRule, LoggingMode, Policy, PortState, Reason, Stage, Status
from gateway.messaging.statements import inbound_sql, ingest_sql, operate_sql, sets_sql
from gateway.messaging.statements.inbound_sql import ClaimedMessage, OldestClaimable


@dataclass(slots=True, kw_only=True)
class InboundResult:
    """What became of a claimed chunk; every item stands in exactly one of the lists.

    `halted` maps a set to the message that failed in it (those after it are held; 0: all that are not done),
    `rolled_back` likewise (all others are held). `logging` says what is kept of those that are done; `repeated` are
    those of them that were processed before. `compensated` are rolled back sets that left nothing outside the database.
    `judged` were judged anew; `told` are the failed whose sender is told of a cause, with that cause. `services` is
    what was found out about those of the port.
    """

    done: list[tuple[Work, Sequence[tuple[str, str]]]] = field(default_factory=list)
    repeated: list[Work] = field(default_factory=list)
    compensated: list[SetKey] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)
    again: list[Retry[Work]] = field(default_factory=list)
    released: list[Work] = field(default_factory=list)
    halted: dict[SetKey, MessageKey] = field(default_factory=dict)
    rolled_back: dict[SetKey, MessageKey] = field(default_factory=dict)
    responses: list[NewResponse] = field(default_factory=list)
    warnings: list[Entry] = field(default_factory=list)
    judged: Sequence[Work] = ()
    told: list[tuple[MessageKey, bytes]] = field(default_factory=list)
    logging: LoggingMode = LoggingMode.ORIGINAL
    services: Findings | None = None


class PortContended(GatewayError):
    """Others are just making a claim of the port, or are ending one and it is full: ask again in a moment.

    Who waited for them in the database would keep other ports waiting, and they may be frozen in the middle of it.
    """

    code = "port.contended"


async def claim_inbound(
    store: Store, incarnation: int, port: PortName, limit: int, *, at_once: int | None = None, most_failures: int = 0,
    kinds: Alternation | None = None,
) -> Claimed[Work] | None:  # fmt: skip
    """Lease up to *limit* messages of a port: lanes or messages without a lane first, the rest of the other kind.

    `kinds` remembers which kind came first in earlier claims; without it the one with the older message does.
    `at_once` is how many messages of the port may be in work at the same time, in all gateways together; when other
    nodes have that many, they hint at this stage as soon as one of their claims ends. `most_failures` of services in a
    row pause the port (0: none do): then nothing is claimed, or one message to try whether they work again.
    Rule: of a lane a run from its head is taken, in order; nobody else gets the lane before the result is
    recorded. Fewer are taken when they are large. A Rollback set is taken whole, however long it is. None when there
    is nothing to do.
    Raises: PortContended.
    """
    async with store.transaction() as connection, _without_waiting(port):
        oldest, health, limit = await _look(connection, incarnation, port, most_failures, limit, at_once)
        if not limit or (oldest.lane is None and oldest.free is None):
            return None
        kinds = kinds or Alternation()
        first = kinds.first(oldest.lane, oldest.free)
        kinds.took(first, other_waited=None not in (oldest.lane, oldest.free))
        fence = await draw_fence(connection)
        taken: list[MessageKey] = []
        if health.is_trying and not await begin_try(connection, port, fence, oldest.trying):
            limit = 0
        for kind in (first, *(other for other in Kind if other is not first)):
            waiting, claim = (
                (oldest.lane, inbound_sql.claim_lanes) if kind is Kind.LANE else (oldest.free, inbound_sql.claim_free)
            )
            if len(taken) < limit and waiting is not None:
                taken += await claim(connection, port, fence, limit - len(taken), CLAIM_BYTES)
        if not taken:
            return None
        await take_lease(connection, fence, incarnation, Stage.INBOUND, port, len(taken))
        rows = await inbound_sql.read_claimed(connection, fence)
    return Claimed(fence=fence, items=await cooperative_map(_work, rows))


@asynccontextmanager
async def _without_waiting(port: PortName) -> AsyncIterator[None]:
    try:
        yield
    except LockNotAvailableError as error:
        raise PortContended(f"Others are just making a claim of the port '{port}'.", port=port) from error


async def _look(
    connection: Connection, incarnation: int, port: PortName, most_failures: int, limit: int,
    at_once: int | None,
) -> tuple[OldestClaimable, ServiceHealth, int]:  # fmt: skip
    """Return what is the oldest of a port, what is known of its services, and how many of *limit* may be claimed.

    When there is no room, the nodes that work on the port tell when there is some. Only other nodes are asked to tell;
    what this one has in work itself it sees end.
    """
    if at_once is not None:
        await claim_in_turn(connection, port)
    row, health = await _ask(connection, port, most_failures)
    if not health.room(limit, at_once) and not health.is_waiting:
        are_ending = await inbound_sql.await_room(connection, port, incarnation)
        row, health = await _ask(connection, port, most_failures)
        if are_ending and not health.room(limit, at_once):
            raise PortContended(f"Others are just ending claims of the port '{port}', which is full.", port=port)
    return row, health, health.room(limit, at_once)


async def _ask(connection: Connection, port: PortName, most_failures: int) -> tuple[OldestClaimable, ServiceHealth]:
    row = await inbound_sql.oldest_claimable(connection, port, PAUSE_SECONDS)
    assert row is not None
    health = ServiceHealth(
        most=most_failures, failures=row.failures, is_paused=row.is_paused, is_due=bool(row.is_due),
        in_work=row.in_work,
    )  # fmt: skip
    return row, health


async def take_response_keys(connection: Connection, count: int) -> list[MessageKey]:
    """Draw numbers for responses inside the completing transaction."""
    return await ingest_sql.take_keys(connection, count) if count else []


async def record_inbound(store: Store, connection: Connection, fence: Fence, result: InboundResult) -> PortState | None:
    """Record a chunk inside the transaction that also holds the handlers' effects.

    Returns STOPPED when it made the port pause, OPEN when it ended a pause.
    Raises: LeaseLost when the claim was taken back meanwhile; the caller's transaction rolls everything back.
    """
    failures = await drop_lease(store, connection, fence)
    too_many = await _count_in_sets(connection, result)
    halted = {**result.halted, **dict.fromkeys(too_many, MessageKey(0))}
    loose = [key for key, after in halted.items() if after == 0]  # sets whose members need not stand in our lanes
    waiting = await inbound_sql.lanes_of_sets(connection, loose) if loose else []
    if result.compensated:
        await sets_sql.forget_beginnings(connection, sorted(result.compensated))
    lanes = await lock_lanes(connection, [(row.port, row.lane) for row in waiting], fences=[fence])
    if result.judged:
        await inbound_sql.write_verdicts(
            connection,
            [work.key for work in result.judged],
            [work.checked for work in result.judged],
            [problems_json(work.problems) for work in result.judged],
        )
    if result.done:
        finished = [work.key for work, _ in result.done]
        if result.logging is LoggingMode.OFF:
            await inbound_sql.forget_finished(connection, finished)
        else:
            await inbound_sql.finish_inbound(connection, finished, [_keys_literal(keys) for _, keys in result.done])
        if result.logging is LoggingMode.HEADER:
            await inbound_sql.forget_documents(connection, finished)
    if result.failed:
        await inbound_sql.fail_inbound(
            connection,
            [f.work.key for f in result.failed],
            [f.text[:2000] for f in result.failed],
            MOST_CRASHES,
        )
        await insert_exceptions(connection, [_entry(failure) for failure in result.failed])
    if unsuccessful := [*(failure.work for failure in result.failed), *(retry.item for retry in result.again)]:
        await give_up_processed(connection, unsuccessful)
    if result.told:
        await inbound_sql.note_faults(connection, [key for key, _ in result.told], [cause for _, cause in result.told])
    if result.again:
        await inbound_sql.retry_inbound(connection, [retry.item.key for retry in result.again],
            [retry.text[:2000] for retry in result.again], [retry.delay_seconds for retry in result.again],
            [retry.is_free for retry in result.again], [retry.busy is not None for retry in result.again],
        )  # fmt: skip
    if result.released:
        await inbound_sql.release_inbound(connection, [work.key for work in result.released])
    for set_key, after in halted.items():
        await inbound_sql.hold_set_after(connection, set_key, after, fence)
    for set_key, failed in result.rolled_back.items():
        await inbound_sql.hold_rolled_back(connection, set_key, failed, fence)
    await insert_exceptions(connection, [*result.warnings, *map(_repetition, result.repeated)])
    await _put_responses(connection, result.responses)
    failed_in_lanes = [failure.work.key for failure in result.failed if failure.work.lane is not None]
    if failed_in_lanes:
        await park_lanes(connection, fence, failed_in_lanes)
    await recompute_heads(connection, lanes, fences=[fence])
    return None if result.services is None else await record_health(connection, result.services, failures)


async def _count_in_sets(connection: Connection, result: InboundResult) -> list[SetKey]:
    """Count what was processed and what failed of each set; returns the sets whose rest is to be held."""
    processed = Counter(work.set_key for work, _ in result.done if work.set_key is not None)
    failed = Counter(f.work.set_key for f in result.failed if f.work.set_key is not None)
    if len(touched := {*processed, *failed}) > 1:  # of one the count itself is the lock
        await operate_sql.lock_sets(connection, sorted(touched))
    if processed:
        await inbound_sql.count_processed_in_sets(connection, list(processed), list(processed.values()))
    if not failed:
        return []
    statuses = ["rolled_back" if key in result.rolled_back else "error" for key in failed]
    rows = await inbound_sql.fail_sets(connection, list(failed), statuses, list(failed.values()))
    return [row.id for row in rows if row.too_many]


async def _put_responses(connection: Connection, responses: Sequence[NewResponse]) -> None:
    if not responses:
        return
    await connection.copy_records_to_table(
        "message",
        columns=("id", "direction", "port", "set_id", "position", "request_id", "message_id", "namespace", "service",
                 "operation", "company", "partition_key", "conversation_id", "size_bytes", "is_fault", "file_name"),
        records=[
            (r.key, Direction.OUT, r.port, r.request.set_key, r.request.position, r.request.key, r.message_id,
             kept_of(r.request.namespace), r.request.service, r.request.operation, r.request.company,
             r.request.partition_key,
             r.request.conversation_id, len(r.content), r.is_fault, r.file_name)
            for r in responses
        ],
    )  # fmt: skip
    await connection.copy_records_to_table(
        "document",
        columns=("message_id", "version", "step", "content"),
        records=[(r.key, 0, "response", r.content) for r in responses],
    )
    await connection.copy_records_to_table(
        "queue",
        columns=("message_id", "port", "direction", "status", "reason", "set_id"),
        records=[(r.key, r.port, Direction.OUT, Status.READY, Reason.READY, r.request.set_key) for r in responses],
    )


def _repetition(work: Work) -> Entry:
    what = "A message with the same content" if work.message_id_sent is None else f"The message {work.message_id_sent}"
    text = f"{what} was processed before; it did not run again and got the same response."
    return Entry(
        code="message.replayed", text=text, severity="warning", port=work.port, set_key=work.set_key,
        message_key=work.key, message_id=work.message_id, file=work.file_display,
    )  # fmt: skip


def _entry(failure: Failure) -> Entry:
    work = failure.work
    place = failure.problems[0] if failure.problems else None
    return Entry(
        code=failure.code, text=failure.text, port=work.port, set_key=work.set_key, message_key=work.key,
        message_id=work.message_id, file=work.file_display, line=place.line if place else None,
        column=place.column if place else None, path=place.path if place else None, details=failure.problems,
        traceback=failure.traceback,
    )  # fmt: skip


def _keys_literal(keys: Sequence[tuple[str, str]]) -> str:
    """Write natural keys as a one-dimensional array literal, `{SalesId=SO-1,...}` quoted."""
    quoted = (f"{name}={value}".replace("\\", "\\\\").replace('"', '\\"') for name, value in keys)
    return "{" + ",".join(f'"{text}"' for text in quoted) + "}"


def _work(row: ClaimedMessage) -> Work:
    (key, port, set_key, policy, lane, position, attempts, crashes, held_loop, store_waits, version, message_id,
     message_id_sent, namespace, action, service, operation, company, partition_key, conversation_id, logon_as_user,
     submitter, parts, checked, problems, content, display, created_at, lane_rule, failures_left, judge_anew,
     faults) = row  # fmt: skip
    return Work(
        key=MessageKey(key), port=PortName(port), set_key=None if set_key is None else SetKey(set_key),
        policy=None if policy is None else Policy(policy), lane=None if lane is None else LaneName(lane),
        lane_rule=LaneRule.CONTINUE if lane_rule is None else LaneRule(lane_rule), failures_left=failures_left,
        position=position, attempts=attempts, crashes=crashes, held_loop=held_loop, store_waits=store_waits,
        version=version, message_id=message_id, message_id_sent=message_id_sent,
        namespace=MESSAGE_2011 if namespace is None else namespace, action=action, service=service,
        operation=operation, company=company, partition_key=partition_key, conversation_id=conversation_id,
        logon_as_user=logon_as_user, submitter=submitter, parts=tuple(parts), checked=checked,
        problems=() if problems is None else tuple(Problem(**problem) for problem in json.loads(problems)),
        content=content, file_display=display, received_at=created_at, judge_anew=judge_anew,
        faults=tuple(faults or ()),
    )  # fmt: skip
