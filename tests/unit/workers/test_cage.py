"""What a reader that a file has taken over can still do: nothing but answer."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

import pytest
import structlog

import schemas
from gateway.kernel.errors import FileRefused
from gateway.workers.cage import NAMELESS
from gateway.xml import process
from gateway.xml.limits import ReadRules
from gateway.xml.pool import XmlPool
from tests.conftest import Databases

RULES = ReadRules(schema_folders=(str(schemas.FOLDER),))
SECRET = "the secret of the gateway"


async def _do(monkeypatch: pytest.MonkeyPatch, *lines: str, without: tuple[str, ...] = ()) -> Mapping[str, str | None]:
    """Return what becomes of lines of code that run in a reader, of a system that lacks something perhaps."""
    start = f"import sys; from tests.unit.workers.captive import main; sys.exit(main(*{without!r}))"
    monkeypatch.setattr(process, "_PROGRAM", ("-c", start))
    async with XmlPool(size=1) as pool:
        with pytest.raises(FileRefused) as caught:
            async for _ in pool.read_bytes("\n".join(lines).encode(), RULES):
                pass
    outcomes: Mapping[str, str | None] = json.loads(caught.value.message)
    assert list(outcomes) == list(lines)
    return outcomes


def _files(folder: Path) -> tuple[str, ...]:
    """Return ways to read and to change files; everybody may do all of that in *folder*."""
    folder.chmod(0o777)
    for parent in folder.parents:
        if parent.stat().st_uid == os.geteuid():
            parent.chmod(parent.stat().st_mode | 0o111)
    config = folder / "config.yaml"
    config.write_text(SECRET)
    config.chmod(0o666)
    return (
        f"open({str(config)!r})",
        f"open({str(config)!r}, 'r+')",
        f"open({str(config)!r}, 'a')",
        f"open({str(folder / 'new')!r}, 'w')",
        f"os.listdir({str(folder)!r})",
        f"os.mkdir({str(folder / 'new')!r})",
        f"os.rename({str(config)!r}, {str(folder / 'moved')!r})",
        f"os.symlink('/', {str(folder / 'link')!r})",
        f"os.unlink({str(config)!r})",
        "open('/etc/passwd')",
        "open('/proc/self/environ')",
        "open(f'/proc/{os.getppid()}/environ')",
        "open(f'/proc/{os.getppid()}/mem')",
        f"open('/proc/{os.getpid()}/environ')",
        f"open('/proc/{os.getpid()}/mem')",
        "import colorsys",
    )


PROGRAMS = ("subprocess.run(['/bin/true'])", "os.execv('/bin/true', ['true'])")
TRACING = tuple(f"call('ptrace', 16, {whom}, None, None)" for whom in ("os.getppid()", os.getpid()))
CALLS = (
    "call('kill', os.getppid(), 0)",
    f"call('kill', {os.getpid()}, 0)",
    "os.fork()",
    "socket.socket(socket.AF_UNIX)",
    "socket.socket(socket.AF_INET)",
    "socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)",
    "socket.socketpair()",
    "call('process_vm_readv', os.getppid(), None, 0, None, 0, 0)",
    "call('prlimit', os.getppid(), 7, (1).to_bytes(8, 'little') * 2, None)",
    "call('syscall', 434, os.getppid(), 0)",  # pidfd_open
    "call('syscall', 425, 1, None)",  # io_uring_setup
    "call('syscall', 424, -1, 9, None, 0)",  # pidfd_send_signal
    "call('unshare', 0x10000000)",
    "call('mount', None, None, None, 0, None)",
    "os.memfd_create('x')",
    "os.setuid(0)",
    "os.write(1, b'x')",
)


def _worked(outcomes: Mapping[str, str | None]) -> list[str]:
    refusals = ("PermissionError", "ModuleNotFoundError", "BlockingIOError", "OSError", "ImportError")
    return [line for line, error in outcomes.items() if error is None or not error.startswith(refusals)]


async def test_code_in_a_reader_opens_starts_connects_and_traces_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    outcomes = await _do(monkeypatch, *_files(tmp_path), *PROGRAMS, *TRACING, *CALLS)
    assert _worked(outcomes) == []
    assert (tmp_path / "config.yaml").read_text() == SECRET


@pytest.mark.parametrize("without", ["Landlock", "seccomp"])
async def test_each_wall_of_the_cage_stands_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, without: str
) -> None:
    with structlog.testing.capture_logs() as logs:
        outcomes = await _do(monkeypatch, *_files(tmp_path), *PROGRAMS, *TRACING, without=(without,))
    assert _worked(outcomes) == []
    assert [each["lacking"] for each in logs if each["event"] == "reader.cage_incomplete"] == [[without]]


async def test_reader_works_where_the_system_can_lock_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with structlog.testing.capture_logs() as logs:
        outcomes = await _do(monkeypatch, "1 + 1", "open('/etc/passwd')", without=("Landlock", "seccomp"))
    assert outcomes == {"1 + 1": None, "open('/etc/passwd')": None}
    assert [each["lacking"] for each in logs if each["event"] == "reader.cage_incomplete"] == [["Landlock", "seccomp"]]


async def test_reader_knows_nothing_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PASSWORD", SECRET)
    lines = ("assert 'PASSWORD' not in os.environ", f"assert {SECRET!r} not in str(os.environ)")
    assert set((await _do(monkeypatch, *lines)).values()) == {None}


async def test_reader_of_root_has_an_account_that_owns_nothing(
    monkeypatch: pytest.MonkeyPatch, databases: Databases
) -> None:
    """Without any other wall the account alone keeps it from the configuration and from the database."""
    if os.geteuid() != 0:
        assert await _do(monkeypatch, f"assert os.geteuid() == {os.geteuid()}")
        return
    folder = databases.server.url.rpartition("host=")[2].partition("&")[0]
    outcomes = await _do(
        monkeypatch,
        f"assert os.getresuid() == os.getresgid() == ({NAMELESS[-1]},) * 3 and os.getgroups() == []",
        "os.setuid(0)",
        f"socket.socket(socket.AF_UNIX).connect('{folder}/.s.PGSQL.5432')",
        "open('/etc/shadow')",
        "open(f'/proc/{os.getppid()}/environ')",
        without=("Landlock", "seccomp"),
    )
    first, *others = outcomes.values()
    assert first is None
    assert all(error is not None and error.startswith("PermissionError") for error in others), outcomes
