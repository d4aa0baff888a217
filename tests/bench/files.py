"""Measure what a small file costs: `python -m tests.bench.files [--files 5000] [--folder /dev/shm]`.

Single requests of 10 KB lie in one inbound folder; the whole gateway takes and answers them. What counts is the
processor time for each file, by kind of process; the time on the wall says more about the machine and its disk.
"""

import argparse
import asyncio
import os
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from gateway.db.embedded import EmbeddedServer
from tests.bench.measure import fresh, running
from tests.bench.orders import envelope
from tests.site import Site, until

out = Console()

_LINES = 88
_WARM_UP = 300


def processes(site: Site) -> Iterator[tuple[str, psutil.Process]]:
    """Yield the processes of a gateway and of its database with their kinds."""
    assert site.process is not None
    main = psutil.Process(site.process.pid)
    yield "main", main
    for child in main.children(recursive=True):
        yield ("readers" if "gateway.xml.reader" in child.cmdline() else "others"), child
    for child in psutil.Process().children(recursive=True):
        if "postgres" in child.name():
            yield "database", child


def seconds(site: Site) -> dict[str, float]:
    """Return the processor time of each kind of process so far."""
    spent: defaultdict[str, float] = defaultdict(float)
    for kind, process in processes(site):
        times = process.cpu_times()
        spent[kind] += times.user + times.system
    return spent


def write(folder: Path, first: int, number: int) -> Path:
    """Write requests into a folder that becomes visible in the inbound folder by renames."""
    folder.mkdir()
    for n in range(first, first + number):
        (folder / f"order{n:07}.xml").write_bytes(envelope(n, _LINES).encode())
    return folder


async def answer(site: Site, aside: Path, expected: int) -> None:
    """Drop what lies in a folder beside and wait until there are as many answers as expected."""
    for name in sorted(os.listdir(aside)):
        (aside / name).rename(site.inbound() / name)

    async def done() -> bool:
        await asyncio.sleep(0.05)
        return len(os.listdir(site.outbound())) >= expected

    await until(done, "all answers", seconds=600, tell=site.tail)


async def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", help="where to work; a disk that is slow with files hides what is measured")
    given = parser.parse_args(arguments)
    base = Path(tempfile.mkdtemp(prefix="gateway-bench-", dir=given.folder))
    server = EmbeddedServer(base / "server")
    (base / "server").mkdir()
    await asyncio.to_thread(server.start)
    table = Table(title=f"{given.files} files of 10 KB, milliseconds of processor time for each")
    kinds = ("main", "readers", "others", "database")
    for column in ("round", "files/s", *kinds, "all"):
        table.add_column(column, justify="right")
    try:
        async with running(base / "site", await fresh(server, "files"), "parallel") as site:
            await answer(site, write(base / "warm", 0, _WARM_UP), _WARM_UP)
            for number in range(given.rounds):
                first = _WARM_UP + number * given.files
                aside = write(base / f"round{number}", first, given.files)
                before, began = seconds(site), time.perf_counter()
                await answer(site, aside, first + given.files)
                took = time.perf_counter() - began
                spent = {kind: (seconds(site)[kind] - before[kind]) * 1000 / given.files for kind in kinds}
                table.add_row(
                    str(number + 1), f"{given.files / took:.0f}", *(f"{spent[kind]:.3f}" for kind in kinds),
                    f"{sum(spent.values()):.3f}",
                )  # fmt: skip
    finally:
        await asyncio.to_thread(server.stop)
        shutil.rmtree(base, ignore_errors=True)
    out.print(table)


if __name__ == "__main__":
    asyncio.run(main())
