"""The fault campaign: hundreds of faults of every kind under load, first to one node, then to two, and one table.

`python -m tests.crash.campaign --kills 500` runs it by itself, without pytest. Each fault comes while requests are
under way; the table says of every kind what became of these requests. Something other than zero in the last columns
ends it with status 1.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from signal import SIGCONT, SIGKILL, SIGQUIT, SIGSEGV, SIGSTOP

import psutil
from rich.console import Console
from rich.progress import track
from rich.table import Table

from adapters.file.fsops import FAULT_POINTS as FILE_POINTS
from gateway.messaging.flow.faultpoints import FAULT_POINTS as STAGE_POINTS
from tests.crash.cluster import LEASE_SECONDS, Cluster, cut_connections, freeze
from tests.crash.oracle import out_of_order, watch_effects
from tests.crash.partner import Partner
from tests.crash.process_factory import ProcessFactory
from tests.crash.proof import drained, effects
from tests.crash.server import OwnServer
from tests.crash.site import CrashSite
from tests.crash.test_random_kills import WINDOW_SECONDS, moment
from tests.site import Site, until

WORLD = "short_leases"
POINTS = (*FILE_POINTS, *STAGE_POINTS)
TIMES = (1, 2)
"""A node dies when it comes to its point for the first or the second time."""
FULL_DISK = "claim.rename:1:enospc,settle.move:1:enospc,stage.write:1:enospc,publish.rename:1:enospc"


@dataclass
class Tally:
    """One kind of fault: how often it came, and the requests that were dropped at that time."""

    kind: str
    nodes: int
    faults: int = 0
    requests: list[str] = field(default_factory=list)
    files: set[str] = field(default_factory=set)
    lost: int = 0
    doubled: int = 0
    refused: int = 0
    out_of_order: int = 0

    @property
    def answered_once(self) -> int:
        return len(self.requests) - self.lost - self.doubled

    @property
    def harm(self) -> int:
        return self.lost + self.doubled + self.refused + self.out_of_order


class Campaign:
    """Goes through a plan of faults in random order, under load, on the nodes of one cluster."""

    def __init__(self, cluster: Cluster, partner: Partner, server: OwnServer, chance: Random, build: str = "") -> None:
        self._build = f"{WORLD} {build}"
        self._cluster = cluster
        self._partner = partner
        self._server = server
        self._chance = chance
        self._ways: Mapping[str, Callable[[CrashSite], Awaitable[None]]] = {
            "killed at any moment": self._kill,
            "killed at a named point": self._kill_at_point,
            "frozen": self._freeze,
            "only its main process frozen": self._freeze_main,
            "worker killed": self._kill_worker,
            "worker stopped": self._stop_worker,
            "worker crashed": self._crash_worker,
            "disk full": self._fill_disk,
            "connections cut": self._cut,
            "database crashed": self._crash_database,
        }

    async def run(self, times: Mapping[str, int]) -> list[Tally]:
        """Do everything so often, wait until all is answered and calm, and judge."""
        tallies = {kind: Tally(kind, len(self._cluster.nodes)) for kind in times}
        faults = [kind for kind, number in times.items() for _ in range(number)]
        self._chance.shuffle(faults)
        await self._cluster.run(self._build)
        shown = Console(stderr=True)
        for kind in track(faults, f"{len(self._cluster.nodes)} node(s)", console=shown, disable=not shown.is_terminal):
            tally, node = tallies[kind], self._chance.choice(self._cluster.nodes)
            await self._running(node)
            before = len(self._partner.submitted)
            tally.files |= set(self._partner.drop(self._chance.randint(2, 6)))
            tally.requests += self._partner.submitted[before:]
            tally.faults += 1
            await self._ways[kind](node)
        for node in self._cluster.nodes:
            await self._running(node)
        unfinished: AssertionError | None = None
        try:
            await drained(self._cluster, self._partner)
        except AssertionError as error:
            unfinished = error
        await self._judge(list(tallies.values()))
        if unfinished is not None and not any(tally.harm for tally in tallies.values()):
            raise unfinished  # all is answered, yet something is left: the table would not tell
        return list(tallies.values())

    async def _judge(self, tallies: Sequence[Tally]) -> None:
        answered, done, wrong = self._partner.answered, await effects(self._cluster), await out_of_order(self._cluster)
        refused = {fault.partition(":")[0] for fault in self._partner.faults}
        for tally in tallies:
            tally.lost = sum(one not in answered for one in tally.requests)
            tally.doubled = sum(len(answered.get(one, ())) > 1 or done[one] > 1 for one in tally.requests)
            tally.refused = sum(one in refused for one in tally.requests)
            tally.out_of_order = sum(name in tally.files for name in wrong)

    async def _running(self, node: CrashSite) -> None:
        """Wait until the node runs; one that ended at its start, because the database was away, starts again."""

        async def up() -> bool:
            assert node.process is not None
            if node.process.returncode is not None:
                node.launch(build=self._build)
            return node.told("gateway.started")

        await until(up, "the node runs", seconds=90, tell=self._cluster.tail)

    async def _something_happens(self) -> None:
        """Wait for nothing, for a claim or for an answer, and a moment more."""
        before = len(self._partner.answered)
        folders = self._cluster.own_folders("work")
        match self._chance.choice(("at once", "claim", "answer", "answer")):
            case "claim":
                await moment(lambda: any(any(f.iterdir()) for f in folders if f.is_dir()), 1.0)
            case "answer":
                await moment(lambda: len(self._partner.answered) > before, 3.0)
        await asyncio.sleep(self._chance.uniform(0, WINDOW_SECONDS))

    async def _kill(self, node: CrashSite) -> None:
        await self._something_happens()
        await node.kill()
        node.launch(build=self._build)

    async def _kill_at_point(self, node: CrashSite) -> None:
        await node.kill()
        fault = f"{self._chance.choice(POINTS)}:{self._chance.choice(TIMES)}:kill"
        life = node.launch(build=self._build, faults=fault)
        await moment(lambda: life.returncode is not None, 3.0)
        await node.kill()
        node.launch(build=self._build)

    async def _freeze(self, node: CrashSite) -> None:
        await self._something_happens()
        await freeze(node, self._chance.uniform(0.5, 2.5) * LEASE_SECONDS)

    async def _freeze_main(self, node: CrashSite) -> None:
        await self._something_happens()
        assert node.process is not None
        node.process.send_signal(SIGSTOP)
        await asyncio.sleep(self._chance.uniform(0.5, 2.5) * LEASE_SECONDS)
        node.process.send_signal(SIGCONT)

    async def _kill_worker(self, node: CrashSite) -> None:
        await self._signal_worker(node, SIGKILL)

    async def _crash_worker(self, node: CrashSite) -> None:
        await self._signal_worker(node, SIGSEGV)

    async def _stop_worker(self, node: CrashSite) -> None:
        stopped = await self._signal_worker(node, SIGSTOP)
        await asyncio.sleep(self._chance.uniform(0.5, 3.5) * LEASE_SECONDS)
        with suppress(psutil.NoSuchProcess):
            stopped.send_signal(SIGCONT)

    async def _signal_worker(self, node: CrashSite, number: int) -> psutil.Process:
        """Send a signal to one of those that run services, when there is one again; it may end by itself meanwhile."""
        await self._something_happens()
        workers: Sequence[psutil.Process] = ()

        async def there() -> bool:
            nonlocal workers
            workers = node.workers()
            return bool(workers)

        await until(there, "there is a process that runs services", seconds=90, tell=self._cluster.tail)
        worker = self._chance.choice(workers)
        with suppress(psutil.NoSuchProcess):
            worker.send_signal(number)
        return worker

    async def _fill_disk(self, node: CrashSite) -> None:
        await node.kill()
        node.launch(build=self._build, faults=FULL_DISK)
        await moment(lambda: node.told("port.degraded"), 3.0)

    async def _cut(self, _: CrashSite) -> None:
        await self._something_happens()
        await cut_connections(self._cluster, self._chance, 0.7)

    async def _crash_database(self, _: CrashSite) -> None:
        await self._something_happens()
        await self._server.stop(SIGQUIT)
        await asyncio.sleep(self._chance.uniform(0, 1.0))
        await self._server.start()


def plan(kills: int) -> dict[str, int]:
    """Return how often everything is done for so many kills."""
    some, few = -(-kills // 10), -(-kills // 25)
    return {
        "killed at any moment": kills - kills // 2,
        "killed at a named point": kills // 2,
        "frozen": some,
        "only its main process frozen": few,
        "worker killed": 2 * some,
        "worker stopped": some,
        "worker crashed": some,
        "disk full": few,
        "connections cut": some,
        "database crashed": few,
    }


async def campaign(
    folder: Path, process_factory: ProcessFactory, chance: Random, *, nodes: int, kills: int, build: str = ""
) -> list[Tally]:
    """Run the plan for so many kills on a fresh database and fresh folders; *build* breaks a rule of the gateway."""
    server = OwnServer(folder / "server")
    try:
        cluster = Cluster(Site(folder, await server.start_with_schema()), process_factory, nodes)
        if nodes > 1:
            cluster.share()  # the order of files over several nodes needs it
        cluster.add_port(process={"mode": "parallel"})
        for node in cluster.nodes:
            node.extra["workers"] = {"xml": 1, "processing": 2}
        await watch_effects(cluster)
        try:
            with Partner(cluster, seed=chance.random(), conversations=20) as partner:
                tallies = await Campaign(cluster, partner, server, chance, build).run(plan(kills))
                assert await cluster.stop_all() == [0] * nodes
                assert not cluster.count("gateway.drain_over"), "it ends at once when nothing is left to do"
        finally:
            await cluster.close()
    finally:
        await asyncio.to_thread(server.close)
    return tallies


def draw(tallies: Sequence[Tally], title: str) -> Table:
    """Draw what was done and what became of the requests, with a last line for all."""
    table = Table(title=title, show_footer=True)
    columns: Sequence[tuple[str, Callable[[Tally], int]]] = (
        ("times", lambda one: one.faults),
        ("requests", lambda one: len(one.requests)),
        ("answered once", lambda one: one.answered_once),
        ("lost", lambda one: one.lost),
        ("doubled", lambda one: one.doubled),
        ("refused", lambda one: one.refused),
        ("out of order", lambda one: one.out_of_order),
    )
    table.add_column("what was done", footer="all")
    table.add_column("nodes", justify="right")
    for name, of in columns:
        table.add_column(name, justify="right", footer=f"{sum(of(one) for one in tallies):,}")
    for one in tallies:
        table.add_row(one.kind, str(one.nodes), *(f"{of(one):,}" for _, of in columns))
    return table


async def main(kills: int, kills_of_two: int, seed: str, build: str) -> int:
    """Run both halves and print the table; returns the exit status."""
    chance, began = Random(seed), time.monotonic()
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(f"repeat with --seed {seed}")
    tallies: list[Tally] = []
    process_factory = ProcessFactory()
    try:
        for nodes, number in ((1, kills), (2, kills_of_two)):
            if number == 0:
                continue
            with tempfile.TemporaryDirectory(prefix="gateway-campaign-") as folder:
                os.chmod(folder, 0o711)  # a server started by root runs under another account
                tallies += await campaign(Path(folder), process_factory, chance, nodes=nodes, kills=number, build=build)
                console.print(f"{nodes} node(s): done after {time.monotonic() - began:.0f} s")
    finally:
        process_factory.close()
    console.print(draw(tallies, f"{sum(one.faults for one in tallies)} faults, {time.monotonic() - began:.0f} s"))
    return int(any(one.harm for one in tallies))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.crash.campaign", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--kills", type=int, default=500, help="kills of a single node; other faults in proportion")
    parser.add_argument("--two-nodes", type=int, help="kills with two nodes (default: a fifth of --kills)")
    parser.add_argument("--seed", default=str(int.from_bytes(os.urandom(4))), help="repeat a campaign")
    parser.add_argument("--build", default="", help="break a rule of the gateway (tests.crash.mutants), to see harm")
    asked = parser.parse_args()
    of_two = -(-asked.kills // 5) if asked.two_nodes is None else asked.two_nodes
    sys.exit(asyncio.run(main(asked.kills, of_two, asked.seed, asked.build)))
