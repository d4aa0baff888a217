"""Programs of the site that the gateway hands something to. An alert comes as JSON on standard input."""

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.batch.alerts.channels.outside import PROGRAM_FOLDERS
from gateway.batch.alerts.channels.webhook import document
from gateway.contracts.alert import Message
from gateway.db.waiting import uninterrupted
from gateway.kernel.errors import AlertRefused, TransientError
from gateway.workers.program import NOT_STARTED, arguments

_SECONDS: Final = 20.0
_END_SECONDS: Final = 5.0
_SHOWN_CHARACTERS: Final = 300


@dataclass(frozen=True, slots=True)
class CommandSender:
    """Runs the command in *folder*, without a shell (`gateway.contracts.alert.AlertSender`)."""

    command: tuple[str, ...]
    folder: Path

    async def send(self, message: Message) -> None:
        """Run it to its end. Raises: AlertRefused when there is none; TransientError when it fails or hangs."""
        if not self.command:
            raise AlertRefused("The command is not set up: name it in `alerts.command`.")
        environment = {"GATEWAY_ALERT_KEY": message.key}
        await run_program(self.command, self.folder, environment, document(message), seconds=_SECONDS)


async def run_program(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], content: bytes = b"", *, seconds: float
) -> None:
    """Run a program to its end, without a shell, with *content* on its standard input; then end its process group.

    When this process dies before that, the kernel ends the program.
    Raises: TransientError when it cannot be started, fails, or takes longer.
    """
    name = command[0]
    try:
        process = await asyncio.create_subprocess_exec(
            *arguments(command), cwd=folder, env={"PATH": PROGRAM_FOLDERS, "LANG": "C.UTF-8", **environment},
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise TransientError(f"{name} cannot be started: {error.strerror}", code="command.start") from error
    try:
        async with asyncio.timeout(seconds):
            said = await _talk(process, content)
    except TimeoutError:
        raise TransientError(f"{name} did not end within {seconds:g} seconds.", code="command.timeout") from None
    finally:
        await uninterrupted(_end(process))
    if process.returncode == NOT_STARTED:
        raise TransientError(said or f"{name} could not be started.", code="command.start")
    if process.returncode != 0:
        raise TransientError(f"{name} ended with exit code {process.returncode}: {said}", code="command.exit")


async def _talk(process: asyncio.subprocess.Process, content: bytes) -> str:
    """Give a command its input, wait for its end, and return its last words; what it says before is forgotten."""
    assert process.stdin is not None and process.stdout is not None
    stdin, stdout = process.stdin, process.stdout

    async def give() -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # it need not read it
            stdin.write(content)
            await stdin.drain()
        stdin.close()

    async def hear() -> bytes:
        tail = b""
        while piece := await stdout.read(65_536):
            tail = (tail + piece)[-4 * _SHOWN_CHARACTERS :]
        return tail

    _, tail = await asyncio.gather(give(), hear())
    await process.wait()
    return tail.decode(errors="replace").strip()[-_SHOWN_CHARACTERS:]


async def _end(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with suppress(TimeoutError):  # what left the group may hold its output open
        async with asyncio.timeout(_END_SECONDS):
            await process.wait()
