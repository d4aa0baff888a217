"""What is started too often is set aside for a minute: it is taken only when nothing else waits.

Rule: the starts of a class (what tasks name in `run`) are counted on all servers together, by the minute that begins
with the first of them. The start that uses the number up sets the class aside for one more minute; what is started of
it meanwhile, because nothing else waits, is not counted. After that a new minute begins with the next start.
Source: batch reference, section 18, "throttling"; gap G29.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

MINUTE: Final = timedelta(minutes=1)
PER_MINUTE: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttle:
    """How often a class may be started within a minute; `classes` have their own numbers. 0: as often as it likes."""

    per_minute: int = PER_MINUTE
    classes: Mapping[str, int] = field(default_factory=dict)

    def most(self, handler: str) -> int | None:
        """Return how often *handler* may be started within a minute, None: as often as it likes."""
        return self.classes.get(handler, self.per_minute) or None


@dataclass(frozen=True, slots=True, kw_only=True)
class Starts:
    """The starts of a class in the minute since `since`. `aside_until`: it has used them up, and is set aside."""

    since: datetime
    count: int = 0
    aside_until: datetime | None = None

    def is_aside(self, now: datetime) -> bool:
        """Tell whether the class is set aside; not by an end so far ahead that a clock was set back since.

        Rule: clocks of servers may differ a little, so an end is too far ahead only from two minutes on.
        """
        return self.aside_until is not None and now < self.aside_until < now + 2 * MINUTE

    def room(self, most: int | None, now: datetime) -> int | None:
        """Return how often the class may still be started, None: as often as it likes."""
        if most is None:
            return None
        return 0 if self.is_aside(now) else max(0, most - self.counted(now).count)

    def counted(self, now: datetime) -> "Starts":
        """Return what is counted on from: these, or none when their minute is over or lies ahead of the clock."""
        return self if abs(now - self.since) < MINUTE and self.aside_until is None else Starts(since=now)
