"""A site whose gateway is born in the process factory: quick to start, easy to break."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from signal import SIGKILL
from typing import Any

import psutil
from asyncpg import Connection, Record, connect

from gateway.kernel.faultpoints import KILLED_STATUS
from tests.crash.process_factory import Birth, Child, ProcessFactory
from tests.site import Site, until

KILLED = (KILLED_STATUS, -SIGKILL)
"""How a gateway ends at a point where it is killed: by itself, or by a worker of its own that got there."""
WORKER = "gateway-process"
"""The name of processing workers in a list of processes, which holds fifteen letters."""


class AskingSite(Site):
    """As `Site`; the database is asked over one connection, again and again."""

    _asking: Connection | None = None

    async def query(self, sql: str, *arguments: object) -> Sequence[Record]:
        """Ask the database; one that has been away meanwhile is connected to anew."""
        if self._asking is None or self._asking.is_closed():
            self._asking = await connect(self.store, statement_cache_size=0)
        return await self._asking.fetch(sql, *arguments)

    async def close(self) -> None:
        if self._asking is not None:
            self._asking.terminate()
        await super().close()


class CrashSite(AskingSite):
    """As `Site`, with one reader process and short sweeps, so that a life takes a fraction of a second."""

    process: Child | None  # type: ignore[assignment]

    def __init__(self, site: Site, process_factory: ProcessFactory) -> None:
        super().__init__(site.folder, site.store, process_factory)
        self._log_start = 0
        self.extra = {"workers": {"xml": 1}}

    def launch(self, *, faults: str = "", build: str = "", pauses: Mapping[str, str] | None = None) -> Child:
        """Start the gateway and return at once."""
        self.write_config()
        self._log_start = self.log_file.stat().st_size if self.log_file.exists() else 0
        self.process = self.command("run", faults=faults, build=build, pauses=pauses)
        return self.process

    def command(
        self, words: str, *, faults: str = "", build: str = "", pauses: Mapping[str, str] | None = None
    ) -> Child:
        """Start a command of the gateway on the configuration as it is; what it says goes to the log."""
        assert self.process_factory is not None
        return self.process_factory.bear(
            Birth(config=str(self.config), log=str(self.log_file), command=words, faults=faults, build=build,
                  pauses=pauses or {})
        )  # fmt: skip

    async def run(self, *, faults: str = "", build: str = "", pauses: Mapping[str, str] | None = None) -> Child:
        """Start the gateway and return when it says that it runs, or has ended."""
        process = self.launch(faults=faults, build=build, pauses=pauses)

        async def started() -> bool:
            return process.returncode is not None or self.told("gateway.started")

        await until(started, "the gateway starts", seconds=90, tell=self.tail)
        assert process.returncode is None or faults, f"it ended with {process.returncode}\n{self.tail()}"
        return process

    def happened(self, name: str) -> list[dict[str, Any]]:
        """Return the events of that name that the present or last process told."""
        if not self.log_file.exists():
            return []
        return [event for event in self.events(self._log_start) if event.get("event") == name]

    def told(self, name: str) -> bool:
        """Tell whether the present or last process told of an event of that name."""
        return bool(self.happened(name))

    def said(self) -> str:
        """Return what the present or last process said as text, in one line."""
        return " ".join(" ".join(event["text"] for event in self.happened("text")).split())

    def workers(self) -> Sequence[psutil.Process]:
        """Return the processes that run services now."""
        assert self.process is not None
        with suppress(psutil.NoSuchProcess):
            return [one for one in psutil.Process(self.process.pid).children(recursive=True) if is_worker(one)]
        return []

    async def paused_at(self, point: str) -> None:
        """Wait until a process has come to a point at which it pauses (`pauses` names the folder of this site)."""

        async def here() -> bool:
            return (self.folder / f"{point}.here").exists()

        await until(here, f"it comes to {point}", tell=self.tail)

    def go_on(self, point: str) -> None:
        """Let everybody who pauses at a point go on, or will."""
        (self.folder / f"{point}.go").touch()

    async def kill(self) -> None:
        """End the process at once, as a crash does."""
        await self.stop(SIGKILL)


def is_worker(process: psutil.Process) -> bool:
    """Tell whether a process is a processing worker and runs, or could."""
    with suppress(psutil.NoSuchProcess):
        return process.name().startswith(WORKER) and process.status() != psutil.STATUS_ZOMBIE
    return False
