"""One gateway per data folder; a dead one does not count."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.db.data_folder import LOCK_NAME, DataLock, Use, node_identity
from gateway.db.errors import DataFolderInUse, StoreRefused

HOLD = """
import sys
from pathlib import Path
from gateway.db.data_folder import DataLock, Use
DataLock(Path(sys.argv[1]), Use(sys.argv[2])).acquire(0)
print("held", flush=True)
sys.stdin.read()
"""


def test_second_holder_is_told_who_the_first_is(tmp_path: Path) -> None:
    first = DataLock(tmp_path, Use.RUN)
    first.acquire(0)
    with pytest.raises(DataFolderInUse, match=f"process {os.getpid()} on") as caught:
        DataLock(tmp_path, Use.RUN).acquire(60)  # does not wait for a gateway
    assert caught.value.context["pid"] == os.getpid()
    first.release()


def test_released_folder_is_free(tmp_path: Path) -> None:
    for _ in range(2):
        lock = DataLock(tmp_path / "new", Use.RUN)
        lock.acquire(0)
        lock.release()
        lock.release()


def test_killed_holder_lets_go(tmp_path: Path) -> None:
    with _holder(tmp_path, Use.RUN) as other:
        with pytest.raises(DataFolderInUse, match=f"process {other.pid} "):
            DataLock(tmp_path, Use.RUN).acquire(0)
        other.kill()
    lock = DataLock(tmp_path, Use.RUN)
    lock.acquire(0)
    lock.release()


def test_gateway_waits_for_a_short_command(tmp_path: Path) -> None:
    with _holder(tmp_path, Use.VISIT) as visitor:
        with pytest.raises(DataFolderInUse):
            DataLock(tmp_path, Use.RUN).acquire(0)
        assert visitor.stdin is not None
        visitor.stdin.close()  # the command ends by itself meanwhile
        lock = DataLock(tmp_path, Use.RUN)
        lock.acquire(60)
        lock.release()


def test_lock_file_with_any_text_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / LOCK_NAME).write_text("[] nonsense")
    lock = DataLock(tmp_path, Use.RUN)
    lock.acquire(0)
    lock.release()


def test_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreRefused, match="cannot be used"):
        DataLock(tmp_path / "file" / "data", Use.RUN).acquire(0)


def test_identity_is_made_once(tmp_path: Path) -> None:
    assert node_identity(tmp_path) == node_identity(tmp_path)


def test_damaged_identity_is_refused(tmp_path: Path) -> None:
    (tmp_path / "node").write_text("who am I")
    with pytest.raises(StoreRefused, match="identity"):
        node_identity(tmp_path)


def _holder(data: Path, use: Use) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(data), use.value],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process
