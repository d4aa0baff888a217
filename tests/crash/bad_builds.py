"""Gateways with one rule of the protocol broken, to show that the proofs can see it; and worlds that misbehave.

Each is a small patch of the real program, applied in a child of the nursery before it starts.
"""

import asyncio
import errno
import json
import os
import re
import resource
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, replace
from datetime import timedelta
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any

from lxml import etree

from adapters.file import receive as file_receive
from adapters.file.fsops import FileOps, Folder, Operation
from adapters.file.ready import Look, ReadyLadder
from gateway.domain import finding
from gateway.domain.delivery import Settled, Settlement
from gateway.domain.errors import OperationRejected, StoreUnavailable
from gateway.runtime import app, life, stuck, wakeup
from gateway.scheduler import alerts, clock, engine
from gateway.services.marks import Marks
from gateway.stages import duplicates, inbound, receive, rollback, send
from gateway.stages.inbound import InboundStage
from gateway.stages.performed import Performed
from gateway.stages.prepare import Refused
from gateway.stages.receive import ReceiveStage
from gateway.store import doctor, leases, migrate, starting
from gateway.store import inbound as store_inbound
from gateway.store import outbound as store_outbound

OPERATIONS = "operations.jsonl"
TROUBLE = "trouble"

Observer = Callable[[str], None]


def apply(build: str, folder: Path) -> list[Observer]:
    """Apply the builds named in *build*, separated by blanks; return who wants to hear of fault points."""
    observers = [BUILDS[name](folder) for name in build.split()]
    return [observer for observer in observers if observer is not None]


def rename_then_mark(_: Path) -> None:
    """Publish without a promise: rename, then record."""

    async def promise_nothing(*_: object) -> None:
        return

    send.promise_staged = promise_nothing  # type: ignore[assignment]


def archive_before_commit(_: Path) -> None:
    """Put a file away as soon as it is read, before the database has it."""
    read_whole = receive.read_whole

    async def read_and_archive(claims, port, pool, side_by_side):  # type: ignore[no-untyped-def]
        files = await read_whole(claims, port, pool, side_by_side)
        await port.receive.settle([Settled(claim=claim, settlement=Settlement.ARCHIVE) for claim in claims])
        return files

    receive.read_whole = read_and_archive


def record_then_tell(_: Path) -> None:
    """Record an alert as sent, then send it."""
    claim_alert = alerts.claim_alert

    async def claim_and_record(connection, sql, channel):  # type: ignore[no-untyped-def]
        alert = await claim_alert(connection, sql, channel)
        if alert is not None:
            await connection.execute("UPDATE alert SET status = 'sent' WHERE id = $1", alert.id)
            await connection.execute("COMMIT")
            await connection.execute("BEGIN")
        return alert

    alerts.claim_alert = claim_and_record


def no_recovery(_: Path) -> None:
    """Do not look into the work folder at the start."""

    async def nothing(*_: object) -> None:
        return

    ReceiveStage._recover = nothing  # type: ignore[method-assign,assignment]


def no_readiness(_: Path) -> None:
    """Take every file at the first look."""

    def look(*_: object, **__: object) -> Look:
        return Look.READY

    ReadyLadder.look = look  # type: ignore[method-assign]


def no_sweep(_: Path) -> None:
    """Trust the file events alone."""

    async def follow_nothing(*_: object) -> None:
        return

    wakeup._follow_clock = follow_nothing


def whole_tree(_: Path) -> None:
    """Build a tree of the whole file first, as a reader that knows nothing of streams does."""
    read_file = receive.read_file

    async def read_tree(claim, port, pool):  # type: ignore[no-untyped-def]
        with port.receive.open(claim) as descriptor:
            tree = await asyncio.to_thread(etree.parse, f"/proc/self/fd/{descriptor}")
        async for piece in read_file(claim, port, pool):
            yield piece
        del tree

    receive.read_file = read_tree


def retry_fsync(_: Path) -> None:
    """Flush the same descriptor again when that failed."""
    fsync = FileOps._fsync

    def fsync_twice(self: FileOps, folder: Folder, name: bytes, fd: int) -> None:
        try:
            fsync(self, folder, name, fd)
        except OSError:
            fsync(self, folder, name, fd)

    FileOps._fsync = fsync_twice  # type: ignore[method-assign]


def no_fsync_of_files(_: Path) -> None:
    """Never flush the content of responses."""
    FileOps._fsync = _nothing  # type: ignore[method-assign]
    FileOps.sync_staged = _nothing  # type: ignore[method-assign]


def no_fsync_of_claims(_: Path) -> None:
    """Never flush the work and the inbound folder."""
    _skip_flush("claim.work", "claim.inbound")


def no_fsync_of_outbound(_: Path) -> None:
    """Never flush the outbound folder."""
    _skip_flush("publish.outbound")


def _skip_flush(*steps: str) -> None:
    flush_folder = FileOps.flush_folder

    def flush(self: FileOps, folder: Folder, step: str) -> None:
        if step not in steps:
            flush_folder(self, folder, step)

    FileOps.flush_folder = flush  # type: ignore[method-assign]


def _nothing(*_: object, **__: object) -> None:
    return


def deaf(_: Path) -> None:
    """World: the system tells of no file, as on a network share."""

    async def silence(path: Path, *, stop: asyncio.Event, **_: Any) -> AsyncIterator[None]:
        yield None
        await stop.wait()

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
    life.LEASE_SECONDS = 1.0  # type: ignore[misc]
    life.EXTEND_SECONDS = 0.3  # type: ignore[misc]


def short_looks(_: Path) -> None:
    """World: who looks at the clock of the database, and for jobs, does so all the time."""
    clock.LOOK_SECONDS = 0.2  # type: ignore[misc]
    engine.Engine.__init__.__kwdefaults__["look_seconds"] = 0.2


def no_planning_anew(_: Path) -> None:
    """Leave planned starts where they are when the clock was set."""

    async def nothing(*_: object) -> int:
        return 0

    engine.replan = nothing  # type: ignore[assignment]
    starting.Plan.standing = lambda _, *, planned, now: planned  # type: ignore[method-assign]


def bare_migrations(_: Path) -> None:
    """Change the schema statement by statement, and note the version afterwards."""

    async def apply_bare(connection, queries, step, known):  # type: ignore[no-untyped-def]
        for statement in re.sub(r"--[^\n]*", "", step.sql).split(";\n"):
            if statement.strip():
                await connection.execute(statement)
        await connection.execute(queries.insert_schema_version, step.version, step.name, step.sha256)
        return True

    migrate._apply = apply_bare


IMPATIENT: Mapping[ModuleType, Mapping[str, Any]] = {
    doctor: {"PATIENCE": timedelta(seconds=1), "SILENCE": timedelta(seconds=2)},
    finding: {"_SETTLE": timedelta(seconds=1)},
}
"""What is stuck is told after seconds rather than minutes."""


def impatient(_: Path) -> None:
    """World: somebody who looks all the time and waits for nothing."""
    stuck.LOOK_SECONDS = 0.2  # type: ignore[misc]
    life.EXTEND_SECONDS = 0.3  # type: ignore[misc]
    for module, names in IMPATIENT.items():
        for name, value in names.items():
            setattr(module, name, value)


def unfenced(_: Path) -> None:
    """Record results also when somebody else has the work by now."""

    async def drop(store, connection, fence):  # type: ignore[no-untyped-def]
        await connection.execute(store.queries.drop_lease, fence)

    store_inbound.drop_lease = store_outbound.drop_lease = drop


def fault_on_database_error(_: Path) -> None:
    """Answer with a fault when the database fails while a request is in work."""
    perform_all = InboundStage._perform

    async def perform_or_fail(self, port, chunk, items, context):  # type: ignore[no-untyped-def]
        try:
            await perform_all(self, port, chunk, items, context)
        except StoreUnavailable as error:
            await self._store.wait_until_available(context.stopping)
            failed = [Refused(item.work, OperationRejected(error.message)) for item in items]
            await perform_all(self, port, chunk, failed, context)

    InboundStage._perform = perform_or_fail  # type: ignore[method-assign]


def check_then_insert(_: Path) -> None:
    """Look whether a MessageId was processed, and write it down a moment later."""

    async def take(store, connection, works):  # type: ignore[no-untyped-def]
        rows = await connection.fetch(
            "SELECT message_id FROM processed_id WHERE message_id = ANY($1)", [work.message_id for work in works]
        )
        known = {row["message_id"] for row in rows}
        await asyncio.sleep(2.0)
        new = [work for work in works if work.message_id not in known]
        await connection.executemany(
            "INSERT INTO processed_id (port, service, operation, message_id, request_id) VALUES ($1, $2, $3, $4, $5)"
            " ON CONFLICT DO NOTHING",
            [(work.port, work.service, work.operation, work.message_id, work.key) for work in new],
        )
        return {work.key for work in new}

    duplicates.take_processed_ids = take


def no_lanes(_: Path) -> None:
    """Forget which messages have an order among them."""
    new_messages = receive.new_messages

    async def without_lanes(*arguments: Any) -> Any:
        return [replace(message, lane=None) for message in await new_messages(*arguments)]

    receive.new_messages = without_lanes


def rollback_without_savepoint(_: Path) -> None:
    """Leave what the members before the failing one did where it is."""
    rollback.savepoint = lambda *_: nullcontext()  # type: ignore[assignment,return-value]


def halt_goes_on(_: Path) -> None:
    """Process the messages behind a failed one although its set halts."""
    Performed._halt_set = _nothing  # type: ignore[method-assign]


def outbound_trouble(folder: Path) -> None:
    """World: while the sign lies there, nothing can be shown in an outbound folder, for the reason it names."""
    publish = FileOps.publish

    def fail(self: FileOps, *arguments: Any) -> bool:
        if (folder / TROUBLE).exists():
            number = getattr(errno, (folder / TROUBLE).read_text())
            raise OSError(number, os.strerror(number))
        return publish(self, *arguments)

    FileOps.publish = fail  # type: ignore[method-assign]


def no_patience(_: Path) -> None:
    """Give a response up when its folder cannot be used at the first try."""
    send.SEND = replace(send.SEND, give_up_seconds=0.0)  # type: ignore[misc]


def tiny_pool(_: Path) -> None:
    """World: one connection for everything but large files."""
    open_store = app.open_store
    app.open_store = lambda *arguments, **options: open_store(*arguments, **{**options, "pool_size": 1})


def no_taking_back(_: Path) -> None:
    """Leave what the dead had claimed to itself."""

    async def nothing(*_: object) -> None:
        return

    leases._reap = nothing


def no_watch(_: Path) -> None:
    """Never look for what is stuck."""

    async def nothing(*_: object) -> None:
        return

    stuck.StuckWatch.run = nothing  # type: ignore[method-assign]


def unmarked(_: Path) -> None:
    """Tell of a message only after its code has run: what does not come back leaves no trace."""
    Marks.set = lambda *_: 0  # type: ignore[method-assign,assignment]
    Marks.unset = _nothing  # type: ignore[method-assign]


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


BUILDS: Mapping[str, Callable[[Path], Observer | None]] = {
    build.__name__: build
    for build in (
        rename_then_mark, archive_before_commit, no_recovery, no_readiness, no_sweep, whole_tree, retry_fsync,
        no_fsync_of_files, no_fsync_of_claims, no_fsync_of_outbound, deaf, forgetful_disk, lost_replies, lost_promises,
        short_leases, unfenced, fault_on_database_error, check_then_insert, no_lanes, outbound_trouble,
        no_patience, tiny_pool,
        impatient, short_looks, no_planning_anew, bare_migrations, no_taking_back, no_watch, unmarked, little_memory,
        rollback_without_savepoint, halt_goes_on, recorded, record_then_tell,
    )
}  # fmt: skip
