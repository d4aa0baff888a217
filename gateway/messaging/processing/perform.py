"""Run service operations for a claimed chunk, inside the transaction of the unit, each message in its own attempt.

One bad message never changes the outcome of its neighbours: a bulk call that fails is undone and its messages
are gone through one by one.
"""

import asyncio
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import groupby
from uuid import UUID

import structlog

from gateway.contracts.service import ServiceContext, SetOperation
from gateway.db.open import Store
from gateway.db.unit import UnitConnection, UnitTransaction
from gateway.kernel.errors import DuplicateMessage
from gateway.kernel.ids import LaneName, MessageKey, SetKey
from gateway.messaging.flow.port import ServedInbound
from gateway.messaging.processing.breaker import Breaker
from gateway.messaging.processing.decide import Failed, decide, pass_on
from gateway.messaging.processing.duplicates import Duplicates
from gateway.messaging.processing.performed import ChunkResult
from gateway.messaging.processing.prepare import Item, Prepared, Refused
from gateway.messaging.processing.rollback import FailedCompensation, RollbackSet
from gateway.messaging.rules.message import Retry, Work
from gateway.messaging.rules.states import LaneRule, Policy
from gateway.messaging.services.entities import StoredNumbers
from gateway.queues import UnitQueue

log = structlog.get_logger()

_STRICT = (Policy.HALT, Policy.ROLLBACK)
_CHUNK_SECONDS = 5.0
"""After this the rest of a chunk is given back, so that slow operations do not hold the answers of quick ones."""


class ChunkExecution:
    """Goes through the items of one chunk."""

    def __init__(self, store: Store, unit: UnitTransaction, port: ServedInbound, breaker: Breaker) -> None:
        self._store = store
        self._breaker = breaker
        self._unit = unit
        self._port = port
        self._now = datetime.now(UTC)
        self._until = asyncio.get_running_loop().time() + _CHUNK_SECONDS
        self._duplicates = Duplicates(store, unit, port)
        self.result = ChunkResult()

    async def run(self, items: Sequence[Item]) -> ChunkResult:
        """Perform all items: those of a lane in order, a transient failure stops the rest of its lane."""
        for group in _free_groups(items):
            await self._group(group)
        for lane in _lanes(items):
            await self._lane(lane)
        return self.result

    async def _lane(self, items: Sequence[Item]) -> None:
        """Perform a run of a lane in order, up to a message that nothing of the lane may pass."""
        for group in _lane_groups(items):
            first = group[0].work
            if first.policy is Policy.ROLLBACK and first.set_key is not None:
                members = [item for item in items if item.work.set_key == first.set_key]
                if members[0] is group[0]:
                    await self._rollback_set(first.set_key, members)
            elif (stopped := await self._group(group)) is not None:
                given_back = {work.key for work in self.result.released}
                behind = (item for item in items if item.work.key > stopped and item.work.key not in given_back)
                self.result.release(behind)
                return

    async def _group(self, group: Sequence[Item]) -> MessageKey | None:
        """Perform items of one operation: together when the operation can, else one by one.

        Returns the message that nothing of its lane may pass now: it waits, was given back for lack of time, or failed
        where an error stops the lane.
        """
        if await self._together(group):
            return None
        for index, item in enumerate(group):
            work = item.work
            if self.result.is_halted(work):
                continue
            if self._enough():
                self.result.release(group[index:])
                return work.key
            outcome = await self._alone(item)
            in_the_way = isinstance(outcome, Retry) or (
                isinstance(outcome, Failed) and work.lane_rule is not LaneRule.CONTINUE
            )
            if in_the_way and work.lane is not None:
                return work.key
        return None

    def _enough(self) -> bool:
        """Tell whether the rest is given back: answers of what is done must not wait, or the services do not work."""
        return self._breaker.tripped or asyncio.get_running_loop().time() > self._until

    async def _together(self, group: Sequence[Item]) -> bool:
        """Perform a group with one call, when its operation can and none of it is to be held or refused.

        Returns False when that was not possible, or was undone because it failed: then one by one finds the culprit.
        """
        prepared = [item for item in group if isinstance(item, Prepared) and not self.result.is_halted(item.work)]
        if len(prepared) != len(group) or len(group) == 1:
            return False
        operation = prepared[0].found.operation
        if not isinstance(operation, SetOperation):
            return False
        try:
            async with self._unit.attempt():
                seen = await self._duplicates.split(prepared, self.result.done)
                if any(_stops_others(failed.failure.work) for failed in seen.refused):
                    raise DuplicateMessage("a repeated message stops others")
                requests = [item.request for item in seen.new]
                replies = await operation.call_many(requests, self._context()) if requests else []
        except Exception as error:
            pass_on(error, self._unit)
            return False
        if seen.new:
            self._breaker.succeeded()
        self.result.done += zip(seen.new, replies, strict=True)
        self.result.file_repeated(seen)
        return True

    async def _alone(self, item: Item) -> Failed | Retry[Work] | None:
        """Perform one item in an attempt of its own and file its outcome; None when it succeeded."""
        try:
            if isinstance(item, Refused):
                raise item.error
            async with self._unit.attempt():
                seen = await self._duplicates.split([item], self.result.done)
                if seen.new:
                    self._unit.begin_call(item.found.operation.timeout_seconds)
                    reply = await item.found.operation.call(item.request, self._context())
        except Exception as error:
            outcome = self._outcome(item.work, error)
            self._breaker.failed(outcome)
            self.result.file(outcome)
            return outcome
        self.result.file_repeated(seen)
        if seen.new:
            self._breaker.succeeded()
            self.result.done.append((item, reply))
        return seen.refused[0] if seen.refused else None

    def _outcome(self, work: Work, error: Exception) -> Failed | Retry[Work]:
        pass_on(error, self._unit)
        return decide(work, error, most_tries=self._port.settings.process.retries, chance=random.random())  # noqa: S311 jitter

    async def _rollback_set(self, set_key: SetKey, members: Sequence[Item]) -> None:
        """Perform a whole set: all of it, or nothing and the first failure. It waits as a whole, too."""
        if self._breaker.tripped:
            self.result.release(members)
            return
        run = RollbackSet(members, self._store, self._unit, self._context)
        attempt = await run.run(set_key, self._duplicates, self.result.done)
        if attempt.error is None or attempt.failing is None:
            self._breaker.succeeded()
            self.result.done += attempt.done
            self.result.repeated += attempt.repeated
            return
        failing = attempt.failing.work
        outcome = self._outcome(failing, attempt.error)
        left = await run.compensate() if isinstance(outcome, Failed) else []
        outcome = self._in_view_of(outcome, left)
        self._breaker.failed(outcome)
        if isinstance(outcome, Retry):
            why = f"It waits with message {failing.key} of its set: {outcome.text}"
            others = [replace(outcome, item=item.work, text=why) for item in members if item is not attempt.failing]
            self.result.again += [outcome, *others]
            return
        self.result.file(outcome)
        self.result.rolled_back[set_key] = failing.key
        self.result.compensation_failed += left
        if not left:
            self.result.compensated.append(set_key)

    def _in_view_of(self, outcome: Failed | Retry[Work], left: Sequence[FailedCompensation]) -> Failed | Retry[Work]:
        """Return what becomes of a set when some of its effects could not be taken back."""
        if isinstance(outcome, Retry) or not left:
            return outcome
        failure = outcome.failure
        for trouble in left:
            later = self._outcome(failure.work, trouble.error)
            if isinstance(later, Retry):  # the whole set, so that its compensations get another chance
                return later
        text = f"{failure.text.rstrip('.')}. Not all that its set did elsewhere was taken back: see the exceptions."
        return replace(outcome, failure=replace(failure, text=text))

    def _context(self) -> ServiceContext:
        return ServiceContext(
            connection=UnitConnection(self._unit),
            numbers=StoredNumbers(self._unit, self._store),
            job_queue=UnitQueue(UnitConnection(self._unit), self._store.queries),
            now=self._now,
            log=log,
        )


def _stops_others(work: Work) -> bool:
    """Tell whether a failure of this message keeps others from running."""
    in_lane = work.lane is not None and work.lane_rule is not LaneRule.CONTINUE
    return in_lane or (work.set_key is not None and (work.policy is Policy.HALT or work.failures_left is not None))


def _free_groups(items: Sequence[Item]) -> Iterator[list[Item]]:
    """Yield the messages without a lane, those of one operation together: nothing says in which order they run."""
    free = sorted((item for item in items if item.work.lane is None), key=_operation_of)
    yield from _runs(free, lambda item: ())


def _lanes(items: Sequence[Item]) -> Iterator[list[Item]]:
    """Yield the messages of each lane, in order."""
    found: dict[LaneName, list[Item]] = {}
    for item in items:
        if item.work.lane is not None:
            found.setdefault(item.work.lane, []).append(item)
    yield from found.values()


def _lane_groups(items: Sequence[Item]) -> Iterator[list[Item]]:
    """Yield the messages of a lane in runs; a set under Halt or Rollback is never in one run with others."""
    yield from _runs(items, lambda item: item.work.set_key if item.work.policy in _STRICT else ())


def _operation_of(item: Item) -> tuple[str, str]:
    return (item.work.service or "", item.work.operation or "")


def _runs(items: Sequence[Item], apart: Callable[[Item], object]) -> Iterator[list[Item]]:
    """Split into runs that one bulk call may do: same operation and kind; a repeated MessageId begins a new run."""
    for _, alike in groupby(items, key=lambda item: (isinstance(item, Prepared), *_operation_of(item), apart(item))):
        run: list[Item] = []
        seen: set[UUID] = set()
        for item in alike:
            if item.work.message_id in seen:
                yield run
                run, seen = [], set()
            seen.add(item.work.message_id)
            run.append(item)
        yield run
