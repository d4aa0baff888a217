"""A change of the configuration is noticed also when nobody tells of it."""

import asyncio
import os
from pathlib import Path

from gateway.config.load import load
from gateway.config.models import Settings
from gateway.runtime.reload import follow_configuration

BEFORE = "ports: {}\n"
AFTER = "queue: {max_ready: 7}\n"


async def test_change_made_before_watching_began_is_taken_into_use(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(BEFORE)
    settings = load(config, os.environ)
    config.write_text(AFTER)
    applied: asyncio.Queue[Settings] = asyncio.Queue()

    async def apply(_: Settings, new: Settings) -> None:
        await applied.put(new)

    stopping = asyncio.Event()
    following = asyncio.create_task(follow_configuration(config, settings, apply, stopping))
    try:
        async with asyncio.timeout(30):
            new = await applied.get()
        assert new.queue.max_ready == 7
    finally:
        stopping.set()
        await following
