"""A gateway's database, a message store of either kind, and the stations that write into it."""

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway.db.open import Store
from tests.conftest import Databases
from tests.integration.exchange.world import DatabaseStation, ExchangeWorld, FolderStation


@pytest.fixture(params=["database", "folder"])
def kind(request: pytest.FixtureRequest) -> str:
    """Both kinds of message stores, unless a test names one."""
    return str(request.param)


@pytest.fixture
async def world(store: Store, databases: Databases, tmp_path: Path, kind: str) -> AsyncIterator[ExchangeWorld]:
    """A world with one message store, `shops`."""
    with ThreadPoolExecutor(1) as threads:
        if kind == "folder":
            (tmp_path / "status").mkdir()
            folder = FolderStation(tmp_path / "status", tmp_path)
            yield ExchangeWorld(store, folder, {"folder": str(folder.folder), "settle_seconds": 0.0}, tmp_path, threads)
            return
        name = databases.create_empty()
        station = DatabaseStation(databases.url(name))
        try:
            yield ExchangeWorld(store, station, {"database": station.url}, tmp_path, threads)
        finally:
            await station.close()
            databases.drop(name)
