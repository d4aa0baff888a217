"""The loop of inbound processing: units of work of all ports side by side, each under a claim of its own."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping
from dataclasses import dataclass, field
from functools import partial
from time import monotonic
from typing import Any, Final

import structlog

from gateway.contracts.task import TaskContext
from gateway.db.open import Store
from gateway.db.waiting import wait_for_all
from gateway.kernel.errors import StoreUnavailable
from gateway.kernel.ids import PortName
from gateway.kernel.meter import METER, Meter
from gateway.messaging.flow.port import ServedInbound
from gateway.messaging.flow.port_state import Health
from gateway.messaging.flow.runner import ClaimKeeper
from gateway.messaging.processing.claims import PortContended
from gateway.messaging.processing.suspects import HandOver, has_crash_suspect, keep
from gateway.messaging.queue.leases import ports_with_work
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

CLAIMS: Final = 3
"""Claims under way at the same time, of one port one: units leave so many connections free (`unit_places`)."""
_TURN_SECONDS: Final = 0.05
"""A claim that is under way for longer waits for a lock or for a slow database, and holds up no other port."""

Claim = Callable[[ServedInbound, int], Awaitable[Claimed[Work] | None]]
"""Claim up to a number of messages of a port. Raises: PortContended."""
Process = Callable[[ServedInbound, Claimed[Work], TaskContext], Coroutine[Any, Any, int]]
"""Work on a unit and record it; returns how many of its messages ran."""


@dataclass(slots=True, kw_only=True, eq=False)
class Unit:
    """What a unit holds, from the beginning of its claim to its end.

    `is_claimed` tells that its claim is over, and what it holds is what that found. A set under Rollback that was
    claimed whole at a slow pace is no set.
    """

    port: PortName
    weight: int
    messages: int
    is_set: bool
    charged: float
    began: float
    size_bytes: int = 0
    exclusive: bool = False
    is_claimed: bool = False


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
        """Begin without knowing a port; *clock* tells seconds that never jump.

        `exclusive`: a unit has begun beside which no other may begin.
        """
        self._most = most
        self._clock = clock
        self._turns = Turns()
        self._places = Places(PLACES)
        self._bytes = Places(PLACES_BYTES)
        self._shares: dict[PortName, _Share] = {}
        self._claims: dict[PortName, Unit] = {}
        self._at_work = 0
        self.exclusive = False
        self._ended = asyncio.Event()

    def next(self, waiting: Collection[ServedInbound]) -> tuple[ServedInbound, int] | None:
        """Return the port that may claim now and how many messages, None when none may; *waiting* have work.

        Rule: a port has its turn when no other has had less for its weight. What is being claimed counts as had, so
        claims go side by side; but a port whose turn it is again already comes before those that have had more, as
        long as its claim takes no longer than a moment.
        """
        if self.exclusive or len(self._claims) >= CLAIMS:
            return None
        ports = {port.name: port for port in waiting}
        for name in self._turns.order({*ports, *self._claims}):
            if (claim := self._claims.get(name)) is not None:
                if self._clock() - claim.began < _TURN_SECONDS:
                    return None
            elif room := self.room(ports[name], others_wait=len({*ports, *self._claims}) > 1):
                return ports[name], room
        return None

    def moment(self, waiting: Collection[PortName]) -> float | None:
        """Return the seconds after which more may begin although nothing happens; None: never."""
        if any(map(self.tries, waiting)):
            return _TRY_SECONDS
        return _TURN_SECONDS if self._claims and waiting else None

    def room(self, port: ServedInbound, *, others_wait: bool) -> int:
        """Return how many messages the next unit of a port may have; 0: none may begin now."""
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

    def claim(self, port: ServedInbound, room: int) -> Unit:
        """Let a unit of up to so many messages be claimed; its turn is charged with what it will probably take."""
        self._at_work += 1
        share = self._shares.setdefault(port.name, _Share(self._most))
        share.sets += room >= SET
        if not self._places.held(port.name):
            share.trying_since = self._clock()
        unit = Unit(
            port=port.name, weight=port.weight, messages=room, is_set=room >= SET, charged=self._guess(share, room),
            began=self._clock(),
        )  # fmt: skip
        self._claims[unit.port] = unit
        self._places.take(unit.port, room)
        self._turns.served(unit.port)
        self._turns.charge(unit.port, unit.charged, unit.weight)
        return unit

    def begin(self, unit: Unit, works: Collection[Work], *, exclusive: bool = False) -> None:
        """Let a unit hold what was claimed. Beside an `exclusive` one no other is claimed (`until_exclusive`)."""
        self._claimed(unit, len(works))
        self.exclusive = self.exclusive or exclusive
        unit.exclusive, unit.size_bytes = exclusive, sum(len(work.content) for work in works)
        self._bytes.take(unit.port, unit.size_bytes)

    def _claimed(self, unit: Unit, messages: int) -> None:
        del self._claims[unit.port]
        self._places.take(unit.port, messages - unit.messages)
        charged = self._guess(self._shares[unit.port], messages)
        self._turns.charge(unit.port, charged - unit.charged, unit.weight)
        unit.is_claimed, unit.messages, unit.charged = True, messages, charged

    def _guess(self, share: _Share, messages: int) -> float:
        return messages * (_GUESS_SECONDS if share.processor is None else share.processor)

    async def until_exclusive(self) -> None:
        """Wait until the one unit is left that is exclusive; what was being claimed beside it goes first."""
        while self._at_work > 1:
            self._ended.clear()
            await self._ended.wait()

    def end(self, unit: Unit, *, ran: int = 0, seconds: float = 0.0, processor: float = 0.0) -> None:
        """Take back what a unit holds; *ran* of its messages took so long, and so much of the processor."""
        if not unit.is_claimed:
            self._claimed(unit, 0)
        self._at_work -= 1
        self.exclusive = self.exclusive and not unit.exclusive
        self._ended.set()
        share = self._shares[unit.port]
        share.sets -= unit.is_set
        self._places.back(unit.port, unit.messages)
        self._bytes.back(unit.port, unit.size_bytes)
        self._turns.charge(unit.port, processor - unit.charged, unit.weight)
        if ran:
            share.took(ran, seconds, processor)


@dataclass(slots=True, eq=False)
class _Run:
    """One run of the stage: its units at work, and the ports that may have something to claim."""

    waiting: set[PortName] = field(default_factory=set)  # those that are being claimed are not among them
    soon: dict[PortName, float] = field(default_factory=dict)  # of those that wait some, and not before when
    running: set[asyncio.Task[None]] = field(default_factory=set)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    ended_since_look: bool = False
    unavailable: bool = False  # a claim found that the database is
    failures: list[BaseException] = field(default_factory=list)


class UnitRunner:
    """Claims units of all ports, in turn, and works on as many at the same time as their shares allow.

    Runs side by side share what is held.
    """

    def __init__(
        self, *, store: Store, ports: Callable[[], Mapping[PortName, ServedInbound]], claim: Claim, process: Process,
        trouble: Health, shares: Shares, hand_over: HandOver = keep,
    ) -> None:  # fmt: skip
        self._store = store
        self._ports = ports
        self._claim = claim
        self._process = process
        self._claims = ClaimKeeper(Stage.INBOUND, store, trouble)
        self._shares = shares
        self._hand_over = hand_over
        self._runs: set[_Run] = set()

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
            except StoreUnavailable as error:
                self._is_away(run, error)
            if run.unavailable:
                run.unavailable = False
                look = await self._store.wait_until_available(context.stopping)
                continue
            self._fill(run, context)
            if context.stopping.is_set() and not run.running:
                return  # no hint comes any more
            if run.running or run.waiting:  # what waits now has no room: it comes when a unit of this process ends
                look = await self._wait(run, context)
            elif run.ended_since_look:
                look = True
            elif not (look := await context.feed.more()):
                return

    def _is_away(self, run: _Run, error: StoreUnavailable) -> None:
        log.warning("store.unavailable", stage=Stage.INBOUND, error=error.message)
        run.unavailable = True

    def _fill(self, run: _Run, context: TaskContext) -> None:
        """Begin units, each of the port whose turn it is, while there is room and something to claim."""
        ports, now = self._ports(), asyncio.get_running_loop().time()
        run.soon = {name: until for name, until in run.soon.items() if until > now}
        while not context.stopping.is_set():
            run.waiting.intersection_update(ports)
            turn = self._shares.next([ports[name] for name in run.waiting if name not in run.soon])
            if turn is None:
                return
            port, room = turn
            run.waiting.discard(port.name)
            unit = self._shares.claim(port, room)
            task = asyncio.create_task(self._serve(run, port, unit, context), name=f"{Stage.INBOUND}:{port.name}")
            run.running.add(task)
            task.add_done_callback(partial(self._over, run, unit))

    async def _serve(self, run: _Run, port: ServedInbound, unit: Unit, context: TaskContext) -> None:
        """Claim a unit and work on it."""
        claimed = await self._claimed(run, port, unit.messages)
        if claimed is None:
            return
        run.waiting.add(port.name)
        suspect = has_crash_suspect(claimed)
        if suspect and (self._shares.exclusive or self._hand_over(port.name)):
            await self._claims.return_now(claimed.fence)
            return
        self._shares.begin(unit, claimed.items, exclusive=suspect)
        self._wake()
        await self._work_on(port, claimed, unit, context)

    async def _claimed(self, run: _Run, port: ServedInbound, room: int) -> Claimed[Work] | None:
        """Claim messages of a port; None when there are none, or it has to be asked again."""
        try:
            return await self._claim(port, room)
        except PortContended:
            run.soon[port.name] = asyncio.get_running_loop().time() + _SOON_SECONDS
        except StoreUnavailable as error:
            self._is_away(run, error)
        run.waiting.add(port.name)
        return None

    def _over(self, run: _Run, unit: Unit, ended: asyncio.Task[None]) -> None:
        run.running.discard(ended)
        if not ended.cancelled() and (failure := ended.exception()) is not None:
            run.failures.append(failure)
        if unit.is_claimed:
            for each in self._runs:  # its place is free, and what waited behind it may be claimed
                each.waiting.add(unit.port)
                each.ended_since_look = True
        else:
            self._shares.end(unit)
        self._wake()

    def _wake(self) -> None:
        """Let all runs look whether something may begin now."""
        for run in self._runs:
            run.changed.set()

    async def _wait(self, run: _Run, context: TaskContext) -> bool:
        """Wait for a unit to end, a hint, or a moment after which more may begin; returns whether it was a hint."""
        hint = asyncio.create_task(context.feed.hinted(), name=f"{Stage.INBOUND}:hint")
        changed = asyncio.create_task(run.changed.wait(), name=f"{Stage.INBOUND}:changed")
        moment = self._shares.moment(run.waiting) or (_SOON_SECONDS if run.soon else None)
        try:
            done, _ = await asyncio.wait({hint, changed}, timeout=moment, return_when=asyncio.FIRST_COMPLETED)
        finally:
            hint.cancel()
            changed.cancel()
        return hint in done

    async def _work_on(self, port: ServedInbound, claimed: Claimed[Work], unit: Unit, context: TaskContext) -> None:
        """Work on one unit, and learn from it what messages of the port take."""
        meter, began = Meter(), asyncio.get_running_loop().time()
        METER.set(meter)
        ran = None
        try:
            ran = await self._claims.keep(
                port.name, claimed.fence, self._metered(port, claimed, unit, context), context
            )
        finally:
            # of one among many that run side by side, what it waits for the others says nothing about its pace
            by_itself = meter.processor + meter.outside
            seconds = asyncio.get_running_loop().time() - began - meter.waited if unit.is_set else by_itself
            self._shares.end(unit, ran=ran or 0, seconds=max(seconds, by_itself), processor=meter.processor)

    async def _metered(self, port: ServedInbound, claimed: Claimed[Work], unit: Unit, context: TaskContext) -> int:
        if unit.exclusive:
            await self._shares.until_exclusive()
        return await METER.get().metered(self._process(port, claimed, context))
