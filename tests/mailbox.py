"""A mail server on the loopback that keeps what it takes, or answers as it is told."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import message_from_bytes, policy
from email.message import Message
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session


class Mailbox:
    """What the server took. `answer` is given to each recipient and each mail."""

    def __init__(self, answer: str = "250 taken") -> None:
        self.answer = answer
        self.mails: list[Message] = []
        self.taken = asyncio.Event()

    async def handle_RCPT(self, server: SMTP, session: Session, envelope: Envelope, address: str, options: Any) -> str:
        if self.answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return self.answer

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        assert isinstance(envelope.content, bytes)
        self.mails.append(message_from_bytes(envelope.content, policy=policy.default))
        self.taken.set()
        return self.answer


@asynccontextmanager
async def mail_server(
    mailbox: Mailbox, *, tls: ssl.SSLContext | None = None, starttls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """Run a server until the end of the block; gives its port.

    Secret from the first byte on with *tls*; with *starttls* it takes no mail before it is.
    """
    loop = asyncio.get_running_loop()
    served: list[SMTP] = []

    def serve() -> SMTP:
        served.append(SMTP(mailbox, loop=loop, tls_context=starttls, require_starttls=starttls is not None))
        return served[-1]

    server = await loop.create_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for one in served:
            if one.transport is not None:
                one.transport.close()
        await server.wait_closed()
