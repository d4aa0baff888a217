"""The ports that are open now: made, taken into use, followed and closed, one by one or all together."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog

from adapters.file import FolderIdentities
from gateway.config.models import Settings
from gateway.db.open import Store
from gateway.kernel.errors import StoreUnavailable
from gateway.kernel.ids import PortName
from gateway.messaging.flow.port import OpenInbound, OpenPort, Ports
from gateway.messaging.queue.lanes import set_port_rule
from gateway.messaging.rules.states import Stage
from gateway.runtime.ports import open_port, prepare_folders
from gateway.runtime.wakeup import Wakeup, follow_port
from gateway.xml.pool import XmlPool

log = structlog.get_logger()


class LivePorts:
    """Opens and closes ports; an async context manager, which holds the threads of their folders.

    `now` are the open ports. `renewed` is called with the name of a port that was opened or closed: whoever remembers
    something of it forgets that.
    """

    def __init__(
        self, settings: Settings, *, site: Path, store: Store, pool: XmlPool, wakeup: Wakeup, stopping: asyncio.Event
    ) -> None:
        self.now = Ports(settings)
        self.renewed: list[Callable[[PortName], None]] = []
        self._site = site
        self._store = store
        self._pool = pool
        self._wakeup = wakeup
        self._stopping = stopping
        self._identities = FolderIdentities()
        self._threads = ExitStack()
        self._files: dict[PortName, ThreadPoolExecutor] = {}
        self._group = asyncio.TaskGroup()
        self._followers: dict[PortName, asyncio.Task[None]] = {}

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._threads:
            self.follow_none()
            await self._group.__aexit__(kind, error, trace)

    def files_of(self, name: PortName) -> ThreadPoolExecutor:
        """Return the threads for the folders of a port: its own, so that a hanging share holds up nobody else."""
        if name not in self._files:
            threads = ThreadPoolExecutor(self.now.settings.workers.threads, thread_name_prefix=f"files-{name}")
            self._files[name] = self._threads.enter_context(threads)
        return self._files[name]

    async def make(self, names: Sequence[PortName], settings: Settings) -> Sequence[OpenPort]:
        """Make ports side by side: the folders of some may hang. Nothing is in use yet."""
        return await asyncio.gather(*(self._make(name, settings) for name in names))

    async def _make(self, name: PortName, settings: Settings) -> OpenPort:
        await prepare_folders(name, settings, self._site, self.files_of(name))
        return await asyncio.to_thread(
            open_port, name, settings, executor=self.files_of(name), pool=self._pool, identities=self._identities
        )

    async def open(self, port: OpenPort) -> None:
        """Take a port into use, in place of what was open under its name."""
        name = port.name
        self._identities.forget(name)
        if isinstance(port, OpenInbound):
            await self._rule_lanes(port)
        self._leave(name)
        self.now.add(port)
        for forget in self.renewed:
            forget(name)
        if isinstance(port, OpenInbound):
            following = follow_port(port, partial(self._wakeup.stage, Stage.RECEIVE))
            self._followers[name] = self._group.create_task(following, name=f"port:{name}")
        else:
            self._wakeup.stage(Stage.OUTBOUND)
        log.info("port.opened", port=name)

    async def _rule_lanes(self, port: OpenInbound) -> None:
        """Let the lanes of a port go by its setting, also those that have work."""

        async def rule() -> None:
            if changed := await set_port_rule(self._store, port.name, port.settings.process.on_lane_error):
                log.info("lanes.changed", port=port.name, rule=port.settings.process.on_lane_error, lanes=changed)
                self._wakeup.stage(Stage.INBOUND)

        await until_stored(self._store, rule, self._stopping, part="lanes", port=port.name)

    def close(self, name: PortName) -> None:
        """Take a port out of use; what is being worked on keeps it to its end."""
        self._leave(name)
        self.now.remove(name)
        self._identities.forget(name)
        log.info("port.closed", port=name)

    def _leave(self, name: PortName) -> None:
        if (task := self._followers.pop(name, None)) is not None:
            task.cancel()

    def follow_none(self) -> None:
        """Take nothing up any more."""
        for name in list(self._followers):
            self._leave(name)


async def until_stored(
    store: Store, work: Callable[[], Awaitable[None]], stopping: asyncio.Event, **where: str
) -> None:
    """Do what needs the store, again and again while the database is away, until a stop is asked for."""
    while not stopping.is_set():
        try:
            await work()
        except StoreUnavailable as error:
            log.warning("store.unavailable", error=error.message, **where)
            await store.wait_until_available(stopping)
        else:
            return
