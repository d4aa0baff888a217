"""Taking files from a partner's folder: names, entries, rights and mounts, and what happens in between."""

import asyncio
import contextlib
import os
import socket
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.kernel.errors import AdapterUnavailable, FileRefused, LeaseLost
from gateway.kernel.faultpoints import switched_on
from gateway.messaging.rules.delivery import Claim, Settled, Settlement
from tests.unit.adapters.support import PORT, START, WHOLE, Site, archived, names, quarantined

AWKWARD = [
    b"new\nline.xml",
    b"tab\there.xml",
    b"esc\x1b[2J.xml",
    b"\xff\xfe.xml",
    b"caf\xe9.xml",
    b"-rf.xml",
    b"two  blanks .xml",
    b"'quotes\".xml",
    b"$(touch x)`id`;.xml",
    b"<script>.xml",
    b"'; DROP TABLE message;--.xml",
    b"%s%n{}.xml",
    b"x..%2f..%2fpasswd.xml",
    b"x..\\..\\x.xml",
    b"C:x.xml",
    b"a:b.xml",
    b"x" * 251 + b".xml",
    "ж".encode() * 125 + b".xml",
    b"CON.xml",
    b"NUL.xml",
    b"A.xml",
    b"a.xml",
    "é.xml".encode(),
    "e\u0301.xml".encode(),
    b"upper.XML",
    "rtl\u202elmx.xml".encode(),
    b"01890000-0000-7000-8000-000000000000~x.xml",
    b"R1.7.tmp.xml",
]


async def test_every_awkward_name_is_taken_and_comes_back_as_it_was(site: Site) -> None:
    for name in AWKWARD:
        site.drop(name)
    adapter = site.receiver()
    claims = await adapter.poll(100)
    assert sorted(names(claims)) == sorted(AWKWARD)
    assert all(claim.display.isprintable() for claim in claims)
    assert site.inbound_names() == []
    assert sorted(names(await site.receiver().recover())) == sorted(AWKWARD)
    await adapter.settle(archived(claims))
    assert os.listdir(site.work) == []
    assert len(os.listdir(site.archive / "2031-02-03")) == len(AWKWARD)


async def test_a_claim_tells_what_the_descriptor_says(site: Site) -> None:
    site.drop("order.xml")
    (claim,) = await site.receiver().poll(1)
    status = (site.work / os.fsdecode(claim.handle)).stat()
    assert (claim.port, claim.display, claim.size, claim.owner_uid) == (PORT, "order.xml", len(WHOLE), os.getuid())
    assert claim.owner is not None
    assert claim.modified_at.timestamp() == pytest.approx(status.st_mtime)


async def test_a_time_beyond_the_calendar_does_no_harm(site: Site) -> None:
    site.drop("order.xml")
    os.utime(site.inbound / "order.xml", (2**33, 2**33))
    os.utime(site.inbound / "order.xml", ns=(2**62, 2**62))
    (claim,) = await site.receiver().poll(1)
    assert claim.modified_at.tzinfo is not None


async def test_names_processed_before_are_new_claims(site: Site) -> None:
    adapter = site.receiver()
    ids = set()
    for _ in range(3):
        site.drop("order.xml")
        claims = await adapter.poll(10)
        ids |= {claim.id for claim in claims}
        await adapter.settle(archived(claims))
    assert len(ids) == 3
    assert len(os.listdir(site.archive / "2031-02-03")) == 3


async def test_two_thousand_files_are_claimed_in_name_order_batch_by_batch(site: Site) -> None:
    expected = [b"PO_%05d.xml" % number for number in range(2000)]
    for name in reversed(expected):
        (site.inbound / os.fsdecode(name)).write_bytes(WHOLE)
    adapter = site.receiver()
    claims: list[Claim] = []
    while batch := await adapter.poll(300):
        claims += batch
    assert names(claims) == expected
    assert [claim.id for claim in claims] == sorted(claim.id for claim in claims)
    assert names(await site.receiver().recover()) == expected


async def test_a_short_batch_means_that_nothing_more_was_ready(site: Site) -> None:
    for number in range(5):
        site.drop(f"{number}.xml")
    adapter = site.receiver()
    assert names(await adapter.poll(3)) == [b"0.xml", b"1.xml", b"2.xml"]
    assert adapter.next_poll_seconds() == 0.0
    site.drop("0-late.xml")
    assert names(await adapter.poll(10)) == [b"3.xml", b"4.xml", b"0-late.xml"]
    assert adapter.next_poll_seconds() is None


async def test_temporary_and_foreign_names_stay_and_are_reported(site: Site) -> None:
    for name in (".hidden.xml", "~$x.xml", "x.xml.tmp", "x.part", "x.filepart", "x.crdownload", "x.xml.gz"):
        site.drop(name)
    adapter = site.receiver()
    assert await adapter.poll(10) == []
    assert {entry.code for entry in adapter.skipped()} == {"not-matched"}
    assert len(adapter.skipped()) == len(site.inbound_names()) == 7


@pytest.mark.parametrize("target", ["/etc/passwd", "good.txt", "nowhere", "link.xml", "/dev/zero"])
async def test_symbolic_links_stay_and_are_never_followed(site: Site, target: str) -> None:
    (site.inbound / "good.txt").write_bytes(WHOLE)
    os.symlink(target, site.inbound / "link.xml")
    adapter = site.receiver()
    assert await adapter.poll(10) == []
    assert {entry.name: entry.code for entry in adapter.skipped()}[b"link.xml"] == "entry.symlink"
    assert (site.inbound / "link.xml").is_symlink()


async def test_pipes_sockets_and_folders_stay(site: Site) -> None:
    os.mkfifo(site.inbound / "pipe.xml")
    (site.inbound / "folder.xml").mkdir()
    (site.inbound / "folder.xml" / "inner.xml").write_bytes(WHOLE)
    folder = os.open(site.inbound, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"/proc/self/fd/{folder}/s.xml")  # the whole path may be too long for a socket
        os.close(folder)
        adapter = site.receiver()
        async with asyncio.timeout(60):
            assert await adapter.poll(10) == []
    assert {entry.name: entry.code for entry in adapter.skipped()} == {
        b"pipe.xml": "entry.fifo",
        b"folder.xml": "entry.folder",
        b"s.xml": "entry.socket",
    }


async def test_an_entry_is_reported_with_its_first_time_until_it_goes(site: Site) -> None:
    os.mkfifo(site.inbound / "pipe.xml")
    adapter = site.receiver()
    await adapter.poll(1)
    site.clock.move(100)
    await adapter.poll(1)
    (entry,) = adapter.skipped()
    assert entry.since == START
    (site.inbound / "pipe.xml").unlink()
    await adapter.poll(1)
    assert adapter.skipped() == ()


async def test_a_file_with_two_names_for_a_moment_is_waited_for(site: Site) -> None:
    """As an SFTP server renames: it makes the new name, then removes the old one."""
    uploaded = site.root / "uploaded.xml"
    uploaded.write_bytes(WHOLE)
    os.link(uploaded, site.inbound / "order.xml")
    receiver = site.receiver()
    assert await receiver.poll(1) == []
    site.clock.move(0.3)
    uploaded.unlink()
    (claim,) = await receiver.poll(1)
    with receiver.open() as opener, opener(claim) as fd:
        assert os.read(fd, len(WHOLE)) == WHOLE


async def test_a_hard_link_is_claimed_and_cannot_be_read(site: Site) -> None:
    colleague = site.root / "colleague.xml"
    colleague.write_bytes(WHOLE)
    os.link(colleague, site.inbound / "link.xml")
    receiver = site.receiver()
    assert await receiver.poll(1) == []
    assert [entry.code for entry in receiver.skipped()] == ["file.second-name"]
    site.clock.move(2)
    (claim,) = await receiver.poll(1)
    with (
        pytest.raises(FileRefused, match="second name") as refused,
        receiver.open() as opener,
        opener(claim),
    ):
        raise AssertionError("it was opened")
    assert refused.value.code == "entry.hardlink"


async def test_a_file_that_may_not_be_read_waits_and_the_others_go_on(ordinary_site: Site) -> None:
    site = ordinary_site
    for name in ("a.xml", "b.xml"):
        (site.inbound / name).write_bytes(WHOLE)
    (site.inbound / "a.xml").chmod(0o200)
    adapter = site.receiver(settle_seconds=0)
    assert names(await adapter.poll(10)) == [b"b.xml"]
    (entry,) = adapter.skipped()
    assert (entry.name, entry.code) == (b"a.xml", "entry.unreadable")
    (site.inbound / "a.xml").chmod(0o644)
    assert names(await adapter.poll(10)) == [b"a.xml"]


async def test_a_folder_in_which_nothing_can_be_moved_says_so_and_keeps_its_files(ordinary_site: Site) -> None:
    site = ordinary_site
    for number in range(40):
        (site.inbound / f"{number:02}.xml").write_bytes(WHOLE)
    (site.inbound).chmod(0o555)
    adapter = site.receiver(settle_seconds=0)
    with pytest.raises(AdapterUnavailable, match=r"receive\.folder.*sticky bit") as caught:
        await adapter.poll(10)
    assert caught.value.code == "address.not-permitted"
    assert len(site.inbound_names()) == 40
    assert adapter.skipped()[0].code == "entry.cannot-claim"


@pytest.mark.parametrize(("folder", "setting"), [("inbound", "receive.folder"), ("work", "receive.work")])
async def test_a_missing_folder_is_named_with_its_setting(site: Site, folder: str, setting: str) -> None:
    site.drop("order.xml")
    (site.root / folder).rename(site.root / "away")
    adapter = site.receiver()
    with pytest.raises(AdapterUnavailable, match=rf"{setting}.*does not exist") as caught:
        await adapter.poll(1)
    assert caught.value.code == "address.missing"
    (site.root / "away").rename(site.root / folder)
    assert names(await adapter.poll(1)) == [b"order.xml"]


async def test_an_inbound_folder_that_is_a_link_is_refused(site: Site) -> None:
    site.inbound.rename(site.root / "real")
    site.inbound.symlink_to(site.root / "real")
    with pytest.raises(AdapterUnavailable, match="symbolic link"):
        await site.receiver().poll(1)


async def test_a_work_folder_on_another_file_system_is_refused_with_the_setting(site: Site) -> None:
    site.drop("order.xml")
    other = next(Path(mount) for mount in ("/dev/shm", "/run") if Path(mount).is_dir())
    with pytest.raises(AdapterUnavailable, match=r"Set ports\.orders\.receive\.work"):
        await site.receiver(work=other).poll(1)
    assert site.inbound_names() == [b"order.xml"]


@pytest.mark.parametrize("swap", ["replaced", "deleted", "link", "folder", "pipe"])
async def test_a_file_exchanged_between_look_and_rename_is_taken_as_it_is_or_left(
    site: Site, swap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.drop("order.xml")
    path = site.inbound / "order.xml"

    def exchange(name: str) -> None:
        if name != "claim.rename" or path.is_symlink():
            return
        path.unlink()
        match swap:
            case "replaced":
                path.write_bytes(WHOLE * 2)
            case "link":
                path.symlink_to("/etc/passwd")
            case "folder":
                path.mkdir()
            case "pipe":
                os.mkfifo(path)

    adapter = site.receiver()
    with switched_on(observer=exchange), capture_logs() as logs:
        claims = await adapter.poll(1)
    assert [claim.size for claim in claims] == ([2 * len(WHOLE)] if swap == "replaced" else [])
    assert len(os.listdir(site.work)) == len(claims)
    left = [] if swap in ("replaced", "deleted") else [b"order.xml"]
    assert site.inbound_names() == left
    assert [entry["event"] for entry in logs] == ["file.put_aside"] * len(left)


async def test_a_claimed_file_is_opened_by_descriptor_and_a_missing_one_belongs_to_somebody_else(site: Site) -> None:
    site.drop("order.xml")
    adapter = site.receiver()
    (claim,) = await adapter.poll(1)
    with adapter.open() as opener, opener(claim) as fd:
        assert os.read(fd, 1000) == WHOLE
    path = site.work / os.fsdecode(claim.handle)
    path.unlink()
    with pytest.raises(LeaseLost, match="somebody else"), adapter.open() as opener, opener(claim):
        pass
    path.symlink_to("/etc/passwd")
    with pytest.raises((FileRefused, AdapterUnavailable)), adapter.open() as opener, opener(claim):
        pass
    path.unlink()
    path.mkdir()
    with pytest.raises(FileRefused, match="folder, not a regular file"), adapter.open() as opener, opener(claim):
        pass


async def test_a_change_after_the_claim_is_reported_when_the_file_is_settled(site: Site) -> None:
    site.drop("order.xml")
    with (site.inbound / "order.xml").open("ab") as still_open:
        adapter = site.receiver(grace_seconds=0)
        (claim,) = await adapter.poll(1)
        still_open.write(b"more")
    with capture_logs() as logs:
        await adapter.settle(archived([claim]))
    assert [(entry["event"], entry["size_bytes"]) for entry in logs] == [("file.changed_after_claim", len(WHOLE) + 4)]


async def test_done_markers_are_required_and_go_with_their_file(site: Site) -> None:
    (site.inbound / "a.xml").write_bytes(WHOLE[:9])
    (site.inbound / "b.xml").write_bytes(WHOLE)
    (site.inbound / "a.xml.done").touch()
    adapter = site.receiver(done_marker=True)
    assert names(await adapter.poll(10)) == [b"a.xml"]
    assert site.inbound_names() == [b"b.xml"]
    assert [entry.code for entry in adapter.skipped()] == ["file.no-done-marker"]
    (site.inbound / "b.xml.done").touch()
    assert names(await adapter.poll(10)) == [b"b.xml"]


async def test_a_name_too_long_to_have_a_marker_waits_and_the_others_go_on(site: Site) -> None:
    site.drop(b"a" * 251 + b".xml")
    site.drop("b.xml")
    (site.inbound / "b.xml.done").touch()
    adapter = site.receiver(done_marker=True)
    assert names(await adapter.poll(10)) == [b"b.xml"]
    assert [entry.code for entry in adapter.skipped()] == ["file.no-done-marker"]


async def test_a_marker_that_outlived_its_file_is_removed_at_the_next_start(site: Site) -> None:
    site.drop("a.xml")
    await site.receiver().poll(1)
    (site.inbound / "a.xml.done").touch()
    await site.receiver(done_marker=True).recover()
    assert site.inbound_names() == []


async def test_a_suspicious_end_is_decided_by_the_probe_in_name_order(site: Site) -> None:
    site.drop("a.xml")
    site.drop("b.xml", WHOLE + b"rubbish")
    site.drop("c.xml", WHOLE[:-12])
    site.drop("d.xml")
    asked: list[bytes] = []

    async def probe(fd: int) -> bool:
        asked.append(os.read(fd, 1000))
        return asked[-1].endswith(b"rubbish")

    adapter = site.receiver(probe=probe)
    assert names(await adapter.poll(10)) == [b"a.xml", b"b.xml", b"d.xml"]
    assert await adapter.poll(10) == []
    assert asked == [WHOLE + b"rubbish", WHOLE[:-12]]
    (entry,) = adapter.skipped()
    assert entry.code == "file.incomplete" and "refused when it stays so for 600 s." in entry.text
    assert adapter.next_poll_seconds() == pytest.approx(600)


async def test_a_probe_that_cannot_say_leaves_the_file_and_is_asked_again(site: Site) -> None:
    site.drop("a.xml", WHOLE + b"rubbish")
    site.drop("b.xml")
    asked: list[int] = []

    async def probe(fd: int) -> bool:
        asked.append(fd)
        if len(asked) == 1:
            raise AdapterUnavailable("busy")
        return True

    adapter = site.receiver(probe=probe)
    with capture_logs() as logs:
        assert names(await adapter.poll(10)) == [b"b.xml"]
    assert [entry["event"] for entry in logs] == ["file.probe_failed"]
    assert names(await adapter.poll(10)) == [b"a.xml"]


async def test_a_probe_that_nobody_has_time_for_is_tried_again_soon_and_is_no_trouble(site: Site) -> None:
    site.drop("a.xml", WHOLE + b"rubbish")
    site.drop("b.xml")
    answers = [True, None]

    async def probe(fd: int) -> bool | None:
        return answers.pop()

    adapter = site.receiver(probe=probe)
    with capture_logs() as logs:
        assert names(await adapter.poll(10)) == [b"b.xml"]
    assert logs == []
    assert adapter.next_poll_seconds() == pytest.approx(2)
    assert names(await adapter.poll(10)) == [b"a.xml"]


async def test_claims_of_a_cancelled_call_come_with_the_next(site: Site) -> None:
    site.drop("a.xml")
    site.drop("b.xml", WHOLE + b"rubbish")
    asked = asyncio.Event()

    async def probe(fd: int) -> bool:
        asked.set()
        await asyncio.Event().wait()
        return True

    adapter = site.receiver(probe=probe)
    task = asyncio.create_task(adapter.poll(10))
    await asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert names(await adapter.poll(10)) == [b"a.xml"]


async def test_a_poll_that_hangs_is_given_up_and_its_claims_come_later(site: Site) -> None:
    site.drop("a.xml")
    asleep, wake = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def hang(name: str) -> None:
        if name == "claim.renamed":
            loop.call_soon_threadsafe(asleep.set)
            asyncio.run_coroutine_threadsafe(wake.wait(), loop).result()

    adapter = site.receiver(io_seconds=0.3)
    with switched_on(observer=hang):
        with pytest.raises(AdapterUnavailable, match="has not answered"):
            await adapter.poll(1)
        with pytest.raises(AdapterUnavailable, match="has not answered"):
            await adapter.poll(1)
        async with asyncio.timeout(60):
            await asleep.wait()
            wake.set()
            while True:
                try:
                    claims = await adapter.poll(1)
                    break
                except AdapterUnavailable:
                    await asyncio.sleep(0.01)
    assert names(claims) == [b"a.xml"]


@pytest.mark.parametrize("point", ["claim.work.flush", "claim.inbound.flush"])
@pytest.mark.parametrize("again", [False, True], ids=["name free", "name taken again"])
async def test_a_claim_that_cannot_be_made_durable_is_undone_and_made_anew(site: Site, point: str, again: bool) -> None:
    site.drop("a.xml")

    def partner(name: str) -> None:
        if again and name == "claim.put_back":
            site.drop("a.xml", WHOLE + b"\n")

    adapter = site.receiver()
    with switched_on(f"{point}:1:eio", observer=partner), pytest.raises(AdapterUnavailable):
        await adapter.poll(10)
    assert site.inbound_names() == [b"a.xml"]
    claims = await adapter.poll(10)
    assert names(claims) == [b"a.xml"] * (2 if again else 1)
    assert len(os.listdir(site.work)) == len(claims)


async def test_trouble_in_the_middle_of_a_batch_keeps_what_was_claimed(site: Site) -> None:
    for name in ("a.xml", "b.xml", "c.xml"):
        site.drop(name)
    adapter = site.receiver()
    with switched_on("claim.rename:2+:enospc"):
        assert names(await adapter.poll(10)) == [b"a.xml"]
        with pytest.raises(AdapterUnavailable, match=r"receive\.work.*disk is full"):
            await adapter.poll(10)
    assert names(await adapter.poll(10)) == [b"b.xml", b"c.xml"]


@pytest.mark.parametrize("point", ["claim.rename:2:enospc", "claim.rename:1:enospc", "claim.work.flush:1:eio"])
async def test_files_that_trouble_passed_over_come_first_afterwards(site: Site, point: str) -> None:
    for name in ("a.xml", "b.xml", "c.xml"):
        site.drop(name)
    adapter = site.receiver()
    taken: list[bytes] = []
    with switched_on(point):
        while len(taken) < 3:
            with contextlib.suppress(AdapterUnavailable):
                taken += names(await adapter.poll(10))
    assert taken == [b"a.xml", b"b.xml", b"c.xml"]


async def test_a_quarantined_file_lies_unchanged_beside_its_reason(site: Site) -> None:
    site.drop(b"bro\nken.xml", b"<Batch>\xff")
    adapter = site.receiver(grace_seconds=0)
    (claim,) = await adapter.poll(1)
    await adapter.settle([quarantined(claim, "Line 1, column 8: not UTF-8 \udcff.")])
    path = site.error / os.fsdecode(claim.handle)
    assert path.read_bytes() == b"<Batch>\xff"
    reason = Path(f"{path}.txt").read_text()
    assert reason.startswith(r"bro\nken.xml")
    assert "Line 1, column 8" in reason
    assert os.listdir(site.work) == []


async def test_settling_again_changes_nothing(site: Site) -> None:
    for name in ("a.xml", "b.xml", "c.xml"):
        site.drop(name)
    adapter = site.receiver()
    a, b, c = await adapter.poll(3)
    settled = [*archived([a]), Settled(claim=b, settlement=Settlement.DELETE), quarantined(c)]
    for _ in range(2):
        await adapter.settle(settled)
    assert os.listdir(site.work) == []
    assert len(os.listdir(site.archive / "2031-02-03")) == 1
    assert sorted(os.listdir(site.error)) == sorted([os.fsdecode(c.handle), os.fsdecode(c.handle) + ".txt"])


@pytest.mark.parametrize("point", ["settle.move:1:enospc", "settle.flush:2:eio"])
async def test_settling_that_fails_can_be_repeated(site: Site, point: str) -> None:
    site.drop("a.xml")
    adapter = site.receiver()
    claims = await adapter.poll(1)
    with switched_on(point), pytest.raises(AdapterUnavailable):
        await adapter.settle(archived(claims))
    await adapter.settle(archived(claims))
    assert len(os.listdir(site.archive / "2031-02-03")) == 1
    assert os.listdir(site.work) == []


async def test_foreign_files_in_the_work_folder_are_no_claims(site: Site) -> None:
    (site.work / "notes.txt").touch()
    assert await site.receiver().recover() == []


async def test_names_kept_for_files_long_settled_are_removed(site: Site) -> None:
    site.drop(b"x" * 251 + b".xml")
    adapter = site.receiver()
    (claim,) = await adapter.poll(1)
    (site.work / os.fsdecode(claim.handle)).unlink()
    kept = site.work / f"{claim.id}.name"
    os.utime(kept, (START.timestamp(), START.timestamp()))
    await adapter.recover()
    assert kept.exists()
    site.clock.move(3700)
    await adapter.recover()
    assert not kept.exists()
