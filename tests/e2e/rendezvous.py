"""A service that notes, port by port, when each of its calls begins and ends; it runs in the process of the gateway."""

import asyncio
import os
from pathlib import Path
from typing import Any, Final

from gateway.contracts.service import Reply, Request, ServiceContext
from gateway.kernel.errors import OperationRejected
from tests.documents import SERVICES

NOTES: Final = "MEETING_NOTES"
"""The environment variable that names the folder of the notes."""
SERVICE: Final[dict[str, Any]] = {
    "kind": "python",
    "namespaces": [SERVICES],
    "operations": {name: f"{__name__}:{name}" for name in ("alone", "together")},
}
BAD: Final = "13"
"""A quantity that is refused."""


def notes(folder: Path, port: str) -> list[str]:
    """Return what was noted of a port: `begin 1`, `end 1` and so on, by MessageId."""
    file = folder / port
    return file.read_text().splitlines() if file.exists() else []


async def alone(request: Request, _: ServiceContext) -> Reply:
    """Answer, and let whatever may run beside it begin meanwhile."""
    return await _call(request, wanted=1)


async def together(request: Request, _: ServiceContext) -> Reply:
    """Answer as soon as two calls have begun."""
    return await _call(request, wanted=2)


async def _call(request: Request, wanted: int) -> Reply:
    folder = Path(os.environ[NOTES])
    _note(folder / request.port, f"begin {request.message_id.int}")
    await asyncio.sleep(0.02)
    while sum(note.startswith("begin") for note in notes(folder, request.port)) < wanted:
        await asyncio.sleep(0.01)
    _note(folder / request.port, f"end {request.message_id.int}")
    if request.parts[0].findtext(".//{*}SalesQty") == BAD:
        raise OperationRejected(f"nobody orders {BAD}")
    return Reply(parts=[])


def _note(file: Path, text: str) -> None:
    with file.open("a") as notes:
        notes.write(text + "\n")
