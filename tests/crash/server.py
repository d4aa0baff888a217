"""A database server of one test alone, to be stopped and started."""

import asyncio
import signal
from pathlib import Path

import psutil

from gateway.db.connect import connect
from gateway.db.embedded import EmbeddedServer
from gateway.db.migrate import migrate


class OwnServer:
    """The server in a folder; every start is a process of its own on the same data, at the same address."""

    def __init__(self, folder: Path) -> None:
        self._server = EmbeddedServer(folder)

    async def start(self) -> str:
        await asyncio.to_thread(self._server.start)
        return self._server.url

    async def start_with_schema(self) -> str:
        """Start for the first time, with all tables."""
        url = await self.start()
        connection = await connect(url)
        try:
            await migrate(connection)
        finally:
            await connection.close()
        return url

    async def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """End the server: SIGINT in good order, SIGQUIT as a crash does."""
        if not self._server.ended.done():
            psutil.Process(self._server.pid).send_signal(number)
        await asyncio.wrap_future(self._server.ended)

    def close(self) -> None:
        self._server.stop()
