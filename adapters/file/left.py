"""What lies in an inbound folder and is not taken, since when and why."""

from dataclasses import replace

from adapters.file.names import display
from adapters.file.settings import Clock
from gateway.messaging.rules.delivery import LeftInPlace

MOST_LEFT = 1_000


class LeftEntries:
    """Collects the entries one walk leaves in place; at most a thousand, so that rubbish costs no memory.

    `seen` is replaced as a whole and may be read from any thread. An entry keeps its first time as long as it
    is left for the same reason, so that it can be reported once.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._before: dict[bytes, LeftInPlace] = {}
        self._now: dict[bytes, LeftInPlace] = {}
        self.seen: tuple[LeftInPlace, ...] = ()

    def begin(self) -> None:
        """Begin a new walk."""
        self._before, self._now = self._now, {}

    def add(self, name: bytes, code: str, text: str) -> None:
        """Note that *name* was left in place."""
        if len(self._now) >= MOST_LEFT and name not in self._now:
            return
        known = self._before.get(name) or self._now.get(name)
        if known is not None and known.code == code:
            self._now[name] = replace(known, text=text)
            return
        self._now[name] = LeftInPlace(name=name, display=display(name), code=code, text=text, since=self._clock.now())

    def drop(self, name: bytes) -> None:
        """Forget *name*: it was taken, or has gone."""
        self._now.pop(name, None)

    def show(self) -> None:
        """Publish what the walk left so far."""
        self.seen = tuple(self._now.values())
