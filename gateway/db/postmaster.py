"""What a running or dead server says of itself in `postmaster.pid`."""

import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final, Self

import structlog

from gateway.db.errors import StoreRefused

log = structlog.get_logger()

_POLL_SECONDS: Final = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Postmaster:
    """The pid file of a server, as far as it was written: a server that starts writes it bit by bit."""

    SOCKET_PREFIX: ClassVar[str] = "gateway-socket-"

    pid: int
    socket_folder: Path | None
    ready: bool

    @classmethod
    def read(cls, server_data: Path) -> Self | None:
        """Return what the file says, None when there is none or it is not written yet."""
        try:
            lines = (server_data / "postmaster.pid").read_text(encoding="utf-8", errors="replace").splitlines()
            pid = abs(int(lines[0]))
        except (FileNotFoundError, ValueError, IndexError):
            return None
        folder = lines[4].strip() if len(lines) > 4 else ""
        return cls(
            pid=pid,
            socket_folder=Path(folder) if folder else None,
            ready=len(lines) > 7 and lines[7].strip() == "ready",
        )


def running(server_data: Path) -> Postmaster | None:
    """Return the server that works on *server_data* and takes connections, None when there is none."""
    found = Postmaster.read(server_data)
    return found if found is not None and found.ready and _serves(found.pid, server_data) else None


def end_leftover(server_data: Path, fast_seconds: float, forced_seconds: float) -> bool:
    """End a server that outlived its gateway and clear what it left; True when the last one ended badly.

    It is asked to stop fast, then told to end at once, then ended: what it committed is safe in any case. One that is
    still recovering from a crash does not listen to the first before it has flushed its whole folder.
    Before: the caller holds the lock of the data folder, so that no live gateway uses this server.
    Raises: StoreRefused when the server cannot be ended.
    """
    found = Postmaster.read(server_data)
    if found is None:
        return False
    if _serves(found.pid, server_data):
        log.warning("store.leftover_server", pid=found.pid)
        _end(found.pid, server_data, fast_seconds, forced_seconds)
    elif _exists(found.pid):
        # The number belongs to another program by now; the server would refuse to start because of it.
        (server_data / "postmaster.pid").unlink(missing_ok=True)
    folder = found.socket_folder
    if folder is not None and folder.name.startswith(Postmaster.SOCKET_PREFIX):
        shutil.rmtree(folder, ignore_errors=True)
    return True


def _end(pid: int, server_data: Path, fast_seconds: float, forced_seconds: float) -> None:
    for number, seconds in (
        (signal.SIGINT, fast_seconds),
        (signal.SIGQUIT, forced_seconds),
        (signal.SIGKILL, forced_seconds),
    ):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return
        except PermissionError as error:
            raise StoreRefused(
                f"a database server (process {pid}) of another user works on {server_data}: stop it first"
            ) from error
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if not _serves(pid, server_data):
                return
            time.sleep(_POLL_SECONDS)
    raise StoreRefused(f"the database server {pid} on {server_data} cannot be ended: look at its disk")


def _serves(pid: int, server_data: Path) -> bool:
    """Tell whether process *pid* is a server on *server_data*; numbers are used again, so ask for more."""
    place = Path(f"/proc/{pid}/cwd")
    if place.parent.parent.joinpath("self").exists():
        try:
            return place.samefile(server_data)  # a server works in its data folder
        except OSError:
            return False
    command = subprocess.run(  # noqa: S603
        ["/bin/ps", "-p", str(pid), "-o", "command="], capture_output=True, text=True, check=False
    ).stdout
    return "postgres" in command and str(server_data) in command


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
