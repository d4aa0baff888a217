"""A private PostgreSQL under the data folder: made, started, watched, stopped with the gateway.

The server listens on a unix socket in a folder that only its account may enter and nobody can guess, and nowhere
else. It runs in a session of its own, so that Ctrl-C reaches the gateway alone, and ends when the gateway dies.
A gateway that starts clears whatever an earlier one left behind: a server still running is stopped, a stale
`postmaster.pid` removed, a half-made data folder made again.
Before: the caller holds the lock of the data folder (`data_folder.DataLock`).
"""

import asyncio
import os
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from concurrent.futures import Future
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote

import structlog

from gateway.db.data_folder import flush_folder
from gateway.db.errors import StoreRefused
from gateway.db.installation import (
    ROLE,
    Account,
    Installation,
    choose_account,
    environment,
    find_installation,
    give,
    let_in,
    maker_for,
    who_gets_in,
)
from gateway.db.postmaster import Postmaster, end_leftover
from gateway.db.waiting import back_off, uninterrupted
from gateway.workers.limits import limit_reached

log = structlog.get_logger()

DATABASE: Final = "gateway"
PORT: Final = 5432
START_SECONDS: Final = 300.0
"""Recovery after a power cut reads all that was written since the last checkpoint."""
FAST_STOP_SECONDS: Final = 30.0
LEFTOVER_STOP_SECONDS: Final = 3.0
"""For a server without a gateway: nothing it has to end in good order is worth that a restart waits."""
FORCED_STOP_SECONDS: Final = 10.0
LOG_BYTES: Final = 10_000_000

_SETTINGS = Path(__file__).with_name("embedded.conf")
_LAUNCHER = Path(__file__).with_name("launcher.py")
_SOCKET_PATH_BYTES: Final = 103  # the smallest limit of the platforms we know, without the closing NUL
_LEFTOVER_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.01


class EmbeddedServer:
    """The database server of one data folder; every method blocks, so call them from a thread.

    `durable=False` switches flushing off, for data that need not outlive the machine.
    """

    def __init__(self, data: Path, *, durable: bool = True) -> None:
        self._data = data.absolute()
        self._server_data = self._data / "postgres"
        self._log = self._data / "postgres.log"
        self._log_start = 0
        self._durable = durable
        self._installation: Installation | None = None
        self._account: Account | None = None
        self._socket_folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._ended: Future[int] | None = None
        self._stopping = threading.Event()
        self._was_killed = False

    @property
    def url(self) -> str:
        """The address of the gateway's database, for any client on this machine with our rights."""
        assert self._socket_folder is not None, "the server was not started"
        return url_of(self._socket_folder)

    @property
    def pid(self) -> int:
        """The process id of the server."""
        assert self._process is not None, "the server was not started"
        return self._process.pid

    @property
    def ended(self) -> Future[int]:
        """Done when the running server ends, with its exit code; a new one after every start."""
        assert self._ended is not None, "the server was not started"
        return self._ended

    def start(self) -> None:
        """Make the database when there is none, start the server and return when it takes connections.

        Raises: StoreRefused with the server's own last words when it does not start.
        """
        try:
            self._prepare()
        except OSError as error:
            raise StoreRefused(
                f"the embedded database in {self._data} cannot be set up: {limit_reached(error) or error}"
            ) from error
        deadline = time.monotonic() + _LEFTOVER_SECONDS
        while True:
            self._launch()
            if self._wait_ready():
                log.info("store.server_started", pid=self.pid, data=str(self._data))
                return
            # Processes of a killed server may need a moment to notice, and keep its memory until then.
            if self._stopping.is_set() or time.monotonic() > deadline or not self._was_killed:
                raise StoreRefused(
                    f"the embedded database in {self._server_data} did not start: {self._last_words()} "
                    f"(all of it in {self._log})"
                )
            self._stopping.wait(0.2)

    def stop(self) -> None:
        """End the server: open transactions are undone, committed ones are on disk; again is fine."""
        self._stopping.set()
        process, ended = self._process, self._ended
        if process is not None and ended is not None:
            for number, seconds in (
                (signal.SIGINT, FAST_STOP_SECONDS),
                (signal.SIGQUIT, FORCED_STOP_SECONDS),
                (signal.SIGKILL, FORCED_STOP_SECONDS),
            ):
                process.send_signal(number)
                try:
                    ended.result(seconds)
                    break
                except TimeoutError:
                    log.warning("store.server_slow_to_stop", pid=process.pid, signal=number.name)
            log.info("store.server_stopped", pid=process.pid)
            self._process = None
        if self._socket_folder is not None:
            shutil.rmtree(self._socket_folder, ignore_errors=True)

    def interrupt(self) -> None:
        """Make a start that is under way in another thread give up soon."""
        self._stopping.set()

    def bound_log(self) -> None:
        """Keep the server's log small: over the limit it becomes `postgres.log.1` and starts again."""
        if self._log.exists() and self._log.stat().st_size > LOG_BYTES:
            shutil.copyfile(self._log, self._log.with_name("postgres.log.1"))
            os.truncate(self._log, 0)  # the server appends; it never notices

    def _prepare(self) -> None:
        self._data.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._installation = find_installation()
        self._account = choose_account(self._server_data)
        if self._account is not None:
            let_in(self._account, self._installation, [self._data])
        if self._server_data.exists():
            self._check_version(self._installation)
            self._was_killed = end_leftover(self._server_data, LEFTOVER_STOP_SECONDS, FORCED_STOP_SECONDS)
            self._take_over()
        else:
            self._make(self._installation)
        self._write_settings(self._server_data, self._account)
        if self._socket_folder is None:
            self._socket_folder = self._place_for_socket()
        else:  # the same again: its clients know no other
            shutil.rmtree(self._socket_folder, ignore_errors=True)
        self._socket_folder.mkdir(mode=0o700)
        _give(self._socket_folder, self._account)
        self.bound_log()

    def _check_version(self, installation: Installation) -> None:
        path = self._server_data / "PG_VERSION"
        try:
            version = path.read_text(encoding="ascii").strip()
        except OSError as error:
            raise StoreRefused(
                f"{self._server_data} is not the data of a PostgreSQL ({error.strerror}: {path.name}): "
                "restore it from a backup, or move it away to start with an empty database"
            ) from error
        if version != str(installation.version):
            raise StoreRefused(
                f"the database in {self._server_data} was made by PostgreSQL {version}, this gateway brings "
                f"{installation.version}: dump it with the gateway that made it and restore it here, "
                f"or install that gateway again"
            )

    def _take_over(self) -> None:
        """Give the data to the server's account when they belong to another one, as after a start by an older gateway.

        Before: no server runs on them.
        """
        owner = self._server_data.stat().st_uid
        if self._account is not None and owner != self._account.uid:
            give(self._server_data, self._account)
            log.warning("store.owner_changed", data=str(self._server_data), owner=owner, account=self._account.name)

    def _make(self, installation: Installation) -> None:
        """Make the database beside its place and move it there complete: never half-made."""
        making = self._server_data.with_name("postgres.new")
        if making.exists():
            shutil.rmtree(making)
        making.mkdir(mode=0o700)
        fresh = making / "data"
        fresh.mkdir(mode=0o700)
        maker = None
        if self._account is not None:
            maker = maker_for(self._account)
            os.chown(making, -1, maker.gid)
            making.chmod(0o710)
        _give(fresh, maker)
        installation.run(
            maker,
            "initdb",
            f"--pgdata={fresh}",
            f"--username={ROLE}",
            "--data-checksums",
            "--encoding=UTF8",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--locale=C",
            "--auth-local=peer",
            "--auth-host=reject",
            "--no-instructions",
            *(() if self._durable else ("--no-sync",)),
        )
        with (fresh / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.write("\ninclude 'embedded.conf'\ninclude_if_exists 'local.conf'\n")
        self._write_settings(fresh, maker)
        installation.run(
            maker,
            "postgres",
            "--single",
            "-D",
            str(fresh),
            *(() if self._durable else ("-F",)),
            "postgres",
            text=f"CREATE DATABASE {DATABASE};\n",
        )
        if self._account is not None:
            give(fresh, self._account)
        fresh.rename(self._server_data)
        making.rmdir()
        flush_folder(self._data)
        log.info("store.database_made", data=str(self._server_data), version=installation.version)

    def _write_settings(self, server_data: Path, owner: Account | None) -> None:
        """Write what counts for this start: settings, and who gets in."""
        text = _SETTINGS.read_text(encoding="utf-8")
        if sys.platform == "linux":
            text += "\n# A client that is gone is noticed while its statement runs; not every system can.\n"
            text += "client_connection_check_interval = 5s\n"
        admitted, named = who_gets_in(self._account)
        for name, wanted in (("embedded.conf", text), ("pg_hba.conf", admitted), ("pg_ident.conf", named)):
            path = server_data / name
            if not path.exists() or path.read_text(encoding="utf-8") != wanted:
                fresh = path.with_suffix(".new")
                fresh.write_text(wanted, encoding="utf-8")
                _give(fresh, owner)
                fresh.replace(path)

    def _place_for_socket(self) -> Path:
        """Return where the folder of the socket is to be: with the data, elsewhere when its path would be too long.

        Nobody can guess the name: a process that may connect to sockets, but not look into folders, does not find it.
        """
        name = f"{Postmaster.SOCKET_PREFIX}{secrets.token_hex(6)}"
        path = str(self._server_data / name)
        if len(os.fsencode(f"{path}/.s.PGSQL.{PORT}")) <= _SOCKET_PATH_BYTES and not set(path) & set(',"'):
            return Path(path)
        return Path("/tmp", name)  # noqa: S108 (made for us alone, or not at all)

    def _launch(self) -> None:
        """Start the server from a thread that lives as long as it does.

        The kernel takes the end of the starting *thread* for the death of the parent: no pool thread will do.
        """
        assert self._installation is not None
        self._log_start = self._log.stat().st_size if self._log.exists() else 0
        started: Future[subprocess.Popen[bytes]] = Future()
        ended: Future[int] = Future()
        ended.set_running_or_notify_cancel()
        identity = (self._account.uid, self._account.gid) if self._account else (-1, -1)
        command = [
            sys.executable, "-I", "-S", str(_LAUNCHER), str(os.getpid()), *map(str, identity),
            str(self._installation.bin / "postgres"), "-D", str(self._server_data),
            "-k", str(self._socket_folder), *(() if self._durable else ("-F",)),
        ]  # fmt: skip

        def live() -> None:
            try:
                with self._log.open("ab") as output:
                    process = subprocess.Popen(  # noqa: S603 (our own binary, our own arguments)
                        command,
                        stdin=subprocess.DEVNULL,
                        stdout=output,
                        stderr=output,
                        cwd="/",
                        env=environment(),
                        start_new_session=True,
                    )
            except OSError as error:
                started.set_exception(error)
                return
            started.set_result(process)
            ended.set_result(process.wait())

        threading.Thread(target=live, name="postgres", daemon=True).start()
        try:
            self._process = started.result()
        except OSError as error:
            raise StoreRefused(f"the embedded database cannot be started: {error}") from error
        self._ended = ended

    def _wait_ready(self) -> bool:
        """Wait until the server takes connections; False when it ended instead."""
        deadline = time.monotonic() + START_SECONDS
        while not self.ended.done() and not self._stopping.is_set():
            found = Postmaster.read(self._server_data)
            if found is not None and found.pid == self.pid and found.ready:
                return True
            if time.monotonic() > deadline:
                raise StoreRefused(
                    f"the embedded database in {self._server_data} is not ready after {START_SECONDS:.0f} s: "
                    f"{self._last_words()}"
                )
            time.sleep(_POLL_SECONDS)
        return False

    def _last_words(self) -> str:
        """Return the last lines of the server's log that say why it ended this time."""
        with self._log.open("rb") as file:
            file.seek(max(self._log_start, self._log.stat().st_size - 4000))
            lines = file.read().decode("utf-8", "replace").splitlines()
        serious = [line for line in lines if "FATAL:" in line or "PANIC:" in line]
        return "; ".join((serious or lines)[-2:]) or "it said nothing"


def _give(path: Path, account: Account | None) -> None:
    if account is not None:
        os.chown(path, account.uid, account.gid)


def url_of(socket_folder: Path) -> str:
    """Return the address of the embedded database behind a socket folder."""
    host = quote(str(socket_folder), safe="/")
    return f"postgresql://{ROLE}@/{DATABASE}?host={host}&port={PORT}&sslmode=disable"


LOG_CHECK_SECONDS: Final = 30.0


@asynccontextmanager
async def embedded_server(data: Path) -> AsyncIterator[EmbeddedServer]:
    """Start the embedded server of *data*, start it again whenever it ends by itself, stop it at the end.

    Before: the caller holds the lock of the data folder.
    Raises: StoreRefused when it does not start.
    """
    server = EmbeddedServer(data)
    watch: asyncio.Task[None] | None = None
    try:
        await uninterrupted(asyncio.to_thread(server.start), server.interrupt)
        watch = asyncio.create_task(_keep_running(server), name="store.server")
        yield server
    finally:
        if watch is not None:
            watch.cancel()
            await uninterrupted(asyncio.wait([watch]), server.interrupt)
        await uninterrupted(asyncio.to_thread(server.stop))


async def _keep_running(server: EmbeddedServer) -> None:
    while True:
        ended = asyncio.wrap_future(server.ended)
        while not ended.done():
            await asyncio.wait([ended], timeout=LOG_CHECK_SECONDS)
            await asyncio.to_thread(server.bound_log)
        log.error("store.server_ended", exit_code=ended.result())
        await _start_again(server)


async def _start_again(server: EmbeddedServer) -> None:
    for delay in back_off():
        try:
            await uninterrupted(asyncio.to_thread(server.start), server.interrupt)
        except StoreRefused as error:
            log.error("store.server_not_started", error=error.message)
            await asyncio.sleep(delay)
        else:
            return
