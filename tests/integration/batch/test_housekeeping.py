"""Housekeeping on the real database and real folders: what is old and finished goes, everything else stays."""

import asyncio
import os
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from time import monotonic
from typing import Any
from uuid import uuid4

import pytest

from adapters.file import FileReceiveAdapter
from gateway.batch.engine.executor import OneShotFeed
from gateway.batch.housekeeping import deletes as housekeeping
from gateway.batch.housekeeping.deletes import look_at_clock
from gateway.batch.housekeeping.task import Housekeeping, HousekeepingParameters, HousekeepingTask
from gateway.config.models import Retention
from gateway.contracts.task import Tally, TaskContext
from gateway.db.open import Store, open_store
from gateway.kernel.ids import MessageKey
from gateway.messaging.delivery.promises import SendResult, claim_outbound, record_outbound
from gateway.messaging.intake.writing import ingestion
from gateway.messaging.processing.claims import InboundResult, claim_inbound, record_inbound
from gateway.messaging.queue.processed import take_processed_ids
from gateway.messaging.queue.requests import put_send_requests
from gateway.messaging.rules.delivery import Claim, Settled, Settlement
from gateway.messaging.rules.message import Failure, NewResponse, RefusedFile
from gateway.messaging.rules.states import Policy
from tests.clock import DatabaseClock
from tests.factories import ORDERS, a_claim, a_file, a_message, a_send_request
from tests.unit.adapters.support import receive_settings

AGED = ("message", "created_at"), ("message", "finished_at"), ("delivery", "received_at"), ("exception", "at"), \
    ("message_set", "created_at"), ("processed_id", "at"), ("run", "started_at"), ("run", "ended_at"), \
    ("send_request", "created_at")  # fmt: skip


class Clock:
    def monotonic(self) -> float:
        return monotonic()

    def now(self) -> datetime:
        return datetime.now(UTC)


class House:
    """The task with one port."""

    def __init__(self, store: Store, root: Path, executor: ThreadPoolExecutor) -> None:
        self.store = store
        self.archive = root / "archive"
        self.work = root / "work"
        for name in ("inbound", "work", "archive", "error"):
            (root / name).mkdir()
        self.inbound = root / "inbound"
        self.error = root / "error"
        self.retention = Retention(archive_days=10, history_days=20, exceptions_days=30)
        self.adapter = FileReceiveAdapter(
            receive_settings(root),
            executor=executor,
            clock=Clock(),
        )
        self.stopping = asyncio.Event()

    async def clean(self, chunk: int = 2) -> dict[str, int]:
        """Run once, in small chunks; returns what went."""
        task = Housekeeping(
            store=self.store, retention=lambda: self.retention, archives=lambda: {ORDERS: self.adapter}, chunk=chunk
        )
        tally = Tally()
        await task.run(
            datetime.now(UTC), TaskContext(task="housekeeping", feed=OneShotFeed(), stopping=self.stopping, tally=tally)
        )
        return tally.counts

    async def keep_house(self, **parameters: Any) -> dict[str, int]:
        """Run once as the job does, which looks at the clock first."""
        house = Housekeeping(
            store=self.store, retention=lambda: self.retention, archives=lambda: {ORDERS: self.adapter}
        )
        tally = Tally()
        context = TaskContext(task="housekeeping", feed=OneShotFeed(), stopping=self.stopping, tally=tally)
        await HousekeepingTask(self.store, house, HousekeepingParameters(**parameters)).run(context)
        return tally.counts

    async def rows(self, sql: str) -> list[tuple[Any, ...]]:
        async with self.store.transaction() as connection:
            return [tuple(row.values()) for row in await connection.fetch(sql)]

    async def count(self, *tables: str) -> list[int]:
        return [(await self.rows(f"SELECT count(*) FROM {table}"))[0][0] for table in tables]

    async def age(self, days: int) -> None:
        """Make everything so many days older."""
        for table, column in AGED:
            await self.rows(f"UPDATE {table} SET {column} = {column} - make_interval(days => {days})")

    async def exchange(self, *, sent: bool = True, claim: Claim | None = None) -> None:
        """Take a batch of two through the gateway: the first with an id that counts once, answered."""
        claim = claim or a_claim()
        async with ingestion(self.store) as ingesting:
            set_key = await ingesting.new_set()
            messages = [a_message(message_id=uuid4()), a_message(2)]
            await ingesting.add_messages(ORDERS, claim.id, "partner", set_key, Policy.CONTINUE, messages)
            await ingesting.end_file(a_file(claim, members=2), set_key, [])
        claimed = await claim_inbound(self.store, 1, ORDERS, 10)
        assert claimed is not None
        first, _ = claimed.items
        answer = NewResponse(
            key=MessageKey(first.key + 1_000_000), request=first, port=ORDERS, message_id=uuid4(),
            file_name=f"{uuid4()}.xml", content=b"<r/>", is_fault=False,
        )  # fmt: skip
        done: list[Any] = [(work, []) for work in claimed.items]
        async with self.store.transaction() as connection:
            await take_processed_ids(self.store, connection, [first])
            await record_inbound(self.store, connection, claimed.fence, InboundResult(done=done, responses=[answer]))
        if sent:
            sending = await claim_outbound(self.store, 1, ORDERS, 10)
            assert sending is not None
            await record_outbound(self.store, sending.fence, SendResult(sent=list(sending.items)))

    async def fail(self) -> None:
        """Take one message in, which fails."""
        claim = a_claim()
        async with ingestion(self.store) as ingesting:
            await ingesting.add_messages(ORDERS, claim.id, "partner", None, Policy.CONTINUE, [a_message()])
            await ingesting.end_file(a_file(claim), None, [])
        claimed = await claim_inbound(self.store, 1, ORDERS, 10)
        assert claimed is not None
        failure = Failure(work=claimed.items[0], code="schema", text="wrong")
        async with self.store.transaction() as connection:
            await record_inbound(self.store, connection, claimed.fence, InboundResult(failed=[failure]))

    def drop(self, name: str) -> None:
        aside = self.inbound / f".{name}.part"
        aside.write_bytes(b"<Batch></Batch>")
        aside.rename(self.inbound / name)


@pytest.fixture
async def house(store: Store, tmp_path: Path) -> AsyncIterator[House]:
    root = tmp_path / "port"
    root.mkdir()
    with ThreadPoolExecutor(2) as executor:
        yield House(store, root, executor)


HISTORY = ("message", "document", "message_set", "delivery", "processed_id")


async def test_finished_exchanges_go_when_the_window_is_over(house: House) -> None:
    for _ in range(3):
        await house.exchange()
    await house.age(10)
    await house.exchange()
    assert await house.clean() == {}, "ten days are not twenty"
    assert await house.count(*HISTORY) == [12, 12, 4, 4, 4]
    await house.age(11)
    assert await house.clean() == {"messages": 9, "sets": 3, "files": 3}
    assert await house.count(*HISTORY) == [3, 3, 1, 1, 1]
    assert await house.clean() == {}


async def test_message_is_kept_from_its_end_not_from_its_beginning(house: House) -> None:
    await house.exchange()
    await house.age(30)
    await house.rows("UPDATE message SET finished_at = clock_timestamp() WHERE direction = 'out'")
    await house.clean()
    assert await house.rows("SELECT direction FROM message") == [("out",)]


async def test_nothing_unfinished_goes(house: House) -> None:
    await house.exchange(sent=False)
    await house.fail()
    async with ingestion(house.store) as ingesting:
        refused = RefusedFile(claim=a_claim("bad.xml"), submitter=None, code="dtd.forbidden", text="No DOCTYPE.")
        await ingesting.refuse_file(refused)
    await put_send_requests(house.store, [a_send_request()])
    await house.rows("UPDATE send_request SET status = 'error', reason = 'failed', error = 'no'")
    await house.rows("INSERT INTO exception (code, text, message_key) SELECT 'no', 'no', id FROM send_request")
    (house.error / "bad.xml").touch()
    before = await house.count(*HISTORY, "queue", "exception", "send_request")
    await house.age(1000)
    gone = await house.clean()
    assert gone == {"messages": 1}, "only the member of the set that had no answer"
    assert await house.rows("SELECT count(*) FROM message WHERE position = 2") == [(0,)]
    after = await house.count(*HISTORY, "queue", "exception", "send_request")
    assert [a - b for a, b in zip(before, after, strict=True)] == [1, 1, 0, 0, 0, 0, 0, 0]
    assert (house.error / "bad.xml").exists()


async def test_exceptions_and_runs_have_windows_of_their_own(house: House) -> None:
    await house.rows("INSERT INTO exception (code, text, severity) VALUES ('file.repeated', 'again', 'warning')")
    await house.rows(
        "INSERT INTO run (job, partition_key, company, created_by, run_as, cause, planned_at, started_at, ended_at,"
        " status) SELECT 'gateway', 'initial', 'DAT', 'gateway', 'gateway', 'event', now(), now(), now(), 'ended'"
    )
    await house.age(25)
    assert await house.clean() == {"runs": 1}
    await house.age(6)
    assert await house.clean() == {"exceptions": 1}


async def test_repeated_id_is_noticed_as_long_as_its_message_is_kept(house: House) -> None:
    await house.exchange()
    await house.age(19)
    await house.clean()
    assert await house.count("processed_id") == [1]
    await house.age(2)
    await house.clean()
    assert await house.count("processed_id") == [0]


async def test_content_that_was_processed_is_forgotten_with_the_history(house: House) -> None:
    await house.rows(
        "INSERT INTO processed_content (port, service, operation, digest, request_id, at)"
        " SELECT 'orders', 'S', 'create', sha256(days::text::bytea), 1, now() - make_interval(days => days)"
        " FROM unnest(ARRAY[19, 21]) AS days"
    )
    assert await house.clean() == {"contents": 1}
    assert await house.count("processed_content") == [1]


async def test_file_that_is_still_claimed_is_remembered_so_that_it_is_not_taken_twice(house: House) -> None:
    house.drop("a.xml")
    (claim,) = await house.adapter.poll(1)
    await house.exchange(claim=claim)  # and the archive could not be reached
    await house.age(1000)
    assert await house.clean() == {"messages": 3, "sets": 1}
    assert await house.count("delivery") == [1]
    await house.adapter.settle([Settled(claim=claim, settlement=Settlement.DELETE)])
    assert await house.clean() == {"files": 1}


async def test_old_archived_files_go_but_not_those_of_unfinished_messages(house: House) -> None:
    house.drop("a.xml")
    house.drop("b.xml")
    done, waiting = await house.adapter.poll(2)
    await house.adapter.settle([Settled(claim=c, settlement=Settlement.ARCHIVE) for c in (done, waiting)])
    (today,) = house.archive.iterdir()
    today.rename(house.archive / "2020-02-02")
    async with ingestion(house.store) as ingesting:
        await ingesting.add_messages(ORDERS, waiting.id, "partner", None, Policy.CONTINUE, [a_message()])
        await ingesting.end_file(a_file(waiting), None, [])
    await house.age(11)
    assert await house.clean() == {"archived": 1}
    assert os.listdir(house.archive / "2020-02-02") == [waiting.handle.decode()]


async def test_port_whose_folders_are_away_does_not_keep_the_rest_from_being_done(house: House) -> None:
    await house.exchange()
    await house.age(1000)
    house.work.rename(house.work.with_name("gone"))
    assert await house.clean() == {"messages": 3, "sets": 1}
    assert await house.count("delivery") == [1], "nobody knows whether its file lies there"


async def test_stop_is_noticed_between_chunks(house: House) -> None:
    await house.exchange()
    await house.age(1000)
    house.stopping.set()
    assert await house.clean() == {}
    assert await house.count("message") == [3]


A_ROW_OF_EVERY_OTHER_KIND = (
    "INSERT INTO processed_content (port, service, operation, digest, request_id, at)"
    " VALUES ('orders', 'S', 'create', sha256('a'), 1, now())",
    "INSERT INTO message_set (id, claim_id, port, batch_id, policy, members)"
    " VALUES (7, gen_random_uuid(), 'orders', 'left over', 'continue', 1)",
    "INSERT INTO exception (code, text, severity) VALUES ('file.repeated', 'again', 'warning')",
    "INSERT INTO operator_action (actor, action) VALUES ('ann', 'queue release')",
    "INSERT INTO run (job, partition_key, company, created_by, run_as, cause, planned_at, started_at, ended_at, status)"
    " VALUES ('gateway', 'initial', 'DAT', 'gateway', 'gateway', 'event', now(), now(), now(), 'ended')",
    "INSERT INTO alert (event_key, event, user_name, channel, subject, body, status)"
    " VALUES ('run:1:ended', 'ended', 'ann', 'popup', 'a', 'b', 'sent')",
    "INSERT INTO job (partition_key, name, description, status, company, created_by, original_start, next_start)"
    " VALUES ('initial', 'once', 'once', 'ended', 'DAT', 'ann', now(), now())",
)

WORKED = "INSERT INTO incarnation (node, host, pid, version, started_at) VALUES ('n', 'h', 1, '1', now() - interval "


async def test_a_clock_that_is_set_far_ahead_removes_nothing(house: House) -> None:
    await house.exchange()
    await house.age(365)
    await house.rows("UPDATE schema_version SET applied_at = applied_at - interval '365 days'")
    await house.rows(f"{WORKED}'1 hour')")  # after it was set
    await house.rows(f"{WORKED}'365 days')")
    assert await house.keep_house() == {}
    assert await house.count("message") == [3]


@pytest.mark.parametrize("ago", ["13 hours", "7 days"])
async def test_a_clock_that_has_been_right_for_half_a_day_is_believed(house: House, ago: str) -> None:
    await house.exchange()
    await house.age(365)
    await house.rows("UPDATE schema_version SET applied_at = applied_at - interval '365 days'")
    await house.rows(f"{WORKED}'{ago}')")
    assert (await house.keep_house())["messages"] == 3


async def test_clocks_that_do_not_agree_remove_nothing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    class Ahead(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return datetime.now(tz) + timedelta(days=365)

    await house.exchange()
    await house.age(30)
    monkeypatch.setattr(housekeeping, "datetime", Ahead)
    assert await house.keep_house() == {}
    monkeypatch.undo()
    assert (await house.keep_house())["messages"] == 3


async def test_a_clock_that_jumps_while_things_are_removed_makes_nothing_old(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = DatabaseClock(database_url)
    await clock.take_over()

    async def look_and_jump(store: Store) -> tuple[datetime, bool]:
        seen = await look_at_clock(store)
        await clock.jump(timedelta(days=3650).total_seconds())
        return seen

    monkeypatch.setattr(housekeeping, "look_at_clock", look_and_jump)
    async with open_store(database_url, tmp_path / "data") as store:
        with ThreadPoolExecutor(2) as executor:
            house = House(store, tmp_path, executor)
            house.drop("a.xml")
            (claim,) = await house.adapter.poll(1)
            await house.exchange(claim=claim)
            await house.adapter.settle([Settled(claim=claim, settlement=Settlement.ARCHIVE)])
            for row in A_ROW_OF_EVERY_OTHER_KIND:
                await house.rows(row)
            assert await house.keep_house(job_days=1) == {}
            now, _ = await look_at_clock(store)
            assert now > datetime.now(UTC) + timedelta(days=3600), "the clock did not jump"
