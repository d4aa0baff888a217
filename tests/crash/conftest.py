"""Sites whose gateways are born in the process factory of the run."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest

from tests.crash.cluster import Cluster
from tests.crash.process_factory import ProcessFactory
from tests.crash.server import OwnServer
from tests.crash.site import CrashSite
from tests.site import Site


@pytest.fixture
async def crash_site(site: Site, process_factory: ProcessFactory) -> AsyncIterator[CrashSite]:
    """A gateway to be killed, on a fresh database of the run's server."""
    crash_site = CrashSite(site, process_factory)
    yield crash_site
    await crash_site.close()


@pytest.fixture
async def cluster(site: Site, process_factory: ProcessFactory) -> AsyncIterator[Cluster]:
    """Two gateways to be broken, each with a data folder of its own, on one database and the same partner folders."""
    cluster = Cluster(site, process_factory)
    yield cluster
    await cluster.close()


@pytest.fixture
async def server(server_folder: Path) -> AsyncIterator[OwnServer]:
    """A database server of this test alone, not started."""
    server = OwnServer(server_folder)
    try:
        yield server
    finally:
        await asyncio.to_thread(server.close)


@pytest.fixture
async def away_site(server: OwnServer, tmp_path: Path, process_factory: ProcessFactory) -> AsyncIterator[CrashSite]:
    """A gateway on the server of this test."""
    site = CrashSite(Site(tmp_path, await server.start_with_schema()), process_factory)
    yield site
    await site.close()


@pytest.fixture
def chance() -> Random:
    """Randomness of a test; its seed is printed, GATEWAY_TEST_SEED repeats it."""
    seed = os.environ.get("GATEWAY_TEST_SEED") or str(int.from_bytes(os.urandom(4)))
    print(f"repeat with GATEWAY_TEST_SEED={seed}")
    return Random(seed)
