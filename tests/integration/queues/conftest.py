"""A world of servers on a clock that a test moves, with entries."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from gateway.db.open import Store
from tests.fakes import FakeClock, World


@pytest.fixture
async def world(store: Store) -> AsyncIterator[World]:
    """No servers yet; it is five past four on Friday, 6 March 2026."""
    world = World(store, FakeClock(datetime(2026, 3, 6, 16, 5, tzinfo=UTC)))
    yield world
    await world.close()
