"""A port pauses itself at its share of the unfinished messages; what is unfinished is counted now and then only."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway.contracts.task import Tally, TaskContext
from gateway.db.open import Store
from gateway.kernel.ids import PortName
from gateway.messaging.intake import ingest
from gateway.messaging.intake.capacity import FULL_SECONDS, TRUSTED_SECONDS, QueueCapacity
from gateway.messaging.intake.writing import unfinished_inbound
from gateway.messaging.processing.claims import claim_inbound
from gateway.messaging.queue.leases import start_incarnation
from gateway.xml.pool import XmlPool
from tests.documents import batch, envelope
from tests.factories import ORDERS, a_claim, a_file, a_message
from tests.inbound_bench import NothingComes
from tests.integration.messaging.test_dying_readers import Bench
from tests.integration.messaging.test_lanes import finish_claim
from tests.integration.messaging.test_way_of_a_message import put

OTHER, NEW = PortName("other"), PortName("new")
PORTS = (ORDERS, OTHER, NEW)


class Clock:
    """Seconds that a test moves."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


class Streaming(NothingComes):
    """The feed of a task whose input may go on."""

    once = False


async def mine(capacity: QueueCapacity, limit: int = 100) -> int:
    return (await capacity.share(ORDERS, PORTS, limit)).mine


async def put_many(store: Store, port: PortName, messages: int) -> None:
    async with ingest.ingestion(store) as ingesting:
        claim = a_claim(port=port)
        many = [a_message(n, lane="one" if n % 2 else None) for n in range(1, messages + 1)]
        await ingesting.add_messages(port, claim.id, None, None, "continue", many)
        await ingesting.end_file(a_file(claim), None, [])


async def test_count_is_remembered_and_what_was_taken_in_is_added(store: Store) -> None:
    clock = Clock()
    capacity = QueueCapacity(store, clock)
    await put(store, [a_message(1), a_message(2, lane="port"), a_message(3, lane="port")])
    assert await mine(capacity) == 3
    await put(store, [a_message(4)])
    assert await mine(capacity) == 3
    capacity.reserve(ORDERS, 1)
    assert await mine(capacity) == 4
    await finish_claim(store)
    clock.seconds = TRUSTED_SECONDS
    assert await mine(capacity) == 4, "there is room by what is known"
    await capacity.counted()
    assert await mine(capacity) == 0


class Counts:
    """Counts what is unfinished when a test lets them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made = 0
        self.go_on = asyncio.Event()
        monkeypatch.setattr("gateway.messaging.intake.capacity.unfinished_inbound", self)

    async def __call__(self, store: Store, ports: Sequence[PortName], limit: int) -> dict[PortName, int]:
        self.made += 1
        await self.go_on.wait()
        return await unfinished_inbound(store, ports, limit)


async def test_who_has_room_by_the_last_count_waits_for_no_other(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What many ports have waiting takes long to count."""
    clock = Clock()
    capacity = QueueCapacity(store, clock)
    await put(store, [a_message(n) for n in range(1, 4)])
    assert await mine(capacity) == 3
    counts = Counts(monkeypatch)
    clock.seconds = TRUSTED_SECONDS
    assert [await mine(capacity), await mine(capacity)] == [3, 3]
    capacity.reserve(ORDERS, 1)
    await asyncio.sleep(0)
    capacity.reserve(ORDERS, 1)
    counts.go_on.set()
    await capacity.counted()
    assert await mine(capacity) == 4, "the last one may not be in the count"
    assert counts.made == 1


async def test_all_that_must_wait_for_a_count_wait_for_the_same(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = Counts(monkeypatch)
    capacity = QueueCapacity(store, Clock())
    await put_many(store, ORDERS, 3)
    asking = [asyncio.create_task(capacity.share(port, PORTS, 3)) for port in PORTS]
    while not counts.made:
        await asyncio.sleep(0)
    counts.go_on.set()
    assert [share.mine for share in await asyncio.gather(*asking)] == [3, 0, 0]
    assert counts.made == 1


async def test_queue_is_counted_before_intake_stops(store: Store) -> None:
    capacity = QueueCapacity(store, Clock())
    assert await mine(capacity, 10) == 0
    capacity.reserve(ORDERS, 10)
    share = await capacity.share(ORDERS, PORTS, 10)
    assert (share.mine, share.is_full) == (0, False), "what was taken in is done already"


async def test_room_is_found_soon_after_a_share_was_used_up(store: Store) -> None:
    clock = Clock()
    capacity = QueueCapacity(store, clock)
    await put(store, [a_message(n) for n in range(1, 6)])
    assert (await capacity.share(ORDERS, PORTS, 3)).is_full
    await finish_claim(store)
    assert (await capacity.share(ORDERS, PORTS, 3)).is_full
    clock.seconds = FULL_SECONDS
    assert not (await capacity.share(ORDERS, PORTS, 3)).is_full


async def test_messages_in_work_are_unfinished(store: Store) -> None:
    await put(store, [a_message(n) for n in range(1, 6)])
    await claim_inbound(store, 1, ORDERS, 2)
    assert await mine(QueueCapacity(store, Clock())) == 5


async def test_a_port_may_have_twice_what_it_leaves_to_others(store: Store) -> None:
    await put_many(store, ORDERS, 200)
    share = await QueueCapacity(store, Clock()).share(ORDERS, PORTS, 300)
    assert (share.mine, share.most, share.others, share.is_full) == (200, 200, 0, True)
    share = await QueueCapacity(store, Clock()).share(OTHER, PORTS, 300)
    assert (share.mine, share.most, share.others, share.is_full) == (0, 66, 200, False)


async def test_whoever_has_little_goes_on_when_large_files_have_used_up_everything(store: Store) -> None:
    await put_many(store, ORDERS, 500)
    await put_many(store, OTHER, 500)
    for port, messages, full in ((ORDERS, 0, True), (NEW, 0, False), (NEW, 2, False), (NEW, 1, True)):
        if messages:
            await put_many(store, port, messages)
        assert (await QueueCapacity(store, Clock()).share(port, PORTS, 300)).is_full is full


@pytest.fixture
async def bench(store: Store, tmp_path: Path) -> AsyncIterator[Bench]:
    async with XmlPool(size=1) as pool:
        with ThreadPoolExecutor(4) as executor:
            yield Bench(store, tmp_path, executor, pool, await start_incarnation(store, "a", "1"))


async def test_a_paused_port_says_what_it_has_and_goes_on_when_some_are_done(
    bench: Bench, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it has claimed waits in the work folder."""
    queue = bench.ports.settings.queue
    bench.ports.settings = bench.ports.settings.model_copy(update={"queue": queue.model_copy(update={"max_ready": 30})})
    monkeypatch.setattr(ingest, "_GROUP_FILES", 1)
    monkeypatch.setattr("gateway.messaging.intake.capacity.FULL_SECONDS", 0.0)
    content = batch([envelope() for _ in range(12)])
    for name in ("a.xml", "b.xml", "c.xml", "d.xml"):
        aside = bench.folder / "aside"
        aside.write_bytes(content)
        await asyncio.to_thread(aside.rename, bench.folder / "in" / name)
    await bench.look()
    assert await bench.messages() == 24
    assert await bench.rows("SELECT state, reason FROM port_status") == [
        (
            "paused",
            "24 messages of this port are unfinished. Its share of queue.max_ready (30) is 20 while no other port has "
            "any. No more files are taken until some are done.",
        )
    ]
    await bench.look()
    assert await bench.messages() == 24
    await bench.rows("DELETE FROM queue RETURNING 1")
    await bench.look()
    assert await bench.messages() == 48
    names = [name for (name,) in await bench.rows("SELECT display FROM delivery ORDER BY received_at")]
    assert names == ["a.xml", "b.xml", "c.xml", "d.xml"]


async def test_a_paused_port_goes_on_as_soon_as_its_messages_get_done(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not wait for the next sweep; where nothing gets done it does."""
    queue = bench.ports.settings.queue
    bench.ports.settings = bench.ports.settings.model_copy(update={"queue": queue.model_copy(update={"max_ready": 30})})
    monkeypatch.setattr(ingest, "_GROUP_FILES", 1)
    monkeypatch.setattr("gateway.messaging.intake.capacity.FULL_SECONDS", 0.0)
    content = batch([envelope() for _ in range(24)])
    for name in ("a.xml", "b.xml", "c.xml"):
        aside = bench.folder / "aside"
        aside.write_bytes(content)
        await asyncio.to_thread(aside.rename, bench.folder / "in" / name)
    moments: list[int] = []

    async def process_some(*_: object) -> None:
        """Stand for the second in which other stages work; from the third on they do nothing."""
        moments.append(await bench.messages())
        if len(moments) < 3:
            await bench.rows("DELETE FROM queue WHERE message_id IN (SELECT message_id FROM queue LIMIT 12)")

    monkeypatch.setattr("gateway.messaging.intake.receive.wait_or_stop", process_some)
    await bench.stage.run(TaskContext(task="receive", feed=Streaming(), stopping=asyncio.Event(), tally=Tally()))
    assert moments == [24, 48, 48]
