"""The time by which jobs start: the database's, so that all servers agree.

Source: batch reference, G32; rulings, "Nodes, time, recovery".
"""

import time
from asyncio import Event
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from gateway.db.clock import database_clock
from gateway.db.open import Store
from gateway.db.waiting import wait_for_any

LOOK_SECONDS: Final = 10.0
"""Between two looks at the database's clock."""
STEP_SECONDS: Final = 2.0
"""A clock that is off by more than this from one look to the next was set."""
_LONGEST_SECONDS: Final = 3600.0


class Clock(Protocol):
    """What the engine knows of time."""

    def now(self) -> datetime:
        """Return the time of day (aware UTC) by which jobs start."""
        ...

    def elapsed(self) -> float:
        """Return seconds that never jump, from any beginning."""
        ...

    async def look(self) -> float:
        """Look at the source of the time, when it is time for that; returns by how many seconds it was set, or 0.0.

        Raises: StoreUnavailable.
        """
        ...

    async def wait(self, seconds: float | None, *events: Event) -> None:
        """Return after so many elapsed seconds (None: never), or as soon as one of *events* is set."""
        ...


class DatabaseClock:
    """The clock of the database, carried on by our steady clock from one look to the next."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._asked_at: float | None = None
        self._began = datetime.now(UTC)
        self._at = time.monotonic()

    def now(self) -> datetime:
        """Return the time of day by the database."""
        return self._began + timedelta(seconds=time.monotonic() - self._at)

    def elapsed(self) -> float:
        """Return the seconds of our steady clock."""
        return time.monotonic()

    async def look(self) -> float:
        """Ask the database for its time now and then; the answer counts for the middle of the question's way."""
        asked = time.monotonic()
        first = self._asked_at is None
        if self._asked_at is not None and asked - self._asked_at < LOOK_SECONDS:
            return 0.0
        told = await database_clock(self._store)
        self._asked_at = asked
        at = (asked + time.monotonic()) / 2
        step = (told - (self._began + timedelta(seconds=at - self._at))).total_seconds()
        self._began, self._at = told, at
        return 0.0 if first or abs(step) <= STEP_SECONDS else step

    async def wait(self, seconds: float | None, *events: Event) -> None:
        """Return after so many seconds, or as soon as one of *events* is set."""
        await wait_for_any(_LONGEST_SECONDS if seconds is None else seconds, *events)
