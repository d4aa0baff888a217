"""What lies between a gateway and its database, and may misbehave: connections that end around a commit, slow lines."""

import asyncio
from collections import Counter
from contextlib import suppress
from random import Random
from urllib.parse import parse_qs, urlsplit

LOSE_REPLY = b"lose this reply"
"""In a notice that a transaction sends while it commits: nobody shall hear how that went."""
_COMMIT = b"COMMIT;\x00"
_COMMITTED = b"COMMIT\x00"


class DatabaseProxy:
    """Passes bytes; *lose* says how many commits are still to be cut off `before` and `after` they take effect."""

    def __init__(self, url: str, chance: Random) -> None:
        self._url = url
        self._socket = parse_qs(urlsplit(url).query)["host"][0] + "/.s.PGSQL.5432"
        self._chance = chance
        self._open: set[asyncio.StreamWriter] = set()
        self.lose: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()
        self.delay_seconds = 0.0

    async def __aenter__(self) -> "DatabaseProxy":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"{self._url.split('?')[0].replace('@/', f'@127.0.0.1:{port}/')}?sslmode=disable"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in list(self._open):
            writer.transport.abort()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_reader, to_writer = await asyncio.open_unix_connection(self._socket)
        self._open |= {writer, to_writer}
        committing = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._ask(reader, to_writer, writer, committing))
            group.create_task(self._answer(to_reader, writer, to_writer, committing))
        self._open -= {writer, to_writer}

    async def _ask(
        self, reader: asyncio.StreamReader, server: asyncio.StreamWriter, client: asyncio.StreamWriter,
        committing: asyncio.Event,
    ) -> None:  # fmt: skip
        """Pass on what the gateway says, but perhaps not its commit."""
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                await asyncio.sleep(self.delay_seconds)
                fate = self._fate() if _COMMIT in data else ""
                if fate == "before":
                    client.transport.abort()
                    break
                if fate == "after":
                    committing.set()
                server.write(data)
        server.close()

    async def _answer(
        self, reader: asyncio.StreamReader, client: asyncio.StreamWriter, server: asyncio.StreamWriter,
        committing: asyncio.Event,
    ) -> None:  # fmt: skip
        """Pass on what the database says, but not the reply to a commit that shall get lost."""
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                if LOSE_REPLY in data:
                    self.lost["after"] += 1
                    if _COMMITTED not in data:  # the notice came first
                        committing.set()
                        continue
                if committing.is_set() or LOSE_REPLY in data:
                    client.transport.abort()
                    server.close()
                    break
                client.write(data)
        client.close()

    def _fate(self) -> str:
        """Decide about one commit: some go through in between, so that work goes on."""
        waiting = [kind for kind, left in self.lose.items() if left > 0]
        if not waiting or self._chance.random() < 0.7:
            return ""
        kind = self._chance.choice(waiting)
        self.lose[kind] -= 1
        self.lost[kind] += 1
        return kind
