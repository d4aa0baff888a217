"""Hints arrive, and the listener outlives its connection."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, urlsplit

import pytest

from gateway.db.connect import connect
from gateway.db.listen import Listener
from gateway.db.open import Store
from tests.conftest import Databases
from tests.site import until


@asynccontextmanager
async def listening(url: str, **settings: float) -> AsyncIterator[asyncio.Queue[str | None]]:
    """Run a listener; yields the queue of its hints."""
    hints: asyncio.Queue[str | None] = asyncio.Queue()
    stopping = asyncio.Event()
    listener = Listener(url, hints.put_nowait, **{"answer_seconds": 60.0, **settings})
    async with asyncio.timeout(100), asyncio.TaskGroup() as group:
        group.create_task(listener.run(stopping), name="listener")
        try:
            yield hints
        finally:
            stopping.set()


async def test_new_connection_hints_at_everything(store: Store) -> None:
    async with listening(store.url) as hints:
        assert await hints.get() is None


async def test_notification_is_handed_on_when_it_commits(store: Store) -> None:
    async with listening(store.url) as hints:
        assert await hints.get() is None
        async with store.transaction() as connection:
            await connection.execute("SELECT pg_notify('gateway_hint', 'inbound orders')")
        assert await hints.get() == "inbound orders"


async def test_undone_notification_is_not_heard(store: Store) -> None:
    async with listening(store.url) as hints:
        assert await hints.get() is None
        with pytest.raises(RuntimeError):
            async with store.transaction() as connection:
                await connection.execute("SELECT pg_notify('gateway_hint', 'undone')")
                raise RuntimeError("undo")
        async with store.transaction() as connection:
            await connection.execute("SELECT pg_notify('gateway_hint', 'done')")
        assert await hints.get() == "done"


async def test_terminated_connection_is_replaced_and_hints_at_everything(store: Store) -> None:
    async with listening(store.url) as hints:
        assert await hints.get() is None
        await _terminate_listener(store)
        assert await hints.get() is None
        async with store.transaction() as connection:
            await connection.execute("SELECT pg_notify('gateway_hint', 'after')")
        assert await hints.get() == "after"


async def test_silent_server_is_noticed_by_its_heartbeat(store: Store) -> None:
    """A server that accepts everything and answers nothing any more: a proxy that stops passing bytes on."""
    async with _Proxy(store.url) as proxy, listening(proxy.url, heartbeat_seconds=0.05, answer_seconds=0.2) as hints:
        assert await hints.get() is None
        proxy.freeze()
        assert await hints.get() is None


async def test_heartbeats_do_not_hint(store: Store) -> None:
    async with listening(store.url, heartbeat_seconds=0.01) as hints:
        assert await hints.get() is None
        await _until_pinged(store)
        assert hints.empty()


async def test_listener_waits_for_a_database_that_is_not_there_yet(databases: Databases) -> None:
    async with listening(databases.url("late")) as hints:
        connection = await connect(databases.url("postgres"))
        await connection.execute("CREATE DATABASE late TEMPLATE gateway STRATEGY file_copy")
        await connection.close()
        assert await hints.get() is None
    databases.drop("late")


class _Proxy:
    """Passes bytes between a client and the database until it is frozen; connections made later pass again."""

    def __init__(self, url: str) -> None:
        self._socket = parse_qs(urlsplit(url).query)["host"][0] + "/.s.PGSQL.5432"
        self._url = url
        self._frozen: set[asyncio.StreamWriter] = set()
        self._open: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> "_Proxy":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"{self._url.split('?')[0].replace('@/', f'@127.0.0.1:{port}/')}?sslmode=disable"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._open:
            writer.close()
        await self._server.wait_closed()

    def freeze(self) -> None:
        self._frozen |= self._open

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_reader, to_writer = await asyncio.open_unix_connection(self._socket)
        self._open |= {writer, to_writer}
        async with asyncio.TaskGroup() as group:
            group.create_task(self._pass(reader, to_writer))
            group.create_task(self._pass(to_reader, writer))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                if writer not in self._frozen:
                    writer.write(data)
        except ConnectionError:
            pass
        writer.close()


async def _terminate_listener(store: Store) -> None:
    async with store.transaction() as connection:
        ended = await connection.fetchval(
            "SELECT count(pg_terminate_backend(pid, 60000)) FROM pg_stat_activity "
            "WHERE datname = current_database() AND application_name = 'gateway listener'"
        )
    assert ended == 1


async def _until_pinged(store: Store) -> None:
    async def pinged() -> bool:
        async with store.reading() as connection:
            return bool(
                await connection.fetchval(
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                    "AND application_name = 'gateway listener' AND query = 'SELECT 1'"
                )
            )

    await until(pinged, "the listener has asked for a sign of life")
