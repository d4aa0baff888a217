"""How many requests of a parallel port to take at once: about what is done in a second.

What is taken together runs one after another, in one transaction. Many quick requests are best done that way; slow
ones, which wait for somebody else, are to run beside one another instead. Nobody has to say which a port has.
"""

from typing import Final

AIM_SECONDS: Final = 1.0
_GROWTH: Final = 8


class Pace:
    """Of one port, in this process: begins with a single request, and grows as long as they are quick."""

    def __init__(self) -> None:
        self._size = 1

    def take(self, limit: int) -> int:
        """Return how many to take, at most *limit*."""
        return min(limit, self._size)

    def done(self, requests: int, seconds: float) -> None:
        """Learn how long so many requests took together."""
        fitting = int(requests * AIM_SECONDS / seconds) if seconds > 0 else self._size * _GROWTH
        self._size = max(1, min(fitting, self._size * _GROWTH))
