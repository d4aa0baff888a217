"""A process that was launched, for as long as somebody needs it, with the link to it."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

from gateway.workers.launcher import Child, Launcher
from gateway.workers.link import Link

_LAST_SECONDS: Final = 1.0
"""For a process that is not needed any more, to end by itself."""
_REASONS: Final[Mapping[int, str]] = {
    signal.SIGKILL: "perhaps the machine had no memory left",
    signal.SIGSEGV: "a library that it uses is broken; standard error has the place",
    signal.SIGABRT: "a library that it uses gave up; standard error has the place",
}


@asynccontextmanager
async def launched(launcher: Launcher, role: str) -> AsyncIterator[tuple[Child, Link]]:
    """Start a process in a role; it is gone at the end of the block. Raises: NotLaunched."""
    ours, theirs = socket.socketpair()
    try:
        with theirs:
            child = await launcher.launch(role, theirs.fileno())
        link = await Link.over(ours)
    except BaseException:
        ours.close()  # a process that is born meanwhile ends with it
        raise
    try:
        yield child, link
    finally:
        link.close()
        try:
            await child.end(seconds=_LAST_SECONDS)
        except asyncio.CancelledError:
            child.send_signal(signal.SIGKILL)
            raise


def ending(status: int) -> str:
    """Say how a process has ended, after its name: with an exit status, or by a signal when it is negative."""
    if status >= 0:
        return f"ended with exit status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    reason = _REASONS.get(-status)
    return f"was ended by {name}" if reason is None else f"was ended by {name} ({reason})"
