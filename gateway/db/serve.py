"""Keep the embedded server running for as long as the store is open."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import structlog

from gateway.db.embedded import EmbeddedServer
from gateway.db.errors import StoreRefused
from gateway.db.waiting import back_off, uninterrupted

log = structlog.get_logger()

LOG_CHECK_SECONDS: Final = 30.0


@asynccontextmanager
async def embedded_server(data: Path) -> AsyncIterator[EmbeddedServer]:
    """Start the embedded server of *data*, start it again whenever it ends by itself, stop it at the end.

    Before: the caller holds the lock of the data folder.
    Raises: StoreRefused when it does not start.
    """
    server = EmbeddedServer(data)
    watch: asyncio.Task[None] | None = None
    try:
        await uninterrupted(asyncio.to_thread(server.start), server.interrupt)
        watch = asyncio.create_task(_keep_running(server), name="store.server")
        yield server
    finally:
        if watch is not None:
            watch.cancel()
            await uninterrupted(asyncio.wait([watch]), server.interrupt)
        await uninterrupted(asyncio.to_thread(server.stop))


async def _keep_running(server: EmbeddedServer) -> None:
    while True:
        ended = asyncio.wrap_future(server.ended)
        while not ended.done():
            await asyncio.wait([ended], timeout=LOG_CHECK_SECONDS)
            await asyncio.to_thread(server.bound_log)
        log.error("store.server_ended", exit_code=ended.result())
        await _start_again(server)


async def _start_again(server: EmbeddedServer) -> None:
    for delay in back_off():
        try:
            await uninterrupted(asyncio.to_thread(server.start), server.interrupt)
        except StoreRefused as error:
            log.error("store.server_not_started", error=error.message)
            await asyncio.sleep(delay)
        else:
            return
