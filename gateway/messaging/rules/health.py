"""How many messages of a port may be in work while its services fail, or while nothing shows that they work.

Without it a defect in a handler, or a system behind it that is away, would send thousands of requests to Error and
their partners thousands of faults, one after another.
"""

from dataclasses import dataclass
from typing import Final

from gateway.kernel.ids import PortName

PAUSE_SECONDS: Final = 60.0
"""Between two tries of a port whose services do not work."""


@dataclass(slots=True, kw_only=True)
class Findings:
    """What one unit of work found out about the services of its port.

    `works`: a request went through; `failures`: so many in a row failed after that, `last` is the text of the last one.
    *most* failures in a row pause the port; 0: never.
    """

    port: PortName
    most: int
    works: bool = False
    failures: int = 0
    last: str = ""

    @property
    def is_enough(self) -> bool:
        """Tell whether nothing more of the unit may run."""
        return 0 < self.most <= self.failures

    def succeeded(self) -> None:
        """Say that a request went through."""
        self.works, self.failures = True, 0

    def failed(self, text: str) -> None:
        """Say that a service did not work."""
        self.failures += 1
        self.last = text


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceHealth:
    """What all processes together know of the services of a port, which *most* failures in a row pause (0: none do).

    `failures` in a row; 0: they work, None: nothing is known yet. `is_due`: while the port is paused, one request may
    be tried now. `in_work` are its messages that are in work now.
    """

    most: int
    failures: int | None
    is_paused: bool
    is_due: bool
    in_work: int

    @property
    def is_trying(self) -> bool:
        """Tell whether what is claimed now is a try."""
        return self.most > 0 and self.is_paused

    @property
    def is_waiting(self) -> bool:
        """Tell whether nothing may be claimed before the next try is due."""
        return self.is_trying and not self.is_due

    def room(self, limit: int, at_once: int | None) -> int:
        """Return how many of *limit* messages may be claimed, of a port that may have *at_once* in work (None: any).

        Rule: while nothing shows that the services work, no more are in work side by side than may still fail before
        the port pauses. A try is one request, whatever of before the pause is still in work.
        """
        room = limit if at_once is None else max(0, min(limit, at_once - self.in_work))
        if self.most == 0 or self.failures == 0:
            return room
        if self.is_paused:
            return min(room, 1) if self.is_due else 0
        may_fail = self.most - (self.failures or 0) - self.in_work
        return min(room, max(may_fail, 0 if self.in_work else 1))
