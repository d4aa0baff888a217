"""Whatever partners, workers and operators do to the queue, in whatever order: the machine that does it at random.

Real store, real `ChunkExecution`, several workers that may die at any moment; after every step all messages, lanes and
sets are compared with the model, and the doctor finds nothing wrong.
"""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar, cast
from uuid import uuid4

from asyncpg import Record
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.config.models import Respond
from gateway.contracts.adapter import SendAdapter
from gateway.contracts.service import Reply, Request, ServiceContext
from gateway.db.open import Store, open_store
from gateway.db.unit import UnitTransaction
from gateway.kernel.errors import LeaseLost, OperationRejected, TransientError
from gateway.kernel.ids import Fence, LaneName, MessageKey
from gateway.kernel.namespaces import Scheme
from gateway.messaging.delivery.promises import SendResult, claim_outbound, record_outbound
from gateway.messaging.intake.writing import ingestion
from gateway.messaging.processing.breaker import Breaker
from gateway.messaging.processing.claims import InboundResult, claim_inbound, record_inbound, take_response_keys
from gateway.messaging.processing.decide import Failed
from gateway.messaging.processing.perform import ChunkExecution, ChunkResult
from gateway.messaging.processing.prepare import Item, Prepared, Refused
from gateway.messaging.processing.responses import cause_of, drafts_of
from gateway.messaging.queue.lanes import set_lane_rule, set_port_rule
from gateway.messaging.queue.leases import end_worker, read_beats, start_incarnation, start_worker, take_back, wake_due
from gateway.messaging.queue.operate import delete, hold, release, release_lane
from gateway.messaging.queue.poison import count_crashes, note_held_loop
from gateway.messaging.rules.lane import lane_of
from gateway.messaging.rules.message import Claimed, NewResponse, Sending, Work
from gateway.messaging.rules.poison import why_not
from gateway.messaging.rules.states import Direction, LaneRule, Outcome, Policy, Reason, Status
from gateway.messaging.services.registry import Found
from gateway.operations.reads.doctor import find_wrong
from tests.factories import ORDERS, a_claim, a_file, a_message
from tests.integration.messaging.test_inbound import a_port
from tests.property.model import STANDING, Ending, Message, MessageSet, Model

Result = TypeVar("Result")

EMPTY = """
DELETE FROM queue; DELETE FROM message; DELETE FROM document; DELETE FROM message_set; DELETE FROM lane;
DELETE FROM lane_rule; DELETE FROM port_rule; DELETE FROM lease; DELETE FROM delivery; DELETE FROM exception
"""
PUT_OFF = """
WITH messages AS (
    UPDATE queue SET not_before = clock_timestamp() + interval '200 s' WHERE message_id = ANY($1::bigint[])
)
UPDATE lane SET not_before = clock_timestamp() + interval '200 s'
WHERE head = ANY($1::bigint[]) AND not_before IS NOT NULL AND fence IS NULL
"""
PASS_TIME = """
WITH messages AS (
    UPDATE queue SET not_before = clock_timestamp() - interval '1 s' WHERE not_before IS NOT NULL
)
UPDATE lane SET not_before = clock_timestamp() - interval '1 s' WHERE not_before IS NOT NULL
"""


class Scripted:
    """An operation that ends for each message as the test says."""

    expects = None
    undoable = True
    idempotent = False
    timeout_seconds = 60.0

    def __init__(self, endings: Mapping[int, Ending]) -> None:
        self._endings = endings

    async def call(self, request: Request, context: ServiceContext) -> Reply:
        match self._endings[request.key]:
            case Ending.BAD | Ending.WORSE as ending:
                raise OperationRejected(f"It can never succeed, because it is {ending}.")
            case Ending.LATER:
                raise TransientError("Not now.")
        return Reply()


class Bench:
    """The real queue on one database, driven from code that is not asynchronous."""

    def __init__(self, url: str, data: Path) -> None:
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        self.store: Store = self.run(self._stack.enter_async_context(open_store(url, data)))
        self.incarnation = self.run(start_incarnation(self.store, "node", "1"))
        self.port = a_port("parallel", 1000)[1]
        process = self.port.settings.process.model_copy(update={"retries": 100})
        respond = Respond(folder=data / "out")
        settings_of_port = self.port.settings.model_copy(update={"process": process, "respond": respond})
        self.port = replace(self.port, settings=settings_of_port, send=cast("SendAdapter", object()))

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return self._runner.run(work)

    def close(self) -> None:
        self.run(self._stack.aclose())
        self._runner.close()

    async def execute(self, sql: str, *values: object) -> None:
        async with self.store.transaction() as connection:
            await connection.execute(sql, *values)

    async def fetch(self, sql: str) -> list[Record]:
        async with self.store.transaction() as connection:
            return list(await connection.fetch(sql))

    async def perform(self, claimed: Claimed[Work], endings: Mapping[int, Ending]) -> list[Message]:
        """Work on a claim as inbound processing does, and record it; returns the answers that were queued."""
        found = Found("SalesOrderService", "create", Scripted(endings))
        async with UnitTransaction(self.store, self.port.name, silent_seconds=0.0) as unit:
            if len(claimed.items) > 1 or claimed.items[0].policy is Policy.ROLLBACK:
                await unit.open()
            prepared = [_unless_it_ran(Prepared(work, _request(work), found)) for work in claimed.items]
            performed = await ChunkExecution(self.store, unit, self.port, Breaker(self.port.name, 0)).run(prepared)
            connection = await unit.open()
            drafts = drafts_of(performed, self.port)
            keys = await take_response_keys(connection, len(drafts))
            answers = [
                _answer(draft.work, key, is_fault=isinstance(draft.content, Failed))
                for draft, key in zip(drafts, keys, strict=True)
            ]
            result = _result(performed)
            result.responses = answers
            result.told = [(d.work.key, cause_of(d.content)) for d in drafts if isinstance(d.content, Failed)]
            result.judged = [work for work in claimed.items if work.judge_anew]
            await record_inbound(self.store, connection, claimed.fence, result)
        await self.execute(PUT_OFF, [again.item.key for again in performed.again])
        return [
            Message(
                key=a.key,
                direction=Direction.OUT,
                answers=a.request.key,
                is_fault=a.is_fault,
                set_key=a.request.set_key,
            )
            for a in answers
        ]

    async def die(self, fence: Fence) -> None:
        """Let the owner of a claim stand still until it is taken back."""
        beats = await read_beats(self.store, self.incarnation)
        assert await take_back(self.store, {fence: beats.leases[fence]}) == 1


class QueueMachine(RuleBasedStateMachine):
    """Everything that may happen to a queue."""

    bench: Bench

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.inbound: dict[Fence, Claimed[Work]] = {}
        self.outbound: dict[Fence, Claimed[Sending]] = {}
        self.workers: list[int] = []
        self.owners: dict[Fence, int] = {}
        self.dead: list[Claimed[Work]] = []
        self.finished: dict[str, list[int]] = {}
        self.always_blocking = True
        self.steps = 0
        self.bench.run(self.bench.execute(EMPTY))
        self._use_port_rule(LaneRule.BLOCK)

    def _use_port_rule(self, chosen: LaneRule) -> None:
        self.bench.run(set_port_rule(self.bench.store, ORDERS, chosen))
        self.model.port_rule = chosen
        self.always_blocking &= chosen is LaneRule.BLOCK

    # what partners do

    @rule(
        conversations=st.lists(st.sampled_from([None, None, "a", "b"]), min_size=1, max_size=4),
        policy=st.sampled_from(Policy), batch=st.booleans(), together=st.sampled_from([None, None, "a"]),
        sequential=st.booleans(),
    )  # fmt: skip
    def drop_file(
        self, conversations: list[str | None], policy: Policy, batch: bool, together: str | None, sequential: bool
    ) -> None:
        """A batch, or single messages of as many files, with conversations of their own or of the whole batch."""
        groups = [conversations] if batch else [[one] for one in conversations]
        for group in groups:
            self.bench.run(self._put(group, policy, batch, together if batch else None, sequential))

    async def _put(
        self, conversations: Sequence[str | None], policy: Policy, batch: bool, together: str | None, sequential: bool
    ) -> None:
        claim = a_claim()
        before = max(self.model.messages, default=0)
        async with ingestion(self.bench.store) as ingesting:
            set_key = await ingesting.new_set() if batch else None
            lanes = [
                lane_of(sequential=sequential, policy=policy if batch else Policy.CONTINUE, set_key=set_key,
                        batch_conversation=together, own_conversation=own, spans_sets=True)
                for own in conversations
            ]  # fmt: skip
            new = [a_message(n, lane=lane) for n, lane in enumerate(lanes, start=1)]
            await ingesting.add_messages(ORDERS, claim.id, "partner", set_key, policy, new)
            file = a_file(claim, members=len(new) if batch else None, policy=policy)
            await ingesting.end_file(file, set_key, [])
        rows = await self.bench.fetch(f"SELECT message_id FROM queue WHERE message_id > {before} ORDER BY message_id")
        if set_key is not None:
            self.model.sets[set_key] = MessageSet(policy=policy, members=len(new))
        self.model.put(
            Message(key=row["message_id"], lane=lane, set_key=set_key, policy=policy if batch else None)
            for row, lane in zip(rows, lanes, strict=True)
        )

    # what workers do

    @precondition(lambda self: len(self.workers) < 3)
    @rule()
    def start_worker(self) -> None:
        self.workers.append(self.bench.run(start_worker(self.bench.store, self.bench.incarnation, 1)))

    @rule(limit=st.integers(1, 7), who=st.integers(0, 3))
    def claim(self, limit: int, who: int = 0) -> None:
        """A worker, or the process of the node itself, takes what may run now: exactly that, in order."""
        owner = ([self.bench.incarnation, *self.workers] * 4)[who]
        self._wake()
        expected = self.model.claimable(limit)
        claimed = self.bench.run(claim_inbound(self.bench.store, owner, ORDERS, limit))
        taken = [] if claimed is None else [work.key for work in claimed.items]
        assert taken == sorted(m.key for m in expected)
        if claimed is not None:
            self.inbound[claimed.fence] = claimed
            self.owners[claimed.fence] = owner
            self.model.claim(claimed.fence, expected)

    @precondition(lambda self: self.inbound)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        """A worker records what it made of its claim."""
        fence = data.draw(st.sampled_from(sorted(self.inbound)), label="claim")
        usual = st.sampled_from([Ending.GOOD, Ending.GOOD, Ending.GOOD, Ending.BAD, Ending.WORSE, Ending.LATER])
        self._finish(fence, [data.draw(usual, label=f"{work.key}") for work in self.inbound[fence].items])

    def _finish(self, fence: Fence, each: Sequence[Ending]) -> None:
        claimed = self.inbound.pop(fence)
        endings = {work.key: ending for work, ending in zip(claimed.items, each, strict=True)}
        result = self.model.perform(claimed.fence, endings)
        answers = self.bench.run(self.bench.perform(claimed, endings))
        self.model.record(claimed.fence, result)
        self.model.put(answers)
        assert sorted(cast("int", a.answers) for a in answers) == sorted(result.answered)
        for m in result.done:
            if m.lane is not None:
                self.finished.setdefault(m.lane, []).append(m.key)

    @precondition(lambda self: self.inbound)
    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        """A worker dies or freezes with its claim, and others take it back."""
        self._die(data.draw(st.sampled_from(sorted(self.inbound)), label="claim"))

    def _die(self, fence: Fence) -> None:
        self.bench.run(self.bench.die(fence))
        self._take_back([fence])

    @precondition(lambda self: self.workers)
    @rule(data=st.data())
    def worker_ends(self, data: st.DataObject) -> None:
        """A worker ends, and somebody may be to blame for it; what it had claimed is ready again at once."""
        worker = data.draw(st.sampled_from(self.workers), label="worker")
        mine = [m for fence in self._claims_of(worker) for m in self.model.claims[fence] if not m.refused]
        keys = st.sampled_from([None, *(m.key for m in mine)])
        crashed, held_by = data.draw(keys, label="crashed"), data.draw(keys, label="held the loop")
        self._end_worker(worker, crashed, None if crashed else held_by)

    def _claims_of(self, owner: int) -> list[Fence]:
        return [fence for fence in self.inbound if self.owners[fence] == owner]

    def _end_worker(self, worker: int, crashed: int | None = None, held_by: int | None = None) -> None:
        self.workers.remove(worker)
        fences, blamed = self._claims_of(worker), [] if crashed is None else [MessageKey(crashed)]
        assert [one.key for one in self.bench.run(count_crashes(self.bench.store, blamed))] == blamed
        if held_by is not None:
            self.bench.run(note_held_loop(self.bench.store, MessageKey(held_by)))
        assert self.bench.run(end_worker(self.bench.store, worker)) == len(fences)
        self.model.blame(blamed, held_by)
        self._take_back(fences)

    def _take_back(self, fences: Sequence[Fence]) -> None:
        for fence in fences:
            self.model.take_back(fence)
            self.dead.append(self.inbound.pop(fence))

    @precondition(lambda self: self.workers)
    @rule(data=st.data())
    def worker_freezes(self, data: st.DataObject) -> None:
        """A worker stands still until others have taken back all that it has; then it may claim again."""
        for fence in self._claims_of(data.draw(st.sampled_from(self.workers), label="worker")):
            self._die(fence)

    @rule()
    def start_anew(self) -> None:
        """The node dies with all its workers; its next start takes everything back, and nobody is to blame."""
        self.bench.incarnation = self.bench.run(start_incarnation(self.bench.store, "node", "1"))
        self.workers.clear()
        self._take_back(list(self.inbound))

    @precondition(lambda self: self.dead)
    @rule()
    def wake_up_late(self) -> None:
        """A worker that was only frozen records what is no longer its own: nothing changes."""
        late = self.dead.pop()
        try:
            self.bench.run(self.bench.perform(late, dict.fromkeys((work.key for work in late.items), Ending.GOOD)))
        except LeaseLost:
            return
        raise AssertionError("a result was taken whose lease had been taken back")

    @rule(limit=st.integers(1, 5), ending=st.sampled_from([Ending.GOOD, Ending.BAD, Ending.LATER, None]))
    def send(self, limit: int, ending: Ending | None) -> None:
        """Answers are sent, fail, wait for their folder, or their sender dies (None)."""
        self._wake()
        expected = [
            m for m in self.model.queue if m.direction is Direction.OUT and self.model.reason(m) is Reason.READY
        ]
        claimed = self.bench.run(claim_outbound(self.bench.store, self.bench.incarnation, ORDERS, limit))
        items = [] if claimed is None else list(claimed.items)
        assert [item.key for item in items] == [m.key for m in expected[:limit]]
        if claimed is None:
            return
        self.model.claim(claimed.fence, expected[:limit])
        if ending is None:
            self.bench.run(self.bench.die(claimed.fence))
            self.model.take_back(claimed.fence)
            return
        result = SendResult()
        match ending:
            case Ending.GOOD:
                result.sent += items
            case Ending.BAD:
                result.failed += [(item, "Never.") for item in items]
            case Ending.LATER:
                result.later += [(item, 200.0, "Away.") for item in items]
        self.bench.run(record_outbound(self.bench.store, claimed.fence, result))
        for m in self.model.claims.pop(claimed.fence):
            m.outcome = Outcome.SENT if ending is Ending.GOOD else None
            m.status, m.held = (Status.ERROR, Reason.FAILED) if ending is Ending.BAD else (Status.READY, m.held)
            m.waits = ending is Ending.LATER

    @rule()
    def pass_time(self) -> None:
        """Everything that waits for a time may be tried again."""
        self.bench.run(self.bench.execute(PASS_TIME))
        self.model.pass_time()

    def _wake(self) -> None:
        self.bench.run(wake_due(self.bench.store))
        self.model.wake()

    # what operators do

    def _some(self, data: st.DataObject) -> list[MessageKey]:
        keys = [MessageKey(m.key) for m in self.model.queue]
        return data.draw(st.lists(st.sampled_from(keys), min_size=1, max_size=3, unique=True), label="messages")

    @precondition(lambda self: self.model.queue)
    @rule(data=st.data())
    def hold(self, data: st.DataObject) -> None:
        keys = self._some(data)
        self.bench.run(hold(self.bench.store, keys))
        self.model.hold(keys)

    @precondition(lambda self: any(m.status in STANDING for m in self.model.queue))
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        standing = [MessageKey(m.key) for m in self.model.queue if m.status in STANDING]
        self._release(
            data.draw(st.lists(st.sampled_from(standing), min_size=1, max_size=3, unique=True), label="messages")
        )

    def _release(self, keys: Sequence[MessageKey]) -> None:
        self.bench.run(release(self.bench.store, keys))
        self.model.release(keys)

    @precondition(lambda self: self.model.queue)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        keys = self._some(data)
        self.bench.run(delete(self.bench.store, keys))
        self.model.delete(keys)

    @rule(chosen=st.sampled_from(LaneRule))
    def rule_port(self, chosen: LaneRule) -> None:
        self._use_port_rule(chosen)

    @precondition(lambda self: self.model.lanes)
    @rule(data=st.data(), chosen=st.sampled_from([*LaneRule, None]))
    def rule_lane(self, data: st.DataObject, chosen: LaneRule | None) -> None:
        lane = data.draw(st.sampled_from(self.model.lanes), label="lane")
        self.bench.run(set_lane_rule(self.bench.store, ORDERS, LaneName(lane), chosen))
        if chosen is None:
            self.model.lane_rules.pop(lane, None)
        else:
            self.model.lane_rules[lane] = chosen
        self.always_blocking &= chosen is LaneRule.BLOCK

    @precondition(lambda self: self.model.lanes)
    @rule(data=st.data())
    def release_lane(self, data: st.DataObject) -> None:
        lane = data.draw(st.sampled_from(self.model.lanes), label="lane")
        self.bench.run(release_lane(self.bench.store, ORDERS, LaneName(lane)))
        self.model.release_lane(lane)

    # what must hold

    @invariant()
    def what_a_step_did_is_right(self) -> None:
        """The doctor asks ten questions; what is wrong stays wrong until he is asked."""
        self.steps += 1
        self.bench.run(self._compare())
        if self.steps % 4 == 0:
            self.bench.run(self._ask_doctor())

    def store_and_model_agree(self) -> None:
        self.bench.run(self._compare())
        self.bench.run(self._ask_doctor())

    async def _compare(self) -> None:
        model = self.model
        async with self.bench.store.transaction() as connection:
            rows = await connection.fetch(
                """SELECT q.message_id, q.direction, q.status, CASE WHEN h.head IS NULL THEN q.reason ELSE 'ready' END,
                          q.attempts, q.lane, q.judge_anew, q.crashes, q.held_loop
                   FROM queue q LEFT JOIN ready_head h ON h.port = q.port AND h.head = q.message_id
                   ORDER BY q.message_id"""
            )
            outcomes = await connection.fetch("SELECT id, outcome FROM message")
            sets = await connection.fetch("SELECT id, processed, failed, deleted, status FROM message_set ORDER BY id")
            lanes = await connection.fetch(
                "SELECT name, head, blocked_by, parked_by, fence IS NOT NULL AS leased FROM lane ORDER BY name"
            )
        assert [tuple(row.values()) for row in rows] == [
            (m.key, m.direction, m.status, model.reason(m), m.attempts, m.lane, m.judge_anew, m.crashes, m.held_loop)
            for m in model.queue
        ]
        assert {row["id"]: row["outcome"] for row in outcomes} == {m.key: m.outcome for m in model.messages.values()}
        assert [tuple(row.values()) for row in sets] == [
            (key, s.processed, s.failed, s.deleted, s.status) for key, s in sorted(model.sets.items())
        ]
        expected = [
            n for n in model.lanes if n in model.parked or model.leased(n) or model.head(n) or model.blocked_by(n)
        ]
        assert [row["name"] for row in lanes] == expected
        for row in lanes:
            name, head = row["name"], model.head(row["name"])
            assert (row["leased"], row["parked_by"]) == (model.leased(name), model.parked.get(name))
            if not row["leased"]:
                assert (row["head"], row["blocked_by"]) == (head and head.key, model.blocked_by(name))

    async def _ask_doctor(self) -> None:
        assert await find_wrong(self.bench.store) == []

    @invariant()
    def nothing_passes_in_lanes_that_block(self) -> None:
        if self.always_blocking:
            assert all(keys == sorted(keys) for keys in self.finished.values())

    def teardown(self) -> None:
        """In the end everything can be finished: by releasing what stands still and giving each its turn."""
        for fence in list(self.inbound):
            self._die(fence)
        for _ in range(200):
            if not self.model.queue:
                break
            self.pass_time()
            standing = [MessageKey(m.key) for m in self.model.queue if m.status in STANDING]
            self._release(standing)
            self.claim(100)
            for fence, claimed in list(self.inbound.items()):
                self._finish(fence, [Ending.GOOD] * len(claimed.items))
            self.send(100, Ending.GOOD)
        for lane in list(self.model.parked):
            self.bench.run(release_lane(self.bench.store, ORDERS, LaneName(lane)))
            self.model.release_lane(lane)
        self.store_and_model_agree()
        assert self.model.queue == [] and self.model.lanes == []
        responses = [m.answers for m in self.model.messages.values() if m.direction is Direction.OUT and not m.is_fault]
        processed = [m.key for m in self.model.messages.values() if m.outcome is Outcome.PROCESSED]
        assert sorted(cast("list[int]", responses)) == sorted(processed)


def _unless_it_ran(item: Prepared) -> Item:
    error = why_not(item.work.key, "create", crashes=item.work.crashes, held_loop=item.work.held_loop)
    return item if error is None else Refused(item.work, error, item)


def _request(work: Work) -> Request:
    return Request(
        key=work.key, port=ORDERS, message_id=work.message_id, service="SalesOrderService", operation="create",
        parts=(), scheme=Scheme.HTTP, company="DAT", partition="initial", user="partner", received_at=datetime.now(UTC),
    )  # fmt: skip


def _answer(work: Work, key: MessageKey, *, is_fault: bool) -> NewResponse:
    return NewResponse(
        key=key,
        request=work,
        port=ORDERS,
        message_id=uuid4(),
        file_name=f"{key}.xml",
        content=b"<r/>",
        is_fault=is_fault,
    )


def _result(performed: ChunkResult) -> InboundResult:
    return InboundResult(
        done=[(item.work, []) for item, _ in performed.done],
        failed=[failed.failure for failed in performed.failed],
        again=list(performed.again),
        released=performed.released, halted=performed.halted, rolled_back=performed.rolled_back,
    )  # fmt: skip
