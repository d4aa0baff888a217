"""Measure what a claim costs when little and when much waits: `python -m tests.bench.claims`.

Each claim is given back, so that all are alike. What counts is the ratio of the medians to those of the smallest queue.
"""

import argparse
import asyncio
import shutil
import tempfile
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from gateway.db.embedded import EmbeddedServer
from gateway.db.open import Store, open_store
from gateway.kernel.ids import PortName
from gateway.messaging.delivery.promises import claim_outbound
from gateway.messaging.processing.claims import claim_inbound
from gateway.messaging.queue.leases import give_back, ports_with_work, wake_due
from gateway.messaging.rules.states import Stage
from tests.bench.measure import fresh

ORDERS = PortName("orders")
CHUNK = 5
REPEATS = 120
WARMING = 20
MOST_RATIO = 1.5
LANES: Mapping[str, str] = {"no lane": "NULL", "one lane": "'port'", "lanes of one": "'conversation:' || i"}
_FILL = """
INSERT INTO delivery (claim_id, port, name, display, size_bytes, owner_uid, modified_at, outcome, settlement)
VALUES ('00000000-0000-0000-0000-000000000001', 'orders', 'a', 'a', 1, 0, now(), 'ingested', 'archive');
INSERT INTO message (id, direction, port, claim_id, position, message_id, namespace, size_bytes)
SELECT i, $DIRECTION, 'orders', '00000000-0000-0000-0000-000000000001', i, gen_random_uuid(), 'n', 1000
FROM generate_series(1, $ROWS) AS i;
INSERT INTO document (message_id, version, step, content) SELECT id, 0, 'received', '<Envelope/>' FROM message;
INSERT INTO queue (message_id, port, direction, status, reason, lane)
SELECT i, 'orders', $DIRECTION, 'ready', CASE WHEN $LANE IS NULL THEN 'ready' ELSE 'behind_in_lane' END, $LANE
FROM generate_series(1, $ROWS) AS i;
INSERT INTO lane (port, name, head)
SELECT port, lane, min(message_id) FROM queue WHERE lane IS NOT NULL GROUP BY port, lane;
"""
out = Console()

Work = Callable[[Store], Coroutine[Any, Any, float]]


async def fill(store: Store, rows: int, lane: str, direction: str) -> None:
    """Let so many messages wait; the tables look as after a while, when they were vacuumed."""
    text = _FILL.replace("$ROWS", str(rows)).replace("$LANE", lane).replace("$DIRECTION", f"'{direction}'")
    connection = await store.connect()
    try:
        await connection.execute(text, timeout=3600)
        for table in ("message", "queue", "lane", "document"):
            await connection.execute(f"VACUUM ANALYZE {table}", timeout=3600)
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()


async def claim_in(store: Store) -> float:
    """Time one claim of requests, and give it back."""
    began = time.perf_counter()
    claimed = await claim_inbound(store, 1, ORDERS, CHUNK, at_once=1000)
    took = time.perf_counter() - began
    assert claimed is not None
    await give_back(store, claimed.fence)
    return took


async def claim_out(store: Store) -> float:
    """Time one claim of responses, and give it back."""
    began = time.perf_counter()
    claimed = await claim_outbound(store, 1, ORDERS, CHUNK)
    took = time.perf_counter() - began
    assert claimed is not None and len(claimed.items) == CHUNK
    await give_back(store, claimed.fence)
    return took


async def look(store: Store) -> float:
    """Time what is asked beside the claims: which ports have work, and what is due."""
    began = time.perf_counter()
    await ports_with_work(store, Stage.INBOUND, [ORDERS, PortName("idle")])
    await wake_due(store)
    return time.perf_counter() - began


async def medians(stores: Sequence[Store], work: Work) -> list[float]:
    """Return the median time in milliseconds on each store, in turn, so that whatever else the machine does hits all.

    The first tries make plans and fill caches; they do not count.
    """
    times: list[list[float]] = [[] for _ in stores]
    for _ in range(REPEATS):
        for store, measured in zip(stores, times, strict=True):
            measured.append(await work(store) * 1000)
    return [median(measured[WARMING:]) for measured in times]


async def measure(server: EmbeddedServer, base: Path, sizes: Sequence[int]) -> float:
    """Print a table of all kinds of queues; returns the largest ratio of a large to the smallest queue."""
    table = Table(title=f"median of a claim of {CHUNK} messages, in ms (ratio to the smallest queue)")
    for column in ("what waits", *(f"{size:,}" for size in sizes)):
        table.add_column(column, justify="right")
    worst = 0.0
    kinds: list[tuple[str, str, str, Sequence[Work]]] = [
        *((name, lane, "in", (claim_in, look)) for name, lane in LANES.items()),
        ("responses", "NULL", "out", (claim_out,)),
    ]
    for name, lane, direction, works in kinds:
        async with AsyncExitStack() as stack:
            stores: list[Store] = []
            for size in sizes:
                database = f"claims_{name.replace(' ', '_')}_{size}"
                opening = open_store(await fresh(server, database), base / database, pool_size=2)
                stores.append(await stack.enter_async_context(opening))
                await fill(stores[-1], size, lane, direction)
            for work in works:
                found = await medians(stores, work)
                ratios = [value / found[0] for value in found]
                worst = max(worst, *ratios)
                cells = [f"{value:.2f} ({ratio:.2f})" for value, ratio in zip(found, ratios, strict=True)]
                table.add_row(f"{name}, {work.__name__}", *cells)
    out.print(table)
    return worst


async def main(words: Sequence[str] | None = None) -> int:
    """Measure and return 1 when a claim costs more the more waits; *words* are those of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 10_000, 1_000_000])
    arguments = parser.parse_args(words)
    base = Path(tempfile.mkdtemp(prefix="gateway-bench-"))
    server = EmbeddedServer(base / "server")
    (base / "server").mkdir()
    await asyncio.to_thread(server.start)
    try:
        worst = await measure(server, base, arguments.sizes)
    finally:
        await asyncio.to_thread(server.stop)
        shutil.rmtree(base, ignore_errors=True)
    out.print(f"largest ratio: [bold]{worst:.2f}[/bold], at most {MOST_RATIO} is right")
    return int(worst > MOST_RATIO)


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
