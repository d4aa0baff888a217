"""How long an innocent port waits beside slow, large or hostile work of others: `python -m tests.bench.neighbours`.

Each trouble begins on its own ports, and begins again there when all of its files are answered or refused; from then
on a small order a fifth of a second is dropped on another port, and its answer is timed from the rename of the file to
the name of the answer. Names of troubles choose some of them; `NAME + NAME` has several at once.
"""

import argparse
import asyncio
import os
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from gateway.db.embedded import EmbeddedServer
from tests.bench.measure import fresh, memory_of
from tests.bench.orders import batch as orders
from tests.bench.orders import envelope as bench_order
from tests.documents import BATCH, PING, envelope, guid, order, single
from tests.site import Site

out = Console()
PAUSE_SECONDS: Final = 0.2
QUIET_SECONDS: Final = 60.0
"""So long is waited at the end for answers that are still due; one that does not come counts as that long."""
SLOW: Final = {"kind": "python", "operations": {"ping": "tests.bench.slow:waits_two_seconds"}}

UNFINISHED: Final = """
SELECT FROM queue WHERE port = ANY($1::text[]) AND status IN ('ready', 'in_process', 'in_transport') LIMIT 1"""

Begin = Callable[[Site, int], Coroutine[Any, Any, None]]
"""Drops the files of a trouble; the number is the round, which no identifier of another round has."""


def slow_batch(count: int, first: int = 0) -> bytes:
    """Return a batch of requests that each take two seconds."""
    members = "\n".join(envelope(message_id=guid(first + n + 1), action=PING) for n in range(count))
    return f'<?xml version="1.0"?>\n<Batch xmlns="{BATCH}">{members}</Batch>'.encode()


def large_file(site: Site, port: str, megabytes: int, number: int) -> None:
    """Drop one batch of about so many megabytes."""
    part = site.inbound(port) / ".large.part"
    count = megabytes * 1_000_000 // 700
    with part.open("wb") as file:
        for piece in orders(number * count, count):
            file.write(piece)
    part.rename(site.inbound(port) / "large.xml")


def many_parts(number: int) -> bytes:
    return single(envelope("<b/>" * 80_000, message_id=guid(number)))


def namespace_bomb(number: int) -> bytes:
    """Return one message of eight megabytes: many declarations, used at every depth."""
    declared = " ".join(f'xmlns:n{n}="urn:x:{n}:{"y" * 60}"' for n in range(900))
    inner = "".join(f'<n{n % 900}:a xsi:nil="false"/>' for n in range(250_000))
    xsi = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
    return single(envelope(f"<x {declared} {xsi}>{inner}</x>", message_id=guid(number)))


def same_mistake(count: int, first: int) -> bytes:
    members = "\n".join(envelope(order("ten"), message_id=guid(first + n)) for n in range(count))
    return f'<?xml version="1.0"?>\n<Batch xmlns="{BATCH}">{members}</Batch>'.encode()


async def one_slow_batch(site: Site, number: int) -> None:
    site.drop("slow.xml", slow_batch(250, 250 * number), "slow0")


async def slow_backlogs(site: Site, number: int) -> None:
    for port in range(2):
        site.drop("slow.xml", slow_batch(4000, 4000 * number), f"backlog{port}")


async def seven_large_files(site: Site, number: int) -> None:
    for port in range(7):
        await asyncio.to_thread(large_file, site, f"large{port}", 60, number)


async def one_very_large_file(site: Site, number: int) -> None:
    await asyncio.to_thread(large_file, site, "largest0", 300, number)


async def hostile_files(site: Site, number: int) -> None:
    for part in range(3):
        site.drop(f"parts{part}.xml", many_parts(3 * number + part), "hostile0")
    site.drop("bomb.xml", namespace_bomb(number), "hostile1")
    site.drop("mistakes.xml", same_mistake(10_000, 10_000 * number), "hostile2")


async def growing_files(site: Site, _: int) -> None:
    """Leave files that are never finished and grow by a byte every two seconds, for as long as the caller runs."""
    whole = await asyncio.to_thread(lambda: b"".join(orders(0, 300_000))[:-20])
    paths = [site.inbound(f"growing{number}") / "growing.xml" for number in range(2)]
    for path in paths:
        path.write_bytes(whole)
    while True:
        await asyncio.sleep(2)
        for path in paths:
            with path.open("ab") as file:
                file.write(b" ")


async def nothing(_: Site, __: int) -> None:
    """Leave the others in peace."""


@dataclass(frozen=True, slots=True)
class PortHealth:
    """Ports with their options, and what is dropped there."""

    ports: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    begin: Begin = nothing


def slow(mode: str) -> dict[str, Any]:
    return {"process": {"mode": mode, "max_parallel": 500}, "operations": ["Ping.ping"]}


def ports(name: str, count: int, options: dict[str, Any] | None = None) -> Mapping[str, dict[str, Any]]:
    return {f"{name}{number}": deepcopy(options or {}) for number in range(count)}


TROUBLES: Final = {
    "none": PortHealth(),
    "one slow batch, in order": PortHealth(ports("slow", 1, slow("sequential")), one_slow_batch),
    "two slow parallel ports": PortHealth(ports("backlog", 2, slow("parallel")), slow_backlogs),
    "a batch of 300 MB": PortHealth(ports("largest", 1), one_very_large_file),
    "seven files of 60 MB": PortHealth(ports("large", 7), seven_large_files),
    "hostile files": PortHealth(ports("hostile", 3), hostile_files),
    "two files that grow": PortHealth(ports("growing", 2, {"receive": {"grace_seconds": 600.0}}), growing_files),
}


async def innocent(site: Site, seconds: float) -> tuple[list[float], float]:
    """Drop small orders for so long; returns how long each waited, and the most memory of all processes in MB."""
    loop, dropped, took, peak = asyncio.get_running_loop(), dict[str, float](), list[float](), 0.0
    folder = site.outbound()
    began, number, seen = loop.time(), 0, set[str]()

    def look() -> None:
        for name in os.listdir(folder):
            if name not in seen:
                seen.add(name)
                content = (folder / name).read_text()
                took.extend(loop.time() - dropped.pop(one) for one in list(dropped) if one in content)

    while loop.time() - began < seconds or (dropped and loop.time() - began < seconds + QUIET_SECONDS):
        if loop.time() - began < seconds and loop.time() - began >= number * PAUSE_SECONDS:
            content = bench_order(1_000_000 + number)
            dropped[content.partition("<MessageId>")[2].partition("<")[0]] = loop.time()
            site.drop(f"small_{number:06}.xml", content.encode())
            number += 1
            if number % 20 == 0:
                peak = max(peak, memory_of(site))
        look()
        await asyncio.sleep(0.003)
    return took + [QUIET_SECONDS] * len(dropped), peak


async def again(trouble: PortHealth, site: Site) -> None:
    """Begin the trouble, and begin it again whenever its ports have no file and no message left."""
    number = 0
    while trouble.ports:
        await trouble.begin(site, number)
        while await busy(site, list(trouble.ports)):
            await asyncio.sleep(1)
        number += 1


async def busy(site: Site, names: list[str]) -> bool:
    """Say whether these ports have a file that is not settled, or a message that goes on by itself."""
    folders = [folder for name in names for folder in (site.inbound(name), *site.own_folders("work", name))]
    if any(entry.is_file() for folder in folders if folder.exists() for entry in folder.rglob("*")):
        return True
    return bool(await site.query(UNFINISHED, names))


async def troubled(server: EmbeddedServer, base: Path, name: str, seconds: float) -> tuple[list[float], float]:
    troubles = [TROUBLES[part] for part in name.split(" + ")]
    tag = "".join(letter for letter in name.lower() if letter.isalnum())
    site = Site(base / tag, await fresh(server, f"beside_{tag}"))
    site.folder.mkdir()
    site.services = {**site.services, "Ping": SLOW}
    site.add_port()
    for trouble in troubles:
        for port, options in trouble.ports.items():
            site.add_port(port, **options)
    await site.start()
    try:
        site.drop("warm.xml", bench_order(1).encode())
        await site.wait_answers(1)
        makers = [asyncio.create_task(again(trouble, site)) for trouble in troubles]
        try:
            return await innocent(site, seconds)
        finally:
            for maker in makers:
                maker.cancel()
            for ended in await asyncio.gather(*makers, return_exceptions=True):
                if isinstance(ended, Exception):
                    raise ended
    finally:
        await site.close()
        shutil.rmtree(site.folder, ignore_errors=True)


async def side_by_side(server: EmbeddedServer, base: Path, count: int, handler: str) -> float:
    """Return the seconds until so many slow requests of one file are answered on a parallel port."""
    site = Site(base / f"many{count}", await fresh(server, f"many_{count}"))
    site.folder.mkdir()
    site.services = {"Ping": {"kind": "python", "operations": {"ping": f"tests.bench.slow:{handler}"}}}
    site.add_port(process={"mode": "parallel", "max_parallel": 1000}, operations=["Ping.ping"])
    await site.start()
    try:
        began = time.perf_counter()
        site.drop("many.xml", slow_batch(count))
        answers = await site.wait_answers(count, seconds=600)
        took = time.perf_counter() - began
        assert not any(b"Fault" in answer for answer in answers.values()), next(iter(answers.values())).decode()
        return took
    finally:
        await site.close()
        shutil.rmtree(site.folder, ignore_errors=True)


async def cost_of_slow(server: EmbeddedServer, base: Path, count: int) -> tuple[float, float]:
    """Return the row updates and the kB of write-ahead log (full pages apart) of one slow message, in order."""
    site = Site(base / "cost", await fresh(server, "cost"))
    site.folder.mkdir()
    site.services = {"Ping": {"kind": "python", "operations": {"ping": "tests.bench.slow:waits_a_second"}}}
    site.add_port(process={"mode": "sequential"}, operations=["Ping.ping"])
    await site.query("ALTER SYSTEM SET full_page_writes = off")
    await site.query("SELECT pg_reload_conf()")
    await site.start()
    try:
        site.drop("first.xml", slow_batch(2))
        await site.wait_answers(2)
        await site.query("VACUUM (ANALYZE)")  # what the making of the tables left to do is not of these messages
        before = await figures(site)
        site.drop("slow.xml", slow_batch(count, first=2))
        await site.wait_answers(count + 2, seconds=600)
        after = await figures(site)
        return (after[0] - before[0]) / count, (after[1] - before[1]) / 1000 / count
    finally:
        await site.close()
        shutil.rmtree(site.folder, ignore_errors=True)


async def figures(site: Site) -> tuple[int, int]:
    """Return rows updated so far and bytes of log; sessions tell the first when they have been idle for a while."""
    await asyncio.sleep(12)
    (row,) = await site.query(
        "SELECT sum(n_tup_upd)::bigint AS updates, pg_current_wal_lsn() - '0/0' AS bytes FROM pg_stat_user_tables"
    )
    return row["updates"], int(row["bytes"])


def rows(results: Mapping[str, tuple[list[float], float]]) -> Iterator[tuple[str, ...]]:
    for name, (waited, peak) in results.items():
        times = sorted(waited)
        yield (
            name, str(len(times)), *(f"{1000 * times[int(part * (len(times) - 1))]:.0f}" for part in (0.5, 0.95, 1.0)),
            f"{peak:.0f}",
        )  # fmt: skip


@asynccontextmanager
async def a_server(folder: Path) -> AsyncIterator[EmbeddedServer]:
    folder.mkdir()
    server = EmbeddedServer(folder)
    await asyncio.to_thread(server.start)
    try:
        yield server
    finally:
        await asyncio.to_thread(server.stop)
        shutil.rmtree(folder, ignore_errors=True)


async def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0, help="how long each trouble is watched")
    parser.add_argument("troubles", nargs="*", help=f"of: {', '.join(TROUBLES)}")
    chosen = parser.parse_args(arguments)
    base = Path(tempfile.mkdtemp(prefix="gateway-neighbours-"))
    if not chosen.troubles:  # a server by itself: what others left to it is in its log, too
        async with a_server(base / "of-one") as server:
            updates, log_kb = await cost_of_slow(server, base, 30)
        out.print(f"a message of a second, in order: {updates:.1f} row updates, {log_kb:.1f} kB of log")
    results: dict[str, tuple[list[float], float]] = {}
    async with a_server(base / "server") as server:
        if not chosen.troubles:
            for count, handler in ((20, "waits_two_seconds"), (500, "waits_a_second")):
                took = await side_by_side(server, base, count, handler)
                out.print(f"{count} requests, {handler.replace('_', ' ')}, on one parallel port: {took:.1f} s")
        for name in chosen.troubles or TROUBLES:
            results[name] = await troubled(server, base, name, chosen.seconds)
            out.print(name, "done")
    shutil.rmtree(base, ignore_errors=True)
    table = Table(title="an innocent port, ms from file to answer")
    for column in ("beside", "files", "median", "p95", "longest", "memory MB"):
        table.add_column(column, justify="left" if column == "beside" else "right")
    for row in rows(results):
        table.add_row(*row)
    out.print(table)
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
