"""Who works on a data folder: its lock and its identity."""

import fcntl
import json
import os
import socket
import time
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Final
from uuid import UUID, uuid4

from gateway.db.errors import DataFolderInUse, StoreRefused

LOCK_NAME: Final = "gateway.lock"
NODE_NAME: Final = "node"
_POLL_SECONDS: Final = 0.05
_GLANCE_SECONDS: Final = 0.25
"""Whoever asks who runs holds the lock for less than this."""


class Use(StrEnum):
    """What a process wants of the store."""

    RUN = "run"  # the gateway itself: one per data folder, for as long as it runs
    VISIT = "visit"  # a command of an operator: short, beside a running gateway or alone


class DataLock:
    """The lock of a data folder: one holder at a time.

    A killed holder lets go at once: the lock belongs to the open file, not to the file's text.
    """

    def __init__(self, data: Path, use: Use) -> None:
        self._data = data
        self._use = use
        self._descriptor: int | None = None

    def acquire(self, seconds: float) -> None:
        """Take the lock, making the folder when it is missing; blocks up to *seconds* for a short command.

        Raises: DataFolderInUse naming the other process; StoreRefused when the folder cannot be used.
        """
        try:
            self._data.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self._data / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreRefused(f"the data folder {self._data} cannot be used: {error.strerror}") from error
        try:
            _take(descriptor, self._data, seconds)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(_ourselves(self._use)).encode(), 0)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def release(self) -> None:
        """Let go; again is fine."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def running_gateway(data: Path) -> int | None:
    """Return the process id of the gateway that holds a data folder now, None when none does; makes nothing."""
    try:
        descriptor = os.open(data / LOCK_NAME, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = _holder(descriptor)
        pid = holder.get("pid")
        return pid if holder.get("use") == Use.RUN and isinstance(pid, int) else None
    else:
        return None
    finally:
        os.close(descriptor)


def node_identity(data: Path) -> UUID:
    """Return the identity of a data folder, made at its first use. Before: the caller holds the lock."""
    path = data / NODE_NAME
    try:
        return UUID(path.read_text(encoding="ascii").strip())
    except FileNotFoundError:
        pass
    except ValueError as error:
        raise StoreRefused(f"{path} does not hold the identity of a node: restore it, or delete it") from error
    node = uuid4()
    fresh = path.with_suffix(".new")
    with fresh.open("w", encoding="ascii") as file:
        file.write(f"{node}\n")
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    flush_folder(data)
    return node


def flush_folder(folder: Path) -> None:
    """Make the names in a folder durable; blocks."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _ourselves(use: Use) -> dict[str, object]:
    since = datetime.now(UTC).isoformat(timespec="seconds")
    return {"pid": os.getpid(), "host": socket.gethostname(), "use": use.value, "since": since}


def _take(descriptor: int, data: Path, seconds: float) -> None:
    begun = time.monotonic()
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(descriptor)
            # what it says may be of one that was killed, while `running_gateway` looks who holds it
            patience = seconds if holder.get("use") == Use.VISIT else min(seconds, _GLANCE_SECONDS)
            if time.monotonic() - begun >= patience:
                raise _in_use(data, holder) from None
            time.sleep(_POLL_SECONDS)
        else:
            return


def _holder(descriptor: int) -> dict[str, object]:
    """Return what the holder wrote; it may be just about to write, then we know nothing yet."""
    try:
        holder = json.loads(os.pread(descriptor, 4096, 0))
    except ValueError:
        return {"use": Use.VISIT}
    return holder if isinstance(holder, dict) else {}


def _in_use(data: Path, holder: dict[str, object]) -> DataFolderInUse:
    pid, host, since = (holder.get(key, "unknown") for key in ("pid", "host", "since"))
    return DataFolderInUse(
        f"the data folder {data} is in use by another gateway: process {pid} on {host}, since {since}. "
        "Stop that one first (kill -TERM does it gently), or give this one a data folder of its own",
        data=str(data),
        pid=pid,
    )
