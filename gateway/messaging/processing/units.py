"""The loop of inbound processing: units of work of all ports side by side, each under a claim of its own."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Final

import structlog

from gateway.contracts.task import TaskContext
from gateway.db.open import Store
from gateway.db.waiting import uninterrupted, wait_for_all
from gateway.kernel.errors import LeaseLost, StoreBusy, StoreUnavailable
from gateway.kernel.ids import Fence, PortName
from gateway.kernel.meter import METER, Meter
from gateway.messaging.flow.port import ServedInbound
from gateway.messaging.flow.port_state import Health, why_busy
from gateway.messaging.processing.claims import RoomSoon
from gateway.messaging.processing.suspects import HandOver, has_suspect, keep
from gateway.messaging.queue.leases import give_back, ports_with_work
from gateway.messaging.rules.message import Claimed, Work
from gateway.messaging.rules.pace import Pace
from gateway.messaging.rules.shares import Places, Turns
from gateway.messaging.rules.states import Stage

log = structlog.get_logger()

PLACES: Final = 2_000
"""Messages in work in this process."""
PLACES_BYTES: Final = 16_000_000
"""Text of messages in work in this process; parsed it takes up to thirty times as much."""
SET: Final = 3
"""From so many messages on a unit is a set. Fewer run singly, so that what is slow holds no transaction open."""
_MOST_SETS: Final = 2
_UNTRIED: Final = 25
"""Messages of a port in work while nothing is known of it: each might compute for seconds."""
_TRY_SECONDS: Final = 0.01
"""While nothing is known one message begins, and another one each time this has passed: of quick messages the first is
done before many wait for one another."""
_AHEAD_SECONDS: Final = 0.5
"""What all messages of a port that wait outside may take of the processor when they come back at once."""
_GUESS_SECONDS: Final = 0.001

_SOON_SECONDS: Final = 0.1
"""Until a port is asked again whose work others are just ending."""

_FILL_SECONDS: Final = 0.05
"""So long units are begun without a look at what else has come."""

Claim = Callable[[ServedInbound, int], Awaitable[Claimed[Work] | None]]
"""Claim up to a number of messages of a port. Raises: RoomSoon."""
Process = Callable[[ServedInbound, Claimed[Work], TaskContext], Coroutine[Any, Any, int]]
"""Work on a unit and record it; returns how many of its messages ran."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """What a unit holds while it runs."""

    port: PortName
    weight: int
    messages: int
    size_bytes: int
    is_set: bool  # a set under Rollback that was claimed whole at a slow pace is none
    alone: bool
    charged: float


class _Share:
    """What is known of one port."""

    def __init__(self, most: int) -> None:
        self.pace = Pace(most)
        self.sets = 0
        self.processor: float | None = None  # seconds of one message
        self.trying_since = 0.0

    def size(self, *, others_wait: bool) -> int:
        """Return how many messages the next unit has."""
        size = self.pace.next(others_wait=others_wait)
        return size if size >= SET else 1

    def took(self, messages: int, seconds: float, processor: float) -> None:
        """Say what messages that ran took."""
        self.pace.took(messages, seconds)
        each = processor / messages
        self.processor = each if self.processor is None else 0.7 * self.processor + 0.3 * each


class Shares:
    """How much of each port may begin now, and whose turn it is. One for the process.

    Rule: a unit has as many messages as fit into a moment at the pace of its port. Quick ones run in sets, two at a
    time; slow ones singly, and as many at once as the port may have, as the places of the process allow, and as the
    processor can take when all come back.
    """

    def __init__(self, most: int, clock: Callable[[], float] = monotonic) -> None:
        """Begin without knowing a port; *clock* tells seconds that never jump. `alone`: nothing may begin just now."""
        self._most = most
        self._clock = clock
        self._turns = Turns()
        self._places = Places(PLACES)
        self._bytes = Places(PLACES_BYTES)
        self._shares: dict[PortName, _Share] = {}
        self._at_work = 0
        self.alone = False
        self._ended = asyncio.Event()

    def order(self, waiting: Iterable[PortName]) -> list[PortName]:
        """Return ports that have work, the one whose turn it is first."""
        return self._turns.order(waiting)

    def room(self, port: ServedInbound, *, others_wait: bool) -> int:
        """Return how many messages the next unit of a port may have; 0: none may begin now."""
        if self.alone:
            return 0
        name, held = port.name, self._places.held(port.name)
        share = self._shares.setdefault(name, _Share(self._most))
        if share.sets >= _MOST_SETS or (held and self._bytes.room(name) <= 0):
            return 0
        room = self._places.room(name)
        if not port.sequential:
            room = min(room, port.settings.process.max_parallel - held)
        size = share.size(others_wait=others_wait)
        if size >= SET:
            return max(0, min(size, room))
        known = share.processor
        most = self._tried(share) if known is None else max(1, int(_AHEAD_SECONDS / max(known, 1e-6)))
        return 1 if min(room, most - held) > 0 else 0

    def tries(self, port: PortName) -> bool:
        """Tell whether more messages of a port may begin after a moment, although nothing happens."""
        share = self._shares.get(port)
        return share is not None and share.processor is None and self._tried(share) < _UNTRIED

    def _tried(self, share: _Share) -> int:
        return min(_UNTRIED, 1 + int((self._clock() - share.trying_since) / _TRY_SECONDS))

    def begin(self, port: ServedInbound, works: Iterable[Work], *, is_set: bool, alone: bool = False) -> Unit:
        """Let a unit hold its places; its turn is charged with what it will probably take. Beside one that is to be
        `alone` no other begins (`until_alone`)."""
        self._at_work += 1
        self.alone = self.alone or alone
        sizes = [len(work.content) for work in works]
        share = self._shares.setdefault(port.name, _Share(self._most))
        share.sets += is_set
        if not self._places.held(port.name):
            share.trying_since = self._clock()
        unit = Unit(
            port=port.name, weight=port.weight, messages=len(sizes), size_bytes=sum(sizes), is_set=is_set, alone=alone,
            charged=len(sizes) * (_GUESS_SECONDS if share.processor is None else share.processor),
        )  # fmt: skip
        self._places.take(unit.port, unit.messages)
        self._bytes.take(unit.port, unit.size_bytes)
        self._turns.served(unit.port)
        self._turns.charge(unit.port, unit.charged, unit.weight)
        return unit

    async def until_alone(self) -> None:
        """Wait until the one unit is left that is to be alone."""
        while self._at_work > 1:
            self._ended.clear()
            await self._ended.wait()

    def end(self, unit: Unit, *, ran: int, seconds: float, processor: float) -> None:
        """Take the places of a unit back; *ran* of its messages took so long, and so much of the processor."""
        self._at_work -= 1
        self.alone = self.alone and not unit.alone
        self._ended.set()
        share = self._shares.setdefault(unit.port, _Share(self._most))
        share.sets -= unit.is_set
        self._places.back(unit.port, unit.messages)
        self._bytes.back(unit.port, unit.size_bytes)
        self._turns.charge(unit.port, processor - unit.charged, unit.weight)
        if ran:
            share.took(ran, seconds, processor)


@dataclass(slots=True, eq=False)
class _Run:
    """One run of the stage: its units at work, and the ports that may have something to claim."""

    waiting: set[PortName] = field(default_factory=set)
    soon: dict[PortName, float] = field(default_factory=dict)  # of those that wait some, and not before when
    running: set[asyncio.Task[None]] = field(default_factory=set)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    ended_since_look: bool = False
    failures: list[BaseException] = field(default_factory=list)


class UnitRunner:
    """Claims units of all ports, in turn, and works on as many at the same time as their shares allow.

    The outcome of a unit is recorded even when the stage is cancelled meanwhile; a unit whose outcome could not be
    recorded is given back, which does nothing when it was recorded after all. Runs side by side share what is held.
    """

    def __init__(
        self, *, store: Store, ports: Callable[[], Mapping[PortName, ServedInbound]], claim: Claim, process: Process,
        trouble: Health, shares: Shares, hand_over: HandOver = keep,
    ) -> None:  # fmt: skip
        self._store = store
        self._ports = ports
        self._claim = claim
        self._process = process
        self._trouble = trouble
        self._shares = shares
        self._hand_over = hand_over
        self._runs: set[_Run] = set()
        self._returning = asyncio.Lock()
        self._returned_at = 0.0

    async def run(self, context: TaskContext) -> None:
        """Work until nothing is left and nothing can come, or a stop is asked for; then wait for what runs."""
        run = _Run()
        self._runs.add(run)
        try:
            await self._work(run, context)
        except asyncio.CancelledError:  # the time to drain is over
            for task in run.running:
                task.cancel()
            raise
        finally:
            await wait_for_all(set(run.running))
            self._runs.discard(run)
            if run.failures:
                raise run.failures[0]

    async def _work(self, run: _Run, context: TaskContext) -> None:
        look = True
        while not context.stopping.is_set() and not run.failures:
            run.changed.clear()
            try:
                if look:
                    run.ended_since_look = False
                    run.waiting.update(await ports_with_work(self._store, Stage.INBOUND, list(self._ports())))
                look = await self._fill(run, context)
            except StoreUnavailable as error:
                log.warning("store.unavailable", stage=Stage.INBOUND, error=error.message)
                await self._store.wait_until_available(context.stopping)
                look = True
                continue
            if context.stopping.is_set() and not run.running:
                return  # no hint comes any more
            if look:
                continue
            if run.running or run.waiting:  # what waits now has no room: it comes when a unit of this process ends
                look = await self._wait(run, context)
            elif run.ended_since_look:
                look = True
            elif not (look := await context.feed.more()):
                return

    async def _fill(self, run: _Run, context: TaskContext) -> bool:
        """Begin units, each of the port whose turn it is, while there is room and something to claim.

        Returns whether to look for more first: there may be room for thousands of slow messages, and what has come for
        another port meanwhile must not wait until all of them have begun.
        """
        clock = asyncio.get_running_loop().time
        until = clock() + _FILL_SECONDS
        while not context.stopping.is_set():
            for name in self._shares.order(run.waiting):
                port = self._ports().get(name)
                others_wait = len(run.waiting) > 1
                room = 0 if port is None else self._shares.room(port, others_wait=others_wait)
                if port is not None and (not room or run.soon.get(name, 0.0) > clock()):
                    continue
                run.soon.pop(name, None)
                try:
                    claimed = None if port is None else await self._claim(port, room)
                except RoomSoon:
                    run.soon[name] = clock() + _SOON_SECONDS
                    continue
                if port is None or claimed is None:
                    run.waiting.discard(name)
                    continue
                suspect = has_suspect(claimed)
                if self._shares.alone or (suspect and self._hand_over(name)):
                    await give_back(self._store, claimed.fence)
                else:
                    self._begin(run, port, claimed, context, is_set=room >= SET, alone=suspect)
                break
            else:
                return False
            if clock() >= until:
                return True
        return False

    def _begin(
        self, run: _Run, port: ServedInbound, claimed: Claimed[Work], context: TaskContext, *, is_set: bool,
        alone: bool,
    ) -> None:  # fmt: skip
        self._store.held.add(claimed.fence)
        unit = self._shares.begin(port, claimed.items, is_set=is_set, alone=alone)
        task = asyncio.create_task(self._guarded(port, claimed, unit, context), name=f"{Stage.INBOUND}:{port.name}")
        run.running.add(task)

        def over(ended: asyncio.Task[None]) -> None:
            self._store.held.discard(claimed.fence)
            run.running.discard(ended)
            if not ended.cancelled() and (failure := ended.exception()) is not None:
                run.failures.append(failure)
            for each in self._runs:  # its place is free, and what waited behind it may be claimed
                each.waiting.add(port.name)
                each.ended_since_look = True
                each.changed.set()

        task.add_done_callback(over)

    async def _wait(self, run: _Run, context: TaskContext) -> bool:
        """Wait for a unit to end, a hint, or a moment after which more may begin; returns whether it was a hint."""
        hint = asyncio.create_task(context.feed.hinted(), name=f"{Stage.INBOUND}:hint")
        changed = asyncio.create_task(run.changed.wait(), name=f"{Stage.INBOUND}:changed")
        moment = _TRY_SECONDS if any(map(self._shares.tries, run.waiting)) else _SOON_SECONDS if run.soon else None
        try:
            done, _ = await asyncio.wait({hint, changed}, timeout=moment, return_when=asyncio.FIRST_COMPLETED)
        finally:
            hint.cancel()
            changed.cancel()
        return hint in done

    async def _guarded(self, port: ServedInbound, claimed: Claimed[Work], unit: Unit, context: TaskContext) -> None:
        """Work on one unit; whatever happens, its claim ends."""
        meter, began, ran = Meter(), asyncio.get_running_loop().time(), 0
        METER.set(meter)
        try:
            if unit.alone:
                await self._shares.until_alone()
            ran = await meter.metered(self._process(port, claimed, context))
            await self._trouble.waits_for_store(port.name, Stage.INBOUND, None)
        except LeaseLost as error:
            log.warning("lease.lost", stage=Stage.INBOUND, port=port.name, fence=claimed.fence, error=error.message)
        except StoreUnavailable as error:
            log.warning("store.unavailable", stage=Stage.INBOUND, port=port.name, error=error.message)
            if isinstance(error, StoreBusy) and error.everywhere:
                await self._trouble.waits_for_store(port.name, Stage.INBOUND, why_busy(error))
            await self._give_back(claimed.fence, context)
        except asyncio.CancelledError:
            with suppress(StoreUnavailable):  # then the lease ends by itself
                await uninterrupted(self._return(claimed.fence))
            raise
        finally:
            # of one among many that run side by side, what it waits for the others says nothing about its pace
            alone = meter.processor + meter.outside
            seconds = asyncio.get_running_loop().time() - began - meter.waited if unit.is_set else alone
            self._shares.end(unit, ran=ran, seconds=max(seconds, alone), processor=meter.processor)

    async def _return(self, fence: Fence) -> None:
        async with self._returning:
            await give_back(self._store, fence)

    async def _give_back(self, fence: Fence, context: TaskContext) -> None:
        """Return a unit whose outcome is unknown; when a stop is asked for first, its lease runs out instead.

        Rule: however many units are in trouble, one waits for the database, and those behind it need not.
        """
        loop = asyncio.get_running_loop()
        since = loop.time()
        async with self._returning:
            while self._returned_at > since or await self._store.wait_until_available(context.stopping):
                try:
                    await give_back(self._store, fence)
                except StoreUnavailable:
                    since = loop.time()
                    continue
                self._returned_at = loop.time()
                return
