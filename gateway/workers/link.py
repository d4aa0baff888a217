"""Messages between two processes of one gateway: one end in an event loop, the other there or in plain threads."""

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Final, Self

_LENGTHS: Final = struct.Struct("<II")


@dataclass(frozen=True, slots=True)
class Message:
    """What the other process says: a word, what belongs to it, and bytes where there are any."""

    kind: str
    fields: tuple[Any, ...] = ()
    body: bytes = b""


def packed(kind: str, *fields: object, body: bytes = b"") -> bytes:
    """Return a message as it travels."""
    text = json.dumps([kind, *fields]).encode()
    return _LENGTHS.pack(len(text), len(body)) + text + body


def read_message(stream: BinaryIO) -> Message | None:
    """Wait for the next message, in a process or a thread that has nothing else to do; None when nobody talks."""
    head = stream.read(_LENGTHS.size)
    if len(head) < _LENGTHS.size:
        return None
    text, body = _LENGTHS.unpack(head)
    kind, *fields = json.loads(stream.read(text))
    return Message(kind, tuple(fields), stream.read(body))


class Link:
    """One end of a pair of sockets. What is told arrives in order, or the other process has ended."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def over(cls, connection: socket.socket) -> Self:
        """Return the end that has this socket; it is closed with the link."""
        connection.setblocking(False)
        return cls(*await asyncio.open_connection(sock=connection))

    def tell(self, kind: str, *fields: object, body: bytes = b"") -> None:
        """Say something and go on at once; when nobody listens any more, nothing happens. Fields are JSON."""
        if self._writer.is_closing():
            return
        self._writer.write(packed(kind, *fields, body=body))

    async def drain(self) -> None:
        """Wait until what was told has left this process, when there is much of it."""
        await self._writer.drain()

    async def messages(self) -> AsyncIterator[Message]:
        """Go through what the other end says, until it ends."""
        while (message := await self.receive()) is not None:
            yield message

    async def receive(self) -> Message | None:
        """Return the next message; None when the other end is gone."""
        try:
            text, body = _LENGTHS.unpack(await self._reader.readexactly(_LENGTHS.size))
            kind, *fields = json.loads(await self._reader.readexactly(text))
            return Message(kind, tuple(fields), await self._reader.readexactly(body))
        except (asyncio.IncompleteReadError, OSError):
            return None

    def close(self) -> None:
        """Hang up."""
        self._writer.close()
