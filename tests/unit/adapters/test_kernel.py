"""What Linux tells us, and that asking is harmless."""

import errno
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from adapters.file.linux import Writers, file_system, probe_writer, rename_new, sync_file_system, tells_writers


@pytest.fixture
def readable(tmp_path: Path) -> Path:
    path = tmp_path / "x.xml"
    path.write_bytes(b"x")
    return path


def test_the_probe_sees_a_writer_come_and_go(readable: Path) -> None:
    fd = os.open(readable, os.O_RDONLY)
    try:
        assert tells_writers(fd)
        assert probe_writer(fd) is Writers.NOBODY
        with readable.open("ab"):
            assert probe_writer(fd) is Writers.SOMEBODY
        assert probe_writer(fd) is Writers.NOBODY
    finally:
        os.close(fd)


def test_the_probe_cannot_tell_for_a_descriptor_that_may_write(readable: Path) -> None:
    fd = os.open(readable, os.O_RDWR)
    try:
        assert probe_writer(fd) is not Writers.NOBODY
    finally:
        os.close(fd)


def test_a_writer_that_opens_during_the_probe_does_not_end_the_process(readable: Path) -> None:
    # in a process of its own: the default action of SIGIO would end the test run
    script = (
        "import os, sys, threading, time\n"
        "from adapters.file.linux import probe_writer\n"
        "path, stop = sys.argv[1], threading.Event()\n"
        "def write():\n"
        "    while not stop.is_set():\n"
        "        os.close(os.open(path, os.O_WRONLY))\n"
        "        time.sleep(0.0001)\n"  # so that most probes get their lease, and some writers come during one
        "threads = [threading.Thread(target=write) for _ in range(2)]\n"
        "[thread.start() for thread in threads]\n"
        "fd = os.open(path, os.O_RDONLY)\n"
        "seen = {str(probe_writer(fd)) for _ in range(20000)}\n"
        "stop.set(); [thread.join() for thread in threads]\n"
        "print(probe_writer(fd), sorted(seen))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(readable)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, signal.Signals(-done.returncode) if done.returncode < 0 else done.stderr
    assert done.stdout.startswith("nobody"), "it asks on when they have gone"
    assert threading.active_count() >= 1


def test_the_file_system_has_a_name(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        assert file_system(fd) is not None
        sync_file_system(fd)
    finally:
        os.close(fd)
    with pytest.raises(OSError, match="descriptor") as caught:
        sync_file_system(fd)
    assert caught.value.errno == errno.EBADF


@pytest.mark.parametrize("without_call", [False, True], ids=["renameat2", "look and rename"])
def test_a_rename_never_overwrites(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without_call: bool) -> None:
    if without_call:
        monkeypatch.setattr("adapters.file.linux._LIBC", object())
    (tmp_path / "one").write_text("1")
    (tmp_path / "two").write_text("2")
    folder = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with pytest.raises(FileExistsError):
            rename_new(b"one", folder, b"two", folder)
        rename_new(b"one", folder, b"three", folder)
        with pytest.raises(FileNotFoundError):
            rename_new(b"one", folder, b"four", folder)
    finally:
        os.close(folder)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"two": "2", "three": "1"}
