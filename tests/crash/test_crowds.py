"""P14, P15: very many files at once, in their order; one very large file in bounded memory, visible at one stroke."""

import asyncio
import threading
from pathlib import Path
from random import Random

import psutil
import pytest

from tests.crash.partner import Partner
from tests.crash.proof import drained, everything_happened_once
from tests.crash.site import CrashSite
from tests.documents import BATCH, envelope, order, single
from tests.memory import held_by
from tests.site import until

MAX_BYTES = 500_000_000
FULL = [pytest.mark.full, pytest.mark.timeout(0)]


@pytest.mark.parametrize(
    ("files", "kill_seconds"),
    [(2_000, None), pytest.param(10_000, None, marks=FULL), pytest.param(10_000, 2.0, marks=FULL)],
    ids=["2000", "10000", "10000-killed"],
)
async def test_files_dropped_at_once_are_done_in_the_order_of_their_names(
    crash_site: CrashSite, chance: Random, files: int, kill_seconds: float | None
) -> None:
    crash_site.add_port(process={"mode": "sequential"})
    with Partner(crash_site) as partner:
        ids = partner.new_ids(files)
        names = [f"file_{number:06}.xml" for number in range(files)]
        for name, message_id in chance.sample(list(zip(names, ids, strict=True)), files):
            crash_site.drop(name, single(envelope(message_id=message_id)))
        life = await crash_site.run()
        while kill_seconds is not None and not partner.complete:
            await asyncio.sleep(kill_seconds)
            await crash_site.kill()
            life = await crash_site.run()
        await drained(crash_site, partner, seconds=600)
        assert psutil.Process(life.pid).memory_info().rss < 300_000_000
    await everything_happened_once(crash_site, partner)
    numbers = [partner.values[message_id] for message_id in ids]
    assert numbers == sorted(numbers)


def write_batch(path: Path, partner: Partner, envelopes: int, lines: int) -> None:
    """Write a batch of orders with so many lines of 110 bytes piece by piece, then show it."""
    line = (
        '<SalesLine class="entity"><ItemId>10004</ItemId><SalesQty>1</SalesQty><SalesUnit>Pcs</SalesUnit></SalesLine>'
    )
    body = order().replace("</SalesTable>", line * lines + "</SalesTable>")
    temporary = path.with_suffix(".part")
    with temporary.open("w") as file:
        file.write(f'<?xml version="1.0" encoding="UTF-8"?>\n<Batch xmlns="{BATCH}">\n')
        for message_id in partner.new_ids(envelopes):
            file.write(envelope(body, message_id=message_id) + "\n")
        file.write("</Batch>\n")
    temporary.rename(path)


class Meter:
    """Watches the memory of a gateway with all its processes, and the highest it got."""

    def __init__(self, pid: int) -> None:
        self.most = 0
        self._pid = pid
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="meter", daemon=True)

    def __enter__(self) -> "Meter":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.05):
            self.most = max(self.most, held_by(self._pid))


async def seen_at_one_stroke(site: CrashSite, envelopes: int) -> None:
    """Wait for the file to be in; until then nothing of it may be seen, and then all of it."""

    async def there() -> bool:
        (row,) = await site.query(
            "SELECT (SELECT count(*) FROM delivery) AS files, count(*) AS messages FROM message WHERE direction = 'in'"
        )
        assert (row["files"], row["messages"]) in ((0, 0), (1, envelopes))
        return bool(row["files"])

    await until(there, "the file is in the queue", seconds=1200, tell=site.tail)


@pytest.mark.parametrize(
    ("envelopes", "lines", "kills"),
    [(1_000, 180, 2), pytest.param(400_000, 18, 0, marks=FULL), pytest.param(400_000, 18, 5, marks=FULL)],
    ids=["20MB", "1GB", "1GB-killed"],
)
async def test_large_batch_needs_bounded_memory_and_appears_at_one_stroke(
    crash_site: CrashSite, chance: Random, envelopes: int, lines: int, kills: int
) -> None:
    crash_site.add_port(process={"mode": "parallel"})
    crash_site.ports["orders"]["limits"] = {"max_file_bytes": 2_000_000_000, "max_envelopes": 1_000_000}
    with Partner(crash_site) as partner:
        await asyncio.to_thread(write_batch, crash_site.inbound() / "large.xml", partner, envelopes, lines)
        work = crash_site.data / "work" / "orders"
        for _ in range(kills):
            life = crash_site.launch()

            async def claimed() -> bool:
                return work.is_dir() and any(work.iterdir())

            await until(claimed, "the file is claimed", tell=crash_site.tail)
            await asyncio.sleep(chance.uniform(0.5, 0.5 + envelopes / 20_000))
            assert life.returncode is None
            await crash_site.kill()
        life = await crash_site.run()
        with Meter(life.pid) as meter:
            await seen_at_one_stroke(crash_site, envelopes)
            await drained(crash_site, partner, seconds=3600)
        assert meter.most < MAX_BYTES
    await everything_happened_once(crash_site, partner)


async def test_a_tree_of_the_whole_file_shows_in_memory(crash_site: CrashSite) -> None:
    """The proof can fail: a reader that builds a tree passes the limit with a file a twentieth of the size."""
    crash_site.add_port(process={"mode": "parallel"})
    crash_site.ports["orders"]["limits"] = {"max_file_bytes": 2_000_000_000, "max_envelopes": 1_000_000}
    with Partner(crash_site) as partner:
        await asyncio.to_thread(write_batch, crash_site.inbound() / "large.xml", partner, 18_000, 18)
        life = await crash_site.run(build="whole_tree")
        with Meter(life.pid) as meter:

            async def passed() -> bool:
                return meter.most > MAX_BYTES

            await until(passed, "the tree passes the limit", seconds=60, tell=lambda: f"{meter.most}")
