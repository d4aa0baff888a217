"""A site in a temporary folder, threads, and threads of an account that owns nothing."""

import ctypes
import os
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.unit.adapters.support import Site

NOBODY = 65534


@pytest.fixture
def executor() -> Iterator[Executor]:
    with ThreadPoolExecutor(4, thread_name_prefix="folders") as pool:
        yield pool


@pytest.fixture
def site(tmp_path: Path, executor: Executor) -> Site:
    return Site(tmp_path, executor)


def _become_nobody() -> None:
    """Let this thread's file operations be those of an ordinary account; only root needs to."""
    if os.geteuid() == 0:
        ctypes.CDLL(None).setfsuid(NOBODY)


@pytest.fixture
def ordinary_site() -> Iterator[Site]:
    """A site whose gateway is an ordinary account, also when the tests run as root."""
    root = Path(tempfile.mkdtemp())
    root.chmod(0o755)
    try:
        with ThreadPoolExecutor(2, initializer=_become_nobody) as pool:
            site = Site(root, pool)
            if os.geteuid() == 0:
                for folder in root.iterdir():
                    os.chown(folder, NOBODY, -1)
            yield site
    finally:
        for folder in root.iterdir():
            folder.chmod(0o700)
        shutil.rmtree(root)
