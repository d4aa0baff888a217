"""Who reads next: small files always find a reader soon, large ones take turns, probes take what is idle.

Source: decision 0021.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from gateway.kernel.ids import PortName
from gateway.messaging.rules.shares import Turns

TURN_SECONDS: Final = 2.0
"""A large file is read for so long at a time while that of another port waits."""
SMALL_TURN_SECONDS: Final = 0.005
"""Small files are read one after the other for so long while another port waits."""
MOST_RESTING: Final = 4
"""So many large files may be begun and rest; each keeps a reader process of its own."""


class ReaderTurn:
    """The right to use a reader, for one large file or for small ones one after the other."""

    def __init__(self, admission: "Admission", port: PortName, weight: int, *, large: bool) -> None:
        self._admission = admission
        self.port = port
        self.weight = weight
        self.large = large
        self.begun = False
        self.granted = asyncio.Event()
        self.turn_seconds = 0.0

    def spent(self, seconds: float) -> None:
        """Say how long the reader worked since last time."""
        self.turn_seconds += seconds
        self._admission._turns.charge(self.port, seconds, self.weight)

    def is_over(self) -> bool:
        """Tell whether another port waits, and this one has had its reader long enough for its small files."""
        return self.turn_seconds >= SMALL_TURN_SECONDS and self._admission._is_wanted(self)

    async def give_way(self) -> None:
        """Rest while it is the turn of the large file of another port."""
        if self.large and self.turn_seconds >= TURN_SECONDS:
            await self._admission._rest(self)


class Admission:
    """Gives places out: one is kept for small files where there are two or more, and a port has one large at a time.

    Rule: ports are served by the reader time they have had for their weight, files of a port as they come.
    """

    def __init__(self, readers: int) -> None:
        self._free = readers
        self._most_large = max(1, readers - 1)
        self._large = 0  # large files with a place
        self._begun: set[PortName] = set()  # ports with a large file that was begun, resting ones too
        self._waiting: list[ReaderTurn] = []
        self._turns = Turns()
        self.resting = 0

    @asynccontextmanager
    async def place(self, port: PortName, weight: int = 1, *, large: bool) -> AsyncIterator[ReaderTurn]:
        """Wait for a place and hold it."""
        place = ReaderTurn(self, port, weight, large=large)
        try:
            await self._wait_for(place)
            yield place
        finally:
            if place.granted.is_set():
                self._release(place)
            if place.begun:
                self._begun.discard(port)
            self._grant()

    def is_idle(self, port: PortName) -> bool:
        """Tell whether a large file of a port would get a place now, and nobody waits for it."""
        return not self._waiting and self._free > 0 and self._large < self._most_large and port not in self._begun

    async def _wait_for(self, place: ReaderTurn) -> None:
        self._waiting.append(place)
        self._grant()
        try:
            await place.granted.wait()
        finally:
            if not place.granted.is_set():
                self._waiting.remove(place)

    async def _rest(self, place: ReaderTurn) -> None:
        others = [other for other in self._waiting if other.large and (other.begun or other.port not in self._begun)]
        if others and self.resting < MOST_RESTING:
            place.turn_seconds = 0.0
            place.granted.clear()
            self._release(place)
            self.resting += 1
            try:
                await self._wait_for(place)
            finally:
                self.resting -= 1

    def _is_wanted(self, place: ReaderTurn) -> bool:
        return any(other.port != place.port and self._may_begin(other) for other in self._waiting)

    def _release(self, place: ReaderTurn) -> None:
        self._free += 1
        self._large -= place.large

    def _grant(self) -> None:
        while self._free and (place := self._next()) is not None:
            self._waiting.remove(place)
            self._free -= 1
            if place.large:
                self._large += 1
                self._begun.add(place.port)
                place.begun = True
            self._turns.served(place.port)
            place.granted.set()

    def _next(self) -> ReaderTurn | None:
        able = [place for place in self._waiting if self._may_begin(place)]
        ranks = {port: rank for rank, port in enumerate(self._turns.order({place.port for place in able}))}
        return min(able, key=lambda place: ranks[place.port], default=None)

    def _may_begin(self, place: ReaderTurn) -> bool:
        return not place.large or (self._large < self._most_large and (place.begun or place.port not in self._begun))
