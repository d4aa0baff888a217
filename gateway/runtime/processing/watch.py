"""The look at each processing worker: which one stands still or has grown too large, and whose code ended one."""

import asyncio
import resource
import signal
from collections import Counter
from collections.abc import Collection
from enum import Enum, auto
from pathlib import Path
from typing import Final

import structlog

from gateway.kernel.ids import MessageKey
from gateway.messaging.rules.poison import HELD_SECONDS
from gateway.messaging.services.in_flight import NOBODY
from gateway.runtime.processing.handle import Seen, WorkerHandle

log = structlog.get_logger()

LOOK_SECONDS: Final = 0.25
STANDS_LOOKS: Final = 4
"""So many looks without a turn of its loop, and a worker stands still. Looks count, not time: none while we stand."""
HELD_LOOKS: Final = int(HELD_SECONDS / LOOK_SECONDS)
"""So many of them with the code of the same message on its loop, and it is ended."""
FROZEN_LOOKS: Final = 120
"""A worker that has stood for so long does not come back, whatever holds it."""
_LAST_LOOKS: Final = 20
"""For a worker to write its stacks and end."""
_KILLS: Final = 3
"""So often somebody else may kill the worker of a message before the message is suspected."""
_MOST_HANGS: Final = 6
_HANGS_SECONDS: Final = 60.0
"""So often in such a time a worker is replaced because code in it does not come back."""
_HELD: Final = f"the code of a message held its event loop for {HELD_SECONDS:g} seconds"
_MEMORY: Final = "it held more memory than workers.memory_bytes allows"


class Finding(Enum):
    """Why another worker is to take the place of one that goes on for now."""

    STANDS = auto()
    LARGE = auto()


class Watch:
    """What one gateway sees of its workers, and remembers of those that ended."""

    def __init__(self) -> None:
        self._kills: Counter[MessageKey] = Counter()
        self._hangs: list[float] = []

    def look_at(self, worker: WorkerHandle) -> Finding | None:
        """Look whether the loop of a worker turns, and what it holds; one that is past help is ended."""
        found: Finding | None = None
        seen = _see(worker)
        if (seen.frozen or seen.still) == STANDS_LOOKS and not worker.leaves:
            found = Finding.STANDS
        if seen.frozen == FROZEN_LOOKS:
            worker.kill("it was frozen")
        elif seen.frozen:
            return found
        elif seen.held == HELD_LOOKS:
            worker.kill(_HELD, signal.SIGABRT)
            worker.held_by = seen.on_loop
        elif seen.held == HELD_LOOKS + _LAST_LOOKS:  # its code may catch even that
            worker.kill(_HELD)
        elif seen.still == FROZEN_LOOKS:  # a thread holds the interpreter
            worker.child.send_signal(signal.SIGABRT)
        most = worker.generation.settings.workers.memory_bytes
        held = _resident_bytes(worker.child.pid)
        if held > most and worker.killed_for is None:
            worker.kill(_MEMORY)
        elif held > most // 2 and not (seen.turns or worker.leaves) and worker in worker.generation.workers:
            log.info("worker.large", pid=worker.child.pid, bytes=held)
            found = found or Finding.LARGE
        return found

    def may_replace_hanging(self) -> bool:
        """Tell whether one in which code hangs may be replaced now, and count it.

        Rule: not too often: code that always hangs must not keep the machine busy with starting workers.
        """
        now = asyncio.get_running_loop().time()
        self._hangs = [at for at in self._hangs if now - at < _HANGS_SECONDS]
        if len(self._hangs) >= _MOST_HANGS:
            return False
        self._hangs.append(now)
        return True

    def held_by(self, worker: WorkerHandle) -> MessageKey:
        """Return the message whose code held the loop of a worker until that was ended; NOBODY: it ended otherwise."""
        return worker.held_by if worker.journal.on_loop == worker.held_by else NOBODY

    def suspects(self, worker: WorkerHandle, status: int) -> Collection[MessageKey]:
        """Return which messages to count the end of a worker for; it ended with *status* (`Child.end`)."""
        if status == 0 and worker.leaves:
            return ()
        in_flight = worker.journal.read()
        suspects = in_flight.suspects()
        if worker.killed_for == _MEMORY:
            return suspects or {key for key, _ in in_flight.held}
        if worker.killed_for is not None:
            return ()
        if status != -signal.SIGKILL:
            return suspects
        # somebody killed it, or the system did because memory ran out: not by itself the fault of a message
        suspects = suspects or {key for key, _ in in_flight.held}
        self._kills.update(suspects)
        blamed = [key for key in suspects if self._kills[key] >= _KILLS]
        for key in blamed:
            del self._kills[key]
        return blamed


def _see(worker: WorkerHandle) -> Seen:
    """Look at the loop of a worker. What is frozen says nothing about the code in it."""
    before = worker.seen
    now = Seen(turns=worker.journal.turns, on_loop=worker.journal.on_loop)
    if _is_frozen(worker.child.pid):
        now.still, now.held, now.frozen = before.still, before.held, before.frozen + 1
    elif now.turns and now.turns == before.turns:
        now.still = before.still + 1
        now.held = before.held + 1 if now.on_loop and now.on_loop == before.on_loop else 0
    worker.seen = now
    return now


def _is_frozen(pid: int) -> bool:
    """Tell whether somebody has stopped a process, so that its code can do nothing for it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()[0] in "tT"
    except (OSError, IndexError):
        return False


def _resident_bytes(pid: int) -> int:
    """Return the memory a process holds; 0 when it has gone, or the system does not tell."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()
    except (OSError, IndexError):
        return 0
