"""Measure how status messages are copied and purged under kills: `python -m tests.bench.messages`.

A process makes pass after pass over a message database and is killed again and again; then one pass is left alone. Each
message must be stored once, and after the purge neither side keeps any. Memory is that of the process that copies.
"""

import argparse
import asyncio
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psutil
from asyncpg import connect
from rich.console import Console
from rich.table import Table

from gateway.config.models import Settings
from gateway.contracts.task import NullRunLog, Tally
from gateway.db.data_folder import Use
from gateway.db.embedded import DATABASE, EmbeddedServer
from gateway.db.open import Schema, open_store
from gateway.exchange import MessageStores
from gateway.exchange.database import TABLES
from gateway.runtime.ports import SystemClock
from tests.bench.measure import fresh

STORE = "shops"
DIED = 5
_FILL = """
INSERT INTO exchange.status_message (message_id, station, direction, session, status, at)
SELECT gen_random_uuid(), 'STORE-' || s % 50, 'download', s / 50 + 1, w,
       now() - interval '40 days' + n * interval '1 second'
FROM generate_series(0, $ROWS / 5 - 1) AS s,
     unnest(ARRAY['started', 'available', 'requested', 'downloaded', 'applied']) WITH ORDINALITY AS v (w, n)
ORDER BY random()
"""
out = Console()


async def make_passes(url: str, messages: str, data: Path, days: int) -> None:
    """Say that it begins, and make one pass: what the process that is killed does."""
    settings = Settings.model_validate(
        {"data_exchange": {"stores": {STORE: {"database": messages}}, "download_session_days": days}}
    )
    with ThreadPoolExecutor(1) as threads:
        async with open_store(url, data, use=Use.VISIT, schema=Schema.IGNORE) as store:
            stores = MessageStores(store, lambda: settings, threads=lambda _: threads, clock=SystemClock())
            tally = Tally()
            sys.stdout.write("begins\n")
            sys.stdout.flush()
            await stores.make_pass(STORE, tally=tally, lines=NullRunLog(), stopping=asyncio.Event())


async def under_kills(arguments: Sequence[str], kills: int, most: list[int]) -> int:
    """Run passes until one ends by itself; so many before are killed after a random time. Returns how many were."""
    chance = random.Random(1)
    killed = 0
    while True:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.bench.messages", *arguments, stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        await process.stdout.readline()
        watching = asyncio.create_task(_watch(process.pid, most))
        try:
            async with asyncio.timeout(chance.uniform(0.05, 1.5) if killed < kills else None):
                code = await process.wait()
        except TimeoutError:
            os.kill(process.pid, signal.SIGKILL)
            await process.wait()
            killed += 1
            continue
        finally:
            watching.cancel()
        if code:
            raise SystemExit(DIED)
        return killed


async def _watch(pid: int, most: list[int]) -> None:
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        while True:
            most.append(process.memory_info().rss)
            await asyncio.sleep(0.05)


async def measure(rows: int, kills: int, folder: Path) -> bool:
    """Fill, copy under kills, purge under kills; print the numbers. Returns whether everything was as promised."""
    server = EmbeddedServer(folder / "postgres-server")
    await asyncio.to_thread(server.start)
    try:
        url, messages = await fresh(server, "copies"), server.url.replace(f"@/{DATABASE}?", "@/messages?")
        async with open_store(url, folder / "data", use=Use.VISIT) as store:
            connection = await store.connect()
            await connection.execute("CREATE DATABASE messages")
            await connection.close()
            theirs = await connect(messages)
            await theirs.execute(TABLES.read_text(encoding="utf-8"))
            await theirs.execute(_FILL.replace("$ROWS", str(rows)), timeout=3600)
            table = Table("", "seconds", "killed", "messages a second", "memory, MB")
            good = True
            for what, days in (("copied", 0), ("purged", 30)):
                most: list[int] = []
                began = time.perf_counter()
                killed = await under_kills([url, messages, str(folder / "data"), str(days)], kills, most)
                took = time.perf_counter() - began
                table.add_row(
                    f"{rows:,} {what}", f"{took:.1f}", str(killed), f"{rows / took:,.0f}", f"{max(most) / 1e6:.0f}"
                )
                async with store.reading() as ours:
                    stored, ids, applied = await ours.fetchrow(
                        "SELECT (SELECT count(*) FROM status_message), (SELECT count(DISTINCT message_id) FROM "
                        "status_message), (SELECT count(*) FROM exchange_session WHERE status = 'applied')"
                    )
                left, waiting = await theirs.fetchrow(
                    "SELECT count(*), count(*) FILTER (WHERE uploaded_at IS NULL) FROM exchange.status_message"
                )
                wanted = (rows, rows, rows // 5, rows, 0) if what == "copied" else (0, 0, rows // 5, 0, 0)
                found = (stored, ids, applied, left, waiting)
                if found != wanted:
                    out.print(f"{what}: {found} and not {wanted}", style="bold red")
                    good = False
            await theirs.close()
            out.print(table)
            return good
    finally:
        await asyncio.to_thread(server.stop)


async def main(arguments: Sequence[str]) -> int:
    """Measure as the command line says; returns the exit code."""
    if arguments and arguments[0].startswith("postgresql:"):
        url, messages, data, days = arguments
        await make_passes(url, messages, Path(data), int(days))
        return 0
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000, help="messages, a multiple of 250")
    parser.add_argument("--kills", type=int, default=10, help="how often a pass is killed, in each half")
    wanted = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="gateway-bench-"))
    try:
        return 0 if await measure(wanted.rows, wanted.kills, folder) else 1
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
