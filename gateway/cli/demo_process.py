"""A real gateway process, started and stopped for the demonstration."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.config.models import Settings
from gateway.db.data_folder import LOCK_NAME, Use
from gateway.db.errors import StoreRefused
from gateway.db.open import Store, open_store
from gateway.kernel.errors import GatewayError, TransientError
from gateway.operations.reads.gateway import list_nodes

START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 15.0
_POLL_SECONDS: Final = 0.1
_TAIL_LINES: Final = 15


class NotStarted(GatewayError):
    """The gateway did not come up; the text ends with the last lines of its log."""

    code = "demo.not-started"


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A gateway that is up, and the store it works on."""

    process: asyncio.subprocess.Process
    store: Store
    log: Path


@asynccontextmanager
async def running_gateway(config: Path, settings: Settings) -> AsyncIterator[Running]:
    """Start `gateway run` with its log in the data folder, wait until it works, and stop it gently at the end.

    Raises: NotStarted with the end of its log.
    """
    log = settings.data / "gateway.log"
    await asyncio.to_thread(settings.data.mkdir, mode=0o700, parents=True, exist_ok=True)
    with log.open("wb") as output:
        # A session of its own: Ctrl-C reaches us alone, and we tell it once.
        process = await asyncio.create_subprocess_exec(
            *_command(config), stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )  # fmt: skip
    try:
        async with _joined(process, settings, log) as store:
            yield Running(process=process, store=store, log=log)
    finally:
        await _stop(process, settings.shutdown.drain_seconds + STOP_SECONDS)


def tail(log: Path) -> str:
    """Return the last lines of a log."""
    return "\n".join(log.read_text("utf-8", "replace").splitlines()[-_TAIL_LINES:])


def _command(config: Path) -> Sequence[str]:
    return (sys.executable, "-m", "gateway.cli.main", "run", "--config", str(config))


@asynccontextmanager
async def _joined(process: asyncio.subprocess.Process, settings: Settings, log: Path) -> AsyncIterator[Store]:
    """Open the store as soon as the process works on it; it must never be started by us."""
    deadline = asyncio.get_running_loop().time() + START_SECONDS
    while True:
        if process.returncode is not None:
            raise NotStarted(f"the gateway ended with exit code {process.returncode}; its last words:\n{tail(log)}")
        if asyncio.get_running_loop().time() > deadline:
            raise NotStarted(f"the gateway is not up after {START_SECONDS:g} seconds; its last words:\n{tail(log)}")
        if _holds(settings, process.pid):
            with suppress(TransientError, StoreRefused):  # it is just starting
                async with open_store(settings.store, settings.data, pool_size=5, use=Use.VISIT) as store:
                    if await _is_up(store, process.pid):
                        yield store
                        return
        await asyncio.sleep(_POLL_SECONDS)


def _holds(settings: Settings, pid: int) -> bool:
    """Tell whether process *pid* holds the data folder."""
    try:
        holder = json.loads((settings.data / LOCK_NAME).read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(holder, dict) and holder.get("pid") == pid and holder.get("use") == Use.RUN


async def _is_up(store: Store, pid: int) -> bool:
    return any(node.pid == pid and node.stopped_at is None for node in await list_nodes(store))


async def _stop(process: asyncio.subprocess.Process, seconds: float) -> None:
    if process.returncode is None:
        process.terminate()
        try:
            async with asyncio.timeout(seconds):
                await process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
