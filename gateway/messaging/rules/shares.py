"""Fair shares of ports: turns for what can be counted afterwards, places for what is held and cannot be taken away."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Final

from gateway.kernel.ids import PortName

CREDIT_SECONDS: Final = 0.25
"""So much a port that comes back may be behind those that were served meanwhile; what it did not use before is gone."""


class Turns:
    """Whose turn it is: the port that has had the least seconds for its weight (stride scheduling)."""

    def __init__(self) -> None:
        self._had: dict[PortName, float] = {}
        self._now = 0.0  # what the port that was served last had had then

    def order(self, ports: Iterable[PortName]) -> list[PortName]:
        """Return ports that have work, the one whose turn it is first."""
        for port in ports:
            self._had[port] = max(self._had.get(port, 0.0), self._now - CREDIT_SECONDS)
        return sorted(ports, key=lambda port: (self._had[port], port))

    def served(self, port: PortName) -> None:
        """Say that the port got its turn."""
        self._now = max(self._now, self._had.get(port, 0.0))

    def charge(self, port: PortName, seconds: float, weight: int = 1) -> None:
        """Count what a turn cost, when it is known; before or after it has ended."""
        self._had[port] = self._had.get(port, 0.0) + seconds / weight

    def forget(self, known: Iterable[PortName]) -> None:
        """Keep only ports that are still there."""
        kept = set(known)
        self._had = {port: had for port, had in self._had.items() if port in kept}


class Places:
    """What ports hold of something that cannot be taken away: tasks, connections, bytes, files, messages that wait.

    Rule: a port may hold twice what is free afterwards. Alone it holds two thirds at most, of two each has two fifths,
    and whoever comes new always finds room. Weights do not matter here.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._held: defaultdict[PortName, int] = defaultdict(int)

    @property
    def free(self) -> int:
        """Return how many nobody holds."""
        return self.size - sum(self._held.values())

    def held(self, port: PortName) -> int:
        """Return how many the port holds."""
        return self._held.get(port, 0)

    def room(self, port: PortName) -> int:
        """Return how many more the port may take now."""
        return room_of(self.size, self._held, port)

    def take(self, port: PortName, number: int = 1) -> None:
        """Let the port hold so many more; what it has learned late may be more than its room."""
        self._held[port] += number

    def back(self, port: PortName, number: int = 1) -> None:
        """Take so many back from the port."""
        self._held[port] -= number
        if not self._held[port]:
            del self._held[port]


def room_of(size: int, held: Mapping[PortName, int], port: PortName) -> int:
    """Return how many of *size* places a port may take beyond what it holds, so that held + n <= 2 * (free - n).

    One is always possible when one is free and the port holds none.
    """
    free, mine = size - sum(held.values()), held.get(port, 0)
    if free <= 0:
        return 0
    most = 2 * (free + mine) // 3 - mine
    return max(most, 0 if mine else 1)
