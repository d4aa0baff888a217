"""Measure the gateway against the bare loop, in the same run: `make bench`.

Each round runs the bare loop and the gateway one after the other on the same files and the same database server;
what counts is the ratio of the two, and its median over the rounds: an absolute time says more about the machine.
"""

import argparse
import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median

import asyncpg
from rich.console import Console
from rich.table import Table

from gateway.db.connect import connect
from gateway.db.embedded import DATABASE, EmbeddedServer
from gateway.db.migrate import migrate
from tests.bench.bare import bare_loop
from tests.bench.orders import envelope, write_batches
from tests.memory import held_by
from tests.site import Site, until

out = Console()


async def fresh(server: EmbeddedServer, name: str) -> str:
    """Make an empty, migrated database and return its address."""
    admin = await asyncpg.connect(server.url.replace(f"@/{DATABASE}?", "@/postgres?"))
    await admin.execute(f"CREATE DATABASE {name}")
    await admin.close()
    url = server.url.replace(f"@/{DATABASE}?", f"@/{name}?")
    connection = await connect(url)
    await migrate(connection)
    await connection.close()
    return url


@asynccontextmanager
async def running(folder: Path, url: str, mode: str) -> AsyncIterator[Site]:
    """Run a gateway on a fresh site."""
    folder.mkdir(parents=True)
    site = Site(folder, url).add_port(process={"mode": mode})
    await site.start()
    try:
        yield site
        await site.stop()
    finally:
        await site.close()


def memory_of(site: Site) -> float:
    """Return the memory that all processes of the gateway hold together, in MB."""
    assert site.process is not None
    return held_by(site.process.pid) / 1e6


async def throughput(server: EmbeddedServer, base: Path, files: int, envelopes: int, rounds: int) -> None:
    """Answer *files* batches of *envelopes* each, by the bare loop and by the gateway, in each mode."""
    sources = write_batches(base / "sources", files, envelopes)
    count = files * envelopes
    table = Table(title=f"{files} files x {envelopes} envelopes = {count} requests")
    for column in ("round", "mode", "bare s", "bare/s", "gateway s", "gateway/s", "ratio", "memory MB", "loop lag ms"):
        table.add_column(column, justify="right")
    ratios: dict[str, list[float]] = {"sequential": [], "parallel": []}
    for number in range(rounds):
        for mode, measured in ratios.items():
            tag = f"{mode}_{number}"
            url = await fresh(server, f"bare_{tag}")
            began = time.perf_counter()
            answered = await bare_loop(url, sources, base / f"bare-{tag}")
            bare = time.perf_counter() - began
            assert answered == count
            shutil.rmtree(base / f"bare-{tag}")
            url = await fresh(server, f"gateway_{tag}")
            async with running(base / f"site-{tag}", url, mode) as site:
                began = time.perf_counter()
                for source in sources:
                    copy = site.inbound() / f".{source.name}"
                    shutil.copyfile(source, copy)
                    copy.rename(site.inbound() / source.name)
                peak = 0.0

                async def done() -> bool:
                    nonlocal peak
                    peak = max(peak, memory_of(site))
                    await asyncio.sleep(0.05)
                    return len(os.listdir(site.outbound())) >= count

                await until(done, "all answers", seconds=600, tell=site.tail)
                took = time.perf_counter() - began
                await asyncio.sleep(0.5)
                lag = max((e["loop_lag_ms"] for e in site.events() if e.get("event") == "run.ended"), default=0)
            measured.append(bare / took)
            table.add_row(
                str(number + 1), mode, f"{bare:.2f}", f"{count / bare:.0f}", f"{took:.2f}", f"{count / took:.0f}",
                f"{bare / took:.2f}", f"{peak:.0f}", str(lag),
            )  # fmt: skip
            shutil.rmtree(base / f"site-{tag}")
    out.print(table)
    for mode, values in ratios.items():
        out.print(f"median ratio to the bare loop, {mode}: [bold]{median(values):.2f}[/bold]")


async def latency(server: EmbeddedServer, base: Path, files: int) -> None:
    """Drop single envelopes one at a time on an idle gateway and time each answer."""
    url = await fresh(server, "latency")
    async with running(base / "latency", url, "sequential") as site:
        times: list[float] = []
        for number in range(files + 5):
            content = envelope(number).encode()
            expected = number + 1
            began = time.perf_counter()
            site.drop(f"one_{number:05}.xml", content)
            while len(os.listdir(site.outbound())) < expected:
                await asyncio.sleep(0.001)
            times.append((time.perf_counter() - began) * 1000)
            await asyncio.sleep(0.05)  # idle again: not part of what is measured
    times = sorted(times[5:])
    p95 = times[int(len(times) * 0.95)]
    out.print(
        f"latency of one file on an idle gateway: median {median(times):.0f} ms, p95 {p95:.0f} ms, n={len(times)}"
    )


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=10)
    parser.add_argument("--envelopes", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--latency-files", type=int, default=100)
    arguments = parser.parse_args()
    base = Path(tempfile.mkdtemp(prefix="gateway-bench-"))
    server = EmbeddedServer(base / "server")
    (base / "server").mkdir()
    await asyncio.to_thread(server.start)
    try:
        await throughput(server, base, arguments.files, arguments.envelopes, arguments.rounds)
        await latency(server, base, arguments.latency_files)
    finally:
        await asyncio.to_thread(server.stop)
        shutil.rmtree(base, ignore_errors=True)
