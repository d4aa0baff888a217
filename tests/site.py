"""A gateway installation in a temporary folder, run as a real process: drop files, read answers, break it."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import yaml
from asyncpg import Connection, Record, connect

from tests.crash.process_factory import Birth, Child, ProcessFactory

T = TypeVar("T")

DEADLINE_SECONDS = 60.0
SERVICES: Mapping[str, Any] = {
    "SalesOrderService": {
        "kind": "document",
        "namespaces": ["http://schemas.microsoft.com/dynamics/2008/01/services", "http://tempuri.org"],
        "document": "SalesOrder",
        "entity": "SalesTable",
        "key": "SalesId",
        "number_sequence": {"name": "SalesId", "format": "SO-{number:06}", "first": 100021},
    },
    "CustomerService": {"kind": "document", "document": "Customer", "entity": "CustTable", "key": "AccountNum"},
    "Ping": {"kind": "python", "operations": {"ping": "gateway.contracts.examples:ping"}},
}
EVERYTHING = ["SalesOrderService.*", "CustomerService.*", "Ping.ping"]


class Site:
    """Folders, configuration and at most one running process of a gateway, by `exec` or by a process factory."""

    def __init__(self, folder: Path, store: str = "embedded", process_factory: ProcessFactory | None = None) -> None:
        self.folder = folder
        self.store = store
        self.process_factory = process_factory
        self.ports: dict[str, dict[str, Any]] = {}
        self.services: dict[str, Any] = dict(SERVICES)
        self.extra: dict[str, Any] = {}
        self.process: asyncio.subprocess.Process | Child | None = None
        self._connection: Connection | None = None
        """Kept from one question to the next since `start`; whoever starts a site closes it."""
        self._turn = asyncio.Lock()

    @property
    def config(self) -> Path:
        return self.folder / "config.yaml"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def configs(self) -> Sequence[Path]:
        """The configuration of every node."""
        return [self.config]

    def own_folders(self, kind: str, port: str = "orders") -> Sequence[Path]:
        """Return the folders of a port that partners do not see, of every node: `work` or `staging`."""
        return [self.data / kind / port]

    @property
    def log_file(self) -> Path:
        return self.folder / "gateway.log"

    def add_port(self, name: str = "orders", **options: Any) -> "Site":
        """Add a port with folders of its own; nested options are merged over the defaults."""
        port: dict[str, Any] = {
            "direction": "inbound",
            "receive": {"folder": f"./{name}/in", "grace_seconds": 1.0, "settle_seconds": 0.2, "sweep_seconds": 1.0},
            "respond": {"folder": f"./{name}/out", "details": True},
            "operations": list(EVERYTHING),
        }
        for key, value in options.items():
            port[key] = {**port.get(key, {}), **value} if isinstance(value, dict) else value
        self.ports[name] = port
        for side in ("in", "out"):
            (self.folder / name / side).mkdir(parents=True, exist_ok=True)
        return self

    def write_config(self) -> None:
        """Write the configuration, as a whole and by rename, as an editor does."""
        content = {
            "store": self.store,
            "services": self.services,
            "ports": self.ports,
            "queue": {"min_free_bytes": 0},
            "logging": {"format": "json"},
            **self.extra,
        }
        temporary = self.config.with_suffix(".new")
        temporary.write_text(yaml.safe_dump(content, sort_keys=False))
        temporary.rename(self.config)

    def inbound(self, port: str = "orders") -> Path:
        return self.folder / port / "in"

    def outbound(self, port: str = "orders") -> Path:
        return self.folder / port / "out"

    def drop(self, name: str | bytes, content: bytes, port: str = "orders") -> None:
        """Put a whole file into the inbound folder as a careful partner does: another name, then rename."""
        raw = os.fsencode(name)
        folder = os.fsencode(self.inbound(port))
        temporary = folder + b"/." + uuid4().hex.encode() + b".part"
        with open(temporary, "wb") as file:
            file.write(content)
        os.rename(temporary, folder + b"/" + raw)

    def answers(self, port: str = "orders") -> dict[str, bytes]:
        """Return the files in the outbound folder by name."""
        return {path.name: path.read_bytes() for path in sorted(self.outbound(port).iterdir())}

    async def start(self, *, faults: str = "", environment: Mapping[str, str] | None = None) -> None:
        """Start the gateway and return when it says that it runs."""
        self.write_config()
        position = self.log_file.stat().st_size if self.log_file.exists() else 0
        env = {**os.environ, **(environment or {}), "GATEWAY_FAULT": faults, "PYTHONUNBUFFERED": "1"}
        self.log_file.touch()
        if self.process_factory is not None:
            birth = Birth(config=str(self.config), log=str(self.log_file), faults=faults, environment=env)
            self.process = self.process_factory.bear(birth)
        else:
            with self.log_file.open("ab") as log:
                self.process = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "gateway", "run", "--config", str(self.config),
                    stdout=log, stderr=log, stdin=asyncio.subprocess.DEVNULL, env=env, start_new_session=True,
                )  # fmt: skip
        process = self.process

        async def started() -> bool:
            if process.returncode is not None:
                return True
            return any(event.get("event") == "gateway.started" for event in self.events(position))

        await until(started, "the gateway starts", seconds=90, tell=self.tail)
        if process.returncode is not None and not faults:
            raise AssertionError(f"the gateway ended at its start with {process.returncode}\n{self.tail()}")
        if self._connection is None and self.store != "embedded":
            self._connection = await connect(self.store)

    def events(self, position: int = 0) -> list[dict[str, Any]]:
        """Return the events of the log from a byte position on; lines that are no JSON stand as text."""
        found: list[dict[str, Any]] = []
        with self.log_file.open("rb") as file:
            file.seek(position)
            whole, _, _ = file.read().rpartition(b"\n")  # the last line may be being written
        for line in whole.decode(errors="replace").splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                event = {"event": "text", "text": line}
            found.append(event)
        return found

    async def stop(self, number: signal.Signals = signal.SIGTERM, *, seconds: float = 60.0) -> int:
        """Signal the process and return its exit code."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(number)
        async with asyncio.timeout(seconds):
            return await self.process.wait()

    async def ended(self, seconds: float = 60.0) -> int:
        """Wait for the process to end by itself and return its exit code."""
        assert self.process is not None
        async with asyncio.timeout(seconds):
            return await self.process.wait()

    async def close(self) -> None:
        """End the process if it runs."""
        if self._connection is not None:
            await self._connection.close()
            self._connection = None
        if self.process is not None and self.process.returncode is None:
            await self.stop(signal.SIGKILL)

    async def query(self, sql: str, *arguments: object) -> Sequence[Record]:
        """Ask the database, by URL."""
        assert self.store != "embedded"
        if self._connection is not None:
            async with self._turn:
                return await self._connection.fetch(sql, *arguments)
        connection = await connect(self.store)
        try:
            return await connection.fetch(sql, *arguments)
        finally:
            await connection.close()

    async def wait_answers(
        self, number: int, port: str = "orders", *, seconds: float = DEADLINE_SECONDS
    ) -> dict[str, bytes]:
        """Wait until the outbound folder holds *number* files and return them."""

        async def enough() -> bool:
            return len(list(self.outbound(port).iterdir())) >= number

        await until(enough, f"{number} answers in {port}/out", seconds=seconds, tell=self.tail)
        return self.answers(port)

    def tail(self) -> str:
        """Return the end of the log, for the message of a failed wait."""
        return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-25:]) if self.log_file.exists() else ""


@asynccontextmanager
async def running(site: Site) -> AsyncIterator[Site]:
    """Let the gateway run for a block, and stop in good order: a start costs more than most of what is asked of it."""
    try:
        await site.start()
        yield site
        assert await site.stop() == 0
    finally:
        await site.close()


async def until(
    condition: Callable[[], Awaitable[bool]], what: str, *, seconds: float = DEADLINE_SECONDS,
    tell: Callable[[], str] = str, pause: float = 0.05,
) -> None:  # fmt: skip
    """Retry a condition until it holds or a deadline passes, with a *pause* in between: a long one where it is dear."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not await condition():
        if loop.time() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}\n{tell()}")
        await asyncio.sleep(pause)
