"""How many messages are worked on together, and which come first inside a port."""

from enum import StrEnum
from typing import Final

TARGET_SECONDS: Final = 0.25
"""How long the work on one unit should take."""
SHARED_SECONDS: Final = 0.1
"""The same while somebody else waits."""
FASTEST_GROWTH: Final = 4
"""A unit is so many times as large as the last one at most; it shrinks at once."""


class Pace:
    """How many messages the next unit of an operation has: what fits into the target.

    Rule: while nothing is known they go one by one. Two sets of eight that take two seconds each would hold everybody.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.seconds: float | None = None  # of one message
        self._last = 1

    def next(self, *, others_wait: bool) -> int:
        """Return the size of the next unit."""
        if self.seconds is not None:
            target = SHARED_SECONDS if others_wait else TARGET_SECONDS
            fits = int(target / max(self.seconds, 1e-6))
            self._last = max(1, min(fits, FASTEST_GROWTH * self._last, self.most))
        return self._last

    def took(self, messages: int, seconds: float) -> None:
        """Say how long a unit took. Slower by half counts at once, quicker only by and by."""
        each = seconds / messages
        slower = self.seconds is None or each > 2 * self.seconds
        self.seconds = each if slower or self.seconds is None else 0.7 * self.seconds + 0.3 * each


class Kind(StrEnum):
    """Whether messages have an ordering key."""

    LANE = "lane"
    FREE = "free"


class Alternation:
    """Lanes and free messages of a port: the older first, but of any four claims each kind gets one if it waits."""

    _MOST_PASSED = 3

    def __init__(self) -> None:
        self._passed = dict.fromkeys(Kind, 0)

    def first(self, lane: int | None, free: int | None) -> Kind:
        """Return which kind is next, by the keys of the oldest of each that may run; None: there is none."""
        if lane is None or free is None:
            return Kind.FREE if lane is None else Kind.LANE
        for kind in Kind:
            if self._passed[kind] >= self._MOST_PASSED:
                return kind
        return Kind.LANE if lane < free else Kind.FREE

    def took(self, kind: Kind, *, other_waited: bool) -> None:
        """Say which kind was claimed, and whether the other one waited meanwhile."""
        other = Kind.FREE if kind is Kind.LANE else Kind.LANE
        self._passed[kind] = 0
        self._passed[other] = self._passed[other] + 1 if other_waited else 0
