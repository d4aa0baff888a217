"""The readiness ladder, with a clock that only the test moves."""

import os
from pathlib import Path

import pytest

from adapters.file.inbound.ready import Readiness, ReadyLadder
from tests.unit.adapters.support import WHOLE, FakeClock

NAME = b"order.xml"


class Inbound:
    """One file and the ladder that judges it."""

    def __init__(self, path: Path, *, kernel_tells: bool, has_parser: bool = False) -> None:
        self.path = path
        self.clock = FakeClock()
        self.ladder = ReadyLadder(self.clock, settle_seconds=2, grace_seconds=600, has_parser=has_parser)
        self.kernel_tells = kernel_tells

    def judge(self, *, renamed: bool = False) -> Readiness:
        self.ladder.begin_sweep()
        fd = os.open(self.path, os.O_RDONLY)
        try:
            return self.ladder.judge(NAME, fd, os.fstat(fd), kernel_tells=self.kernel_tells, renamed=renamed)
        finally:
            os.close(fd)

    def why(self) -> str:
        waiting = self.ladder.waiting(NAME)
        assert waiting is not None
        return waiting.code


@pytest.fixture
def local(tmp_path: Path) -> Inbound:
    return Inbound(tmp_path / "order.xml", kernel_tells=True)


@pytest.fixture
def remote(tmp_path: Path) -> Inbound:
    return Inbound(tmp_path / "order.xml", kernel_tells=False)


@pytest.fixture
def parsed(tmp_path: Path) -> Inbound:
    return Inbound(tmp_path / "order.xml", kernel_tells=True, has_parser=True)


def test_a_whole_file_without_a_writer_is_ready_at_once(local: Inbound) -> None:
    local.path.write_bytes(WHOLE)
    assert local.judge() is Readiness.READY
    assert local.ladder.due_seconds() is None


def test_an_open_writer_is_waited_for_and_looked_after_soon(local: Inbound) -> None:
    with local.path.open("wb") as file:
        file.write(WHOLE)
        file.flush()
        assert local.judge() is Readiness.WAIT
        assert local.why() == "file.being-written"
        assert local.ladder.due_seconds() == pytest.approx(0.05)
        local.clock.move(1.0)
        assert local.judge() is Readiness.WAIT
        assert local.ladder.due_seconds() == pytest.approx(1.0)
    assert local.judge() is Readiness.READY


def test_a_writer_that_falls_silent_is_waited_for_no_longer_than_the_grace_time(local: Inbound) -> None:
    with local.path.open("wb") as file:
        file.write(b"<Batch>")
        file.flush()
        assert local.judge() is Readiness.WAIT
        local.clock.move(599)
        assert local.judge() is Readiness.WAIT
        local.clock.move(2)
        assert local.judge() is Readiness.READY


def test_where_the_kernel_cannot_tell_a_file_must_settle(remote: Inbound) -> None:
    remote.path.write_bytes(WHOLE)
    assert remote.judge() is Readiness.WAIT
    assert remote.ladder.due_seconds() == pytest.approx(2.0)
    remote.clock.move(1.9)
    assert remote.judge() is Readiness.WAIT
    remote.clock.move(0.2)
    assert remote.judge() is Readiness.READY


def test_what_was_seen_to_be_renamed_in_need_not_settle(remote: Inbound) -> None:
    remote.path.write_bytes(WHOLE)
    assert remote.judge(renamed=True) is Readiness.READY


def test_what_was_renamed_in_before_it_was_complete_waits_for_its_end(remote: Inbound) -> None:
    remote.path.write_bytes(WHOLE[:-5])
    assert remote.judge(renamed=True) is Readiness.WAIT
    assert remote.why() == "file.incomplete"


@pytest.mark.parametrize("renamed", [False, True])
@pytest.mark.parametrize("kernel_tells", [False, True])
def test_two_names_for_a_moment_are_waited_for(tmp_path: Path, kernel_tells: bool, renamed: bool) -> None:
    file = Inbound(tmp_path / "order.xml", kernel_tells=kernel_tells)
    part = tmp_path / "order.part"
    part.write_bytes(WHOLE)
    file.path.hardlink_to(part)
    assert file.judge(renamed=renamed) is Readiness.WAIT
    assert file.why() == "file.second-name"
    assert file.ladder.due_seconds() == pytest.approx(2.0)
    file.clock.move(0.3)
    part.unlink()
    assert file.judge(renamed=renamed) is (Readiness.READY if kernel_tells or renamed else Readiness.WAIT)
    file.clock.move(2.0)
    assert file.judge(renamed=renamed) is Readiness.READY


def test_a_second_name_that_stays_is_taken_to_be_refused(local: Inbound) -> None:
    local.path.write_bytes(WHOLE)
    local.path.with_suffix(".other").hardlink_to(local.path)
    assert local.judge() is Readiness.WAIT
    local.clock.move(2.0)
    assert local.judge() is Readiness.READY


def test_a_change_starts_the_settling_again(remote: Inbound) -> None:
    remote.path.write_bytes(WHOLE[:-5])
    remote.judge()
    remote.clock.move(1.9)
    remote.path.write_bytes(WHOLE)
    assert remote.judge() is Readiness.WAIT
    remote.clock.move(1.9)
    assert remote.judge() is Readiness.WAIT
    remote.clock.move(0.2)
    assert remote.judge() is Readiness.READY


def test_a_copy_with_an_old_modification_time_still_counts_as_changed(remote: Inbound) -> None:
    remote.path.write_bytes(WHOLE)
    os.utime(remote.path, ns=(10**18, 10**18))
    remote.judge()
    remote.clock.move(1.9)
    remote.path.write_bytes(WHOLE.replace(b"Batch", b"Bacht"))
    os.utime(remote.path, ns=(10**18, 10**18))
    remote.judge()
    remote.clock.move(0.2)
    assert remote.judge() is Readiness.WAIT


@pytest.mark.parametrize("content", [b"", b"\n", b"<Batch><Envelope>", WHOLE[:-20] + b"\0" * 20])
def test_an_unfinished_file_waits_for_its_grace_time_and_is_then_taken(local: Inbound, content: bytes) -> None:
    local.path.write_bytes(content)
    assert local.judge() is Readiness.WAIT
    assert local.why() == "file.incomplete"
    assert local.ladder.due_seconds() == pytest.approx(600)
    local.clock.move(599)
    assert local.judge() is Readiness.WAIT
    local.clock.move(1)
    assert local.judge() is Readiness.READY


def test_an_unfinished_file_that_is_finished_is_ready(local: Inbound) -> None:
    local.path.write_bytes(WHOLE[:20])
    assert local.judge() is Readiness.WAIT
    local.clock.move(1)
    local.path.write_bytes(WHOLE)
    assert local.judge() is Readiness.READY


def test_what_is_no_document_is_ready_at_once_to_be_refused(local: Inbound) -> None:
    local.path.write_bytes(b'{"not": "xml"}')
    assert local.judge() is Readiness.READY


def test_a_suspicious_end_is_checked_once(parsed: Inbound) -> None:
    parsed.path.write_bytes(WHOLE + b"trailing text")
    assert parsed.judge() is Readiness.CHECK
    waiting = parsed.ladder.waiting(NAME)
    assert waiting is not None
    parsed.ladder.checked(NAME, waiting.signature, broken=True)
    assert parsed.judge() is Readiness.READY


def check(inbound: Inbound, *, broken: bool | None) -> None:
    waiting = inbound.ladder.waiting(NAME)
    assert waiting is not None
    inbound.ladder.checked(NAME, waiting.signature, broken=broken)


def test_a_cut_off_file_is_not_checked_again_until_it_changes(parsed: Inbound) -> None:
    parsed.path.write_bytes(WHOLE[:30])
    assert parsed.judge() is Readiness.CHECK
    check(parsed, broken=False)
    parsed.clock.move(500)
    assert parsed.judge() is Readiness.WAIT


def test_a_file_that_keeps_growing_is_checked_less_and_less_often(parsed: Inbound) -> None:
    for size, quiet in ((30, 0), (31, 2), (32, 4), (33, 8), (34, 16)):
        parsed.path.write_bytes(WHOLE[:size])
        if quiet:
            assert parsed.judge() is Readiness.WAIT
            assert parsed.ladder.due_seconds() == quiet
            parsed.clock.move(quiet - 0.1)
            assert parsed.judge() is Readiness.WAIT
            parsed.clock.move(0.1)
        assert parsed.judge() is Readiness.CHECK
        check(parsed, broken=False)
    for size in range(35, 45):
        parsed.path.write_bytes(WHOLE[:size])
        parsed.clock.move(5)
        assert parsed.judge() is Readiness.WAIT, "it never was left alone for 32 seconds"
    parsed.path.write_bytes(WHOLE)
    assert parsed.judge() is Readiness.READY, "a whole one is never waited for"


def test_a_file_is_claimed_after_the_grace_time_however_often_it_was_checked(parsed: Inbound) -> None:
    for size in range(30, 42):
        parsed.path.write_bytes(WHOLE[:size])
        parsed.clock.move(599)
        parsed.judge()
        check(parsed, broken=False)
    parsed.path.write_bytes(WHOLE[:43])
    assert parsed.judge() is Readiness.WAIT
    assert parsed.ladder.due_seconds() == 600
    parsed.clock.move(600)
    assert parsed.judge() is Readiness.READY


def test_a_check_that_nobody_had_time_for_comes_again_soon(parsed: Inbound) -> None:
    parsed.path.write_bytes(WHOLE[:30])
    assert parsed.judge() is Readiness.CHECK
    check(parsed, broken=None)
    assert parsed.ladder.due_seconds() == 2
    parsed.clock.move(2)
    assert parsed.judge() is Readiness.CHECK


def test_a_check_of_a_file_that_has_changed_counts_for_nothing(parsed: Inbound) -> None:
    parsed.path.write_bytes(WHOLE[:30])
    parsed.judge()
    waiting = parsed.ladder.waiting(NAME)
    assert waiting is not None
    old = waiting.signature
    parsed.path.write_bytes(WHOLE[:31])
    parsed.judge()
    parsed.ladder.checked(NAME, old, broken=True)
    parsed.clock.move(2)
    assert parsed.judge() is Readiness.CHECK


def test_files_that_have_gone_are_forgotten(local: Inbound) -> None:
    local.path.write_bytes(b"")
    local.judge()
    local.ladder.begin_sweep()
    local.ladder.begin_sweep()
    assert local.ladder.due_seconds() is None
