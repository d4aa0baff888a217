"""How much waits in the queue, without counting it at every look into a folder."""

from collections.abc import Callable

from gateway.store.ingest import waiting_inbound
from gateway.store.open import Store

TRUSTED_SECONDS = 5.0
"""A count is good for so long: what other gateways took in meanwhile is not in it."""
FULL_SECONDS = 1.0
"""The same where the queue was full: there may be room soon."""


class Room:
    """Counts what waits, remembers it for a while, and adds what was taken in since.

    A count costs time in proportion to what waits, and folders are looked into at every hint.
    """

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        """Begin without a count; *clock* tells seconds that never jump."""
        self._store = store
        self._clock = clock
        self._waiting = self._taken = 0
        self._good_until: float | None = None

    async def waiting(self, limit: int) -> int:
        """Return how many inbound messages can still run, up to about *limit*.

        Raises: StoreUnavailable.
        """
        over = self._good_until is None or self._clock() >= self._good_until
        if over or (self._taken and self._waiting + self._taken >= limit):
            self._waiting, self._taken = await waiting_inbound(self._store, limit), 0
            self._good_until = self._clock() + (FULL_SECONDS if self._waiting >= limit else TRUSTED_SECONDS)
        return self._waiting + self._taken

    def took(self, messages: int) -> None:
        """Say that so many messages were taken in."""
        self._taken += messages
