"""Gateways with one rule of the protocol broken, to show that the proofs can see it.

Each is a small patch of the real program, applied in a child of the process factory before it starts. Those about
files and folders are in `bad_files`, surroundings that misbehave in `environments`; here is the list of all.
"""

import asyncio
import os
import re
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from lxml import etree

from gateway.batch.alerts import delivery as alerts
from gateway.batch.engine import clock, engine
from gateway.batch.rules.recurrence import rule
from gateway.batch.store import starting
from gateway.cli import db
from gateway.contracts.service import Request
from gateway.db import migrate
from gateway.db.statements import schema_sql
from gateway.kernel.errors import FileRefused, OperationRejected, StoreUnavailable
from gateway.kernel.faultpoints import reach
from gateway.kernel.ids import SetKey
from gateway.messaging.delivery import promises as store_outbound
from gateway.messaging.delivery import send
from gateway.messaging.flow import runner
from gateway.messaging.flow.port_state import PortHealth
from gateway.messaging.intake import ingest, reading
from gateway.messaging.intake.ingest import Ingester
from gateway.messaging.intake.receive import ReceiveStage
from gateway.messaging.processing import claims as store_inbound
from gateway.messaging.processing import duplicates, outbound, rollback, units
from gateway.messaging.processing.inbound import InboundStage
from gateway.messaging.processing.performed import ChunkResult
from gateway.messaging.processing.prepare import Refused
from gateway.messaging.processing.rollback import FailedCompensation, RollbackSet
from gateway.messaging.queue import leases
from gateway.messaging.rules.delivery import Settled, Settlement
from gateway.messaging.rules.envelope import FileEnd
from gateway.messaging.services.in_flight import NOBODY, InFlightJournal
from gateway.messaging.statements import lease_sql
from gateway.runtime import app, stuck, wakeup
from gateway.runtime.processing.watch import Watch
from tests.crash.bad_files import OF_FILES, skip, skip_waiting
from tests.crash.environments import WORLDS, Observer


def apply(build: str, folder: Path) -> list[Observer]:
    """Apply the builds named in *build*, separated by blanks; return who wants to hear of fault points."""
    observers = [BUILDS[name](folder) for name in build.split()]
    return [observer for observer in observers if observer is not None]


def rename_then_mark(_: Path) -> None:
    """Publish without a promise: rename, then record."""
    send.promise_staged = skip_waiting  # type: ignore[assignment]


def archive_before_commit(_: Path) -> None:
    """Put a file away as soon as it is read, before the database has it."""
    read_whole = ingest.read_whole

    async def read_and_archive(claims, port, *arguments):  # type: ignore[no-untyped-def]
        files = await read_whole(claims, port, *arguments)
        await port.receive.settle([Settled(claim=claim, settlement=Settlement.ARCHIVE) for claim in claims])
        return files

    ingest.read_whole = read_and_archive


def processed_while_parsing(_: Path) -> None:
    """Take what was read of a file before its reading failed."""
    read_file = reading.read_file

    async def read_so_far(claim, port, pool, *, alone):  # type: ignore[no-untyped-def]
        number = 0
        try:
            async for piece in read_file(claim, port, pool, alone=alone):
                number += len(piece) if isinstance(piece, list | tuple) else 0
                yield piece
        except FileRefused:
            if not number:
                raise
            yield FileEnd(size=claim.size, sha256=bytes(32), envelopes=number)

    reading.read_file = read_so_far
    reading.SMALL_BYTES = 0  # each by itself


def record_then_tell(_: Path) -> None:
    """Record an alert as sent, then send it."""
    claim_alert = alerts.claim_alert

    async def claim_and_record(connection, channel):  # type: ignore[no-untyped-def]
        alert = await claim_alert(connection, channel)
        if alert is not None:
            await connection.execute("UPDATE alert SET status = 'sent' WHERE id = $1", alert.id)
            await connection.execute("COMMIT")
            await connection.execute("BEGIN")
        return alert

    alerts.claim_alert = claim_and_record


def no_recovery(_: Path) -> None:
    """Do not look into the work folder at the start."""

    async def nothing_left(*_: object) -> bool:
        return True

    ReceiveStage._recover = nothing_left  # type: ignore[method-assign]


def no_sweep(_: Path) -> None:
    """Trust the file events alone."""
    wakeup._follow_clock = skip_waiting


def whole_tree(_: Path) -> None:
    """Build a tree of the whole file first, as a reader that knows nothing of streams does."""
    read_file = reading.read_file

    async def read_tree(claim, port, pool, *, alone):  # type: ignore[no-untyped-def]
        with port.receive.open() as opener, opener(claim) as descriptor:
            tree = await asyncio.to_thread(etree.parse, f"/proc/self/fd/{descriptor}")
        async for piece in read_file(claim, port, pool, alone=alone):
            yield piece
        del tree

    reading.read_file = read_tree


def no_planning_anew(_: Path) -> None:
    """Leave planned starts where they are when the clock was set."""

    async def leave(*_: object) -> int:
        return 0

    engine.replan = leave  # type: ignore[assignment]
    starting.Plan.standing = lambda _, *, planned, now: planned  # type: ignore[method-assign]


def clock_of_the_node(_: Path) -> None:
    """Start jobs by the time of day of this machine."""

    async def our_clock(_: object) -> datetime:
        return clock.datetime.now(UTC)

    clock.database_clock = our_clock  # type: ignore[assignment]


def restless(_: Path) -> None:
    """Look again and again until the clocks of this machine and of the database agree."""
    wait = clock.DatabaseClock.wait

    async def wait_for_agreement(self: clock.DatabaseClock, seconds: float | None, *events: asyncio.Event) -> None:
        agree = abs((clock.datetime.now(UTC) - self.now()).total_seconds()) < clock.STEP_SECONDS
        await wait(self, seconds if agree else 0.0, *events)

    clock.DatabaseClock.wait = wait_for_agreement  # type: ignore[method-assign]


def naive_local_time(_: Path) -> None:
    """Read a local time as any clock on a wall, whether the clocks are changed or not."""
    rule.to_utc = lambda local, zone: local.replace(tzinfo=zone).astimezone(UTC)  # type: ignore[assignment]


def bare_migrations(_: Path) -> None:
    """Change the schema statement by statement, and note the version afterwards."""

    async def apply_bare(connection, step, known):  # type: ignore[no-untyped-def]
        for statement in re.sub(r"--[^\n]*", "", step.sql).split(";\n"):
            if statement.strip():
                await connection.execute(statement)
                reach("migrate.statement")
        await schema_sql.insert_schema_version(connection, step.version, step.name, step.sha256)
        return True

    migrate._apply = apply_bare


def migrates_anyway(_: Path) -> None:
    """Change the schema whoever works on the database."""
    db.refuse_running = skip_waiting  # type: ignore[assignment]


def forgets_promises(_: Path) -> None:
    """Forget in a migration which files are promised: it cannot know in which folder they lie."""
    load_migrations = migrate.load_migrations

    def load(folder: Path = migrate.FOLDER) -> tuple[migrate.Migration, ...]:
        *steps, last = load_migrations(folder)
        return (*steps, replace(last, sql=f"{last.sql};UPDATE queue SET staged_name = NULL"))

    migrate.load_migrations = load


def unfenced(_: Path) -> None:
    """Record results also when somebody else has the work by now."""

    async def drop(store, connection, fence):  # type: ignore[no-untyped-def]
        await lease_sql.drop_lease(connection, fence, leases.IDLE_TIMEOUT)

    store_inbound.drop_lease = store_outbound.drop_lease = drop


def fault_on_database_error(_: Path) -> None:
    """Answer with a fault when the database fails while a request is in work."""
    perform_all = InboundStage._execute

    async def perform_or_fail(self, port, chunk, items, judged, context):  # type: ignore[no-untyped-def]
        try:
            await perform_all(self, port, chunk, items, judged, context)
        except StoreUnavailable as error:
            await self._store.wait_until_available(context.stopping)
            failed = [Refused(item.work, OperationRejected(error.message)) for item in items]
            await perform_all(self, port, chunk, failed, judged, context)

    InboundStage._execute = perform_or_fail  # type: ignore[method-assign]


def check_then_insert(_: Path) -> None:
    """Look whether a MessageId was processed, and write it down a moment later."""

    async def take(store, connection, works):  # type: ignore[no-untyped-def]
        rows = await connection.fetch(
            "SELECT message_id FROM processed_id WHERE message_id = ANY($1)", [work.message_id for work in works]
        )
        known = {row["message_id"] for row in rows}
        await asyncio.sleep(0.5)
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
    new_messages = ingest.new_messages

    async def without_lanes(*arguments: Any) -> Any:
        return [replace(message, lane=None) for message in await new_messages(*arguments)]

    ingest.new_messages = without_lanes


def rollback_without_savepoint(_: Path) -> None:
    """Leave what the members before the failing one did where it is."""
    run = RollbackSet.run

    async def run_without(self, *arguments):  # type: ignore[no-untyped-def]
        self._unit.attempt = nullcontext
        return await run(self, *arguments)

    RollbackSet.run = run_without  # type: ignore[method-assign]


def halt_goes_on(_: Path) -> None:
    """Process the messages behind a failed one although its set halts."""
    ChunkResult._halt_set = skip  # type: ignore[method-assign]


def no_patience(_: Path) -> None:
    """Give a response up when its folder cannot be used at the first try."""
    send.SEND = replace(send.SEND, give_up_seconds=0.0)  # type: ignore[misc]


def no_taking_back(_: Path) -> None:
    """Leave what the dead had claimed to itself."""
    leases._reap = skip_waiting


def no_watch(_: Path) -> None:
    """Never look for what is stuck."""
    stuck.StuckWatch.run = skip_waiting  # type: ignore[method-assign]


def unmarked(_: Path) -> None:
    """Tell of a message only after its code has run: what does not come back leaves no trace."""
    InFlightJournal.set = lambda *_: 0  # type: ignore[method-assign,assignment]
    InFlightJournal.unset = skip  # type: ignore[method-assign]
    InFlightJournal.put_on_loop = lambda *_: NOBODY  # type: ignore[method-assign,assignment]


def always_blamed(_: Path) -> None:
    """Blame whoever was at work, however a process ended."""
    Watch.suspects = lambda _, worker, __: {  # type: ignore[method-assign,assignment]
        key for key, _ in worker.journal.read().held
    }


def folders_without_identity(_: Path) -> None:
    """Promise what is staged without saying in which folder: what is not in another one counts as published."""
    promise_staged = send.promise_staged

    async def promise(store, fence, items, _):  # type: ignore[no-untyped-def]
        await promise_staged(store, fence, items, None)

    send.promise_staged = promise


def no_waking(_: Path) -> None:
    """Never wake what waits for its next try."""

    async def sleep_on(*_: object) -> None:
        await asyncio.Event().wait()

    app.follow_due_times = sleep_on


def no_all_clear(_: Path) -> None:
    """Never say that an address works again."""
    PortHealth.working = skip_waiting  # type: ignore[method-assign]


def counted_twice(_: Path) -> None:
    """Count in a set twice what was processed of it."""
    count_in_sets = store_inbound._count_in_sets

    async def count(*arguments: Any) -> list[SetKey]:
        await count_in_sets(*arguments)
        return await count_in_sets(*arguments)

    store_inbound._count_in_sets = count


def taken_in_again(_: Path) -> None:
    """Put files back into the inbound folder when their commit fails, although it may have counted."""
    write = Ingester.write

    async def write_or_put_back(self, files, port):  # type: ignore[no-untyped-def]
        try:
            return await write(self, files, port)
        except StoreUnavailable:
            folders = port.receive._settings
            for claim in (file.claim for file in files):
                (folders.work.path / os.fsdecode(claim.handle)).rename(folders.inbound.path / os.fsdecode(claim.name))
            raise

    Ingester.write = write_or_put_back  # type: ignore[method-assign]


def no_room_kept(_: Path) -> None:
    """Take files in however full the disk is."""

    async def go_on(*_: object) -> bool:
        return False

    ReceiveStage._must_wait = go_on  # type: ignore[method-assign]


def key_of_the_attempt(_: Path) -> None:
    """Name each call of a service for others by itself, not the request it is made for."""
    Request.idempotency_key = property(lambda _: str(uuid4()))  # type: ignore[assignment,method-assign]


def nothing_taken_back_elsewhere(_: Path) -> None:
    """Leave what a set did outside the database where it is."""

    async def compensate(*_: object) -> list[FailedCompensation]:
        return []

    RollbackSet.compensate = compensate  # type: ignore[method-assign]


def beginnings_forgotten(_: Path) -> None:
    """Know only of calls that a set made in this run, not of those of an earlier life."""

    async def began_now(*_: object) -> bool:
        return False

    rollback.begin_set = began_now


def suspects_among_others(_: Path) -> None:
    """Let those who may have ended the process work beside the others."""
    units.has_crash_suspect = outbound.has_crash_suspect = lambda _: False


def claims_kept(_: Path) -> None:
    """End without giving back what was not finished."""
    runner.give_back = skip_waiting  # type: ignore[assignment]


BUILDS: Mapping[str, Callable[[Path], Observer | None]] = {
    build.__name__: build
    for build in (
        *WORLDS, *OF_FILES, clock_of_the_node, restless, naive_local_time,
        rename_then_mark, archive_before_commit, processed_while_parsing, record_then_tell, no_recovery, no_sweep,
        whole_tree, no_planning_anew, bare_migrations, unfenced, fault_on_database_error, check_then_insert, no_lanes,
        folders_without_identity, no_waking, no_all_clear, counted_twice, taken_in_again, no_room_kept,
        rollback_without_savepoint, halt_goes_on, no_patience, no_taking_back, no_watch, unmarked, always_blamed,
        key_of_the_attempt, nothing_taken_back_elsewhere, beginnings_forgotten, suspects_among_others, claims_kept,
        forgets_promises, migrates_anyway, rollback_without_savepoint, halt_goes_on, no_patience, no_taking_back,
        no_watch, unmarked,
    )
}  # fmt: skip
