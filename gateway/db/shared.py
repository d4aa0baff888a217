"""What the units of work of a process share: the connections, by port, and number sequences: turns, numbers ahead."""

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final
from weakref import WeakValueDictionary

from gateway.kernel.ids import PortName
from gateway.messaging.rules.shares import Places, Turns

_AHEAD_SECONDS: Final = 10.0
_FEWEST: Final = 10
_MOST: Final = 1000


class SharedNumbers:
    """Number sequences of one store, by name."""

    def __init__(self) -> None:
        self._gates: WeakValueDictionary[str, Gate] = WeakValueDictionary()
        self._last: dict[PortName, str] = {}
        self._blocks: defaultdict[tuple[str, int], _Block] = defaultdict(_Block)

    def gate(self, name: str) -> "Gate":
        """Return what lets one unit at a time wait in the database for a sequence without gaps."""
        return self._gates.setdefault(name, Gate())

    def used(self, port: PortName, name: str | None) -> None:
        """Note which sequence without gaps the last unit of a port took numbers of; None: of none."""
        if name is None:
            self._last.pop(port, None)
        else:
            self._last[port] = name

    def expected(self, port: PortName) -> "Gate | None":
        """Return the gate of the sequence that the next unit of a port will probably need."""
        name = self._last.get(port)
        return None if name is None else self.gate(name)

    async def ahead(
        self, name: str, count: int, step: int, draw: Callable[[int], Awaitable[int]]
    ) -> Sequence[int]:  # fmt: skip
        """Return numbers of a sequence that may have gaps, in order; when none are left *draw* a block.

        Shape: *draw* takes how many, and returns the first; they are ours when it returns.
        Rule: a block is what ten seconds use. What is undone does not come back, nor what is left when the process
        ends: those are the gaps.
        """
        block = self._blocks[name, step]
        async with block.drawing:
            if (missing := count - len(block.left)) > 0:
                number = max(missing, block.next_size())
                start = await draw(number)
                block.left.extend(start + index * step for index in range(number))
            return block.give(count)


class Gate:
    """Lets units through one at a time: next is the port that has held it for the least time for its weight."""

    def __init__(self) -> None:
        self._turns = Turns()
        self._waiting: list[tuple[PortName, asyncio.Future[None]]] = []
        self._held = False

    @property
    def waiting(self) -> Sequence[PortName]:
        """Return the ports of the units that wait."""
        return [port for port, future in self._waiting if not future.done()]

    @asynccontextmanager
    async def turn(self, port: PortName, weight: int = 1) -> AsyncIterator[None]:
        """Wait for the turn of the port, those of one port as they came, and hold the gate for the block."""
        mine = asyncio.get_running_loop().create_future()
        self._waiting.append((port, mine))
        began = time.monotonic()
        try:
            self._let_in()
            await mine
            began = time.monotonic()
            yield
        finally:
            if mine.done() and not mine.cancelled():
                self._held = False
                self._turns.charge(port, time.monotonic() - began, weight)
            self._let_in()

    def _let_in(self) -> None:
        self._waiting = [(port, future) for port, future in self._waiting if not future.done()]
        if self._held or not self._waiting:
            return
        first = self._turns.order({port for port, _ in self._waiting})[0]
        self._held = True
        self._turns.served(first)
        next(future for port, future in self._waiting if port == first).set_result(None)


class _Block:
    """What is left of the numbers drawn last, and what tells how many are used."""

    def __init__(self) -> None:
        self.left: deque[int] = deque()
        self.drawing = asyncio.Lock()
        self._taken = 0
        self._since = time.monotonic()

    def next_size(self) -> int:
        """Return how many to draw."""
        now = time.monotonic()
        size = int(self._taken / max(now - self._since, 0.001) * _AHEAD_SECONDS)
        self._taken, self._since = 0, now
        return min(max(size, _FEWEST), _MOST)

    def give(self, count: int) -> Sequence[int]:
        """Give the next numbers away."""
        self._taken += count
        return [self.left.popleft() for _ in range(count)]


_KEPT_FREE: Final = 3
"""Connections of the pool that units never hold: they are for claims, and for what is short."""


class UnitPlaces:
    """Connections of the pool that units may hold. One for the process.

    Rule: of those that wait, the first whose port may hold one more gets the next. So a port whose handlers keep
    their transactions open for long holds its own share, and nobody waits in the pool until that gives up.
    """

    def __init__(self, size: int) -> None:
        self._places = Places(max(1, size - _KEPT_FREE))
        self._waiting: deque[tuple[PortName, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def place(self, port: PortName) -> AsyncIterator[None]:
        """Hold one for the length of the block, as soon as the port may."""
        mine = asyncio.get_running_loop().create_future()
        self._waiting.append((port, mine))
        self._let_in()
        try:
            await mine
            yield
        finally:
            if mine.done() and not mine.cancelled():
                self._places.back(port)
            self._let_in()

    def _let_in(self) -> None:
        still: deque[tuple[PortName, asyncio.Future[None]]] = deque()
        for port, waiting in self._waiting:
            if waiting.done():  # given up
                continue
            if self._places.room(port) > 0:
                self._places.take(port)
                waiting.set_result(None)
            else:
                still.append((port, waiting))
        self._waiting = still
