"""Who lives is told by counts that move, never by the time of day.

Whoever works counts a number up, its beats. An observer reads the numbers now and then and holds them against its own
steady clock: one that has not moved for a whole term belongs to somebody who died or froze. Clocks that differ between
machines, or jump, change nothing.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

_LOOKS_PER_TERM = 3
"""A single pause between two looks counts for a third of the term at most, however long it was."""
_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class _Sight:
    beats: int
    still_seconds: float


class Observer(Generic[K]):
    """Remembers what one process saw of others: whose beats stand still, and for how long by its own clock.

    Rule: a pause of the observer itself counts for little. When a machine slept, the others slept perhaps as long, and
    whoever wakes first must not take everything from them: each of them is looked at three times at least.
    """

    def __init__(self, term_seconds: float) -> None:
        self._term = term_seconds
        self._sights: dict[K, _Sight] = {}
        self._looked_at: float | None = None

    def look(self, beats: Mapping[K, int], now: float) -> dict[K, int]:
        """Take in the beats of all who are there now; return those that stood still for a whole term, with their beats.

        Units: *now* in seconds of a clock that never jumps (`time.monotonic`). Whoever is not in *beats* is forgotten.
        Rule: what is done about the result must hold only while the beats still have this value.
        """
        passed = 0.0 if self._looked_at is None else min(now - self._looked_at, self._term / _LOOKS_PER_TERM)
        self._looked_at = now
        self._sights = {key: self._sight(key, count, passed) for key, count in beats.items()}
        return {key: one.beats for key, one in self._sights.items() if one.still_seconds >= self._term - _ROUNDING}

    def start_anew(self) -> None:
        """Forget what was seen: the database was away, and nobody could beat."""
        self._sights.clear()
        self._looked_at = None

    def _sight(self, key: K, beats: int, passed: float) -> _Sight:
        before = self._sights.get(key)
        if before is None or before.beats != beats:
            return _Sight(beats, 0.0)
        return _Sight(beats, before.still_seconds + passed)
