"""Run service operations for a claimed chunk, inside one transaction, each message on its own savepoint.

One bad message never changes the outcome of its neighbours: a bulk call that fails is undone and its messages
are gone through one by one.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby

import structlog
from asyncpg import Connection

from gateway.contracts.service import Reply, ServiceContext, SetOperation
from gateway.domain.errors import DuplicateMessage
from gateway.domain.ids import LaneName, MessageKey, SetKey
from gateway.domain.message import Work
from gateway.domain.states import LaneRule, LoggingMode, Policy
from gateway.stages.decide import Failed, TryAgain, decide, pass_on
from gateway.stages.port import OpenInbound
from gateway.stages.prepare import Prepared, Refused
from gateway.store.entities import StoredNumbers
from gateway.store.errors import database_errors
from gateway.store.inbound import take_processed_ids
from gateway.store.open import Store

log = structlog.get_logger()

Item = Prepared | Refused

_CHUNK_SECONDS = 5.0
"""After this the rest of a chunk is given back, so that slow operations do not hold the answers of quick ones."""


@dataclass(slots=True)
class Performed:
    """What became of the chunk; every item stands in exactly one of the lists.

    `halted` maps a set to the message behind which nothing of it runs (0: after too many failures), `rolled_back` to
    its failed message; members that did not run stand in none of the lists, the store holds them.
    """

    done: list[tuple[Prepared, Reply]] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)
    again: list[TryAgain] = field(default_factory=list)
    released: list[Work] = field(default_factory=list)
    halted: dict[SetKey, MessageKey] = field(default_factory=dict)
    rolled_back: dict[SetKey, MessageKey] = field(default_factory=dict)


class Performance:
    """Goes through the items of one chunk."""

    def __init__(self, store: Store, connection: Connection, port: OpenInbound) -> None:
        self._store = store
        self._connection = connection
        self._port = port
        self._now = datetime.now(UTC)
        self._until = asyncio.get_running_loop().time() + _CHUNK_SECONDS
        self._failures: Counter[SetKey] = Counter()
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
                done, repeated = await self._together(prepared)
            except Exception as error:  # the set is undone; going one by one finds the culprit
                pass_on(error, self._connection)
            else:
                self.result.done += done
                self.result.failed += repeated
                return None
        for index, item in enumerate(group):
            if self._halted(item.work):
                continue
            if self._out_of_time():
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

    def _out_of_time(self) -> bool:
        """Tell whether the chunk has taken long enough: answers of what is done must not wait for the rest."""
        return asyncio.get_running_loop().time() > self._until

    async def _together(self, prepared: Sequence[Prepared]) -> tuple[list[tuple[Prepared, Reply]], list[Failed]]:
        operation = prepared[0].found.operation
        assert isinstance(operation, SetOperation)
        with database_errors():
            async with self._connection.transaction():
                first, repeated = await self._first_seen(prepared)
                if repeated and any(_stops_others(failed.failure.work) for failed in repeated):
                    raise DuplicateMessage("a repeated message stops others")
                replies = await operation.call_many([item.request for item in first], self._context()) if first else []
        return list(zip(first, replies, strict=True)), repeated

    async def _alone(self, item: Item) -> Failed | TryAgain | None:
        """Perform one item on its own savepoint and file its outcome."""
        try:
            if isinstance(item, Refused):
                raise item.error
            with database_errors():
                async with self._connection.transaction():
                    first, repeated = await self._first_seen([item])
                    if first:
                        reply = await item.found.operation.call(item.request, self._context())
        except Exception as error:
            return self._file(item.work, error)
        if repeated:
            self.result.failed += repeated
            return repeated[0]
        self.result.done.append((item, reply))
        return None

    def _file(self, work: Work, error: Exception) -> Failed | TryAgain:
        pass_on(error, self._connection)
        outcome = decide(work, error, most_tries=self._port.settings.process.retries, chance=random.random())  # noqa: S311 jitter
        if isinstance(outcome, Failed):
            self.result.failed.append(outcome)
        else:
            self.result.again.append(outcome)
        return outcome

    async def _rollback_set(self, members: Sequence[Item]) -> None:
        """Perform a whole set on one savepoint: all of it, or nothing and the first failure."""
        done: list[tuple[Prepared, Reply]] = []
        current = members[0]
        try:
            for item in members:  # what is known to fail fails before anything runs
                current = item
                if isinstance(item, Refused):
                    raise item.error
            with database_errors():
                async with self._connection.transaction():
                    for group in _groups(members, bulk_any=False):
                        for item in group:
                            current = item
                            assert isinstance(item, Prepared)
                            first, repeated = await self._first_seen([item])
                            if not first:
                                raise DuplicateMessage(repeated[0].failure.text)
                            done.append((item, await item.found.operation.call(item.request, self._context())))
        except Exception as error:
            set_key = current.work.set_key
            assert set_key is not None
            outcome = self._file(current.work, error)
            if isinstance(outcome, Failed):
                self.result.rolled_back[set_key] = current.work.key
            else:
                self.result.released += [item.work for item in members if item is not current]
            return
        self.result.done += done

    async def _first_seen(self, prepared: Sequence[Prepared]) -> tuple[list[Prepared], list[Failed]]:
        """Split into requests that are new and those whose MessageId was processed before.

        Rule: only ids that the sender gave count, only for operations that refuse repeats, and not when the
        port keeps no history. Source: AIF reference, section 21.
        """
        checked = self._port.logging is not LoggingMode.OFF and prepared[0].found.operation.idempotent
        candidates = [item for item in prepared if checked and item.work.message_id_sent is not None]
        if not candidates:
            return list(prepared), []
        new, earlier = await take_processed_ids(self._store, self._connection, [item.work for item in candidates])
        known = {item.work.key for item in candidates} - new
        repeated: list[Failed] = []
        for item in prepared:
            if item.work.key in known:
                where = earlier.get(item.work.message_id)
                text = f"Duplicate message. The message {item.work.message_id_sent} has already been processed"
                error = DuplicateMessage(f"{text} ({where})." if where else f"{text}.")
                outcome = decide(item.work, error, most_tries=1, chance=0.0)
                assert isinstance(outcome, Failed)
                repeated.append(outcome)
        return [item for item in prepared if item.work.key not in known], repeated

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
