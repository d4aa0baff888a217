"""A world of servers on a clock that a test moves."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from gateway.db.open import Store
from tests.fakes import FakeClock, World


@pytest.fixture
async def world(store: Store) -> AsyncIterator[World]:
    """No servers yet; it is noon on 1 March 2026."""
    world = World(store, FakeClock(datetime(2026, 3, 1, 12, tzinfo=UTC)))
    yield world
    await world.close()
