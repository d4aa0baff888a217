"""How many messages are worked on together, and which come first inside a port."""

from enum import StrEnum
from typing import Final

TARGET_SECONDS: Final = 0.25
"""How long the work on one unit should take."""
SHARED_SECONDS: Final = 0.1
"""The same while somebody else waits."""
FASTEST_GROWTH: Final = 8
"""A unit is at most so many times as large as the last one might have been; it shrinks at once."""
_NOTHING_SECONDS: Final = 0.02
"""What a unit of one quick message may take on a busy machine: that does not say that messages are slow."""
_FADING: Final = 0.7


class Pace:
    """How many messages the next unit of an operation has: what fits into the target.

    Rule: while nothing is known they go one by one. Two sets of eight that take two seconds each would hold everybody.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._seconds = 0.0  # of the last units; older ones count less and less
        self._messages = 0.0
        self._largest = 1  # that may be tried now

    @property
    def seconds(self) -> float | None:
        """Return how long one message takes, None while nothing is known."""
        return self._seconds / self._messages if self._messages else None

    def next(self, *, others_wait: bool) -> int:
        """Return the size of the next unit."""
        return self._fitting(SHARED_SECONDS if others_wait else TARGET_SECONDS)

    def took(self, messages: int, seconds: float) -> None:
        """Say how long a unit took. Slower by half counts at once, quicker by and by.

        Rule: a unit counts by its messages. What a small one takes is the unit more than what is in it, and the first
        ones must not hold back the larger ones for long.
        """
        if self.seconds is not None and seconds > max(2 * self.seconds * messages, _NOTHING_SECONDS):
            self._seconds = self._messages = 0.0
        self._seconds = _FADING * self._seconds + seconds
        self._messages = _FADING * self._messages + messages
        self._largest *= FASTEST_GROWTH
        self._largest = self._fitting(TARGET_SECONDS)

    def _fitting(self, target: float) -> int:
        fits = self.most if self.seconds is None else int(target / max(self.seconds, 1e-6))
        return max(1, min(fits, self._largest, self.most))


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
