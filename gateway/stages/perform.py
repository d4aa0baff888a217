"""Run service operations for a claimed chunk, inside one transaction, each message on its own savepoint.

One bad message never changes the outcome of its neighbours: a bulk call that fails is undone and its messages
are gone through one by one.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import groupby

import structlog
from asyncpg import Connection

from gateway.contracts.service import Reply, ServiceContext, SetOperation
from gateway.domain.errors import DuplicateMessage
from gateway.domain.ids import LaneName, MessageKey, SetKey
from gateway.domain.message import Work
from gateway.domain.states import LaneRule, Policy
from gateway.stages.breaker import Breaker
from gateway.stages.decide import Failed, TryAgain, decide, pass_on
from gateway.stages.duplicates import Duplicates, Seen
from gateway.stages.port import OpenInbound
from gateway.stages.prepare import Item, Prepared, Refused
from gateway.stages.rollback import NotTakenBack, RollbackSet
from gateway.store.entities import StoredNumbers
from gateway.store.errors import database_errors
from gateway.store.open import Store

log = structlog.get_logger()

_CHUNK_SECONDS = 5.0
"""After this the rest of a chunk is given back, so that slow operations do not hold the answers of quick ones."""


@dataclass(slots=True)
class Performed:
    """What became of the chunk; every item stands in exactly one of the lists.

    `halted` maps a set to the message behind which nothing of it runs (0: after too many failures), `rolled_back` to
    its failed message; members that did not run stand in none of the lists, the store holds them. `repeated` are those
    of the done that did not run, because they were processed before. `taken_back` are the rolled back sets that left
    nothing outside the database, `not_taken_back` the messages of others that did.
    """

    done: list[tuple[Prepared, Reply]] = field(default_factory=list)
    repeated: list[Work] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)
    again: list[TryAgain] = field(default_factory=list)
    released: list[Work] = field(default_factory=list)
    halted: dict[SetKey, MessageKey] = field(default_factory=dict)
    rolled_back: dict[SetKey, MessageKey] = field(default_factory=dict)
    taken_back: list[SetKey] = field(default_factory=list)
    not_taken_back: list[NotTakenBack] = field(default_factory=list)


class Performance:
    """Goes through the items of one chunk."""

    def __init__(self, store: Store, connection: Connection, port: OpenInbound, breaker: Breaker) -> None:
        self._store = store
        self._breaker = breaker
        self._connection = connection
        self._port = port
        self._now = datetime.now(UTC)
        self._until = asyncio.get_running_loop().time() + _CHUNK_SECONDS
        self._failures: Counter[SetKey] = Counter()
        self._duplicates = Duplicates(store, connection, port)
        self.result = Performed()

    async def run(self, items: Sequence[Item]) -> Performed:
        """Perform all items: those of a lane in order, a transient failure stops the rest of its lane."""
        free = [item for item in items if item.work.lane is None]
        for group in _groups(sorted(free, key=_operation_name), bulk_any=True):
            await self._group(group)
        for lane_items in _by_lane(items):
            await self._lane(lane_items)
        return self.result

    async def _lane(self, items: Sequence[Item]) -> None:
        """Perform a run of a lane in order, up to a message that nothing of the lane may pass."""
        for group in _groups(items, bulk_any=False):
            first = group[0].work
            if first.set_key is not None and first.policy is Policy.ROLLBACK:
                members = [item for item in items if item.work.set_key == first.set_key]
                if members[0] is group[0]:
                    await self._rollback_set(members)
                continue
            stopped = await self._group(group)
            if stopped is not None:
                told = {work.key for work in self.result.released}
                self.result.released += [
                    item.work for item in items
                    if item.work.key > stopped and item.work.key not in told and not self._halted(item.work)
                ]  # fmt: skip
                return

    async def _group(self, group: Sequence[Item]) -> MessageKey | None:
        """Perform items of one operation: together when the operation can, else one by one.

        Returns the message that nothing of its lane may pass now: it waits, was given back for lack of time, or failed
        where an error stops the lane.
        """
        prepared = [item for item in group if isinstance(item, Prepared) and not self._halted(item.work)]
        if len(prepared) == len(group) > 1 and isinstance(prepared[0].found.operation, SetOperation):
            try:
                done, seen = await self._together(prepared)
            except Exception as error:  # the set is undone; going one by one finds the culprit
                pass_on(error, self._connection)
            else:
                self.result.done += done
                self._file_repeated(seen)
                return None
        for index, item in enumerate(group):
            if self._halted(item.work):
                continue
            if self._enough():
                self.result.released += [other.work for other in group[index:] if not self._halted(other.work)]
                return item.work.key
            outcome = await self._alone(item)
            if isinstance(outcome, TryAgain) and item.work.lane is not None:
                return item.work.key
            if isinstance(outcome, Failed):
                self._halt_set(item.work)
                if item.work.lane is not None and item.work.lane_rule is not LaneRule.CONTINUE:
                    return item.work.key
        return None

    def _halt_set(self, failed: Work) -> None:
        """Stop the set of a failed message: behind it under Halt, all of it after too many failures."""
        if failed.set_key is None:
            return
        if failed.policy is Policy.HALT:
            self.result.halted[failed.set_key] = failed.key
        elif failed.failures_left is not None:
            self._failures[failed.set_key] += 1
            if self._failures[failed.set_key] >= failed.failures_left:
                self.result.halted[failed.set_key] = MessageKey(0)

    def _halted(self, work: Work) -> bool:
        """Tell whether a message is held because its set stopped: the store does that for the whole rest."""
        return work.set_key is not None and work.key > self.result.halted.get(work.set_key, work.key)

    def _enough(self) -> bool:
        """Tell whether the rest is given back: answers of what is done must not wait, or the services do not work."""
        return self._breaker.tripped or asyncio.get_running_loop().time() > self._until

    async def _together(self, prepared: Sequence[Prepared]) -> tuple[list[tuple[Prepared, Reply]], Seen]:
        operation = prepared[0].found.operation
        assert isinstance(operation, SetOperation)
        with database_errors():
            async with self._connection.transaction():
                seen = await self._duplicates.split(prepared, self.result.done)
                if any(_stops_others(failed.failure.work) for failed in seen.refused):
                    raise DuplicateMessage("a repeated message stops others")
                requests = [item.request for item in seen.new]
                replies = await operation.call_many(requests, self._context()) if requests else []
        return [*zip(seen.new, replies, strict=True)], seen

    async def _alone(self, item: Item) -> Failed | TryAgain | None:
        """Perform one item on its own savepoint and file its outcome."""
        try:
            if isinstance(item, Refused):
                raise item.error
            with database_errors():
                async with self._connection.transaction():
                    seen = await self._duplicates.split([item], self.result.done)
                    if seen.new:
                        reply = await item.found.operation.call(item.request, self._context())
        except Exception as error:
            outcome = self._outcome(item.work, error)
            self._count(outcome)
            if isinstance(outcome, Failed):
                self.result.failed.append(outcome)
            else:
                self.result.again.append(outcome)
            return outcome
        self._file_repeated(seen)
        if seen.new:
            self._breaker.succeeded()
            self.result.done.append((item, reply))
        return seen.refused[0] if seen.refused else None

    def _file_repeated(self, seen: Seen) -> None:
        """File what was processed before: answered again, or refused."""
        self.result.done += seen.again
        self.result.repeated += [item.work for item, _ in seen.again]
        self.result.failed += seen.refused

    def _count(self, outcome: Failed | TryAgain) -> None:
        self._breaker.failed(outcome, self._port.settings.process.pause_after_failures)

    def _outcome(self, work: Work, error: Exception) -> Failed | TryAgain:
        pass_on(error, self._connection)
        return decide(work, error, most_tries=self._port.settings.process.retries, chance=random.random())  # noqa: S311 jitter

    async def _rollback_set(self, members: Sequence[Item]) -> None:
        """Perform a whole set: all of it, or nothing and the first failure. It waits as a whole, too."""
        set_key = members[0].work.set_key
        assert set_key is not None
        if self._breaker.tripped:
            self.result.released += [item.work for item in members]
            return
        run = RollbackSet(members, self._store, self._connection, self._context)
        attempt = await run.run(set_key, self._duplicates, self.result.done)
        if attempt.error is None or attempt.failing is None:
            self._breaker.succeeded()
            self.result.done += attempt.done
            self.result.repeated += attempt.repeated
            return
        failing = attempt.failing.work
        outcome = self._outcome(failing, attempt.error)
        left = await run.take_back() if isinstance(outcome, Failed) else []
        outcome = self._in_view_of(outcome, left)
        self._count(outcome)
        if isinstance(outcome, TryAgain):
            why = f"It waits with message {failing.key} of its set: {outcome.text}"
            others = [replace(outcome, work=item.work, text=why) for item in members if item is not attempt.failing]
            self.result.again += [outcome, *others]
            return
        self.result.failed.append(outcome)
        self.result.rolled_back[set_key] = failing.key
        self.result.not_taken_back += left
        if not left:
            self.result.taken_back.append(set_key)

    def _in_view_of(self, outcome: Failed | TryAgain, left: Sequence[NotTakenBack]) -> Failed | TryAgain:
        """Return what becomes of a set when some of its effects could not be taken back."""
        if isinstance(outcome, TryAgain) or not left:
            return outcome
        failure = outcome.failure
        for trouble in left:
            later = self._outcome(failure.work, trouble.error)
            if isinstance(later, TryAgain):  # the whole set, so that its compensations get another chance
                return later
        text = f"{failure.text.rstrip('.')}. Not all that its set did elsewhere was taken back: see the exceptions."
        return replace(outcome, failure=replace(failure, text=text))

    def _context(self) -> ServiceContext:
        return ServiceContext(
            connection=self._connection,
            numbers=StoredNumbers(self._connection, self._store.queries),
            now=self._now,
            log=log,
        )


def _stops_others(work: Work) -> bool:
    """Tell whether a failure of this message keeps others from running."""
    in_lane = work.lane is not None and work.lane_rule is not LaneRule.CONTINUE
    return in_lane or (work.set_key is not None and (work.policy is Policy.HALT or work.failures_left is not None))


def _operation_name(item: Item) -> tuple[str, str]:
    return (item.work.service or "", item.work.operation or "")


def _by_lane(items: Sequence[Item]) -> Iterator[list[Item]]:
    lanes: dict[LaneName, list[Item]] = {}
    for item in items:
        if item.work.lane is not None:
            lanes.setdefault(item.work.lane, []).append(item)
    yield from lanes.values()


def _groups(items: Sequence[Item], *, bulk_any: bool) -> Iterator[list[Item]]:
    """Split into runs that one bulk call may do: same operation and kind; a repeated MessageId begins a new run.

    In a lane a run also ends where another set with an error policy of its own begins.
    """

    def kind(item: Item) -> tuple[object, ...]:
        strict = not bulk_any and item.work.policy in (Policy.HALT, Policy.ROLLBACK)
        return (isinstance(item, Prepared), *_operation_name(item), item.work.set_key if strict else None)

    for _, run in groupby(items, key=kind):
        group: list[Item] = []
        seen: set[object] = set()
        for item in run:
            if item.work.message_id in seen:
                yield group
                group, seen = [], set()
            seen.add(item.work.message_id)
            group.append(item)
        yield group
