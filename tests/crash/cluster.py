"""Several gateways on one database and the same partner folders, and what can be done to them."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from signal import SIGCONT, SIGSTOP
from typing import Any

import psutil
from asyncpg import connect

from tests.crash.process_factory import ProcessFactory
from tests.crash.site import AskingSite, CrashSite
from tests.site import Site

LEASE_SECONDS = 1.0
"""In the world `short_leases`."""


class Cluster(AskingSite):
    """The folders of the partner, and nodes that each have a data folder of their own."""

    def __init__(self, site: Site, process_factory: ProcessFactory, nodes: int = 2) -> None:
        super().__init__(site.folder, site.store)
        self.nodes = [self._node(number, process_factory) for number in range(1, nodes + 1)]
        self._common: Path | None = None

    def _node(self, number: int, process_factory: ProcessFactory) -> CrashSite:
        folder = self.folder / f"node-{number}"
        folder.mkdir()
        return CrashSite(Site(folder, self.store), process_factory)

    def share(self) -> "Cluster":
        """Give all nodes the same folders for claimed files and for prepared answers."""
        self._common = self.folder / "common"
        return self

    @property
    def is_shared(self) -> bool:
        """True when the nodes have folders in common."""
        return self._common is not None

    def add_port(self, name: str = "orders", **options: Any) -> "Cluster":
        """Add the port to all nodes."""
        super().add_port(name, **options)
        port = self.ports[name]
        port["receive"]["folder"] = str(self.inbound(name))
        port["respond"]["folder"] = str(self.outbound(name))
        if self._common is not None:
            for section, kinds in (("receive", ("work", "archive", "error")), ("respond", ("staging",))):
                for kind in kinds:
                    folder = self._common / kind / name
                    folder.mkdir(parents=True, mode=0o700)
                    port[section][kind] = str(folder)
        for node in self.nodes:
            node.ports[name] = port
        return self

    @property
    def configs(self) -> Sequence[Path]:
        return [node.config for node in self.nodes]

    def own_folders(self, kind: str, port: str = "orders") -> Sequence[Path]:
        if self._common is not None:
            return [self._common / kind / port]
        return [node.data / kind / port for node in self.nodes]

    async def run(self, build: str = "short_leases") -> None:
        """Start all nodes."""
        for node in self.nodes:
            await node.run(build=build)

    async def stop_all(self) -> list[int]:
        """End all nodes in good order; returns their exit codes."""
        return [await node.stop() for node in self.nodes]

    async def close(self) -> None:
        for node in self.nodes:
            await node.close()
        await super().close()

    def count(self, *events: str) -> int:
        """Count what the nodes have told in all their lives."""
        told = [event.get("event") for node in self.nodes if node.log_file.exists() for event in node.events()]
        return sum(event in events for event in told)

    def tail(self) -> str:
        return "\n".join(f"{node.folder.name}:\n{node.tail()}" for node in self.nodes)


def signal_all(node: CrashSite, number: int) -> None:
    """Send a signal to the gateway and to all processes that it has started."""
    assert node.process is not None
    with suppress(psutil.NoSuchProcess):
        gateway = psutil.Process(node.process.pid)
        for one in (gateway, *gateway.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                one.send_signal(number)


async def freeze(node: CrashSite, seconds: float) -> None:
    """Stop a node as a hypervisor does, and let it go on."""
    signal_all(node, SIGSTOP)
    await asyncio.sleep(seconds)
    signal_all(node, SIGCONT)


async def cut_connections(site: Site, chance: Random, share: float = 0.5) -> int:
    """End some of the gateways' connections at the server; returns how many."""
    connection = await connect(site.store)
    try:
        rows = await connection.fetch(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'gateway%'"
            " AND pid <> pg_backend_pid()"
        )
        chosen = [row["pid"] for row in rows if chance.random() < share]
        await connection.fetch("SELECT pg_terminate_backend(pid) FROM unnest($1::int[]) AS pid", chosen)
    finally:
        await connection.close()
    return len(chosen)
