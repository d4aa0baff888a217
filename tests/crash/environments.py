"""Worlds that misbehave: disks, databases, clocks and systems of a bad day, in which the proofs must hold."""

import asyncio
import errno
import json
import os
import resource
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import asdict, replace
from datetime import timedelta
from itertools import count
from pathlib import Path
from signal import SIGKILL
from types import ModuleType
from typing import Any

from adapters.file.folder import Folder
from adapters.file.fsops import FileOps, Operation
from adapters.file.inbound import adapter as file_receive
from gateway.batch.engine import clock, engine
from gateway.db import migrate
from gateway.explanations import finding
from gateway.kernel.errors import StoreUnavailable
from gateway.messaging.delivery import send
from gateway.messaging.processing import inbound
from gateway.operations.reads import doctor
from gateway.runtime import app, heartbeat, stuck
from gateway.runtime.processing import stages, watch, worker, workers
from tests.clock import move_this_process

OPERATIONS = "operations.jsonl"
TROUBLE = "trouble"
AHEAD = "ahead"
LOOKS = "looks"
IMPATIENT: Mapping[ModuleType, Mapping[str, Any]] = {
    doctor: {"PATIENCE": timedelta(seconds=1), "SILENCE": timedelta(seconds=2)},
    finding: {"_SETTLE": timedelta(seconds=1)},
}
"""What is stuck is told after seconds rather than minutes."""

Observer = Callable[[str], None]


def deaf(_: Path) -> None:
    """World: the system tells of no file, as on a network share."""

    async def silence(*_: Any, **__: Any) -> AsyncIterator[None]:
        yield None
        await asyncio.Event().wait()

    file_receive.watch_folder = silence


def forgetful_disk(_: Path) -> None:
    """World: every fifth flush of a response fails, and what was to be flushed is gone, as Linux does it.

    The pages are marked clean, so a second flush says that all is well.
    """
    calls = count(1)
    fsync = FileOps._fsync

    def fails(self: FileOps, folder: Folder, name: bytes, fd: int) -> None:
        if next(calls) % 5 == 0:
            size = os.fstat(fd).st_size
            own = os.open(name, os.O_WRONLY, dir_fd=folder.fd)
            os.ftruncate(own, 0)
            os.ftruncate(own, size)
            os.close(own)
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        fsync(self, folder, name, fd)

    def fails_for_all(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    FileOps._fsync = fails  # type: ignore[method-assign]
    FileOps.sync_staged = fails_for_all  # type: ignore[method-assign]


def lost_replies(_: Path) -> None:
    """World: the database takes the first claims and the first promise, and its answers get lost on the way."""
    inbound.claim_inbound = _unanswered(inbound.claim_inbound)
    send.claim_outbound = _unanswered(send.claim_outbound)
    send.promise_staged = _unanswered(send.promise_staged)


def lost_promises(_: Path) -> None:
    """World: the database goes away just before the first promise."""
    promise_staged = send.promise_staged
    calls = count(1)

    async def promise(*arguments: Any) -> None:
        if next(calls) == 1:
            raise StoreUnavailable("the connection was lost")
        await promise_staged(*arguments)

    send.promise_staged = promise


def _unanswered(operation: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    lost = False

    async def call(*arguments: Any, **options: Any) -> Any:
        nonlocal lost
        answer = await operation(*arguments, **options)
        claimed_nothing = answer is None and operation.__name__.startswith("claim")
        if not lost and not claimed_nothing:
            lost = True
            raise StoreUnavailable("the reply got lost", outcome_unknown=True)
        return answer

    return call


def short_leases(_: Path) -> None:
    """World: leases of a second, so that a test need not wait for one to run out."""
    heartbeat.LEASE_SECONDS = 1.0  # type: ignore[misc]
    heartbeat.EXTEND_SECONDS = worker.EXTEND_SECONDS = 0.3  # type: ignore[misc]


def leases_of_ten_seconds(_: Path) -> None:
    """World: leases that no slow machine lets run out, and no day that a clock is moved by."""
    heartbeat.LEASE_SECONDS = 10.0  # type: ignore[misc]
    heartbeat.EXTEND_SECONDS = worker.EXTEND_SECONDS = 0.3  # type: ignore[misc]


def short_looks(_: Path) -> None:
    """World: who looks at the clock of the database, and for jobs, does so all the time."""
    clock.LOOK_SECONDS = 0.2  # type: ignore[misc]
    engine.Engine.__init__.__kwdefaults__["look_seconds"] = 0.2


def moved_clock(folder: Path) -> None:
    """World: the time of day of this process is what the test says."""
    move_this_process(folder / AHEAD)


def counted_looks(folder: Path) -> None:
    """World: each look of the engine for what is due leaves a byte."""
    looks = os.open(folder / LOOKS, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    start_due = engine.start_due

    async def count(*arguments: Any, **options: Any) -> Any:
        os.write(looks, b".")
        return await start_due(*arguments, **options)

    engine.start_due = count


def impatient(_: Path) -> None:
    """World: somebody who looks all the time and waits for nothing."""
    stuck.LOOK_SECONDS = 0.2  # type: ignore[misc]
    heartbeat.EXTEND_SECONDS = worker.EXTEND_SECONDS = 0.3  # type: ignore[misc]
    for module, names in IMPATIENT.items():
        for name, value in names.items():
            setattr(module, name, value)


def dead_when_ready(_: Path) -> None:
    """World: the first two processes that run services are killed as soon as they are ready."""
    until_ready = workers.Workers._until_ready
    lives = count(1)

    async def ready_and_dead(self: workers.Workers, worker: Any) -> None:
        await until_ready(self, worker)
        if next(lives) <= 2:
            worker.child.send_signal(SIGKILL)
            while worker in self._all:
                await asyncio.sleep(0.01)

    workers.Workers._until_ready = ready_and_dead  # type: ignore[method-assign]


def short_standstills(_: Path) -> None:
    """World: a process whose loop has stood for some seconds does not come back."""
    watch.HELD_LOOKS, watch.FROZEN_LOOKS = 12, 20  # type: ignore[misc]


def endless_standstills(_: Path) -> None:
    """World: a process whose loop stands is not ended for it, however long that takes."""
    watch.FROZEN_LOOKS = 1_000_000  # type: ignore[misc]


def hurried_ends(_: Path) -> None:
    """World: processes are given half a second to end by themselves, and to give back what they have in hand."""
    stages._CANCEL_SECONDS = 0.5  # type: ignore[misc]
    workers.QUIT_SECONDS = 0.5  # type: ignore[misc]


def outbound_trouble(folder: Path) -> None:
    """World: while the sign lies there, nothing can be shown in an outbound folder, for the reason it names."""
    publish = FileOps.publish

    def fail(self: FileOps, *arguments: Any) -> bool:
        if (folder / TROUBLE).exists():
            number = getattr(errno, (folder / TROUBLE).read_text())
            raise OSError(number, os.strerror(number))
        return publish(self, *arguments)

    FileOps.publish = fail  # type: ignore[method-assign]


def tiny_pool(_: Path) -> None:
    """World: one connection for everything but large files."""
    open_store = app.open_store
    app.open_store = worker.open_store = lambda *arguments, **options: open_store(
        *arguments, **{**options, "pool_size": 1}
    )


def little_memory(_: Path) -> None:
    """World: the process may take not much more memory than it has now; each thread reserves a part of it."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + 4_000_000_000
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def recorded(folder: Path) -> Observer:
    """World: every file operation and every point reached is written down in the order it happened."""
    record = os.open(folder / OPERATIONS, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    init = FileOps.__init__

    def tell(facts: object) -> None:
        os.write(record, json.dumps(facts).encode() + b"\n")

    def operated(operation: Operation) -> None:
        tell(asdict(operation))

    def begin(self: FileOps, _: object = None) -> None:
        init(self, operated)

    FileOps.__init__ = begin  # type: ignore[method-assign,assignment]
    return lambda point: tell({"point": point})


def next_version(_: Path) -> None:
    """World: a later version of the gateway, with one more migration."""
    known = migrate.load_migrations()
    later = replace(known[-1], version=known[-1].version + 1, name="later", sql="SELECT 1")
    migrate.load_migrations = lambda *_: (*known, later)


WORLDS: tuple[Callable[[Path], Observer | None], ...] = (
    deaf, forgetful_disk, lost_replies, lost_promises, short_leases, leases_of_ten_seconds, short_looks, moved_clock,
    counted_looks, impatient, dead_when_ready, short_standstills, endless_standstills, hurried_ends, outbound_trouble,
    tiny_pool, little_memory, recorded, next_version,
)  # fmt: skip
