"""A site per test, on a database of its own; whatever runs is ended."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.site import Site


@pytest.fixture
async def site(tmp_path: Path, database_url: str) -> AsyncIterator[Site]:
    site = Site(tmp_path, database_url)
    yield site
    await site.close()


@pytest.fixture
async def embedded_site(tmp_path: Path) -> AsyncIterator[Site]:
    site = Site(tmp_path)
    yield site
    await site.close()
