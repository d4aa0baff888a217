"""Messages between two processes of one gateway: one end in an event loop, the other there or in plain threads.

    JSON length (4 bytes)  body length (4)  JSON: [kind, fields …]  body

No pickle: nothing that the other process says makes this one run or build anything but records.
"""

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import IO, Any, Final, Self

HEAD: Final = struct.Struct("<II")
_as_json: Final = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Message:
    """What the other process says: a word, what belongs to it, and bytes where there are any."""

    kind: str
    fields: tuple[Any, ...] = ()
    body: bytes = b""


def packed(kind: str, *fields: object, body: bytes = b"") -> bytes:
    """Return a message as it travels."""
    text = _as_json([kind, *fields]).encode()
    return HEAD.pack(len(text), len(body)) + text + body


def take_message(buffer: bytearray, most_bytes: int) -> Message | None:
    """Take the next message out of what has come; None when not all of it is there.

    Raises: ValueError when it is announced as longer than *most_bytes*.
    """
    if len(buffer) < HEAD.size:
        return None
    text_length, body_length = HEAD.unpack_from(buffer)
    start, end = HEAD.size + text_length, HEAD.size + text_length + body_length
    if end > most_bytes:
        raise ValueError(f"a message of {end} bytes was announced")
    if len(buffer) < end:
        return None
    kind, *fields = json.loads(buffer[HEAD.size : start].decode())
    message = Message(kind, tuple(fields), bytes(buffer[start:end]))
    del buffer[:end]
    return message


def read_message(stream: IO[bytes]) -> Message | None:
    """Wait for the next message, in a process or a thread that has nothing else to do; None when nobody talks."""
    head = stream.read(HEAD.size)
    if len(head) < HEAD.size:
        return None
    text, body = HEAD.unpack(head)
    return _message(stream.read(text), stream.read(body))


class Link:
    """One end of a pair of sockets. What is told arrives in order, or the other process has ended."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def over(cls, connection: socket.socket) -> Self:
        """Return the end that has this socket; it is closed with the link, and when there comes to be none."""
        connection.setblocking(False)
        try:
            return cls(*await asyncio.open_connection(sock=connection))
        except BaseException:
            connection.close()
            raise

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
            text, body = HEAD.unpack(await self._reader.readexactly(HEAD.size))
            return _message(await self._reader.readexactly(text), await self._reader.readexactly(body))
        except (asyncio.IncompleteReadError, OSError):
            return None

    def close(self) -> None:
        """Hang up."""
        self._writer.close()


def _message(text: bytes, body: bytes) -> Message:
    kind, *fields = json.loads(text)
    return Message(kind, tuple(fields), body)
