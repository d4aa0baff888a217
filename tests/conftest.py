"""Fixtures for everybody: one embedded database server for the run, a fresh database per test that asks."""

import asyncio
import os
import shutil
import tempfile
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import pytest
from asyncpg import Connection
from hypothesis import HealthCheck, settings

from gateway.db.connect import connect
from gateway.db.embedded import DATABASE, EmbeddedServer
from gateway.db.migrate import migrate
from gateway.db.open import Schema, Store, open_store
from gateway.db.sql import Queries
from gateway.queues import follow_runs
from gateway.runtime.roles import ROLES
from gateway.workers.launcher import Launcher
from tests.crash.process_factory import ProcessFactory
from tests.site import Site

Result = TypeVar("Result")
STRANGER = "owner_of_one"

# No example is judged by the time that it takes, and each run has the same ones: a run that fails names what was
# changed. `make crash` looks for new ones. See docs/decisions/0036-the-same-examples-each-time.md.
_ALWAYS = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", _ALWAYS, derandomize=True)
settings.register_profile("explore", _ALWAYS)
settings.load_profile("same")


class Databases:
    """Clones of a migrated template on one server; works beside any event loop a test may have."""

    def __init__(self, server: EmbeddedServer) -> None:
        self.server = server
        self._numbers = count(1)
        self._drops: list[Future[None]] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="databases", daemon=True)
        self._thread.start()
        self._maker, self._dropper = self._run(self._prepare()).result()

    def url(self, database: str) -> str:
        """The address of a database of this server."""
        return self.server.url.replace(f"@/{DATABASE}?", f"@/{database}?")

    def url_of_stranger(self, database: str) -> str:
        """The same for a role that has no other right than to own this one database.

        The role of the embedded server has the name of our schema, so its search path leads there by itself.
        """
        self._run(self._maker.execute(f"ALTER DATABASE {database} OWNER TO {STRANGER}")).result()
        return f"{self.url(database)}&role={STRANGER}"

    def clone(self) -> str:
        """Make a fresh, migrated database and return its name."""
        return self._create(DATABASE)

    def create_empty(self) -> str:
        """Make a database without tables and return its name."""
        return self._create("template0")

    def drop(self, name: str) -> None:
        """Remove a database, whoever is still connected to it; done beside the next test."""
        self._drops.append(self._run(self._drop_in_turn(name)))

    def close(self) -> None:
        """Wait for what is under way and end the thread."""
        for drop in self._drops:
            drop.result()
        for connection in (self._maker, self._dropper):
            self._run(connection.close()).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _create(self, template: str) -> str:
        name = f"test_{next(self._numbers)}"
        statement = f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy"
        self._run(self._maker.execute(statement)).result()
        return name

    def _run(self, work: Coroutine[Any, Any, Result]) -> Future[Result]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _prepare(self) -> tuple[Connection, Connection]:
        self._turn = asyncio.Lock()
        connection = await connect(self.server.url)
        try:
            await migrate(connection)
        finally:
            await connection.close()
        maker = await connect(self.url("postgres"))
        await maker.execute(f"CREATE ROLE {STRANGER}")
        await maker.execute("ALTER SYSTEM SET autovacuum = off")  # what is known of a table is up to its test alone
        await maker.execute("SELECT pg_reload_conf()")
        return maker, await connect(self.url("postgres"))

    async def _drop_in_turn(self, name: str) -> None:
        async with self._turn:
            await self._dropper.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session", autouse=True)
def _statements_read_once() -> Iterator[None]:
    """Every store that is opened reads all statements; here thousands are, and nobody changes the files."""
    load, shipped = Queries.load, Queries.load()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Queries, "load", lambda *folders: load(*folders) if folders else shipped)
        yield


@pytest.fixture(scope="session")
def databases() -> Iterator[Databases]:
    """The database server of the run."""
    with folder_for_server() as folder:
        server = EmbeddedServer(folder)
        try:
            server.start()
            databases = Databases(server)
            yield databases
            databases.close()
        finally:
            server.stop()


@pytest.fixture
def server_folder() -> Iterator[Path]:
    """A folder for a gateway with its own embedded server; use it instead of `tmp_path`."""
    with folder_for_server() as folder:
        yield folder


@contextmanager
def folder_for_server() -> Iterator[Path]:
    """Make a folder that an embedded server can live in, and remove it at the end.

    Not below pytest's own folder: every run of pytest by the same user closes that one to other accounts, and
    a server started by root runs under another account.
    """
    folder = Path(tempfile.mkdtemp(prefix="gateway-tests-", dir=_fast_folder()))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _fast_folder() -> Path | None:
    """Return a folder in memory when the machine has one with room: a clone there takes a tenth of the time."""
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 2_000_000_000
    return memory if roomy else None


@pytest.fixture
def database_url(databases: Databases) -> Iterator[str]:
    """The address of a fresh database with the current schema, this test's alone."""
    name = databases.clone()
    yield databases.url(name)
    databases.drop(name)


@pytest.fixture(scope="module")
def module_database_url(databases: Databases) -> Iterator[str]:
    """The address of a fresh database that the tests of one module share."""
    name = databases.clone()
    yield databases.url(name)
    databases.drop(name)


@pytest.fixture
async def store(database_url: str, tmp_path: Path) -> AsyncIterator[Store]:
    """An open store on a fresh database; its data folder is `tmp_path / "data"`."""
    async with open_store(database_url, tmp_path / "data", schema=Schema.IGNORE) as store:  # it is a clone: current
        follow_runs(store)
        yield store


@pytest.fixture
async def launcher() -> AsyncIterator[Launcher]:
    """Launches processes in every role that a gateway has."""
    launcher = Launcher.start(ROLES)
    yield launcher
    launcher.close()


@pytest.fixture(scope="session")
def process_factory() -> Iterator[ProcessFactory]:
    """A process that bears gateways; all of them end with it."""
    process_factory = ProcessFactory()
    try:
        yield process_factory
    finally:
        process_factory.close()


@pytest.fixture
async def site(tmp_path: Path, database_url: str, process_factory: ProcessFactory) -> AsyncIterator[Site]:
    """A gateway to be run as a process, on a fresh database of the run's server."""
    site = Site(tmp_path, database_url, process_factory)
    yield site
    await site.close()


@pytest.fixture
async def embedded_site(server_folder: Path) -> AsyncIterator[Site]:
    """A gateway to be run as a process with its own embedded server; it is started as a user starts it."""
    site = Site(server_folder)
    yield site
    await site.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the folders whose files take long, so that at the end nobody waits for one of them."""
    turns = ("crash", "e2e", "property", "integration")
    here = Path(__file__).parent

    def turn(item: pytest.Item) -> int:
        folder = item.path.relative_to(here).parts[0]
        return turns.index(folder) if folder in turns else len(turns)

    items.sort(key=turn)
