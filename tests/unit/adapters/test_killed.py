"""Killed at every fault point, and again during the recovery: nothing lost, nothing twice."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from adapters.file.fsops import FAULT_POINTS
from gateway.kernel.faultpoints import KILLED_STATUS

REQUESTS = {b"a.xml": b"1", b"bb.xml": b"2", b"c" * 230 + b".xml": b"3", b"dd.xml": b"4", b"e" * 229 + b".xml": b"5"}
NOT_ON_THE_WAY = {
    "claim.put_back",  # only after a failed flush
    "stage.fsync",  # five files are flushed as a group
    "stage.fsynced",
    "stage.unlink",  # only when something failed before
    "stage.unlinked",
}
ON_THE_WAY = [point for point in FAULT_POINTS if point not in NOT_ON_THE_WAY]


Run = Callable[[Path, str], int]


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    """Run the small gateway once; return its exit status."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.unit.adapters.killed"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        to, answers = server.stdin, server.stdout

        def once(root: Path, fault: str) -> int:
            to.write(f"-{fault} {root}\n")
            to.flush()
            status = int(answers.readline())
            assert status in (0, KILLED_STATUS)
            return status

        yield once
        to.close()


def test_every_point_is_on_the_way_or_excused() -> None:
    assert set(FAULT_POINTS) >= NOT_ON_THE_WAY
    assert len(set(FAULT_POINTS)) == len(FAULT_POINTS)


def take(root: Path, received: list[str]) -> None:
    """Be a partner that takes every response at once."""
    for path in (root / "outbound").iterdir():
        assert path.read_bytes() == b"<a/>" * 500
        received.append(path.name)
        path.unlink()


def site(root: Path) -> None:
    for name in ("inbound", "work", "archive", "error", "outbound", "staging"):
        (root / name).mkdir()
    for request, content in REQUESTS.items():
        (root / "inbound" / os.fsdecode(request)).write_bytes(content)
        (root / "inbound" / (os.fsdecode(request) + ".done")).touch()


@pytest.mark.parametrize("second", ["", "claim.work.flush:1:kill", "publish.renamed:1:kill"], ids=["once", "c", "p"])
@pytest.mark.parametrize("point", ON_THE_WAY)
def test_killed_anywhere_nothing_is_lost_and_nothing_comes_twice(
    tmp_path: Path, run: Run, point: str, second: str
) -> None:
    site(tmp_path)
    received: list[str] = []
    assert run(tmp_path, f"{point}:1:kill") == KILLED_STATUS
    take(tmp_path, received)
    if second:
        run(tmp_path, second)
        take(tmp_path, received)
    assert run(tmp_path, "") == 0
    take(tmp_path, received)
    ingested = [line.split() for line in (tmp_path / "ingested").read_text().splitlines()]
    assert sorted(content for _, content in ingested) == ["1", "2", "3", "4", "5"]
    assert sorted(received) == sorted(f"{claim_id}.xml" for claim_id, _ in ingested)
    assert os.listdir(tmp_path / "inbound") == []
    assert [name for name in os.listdir(tmp_path / "work") if "~" in name] == []
    assert os.listdir(tmp_path / "staging") == [".gateway-staging"]
