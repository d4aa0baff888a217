"""Hear from other processes that there may be work: LISTEN on a connection of its own.

Hints only shorten latency. They are lost while the connection is away, and equal ones may come as one; so
every new connection begins with one hint for everything, and a sweep decides in the end.
"""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog
from asyncpg import Connection

from gateway.db.connect import SCHEMA, connect
from gateway.db.errors import StoreRefused, database_errors, is_lost
from gateway.db.statements.session_sql import PING
from gateway.db.waiting import back_off, wait_for_any, wait_or_stop
from gateway.kernel.errors import StoreUnavailable

log = structlog.get_logger()

CHANNEL: Final = "gateway_hint"
JOBS_HINT: Final = "jobs"
"""What is notified when something about jobs may have become due, ready, or is to be stopped."""
RETRY_HINT: Final = "retry:"
"""Stands before the name of a port whose next try is to come at once."""
HEARTBEAT_SECONDS: Final = 10.0
ANSWER_SECONDS: Final = 2.0
"""A frozen server shows itself only by not answering."""

SETTINGS: Final = {
    "application_name": "gateway listener",
    "search_path": SCHEMA,
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}


class Listener:
    """Listens for ever: a lost connection is replaced, for as long as it takes.

    Shape: `on_hint` gets the text of a notification, or None when anything may have happened; it is called
    in the event loop and must not block.
    """

    def __init__(
        self,
        url: str,
        on_hint: Callable[[str | None], None],
        *,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        self._url = url
        self._on_hint = on_hint
        self._heartbeat_seconds = heartbeat_seconds
        self._answer_seconds = answer_seconds

    async def run(self, stopping: asyncio.Event) -> None:
        """Listen until *stopping* is set."""
        delays = back_off()
        told = False
        while not stopping.is_set():
            try:
                connection = await connect(self._url, SETTINGS)
                told, delays = False, back_off()
                await self._listen(connection, stopping)
            except (StoreUnavailable, StoreRefused) as error:
                if not told:  # once per outage
                    log.warning("store.listener_lost", error=error.message)
                    told = True
                await wait_or_stop(stopping, next(delays))

    async def _listen(self, connection: Connection, stopping: asyncio.Event) -> None:
        """Hand on hints until *stopping* is set. Raises: StoreUnavailable when the connection is lost."""
        lost = asyncio.Event()
        connection.add_termination_listener(lambda _: lost.set())
        try:
            with database_errors(connection):
                await connection.add_listener(CHANNEL, self._received)
            self._on_hint(None)
            while True:
                await wait_for_any(self._heartbeat_seconds, stopping, lost)
                with database_errors(connection):
                    if stopping.is_set():
                        return await connection.close(timeout=self._answer_seconds)
                    await connection.fetchval(PING, timeout=self._answer_seconds)  # the driver's own: it counts as lost
        finally:
            if not is_lost(connection):
                connection.terminate()

    def _received(self, connection: object, pid: int, channel: str, payload: object) -> None:
        self._on_hint(str(payload))
