"""The message stores of a gateway: opened for a pass, of whichever kind they are, one pass at a time in each."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from pathlib import Path

from adapters.file import LocalClock
from gateway.config.models import MessageStore, OutboundPort, Settings, StoreFolders
from gateway.contracts.task import RunLog, Tally
from gateway.db.open import Store
from gateway.exchange import records
from gateway.exchange.database import open_database
from gateway.exchange.folder import FolderSource
from gateway.exchange.rules.statuses import SessionDirection
from gateway.exchange.sources import MessageSource, MessageStoreAway
from gateway.exchange.transfer import CHUNK, MessagePass, PassRules
from gateway.kernel.errors import GatewayError, StoreUnavailable, TransientError


class MessageStores:
    """Makes passes over the message stores of a configuration.

    *settings* is asked at each pass; *threads* gives the threads for the folders of a store; *clock* is that of this
    machine.
    """

    def __init__(
        self,
        store: Store,
        settings: Callable[[], Settings],
        *,
        threads: Callable[[str], Executor],
        clock: LocalClock,
        chunk: int = CHUNK,
    ) -> None:
        self._store = store
        self._settings = settings
        self._threads = threads
        self._clock = clock
        self._chunk = chunk
        self._folders: dict[str, tuple[tuple[MessageStore, StoreFolders], FolderSource]] = {}
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def names(self) -> list[str]:
        """Return the names of all message stores."""
        return list(self._settings().data_exchange.stores)

    async def make_pass(
        self, name: str, *, tally: Tally, lines: RunLog, stopping: asyncio.Event, purges: bool = True
    ) -> None:
        """Make one pass over a store, after one that is under way here; how it ended is recorded.

        Raises: StoreUnavailable; MessageStoreAway, MessageStoreUnusable. KeyError when there is no such store.
        """
        settings = self._settings()
        rules = PassRules(
            keep_days={
                SessionDirection.UPLOAD: settings.data_exchange.upload_session_days,
                SessionDirection.DOWNLOAD: settings.data_exchange.download_session_days,
            },
            try_count=settings.data_exchange.try_count,
            ports=_ports(settings, name),
            ids_days=settings.retention.history_days,
            purges=purges,
            chunk=self._chunk,
        )
        async with self._turns[name]:
            try:
                async with self._open(name, settings) as source:
                    its = MessagePass(self._store, name, source, rules, tally=tally, lines=lines, stopping=stopping)
                    await its.run()
            except StoreUnavailable:
                raise
            except GatewayError as error:
                await records.begin_pass(self._store, name)
                await records.end_pass(self._store, name, error.message)
                raise

    @asynccontextmanager
    async def _open(self, name: str, settings: Settings) -> AsyncIterator[MessageSource]:
        wanted = settings.data_exchange.stores[name]
        if wanted.database is not None:
            async with open_database(name, wanted.database, self._store) as database:
                yield database
            return
        folders = settings.store_folders(name)
        assert folders is not None, "a store is a database or a folder"
        known = self._folders.get(name)
        if known is None or known[0] != (wanted, folders):
            source = FolderSource(
                name, wanted, folders, data=settings.data, executor=self._threads(name), clock=self._clock
            )
            known = self._folders[name] = ((wanted, folders), source)
        source = known[1]
        try:
            await source.begin()
        except TransientError as error:
            raise MessageStoreAway(f"The message store {name} cannot be used now: {error.message}") from error
        yield source


def _ports(settings: Settings, store: str) -> dict[str, Path]:
    """Return the ports whose deliveries are told to a store, with their outbound folders."""
    return {
        name: port.send.folder
        for name, port in settings.ports.items()
        if isinstance(port, OutboundPort) and port.sessions == store
    }
