"""How long to wait before something is tried again."""

from dataclasses import dataclass
from math import inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Waiting times that grow up to a bound, with jitter, until a deadline. Units: seconds.

    Each wait is `factor` times the one before. `spread` is the part of a wait that chance decides.
    """

    first_seconds: float
    most_seconds: float = inf
    give_up_seconds: float = inf
    factor: float = 2.0
    spread: float = 0.5

    def delay(self, attempt: int, chance: float = 0.5) -> float:
        """Return the wait after the *attempt*-th failure (from 1); *chance* in [0, 1) spreads it evenly around 0.5."""
        plain = min(self.first_seconds * self.factor ** min(attempt - 1, 30), self.most_seconds)
        return plain * (1 + self.spread * (chance - 0.5))

    def exhausted(self, attempt: int) -> bool:
        """True when the waits so far have used up the time to keep trying."""
        waited, step = 0.0, self.first_seconds
        for _ in range(attempt):
            waited += min(step, self.most_seconds)
            step *= self.factor
            if waited >= self.give_up_seconds:
                return True
        return False


SEND = Backoff(first_seconds=1.0, most_seconds=300.0, give_up_seconds=86_400.0)
"""Transient failures of sending. Source: rulings, "Send retries"."""
SERVICE = Backoff(first_seconds=0.5, most_seconds=60.0, give_up_seconds=86_400.0)
"""Transient failures of a service operation; the number of tries is a setting of the port."""
STORE = Backoff(first_seconds=0.25, most_seconds=30.0, give_up_seconds=86_400.0)
"""Trouble of the database that stands in the way of a service operation; costs no try."""
STORE_LOCK = Backoff(first_seconds=0.25, most_seconds=0.25, spread=1.8)
"""A lock or a connection that somebody else had for too long: that is soon over, and many wait for the same one."""
CONNECT = Backoff(first_seconds=0.08, most_seconds=4.0)
"""A database that cannot be reached; many knock, and not at once."""

LONGEST_SECONDS = 1.25 * max(SEND.most_seconds, SERVICE.most_seconds)
"""Nothing waits longer for its next try; what seems to was put off by a clock that has been set back since."""
