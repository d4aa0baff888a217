"""How much more of the queue a port may have, without counting at every poll what is unfinished."""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass

from gateway.db.open import Store
from gateway.kernel.ids import PortName
from gateway.messaging.intake.writing import unfinished_inbound
from gateway.messaging.rules.shares import room_of

TRUSTED_SECONDS = 5.0
"""A count is good for so long: what other gateways took in meanwhile is not in it."""
FULL_SECONDS = 1.0
"""The same where a port has used up its share: some may be done soon."""
_NEVER_FULL = 100
"""A port that has less than this part of the whole unfinished may take more, however much the others have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PortShare:
    """What a port has of the messages that may be unfinished: `mine` of `most`, while all others have `others`."""

    mine: int
    most: int
    others: int

    @property
    def is_full(self) -> bool:
        """Tell whether the port must wait until some are done."""
        return self.mine >= self.most


class QueueCapacity:
    """Counts what is unfinished, remembers it for a while, and adds what was reserved since.

    A count costs time in proportion to what waits, a quarter of a second for half a million, and ports are polled
    at every hint. So one count at a time serves all, and nobody waits for it who has room by the last one: that
    may only be too high, but for what other gateways took in.
    Rule: a port may have twice as many unfinished as are left for others. One file may bring more than that.
    """

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        """Begin without a count; *clock* tells seconds that never jump."""
        self._store = store
        self._clock = clock
        self._counted: dict[PortName, int] = {}
        self._reserved: Counter[PortName] = Counter()
        self._good_until = 0.0
        self._counting: asyncio.Task[None] | None = None

    async def share(self, port: PortName, ports: Collection[PortName], limit: int) -> PortShare:
        """Return what the port has of *limit* messages, and how much it may have beside the other *ports*.

        Raises: StoreUnavailable.
        """
        unknown = port not in self._counted
        full = unknown or self._share(port, limit).is_full
        if unknown or self._clock() >= self._good_until or (self._reserved[port] and full):
            counting = self._count_anew(ports, limit)
            if full:
                await asyncio.shield(counting)
        return self._share(port, limit)

    async def counted(self) -> None:
        """Wait for a count that is under way."""
        if self._counting is not None:
            await asyncio.wait([self._counting])

    def fits(self, port: PortName, messages: int, limit: int) -> bool:
        """Tell, by the last count, whether the port may take more after so many *messages*."""
        share = self._share(port, limit)
        return share.mine + messages < share.most

    def reserve(self, port: PortName, messages: int) -> None:
        """Say that so many messages are in the queue now; the next count may not have them yet."""
        self._reserved[port] += messages

    def _count_anew(self, ports: Collection[PortName], limit: int) -> asyncio.Task[None]:
        if self._counting is None or self._counting.done():
            self._counting = asyncio.create_task(self._count(ports, limit), name="receive:count")
            self._counting.add_done_callback(lambda task: task.cancelled() or task.exception())
        return self._counting

    async def _count(self, ports: Collection[PortName], limit: int) -> None:
        known = self._reserved.copy()
        self._counted = await unfinished_inbound(self._store, [*ports], limit)
        self._reserved.subtract(known)  # what was taken in meanwhile may not be in the count
        full = any(self._share(one, limit).is_full for one in self._counted)
        self._good_until = self._clock() + (FULL_SECONDS if full else TRUSTED_SECONDS)

    def _share(self, port: PortName, limit: int) -> PortShare:
        held = {one: counted + self._reserved[one] for one, counted in self._counted.items()}
        mine = held.pop(port, 0)
        most = max(room_of(limit, held, port), limit // _NEVER_FULL, 1)
        return PortShare(mine=mine, most=most, others=sum(held.values()))
