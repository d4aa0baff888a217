"""Inbound processing: requests become effects and responses, in one transaction per chunk."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import TypeVar

import structlog

from gateway.contracts.task import TaskContext
from gateway.db.open import Store
from gateway.db.unit import UnitTransaction
from gateway.kernel.faultpoints import reach
from gateway.kernel.ids import PortName
from gateway.kernel.meter import METER
from gateway.messaging.flow.port import Served, ServedInbound
from gateway.messaging.flow.port_state import Health, why_busy
from gateway.messaging.processing.breaker import Breaker, DatabasePause
from gateway.messaging.processing.claims import InboundResult, claim_inbound, record_inbound, take_response_keys
from gateway.messaging.processing.decide import Failed, words_of
from gateway.messaging.processing.perform import ChunkExecution
from gateway.messaging.processing.performed import ChunkResult
from gateway.messaging.processing.prepare import Item, Prepared, prepare
from gateway.messaging.processing.rejudge import is_judged, judge_anew
from gateway.messaging.processing.responses import Draft, build_responses, cause_of, drafts_of
from gateway.messaging.processing.rollback import FailedCompensation
from gateway.messaging.processing.suspects import HandOver, keep
from gateway.messaging.processing.units import Shares, UnitRunner
from gateway.messaging.queue.exceptions import Entry
from gateway.messaging.queue.leases import give_back
from gateway.messaging.queue.port_health import why_stopped
from gateway.messaging.rules.message import Claimed, Work
from gateway.messaging.rules.pace import Alternation
from gateway.messaging.rules.states import Policy, PortState
from gateway.messaging.services.registry import Registry
from gateway.xml.pool import XmlPool

log = structlog.get_logger()
T = TypeVar("T")


class InboundStage:
    """The task that runs service operations for queued requests."""

    def __init__(
        self, *, store: Store, incarnation: int, ports: Served, registry: Registry, pool: XmlPool, executor: Executor,
        trouble: Health, chunk: int, hand_over: HandOver = keep,
    ) -> None:  # fmt: skip
        self._store = store
        self._incarnation = incarnation
        self._ports = ports
        self.registry = registry
        self._pool = pool
        self._executor = executor
        self._trouble = trouble
        self._pauses: defaultdict[PortName, DatabasePause] = defaultdict(DatabasePause)
        self._kinds: defaultdict[PortName, Alternation] = defaultdict(Alternation)
        self._shares = Shares(chunk)
        self._runner = UnitRunner(
            store=store, ports=lambda: ports.inbound, claim=self._claim, process=self._process, trouble=trouble,
            shares=self._shares, hand_over=hand_over,
        )  # fmt: skip

    async def run(self, context: TaskContext) -> None:
        """Process queued requests until none is left and none can come."""
        await self._runner.run(context)

    async def _claim(self, port: ServedInbound, limit: int) -> Claimed[Work] | None:
        """Claim the next unit of a port, within what a parallel port may have in work at the same time."""
        process, pause = port.settings.process, self._pauses[port.name]
        limit = pause.take(limit)
        if not limit:
            return None
        chunk = await claim_inbound(
            self._store, self._incarnation, port.name, limit, at_once=None if port.sequential else process.max_parallel,
            most_failures=process.pause_after_failures, kinds=self._kinds[port.name],
        )  # fmt: skip
        if chunk is not None:
            pause.claimed()
        return chunk

    def try_now(self, name: PortName) -> None:
        """Ask the database at once, when the port leaves it alone: an operator says that the cause is mended."""
        self._pauses[name].try_now()

    async def _process(self, port: ServedInbound, chunk: Claimed[Work], context: TaskContext) -> int:
        """Work on a unit and record it; returns how many of its messages ran."""
        works = await judge_anew(chunk.items, port, self._pool)
        judged = [work for work in works if isinstance(work, Work) and is_judged(work)]
        items = await self._in_thread(prepare, works, port, self.registry, self._ports.settings)
        reach("inbound.before_effects")
        if context.stopping.is_set():  # nothing of it has begun
            await give_back(self._store, chunk.fence)
            return 0
        return await self._execute(port, chunk, items, judged, context)

    async def _execute(
        self, port: ServedInbound, chunk: Claimed[Work], items: Sequence[Item], judged: Sequence[Work],
        context: TaskContext,
    ) -> int:  # fmt: skip
        """Do the work of a unit and record it, all in one transaction; that of one message begins when it asks."""
        breaker, pause = Breaker(port.name, port.settings.process.pause_after_failures), self._pauses[port.name]
        slowest = max((i.found.operation.timeout_seconds for i in items if isinstance(i, Prepared)), default=0.0)
        async with UnitTransaction(self._store, port.name, silent_seconds=slowest, weight=port.weight) as unit:
            if len(items) > 1 or items[0].work.policy is Policy.ROLLBACK:
                await unit.open_at_once()
            performed = await ChunkExecution(self._store, unit, port, breaker).run(items)
            pause.met(breaker)
            drafts = drafts_of(performed, port)
            connection = await unit.open()
            keys = await take_response_keys(connection, len(drafts))
            responses = await self._in_thread(build_responses, drafts, keys, port)
            result = _result(performed)
            result.responses, result.logging = responses, port.logging
            result.judged, result.services = judged, breaker.found
            result.told = [(d.work.key, cause_of(d.content)) for d in drafts if isinstance(d.content, Failed)]
            turn = await record_inbound(self._store, connection, chunk.fence, result)
            reach("inbound.before_commit")
        reach("inbound.after_commit")
        await self._trouble.stopped(port.name, None if pause.busy is None else why_busy(pause.busy))
        if turn is PortState.STOPPED:
            log.error("port.stopped", port=port.name, reason=why_stopped(breaker.found))
        elif turn is PortState.OPEN:
            log.info("port.resumed", port=port.name)
        self._tell(port, performed, drafts, context)
        return len(items) - len(performed.released)

    async def _in_thread(self, compute: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, METER.get().timed, compute, *arguments)

    def _tell(self, port: ServedInbound, performed: ChunkResult, drafts: list[Draft], context: TaskContext) -> None:
        context.tally.add("messages", len(performed.done))
        context.tally.add("failed", len(performed.failed))
        context.tally.add("retries", len(performed.again))
        if drafts:
            context.feed.produced()
        log.info(
            "messages.processed", port=port.name, stage="inbound", processed=len(performed.done),
            failed=len(performed.failed), retried=len(performed.again), responses=len(drafts),
        )  # fmt: skip
        for failed in performed.failed:
            failure = failed.failure
            log.warning(
                "message.failed", port=port.name, stage="inbound", message_key=failure.work.key,
                message_id=str(failure.work.message_id), file=failure.work.file_display, code=failure.code,
                error=failure.text[:500],
            )  # fmt: skip


def _lasting_effect(left: FailedCompensation) -> Entry:
    work, error = left.work, left.error
    text = (
        f"What {work.service}.{work.operation} did for this message outside the database was not taken back: "
        f"{words_of(error)}. Take it back by hand, or mend the compensation and release the set."
    )
    return Entry(
        code="compensation.failed", text=text, port=work.port, set_key=work.set_key, message_key=work.key,
        message_id=work.message_id, file=work.file_display,
    )  # fmt: skip


def _result(performed: ChunkResult) -> InboundResult:
    return InboundResult(
        done=[(item.work, [pair for key in reply.entity_keys for pair in key]) for item, reply in performed.done],
        failed=[failed.failure for failed in performed.failed],
        again=performed.again,
        released=performed.released,
        repeated=performed.repeated,
        compensated=performed.compensated,
        warnings=[_lasting_effect(one) for one in performed.compensation_failed],
        halted=performed.halted,
        rolled_back=performed.rolled_back,
    )
