"""The process that draws a page: half a second of work and 100 MB that must not stand in the loop of a gateway.

It is launched for one document and ends with it, so that a font or a logo that breaks it costs this print alone.
"""

import asyncio
import resource
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.config.models_posting import Letterhead, Printing
from gateway.kernel.errors import GatewayError
from gateway.workers.launcher import Launcher, ending, launched
from gateway.workers.limits import limit_memory
from gateway.workers.link import packed, read_message

PRINT: Final = "print"
"""The role of these processes."""
_MOST_BYTES: Final = 600_000_000
_CPU_SECONDS: Final = 120
_SECONDS: Final = 300.0
_LAST_WORDS_SECONDS: Final = 1.0


class PrintFailed(GatewayError):
    """A document could not be printed; it stays posted, and the print can be repeated."""

    code = "print.failed"


@dataclass(frozen=True, slots=True)
class Printed:
    """A document as a PDF, and the letters in it that no font has."""

    content: bytes
    missing: str


async def draw(
    launcher: Launcher, printing: Printing, document: str, content: bytes, *, copy: bool, card: bytes = b""
) -> Printed:
    """Draw a posted document of the kind *document*; *card* is what is kept of its customer or vendor.

    Raises: PrintFailed, NotLaunched.
    """
    async with launched(launcher, PRINT) as (child, link):
        fonts = [str(path) for path in printing.fonts]
        head = printing.letterhead.model_dump_json()
        link.tell("draw", document, copy, head, printing.paper, fonts, len(content), body=content + card)
        try:
            async with asyncio.timeout(_SECONDS):
                message = await link.receive()
        except TimeoutError:
            raise PrintFailed(f"The page was not drawn within {_SECONDS:g} seconds.") from None
        if message is None:
            status = await child.end(seconds=_LAST_WORDS_SECONDS)
            raise PrintFailed(f"The process that draws the page {ending(status)}.")
    (said,) = message.fields
    if message.kind == "failed":
        raise PrintFailed(f"The page cannot be drawn: {said}.")
    return Printed(message.body, said)


def be_printer(connection: socket.socket, __: Sequence[int]) -> None:
    """Be the process that draws."""
    limit_memory(_MOST_BYTES)
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_SECONDS, most))
    message = read_message(connection.makefile("rb"))
    if message is None:
        return
    from gateway.queues.printing.page import Unusable  # noqa: PLC0415  # it is large; only we need it
    from gateway.queues.printing.page import draw as draw_page  # noqa: PLC0415
    from gateway.queues.printing.paper import read_paper  # noqa: PLC0415

    document, copy, letterhead, form, fonts, length = message.fields
    try:
        paper = read_paper(message.body[:length], document, copy=copy, card=message.body[length:])
        head = Letterhead.model_validate_json(letterhead)
        content, missing = draw_page(paper, head, form, [Path(font) for font in fonts])
    except Unusable as error:
        connection.sendall(packed("failed", str(error)))
    except Exception as error:
        connection.sendall(packed("failed", f"{type(error).__name__}: {error}"))
    else:
        connection.sendall(packed("drawn", missing, body=content))
