"""Responses appear whole, once and never over another file, whatever fails on the way."""

import asyncio
import os
import random
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace

import pytest

from adapters.file.check import check_send
from adapters.file.outbound.stage import FEW_FILES, STAGING_MARK
from gateway.kernel.errors import AdapterUnavailable, GatewayError
from gateway.kernel.faultpoints import switched_on
from gateway.messaging.rules.delivery import OutgoingFile
from tests.unit.adapters.support import Site, outgoing, promise

MANY = FEW_FILES + 3


def codes(results: Sequence[GatewayError | None]) -> list[str | None]:
    return [None if result is None else result.code for result in results]


@pytest.mark.parametrize("count", [1, FEW_FILES, MANY, 500])
async def test_files_are_staged_unseen_and_then_published_whole(site: Site, count: int) -> None:
    adapter, files = site.sender(), [outgoing(number) for number in range(count)]
    assert codes(await adapter.stage(files)) == [None] * count
    assert os.listdir(site.outbound) == []
    assert len(await adapter.recover()) == count
    assert codes(await adapter.publish([promise(file) for file in files])) == [None] * count
    assert {path.name: path.read_bytes() for path in site.outbound.iterdir()} == {
        file.final_name: file.content for file in files
    }
    assert await adapter.recover() == []


async def test_published_files_may_be_read_by_the_partners_group_only(site: Site) -> None:
    before = os.umask(0o077)
    try:
        file = outgoing(1)
        adapter = site.sender()
        await adapter.stage([file])
        await adapter.publish([promise(file)])
    finally:
        os.umask(before)
    assert (site.outbound / file.final_name).stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("mode", [0o600, 0o664])
async def test_published_files_have_the_rights_and_the_group_that_are_wanted(site: Site, mode: int) -> None:
    group = 4242 if os.geteuid() == 0 else os.getegid()
    for count in (1, MANY):
        files = [outgoing(100 * count + number) for number in range(count)]
        adapter = site.sender(file_mode=mode, group=group)
        assert codes(await adapter.stage(files)) == [None] * count
        await adapter.publish([promise(file) for file in files])
    statuses = [path.stat() for path in site.outbound.iterdir()]
    assert {(status.st_mode & 0o777, status.st_gid) for status in statuses} == {(mode, group)}


async def test_a_group_that_cannot_be_given_is_told_and_nothing_is_shown_without_it(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    (refused,) = await site.sender(group="no-such-group").stage([outgoing(1)])
    assert refused is not None
    assert refused.code == "address.no-group"
    assert "the group no-such-group (ports.orders.respond.group): there is no such group" in refused.message
    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    monkeypatch.setattr(os, "getgroups", list)
    settings = site.sending(group=os.getegid() + 1)
    (refused,) = await site.sender(group=settings.group).stage([outgoing(1)])
    assert refused is not None and "the gateway's account is not in it" in refused.message
    assert [each.setting for each in check_send(settings) if each.fatal] == [settings.group_setting]
    assert os.listdir(site.staging) == [STAGING_MARK.decode()]


async def test_faults_go_to_their_own_folder_when_there_is_one(site: Site) -> None:
    adapter = site.sender(faults=site.faults)
    good = outgoing(1)
    bad = OutgoingFile(staged_name="2.1.tmp", final_name="answer.2.fault.xml", content=b"<Fault/>")
    await adapter.stage([good, bad])
    assert codes(await adapter.publish([promise(good), promise(bad)])) == [None, None]
    assert os.listdir(site.outbound) == [good.final_name]
    assert os.listdir(site.faults) == [bad.final_name]


async def test_publishing_again_counts_as_done_also_when_the_partner_took_it(site: Site) -> None:
    adapter, file = site.sender(), outgoing(1)
    await adapter.stage([file])
    await adapter.publish([promise(file)])
    (site.outbound / file.final_name).unlink()
    assert codes(await site.sender().publish([promise(file)])) == [None]
    assert os.listdir(site.outbound) == []


async def test_a_published_file_is_flushed_again_when_an_earlier_process_may_not_have(site: Site) -> None:
    adapter, file = site.sender(), outgoing(1)
    await adapter.stage([file])
    with switched_on("publish.outbound.flush:1:eio"):
        assert codes(await adapter.publish([promise(file)])) == ["address.unavailable"]
    site.recorded.clear()
    assert codes(await adapter.publish([promise(file)])) == [None]
    assert [(each.op, each.path) for each in site.recorded] == [
        ("fsync_folder", str(site.outbound)),
        ("fsync_folder", str(site.staging)),
    ]


async def test_a_final_name_that_is_taken_is_never_overwritten(site: Site) -> None:
    adapter, file = site.sender(), outgoing(1)
    (site.outbound / file.final_name).write_text("the partner's own")
    await adapter.stage([file])
    (error,) = await adapter.publish([promise(file)])
    assert isinstance(error, AdapterUnavailable)
    assert file.final_name in error.message
    assert (site.outbound / file.final_name).read_text() == "the partner's own"
    (site.outbound / file.final_name).unlink()
    assert codes(await adapter.publish([promise(file)])) == [None]


async def test_a_staged_name_that_is_there_is_neither_overwritten_nor_removed(site: Site) -> None:
    adapter, file = site.sender(), outgoing(1)
    await adapter.stage([file])
    other = OutgoingFile(staged_name=file.staged_name, final_name="other.xml", content=b"other")
    assert codes(await adapter.stage([other])) == ["address.name-taken"]
    assert (site.staging / file.staged_name).read_bytes() == file.content


@pytest.mark.parametrize("lost", ["emptied", "made anew"])
async def test_absence_in_a_folder_we_never_staged_in_proves_nothing(site: Site, lost: str) -> None:
    adapter, file = site.sender(), outgoing(1)
    await adapter.stage([file])
    site.staging.rename(site.root / "unmounted")
    site.staging.mkdir()
    (error,) = await adapter.publish([promise(file)])
    assert error is not None
    assert error.code == "address.other-staging"
    assert STAGING_MARK.decode() in error.message
    site.staging.rmdir()
    (site.root / "unmounted").rename(site.staging)
    assert codes(await adapter.publish([promise(file)])) == [None]
    assert os.listdir(site.outbound) == [file.final_name]


async def test_absence_in_the_folder_of_another_node_proves_nothing(site: Site) -> None:
    """Both folders are ours and marked; only one of them is where the file was staged."""
    adapter, file = site.sender(), outgoing(1)
    promised = replace(promise(file), staging=(await adapter.place()).id)
    await adapter.stage([file])
    other = site.sender(staging=site.faults)
    assert (await other.place()).id != promised.staging
    assert codes(await other.publish([promised])) == ["address.other-staging"]
    assert codes(await adapter.publish([promised])) == [None]
    assert codes(await site.sender().publish([promised])) == [None]
    assert codes(await other.publish([promised])) == ["address.other-staging"]


async def test_nothing_is_staged_in_a_folder_that_took_the_place_of_ours(site: Site) -> None:
    adapter, file = site.sender(), outgoing(1)
    before = await adapter.place()
    site.staging.rename(site.root / "unmounted")
    site.staging.mkdir()
    assert codes(await adapter.stage([file])) == ["address.other-staging"]
    assert await adapter.recover() == []
    assert (await adapter.place()).id != before.id, "it is asked anew"
    assert codes(await adapter.stage([file])) == [None]


async def test_nodes_that_share_a_folder_agree_on_its_identity(site: Site) -> None:
    adapters = [site.sender() for _ in range(4)]
    assert len({(await adapter.place()).id for adapter in adapters}) == 1
    assert len({place.id for place in await asyncio.gather(*(site.sender().place() for _ in range(4)))}) == 1
    assert await site.sender().recover() == []


async def test_a_mark_that_tells_nothing_is_made_anew(site: Site) -> None:
    (site.staging / STAGING_MARK.decode()).touch()
    assert (await site.sender().place()).id == (await site.sender().place()).id


async def test_a_missing_outbound_folder_is_no_proof_either(site: Site) -> None:
    adapter, file = site.sender(), outgoing(1)
    await adapter.stage([file])
    site.outbound.rename(site.root / "away")
    assert codes(await adapter.publish([promise(file)])) == ["address.missing"]
    assert await adapter.recover() == [file.staged_name]
    (site.root / "away").rename(site.outbound)
    assert codes(await adapter.publish([promise(file)])) == [None]


async def test_an_outbound_folder_that_goes_meanwhile_loses_nothing(site: Site) -> None:
    adapter, files = site.sender(), [outgoing(1), outgoing(2)]
    await adapter.stage(files)

    def remove(name: str) -> None:
        if name == "publish.rename" and site.outbound.exists():
            site.outbound.rmdir()

    with switched_on(observer=remove):
        results = await adapter.publish([promise(file) for file in files])
    assert all(result is not None for result in results)
    assert await adapter.recover() == [file.staged_name for file in files]


@pytest.mark.parametrize(
    ("point", "code"),
    [
        ("stage.create", "address.full"),
        ("stage.write", "address.full"),
        ("stage.fsync", "address.unavailable"),
        ("stage.folder.flush", "address.unavailable"),
    ],
)
@pytest.mark.parametrize("count", [1, FEW_FILES])
async def test_a_file_that_could_not_be_made_durable_is_removed_and_made_anew(
    site: Site, point: str, code: str, count: int
) -> None:
    adapter, files = site.sender(), [outgoing(number) for number in range(count)]
    action = "enospc" if code == "address.full" else "eio"
    with switched_on(f"{point}:1+:{action}"):
        assert codes(await adapter.stage(files)) == [code] * count
    assert await adapter.recover() == []
    again = [outgoing(number, attempt=2) for number in range(count)]
    assert codes(await adapter.stage(again)) == [None] * count


async def test_a_failed_group_flush_is_asked_for_each_file(site: Site) -> None:
    adapter, files = site.sender(), [outgoing(number) for number in range(MANY)]
    with switched_on("stage.syncfs:1:eio,stage.fsync:2:eio"):
        results = await adapter.stage(files)
    assert codes(results) == [None, "address.unavailable", *[None] * (MANY - 2)]
    assert await adapter.recover() == [
        file.staged_name for file, error in zip(files, results, strict=True) if not error
    ]


async def test_a_full_disk_stops_the_group_and_keeps_what_was_written(site: Site) -> None:
    adapter, files = site.sender(), [outgoing(number) for number in range(MANY)]
    with switched_on("stage.write:3:enospc"):
        results = await adapter.stage(files)
    assert codes(results) == [None, None, *["address.full"] * (MANY - 2)]
    assert results[2] is not None
    assert "ports.orders.respond.staging" in results[2].message
    assert len(await adapter.recover()) == 2


@pytest.mark.parametrize(
    ("changes", "code"),
    [({"f_flag": os.ST_RDONLY}, "address.read-only"), ({"f_bavail": 0}, "address.full")],
    ids=["read-only", "full"],
)
async def test_a_probe_sees_that_nothing_can_be_written(
    site: Site, monkeypatch: pytest.MonkeyPatch, changes: dict[str, int], code: str
) -> None:
    state = SimpleNamespace(**{"f_blocks": 100, "f_bavail": 50, "f_flag": 0, **changes})
    monkeypatch.setattr(os, "fstatvfs", lambda _: state)
    with pytest.raises(AdapterUnavailable) as caught:
        await site.sender().probe()
    assert caught.value.code == code


async def test_discarding_is_for_staged_files_and_may_be_repeated(site: Site) -> None:
    adapter, file = site.sender(), outgoing(1)
    await adapter.stage([file])
    for _ in range(2):
        await adapter.discard([file.staged_name])
    assert await adapter.recover() == []


async def test_nothing_to_do_touches_nothing(site: Site) -> None:
    adapter = site.sender(staging=site.root / "nowhere")
    assert await adapter.stage([]) == []
    assert await adapter.publish([]) == []
    await adapter.discard([])


@pytest.mark.parametrize("seed", range(25))
async def test_random_faults_and_a_partner_that_takes_files_at_once(site: Site, seed: int) -> None:
    """Drive stage, promise and publish as the send stage does, restarting at random; compare with the truth."""
    chance = random.Random(seed)
    points = ["stage.create", "stage.write", "stage.fsync", "stage.syncfs", "stage.folder.flush", "publish.rename",
              "publish.renamed", "publish.outbound.flush", "publish.staging.flush"]  # fmt: skip
    ready = dict.fromkeys(range(30), 1)
    promised: dict[int, OutgoingFile] = {}
    received: list[str] = []
    for turn in range(400):
        if not ready and not promised:
            break
        faults = ",".join(
            f"{chance.choice(points)}:{chance.randint(1, 4)}:{chance.choice(['eio', 'enospc'])}"
            for _ in range(chance.randint(0, 3) if turn < 200 else 0)
        )

        def partner(name: str) -> None:
            if chance.random() < 0.5:
                for path in list(site.outbound.iterdir()):
                    received.append(path.name)
                    assert path.read_bytes() == b"<Envelope>%d</Envelope>" % int(path.name.split(".")[1])
                    path.unlink()

        with switched_on(faults, observer=partner):
            adapter = site.sender()
            group = [outgoing(number, ready[number]) for number in sorted(ready)[: chance.randint(1, 10)]]
            for file, error in zip(group, await adapter.stage(group), strict=True):
                number = int(file.staged_name.split(".")[0])
                if error is not None:
                    ready[number] += 1
                elif chance.random() < 0.8:
                    promised[number] = file
                    del ready[number]
                else:
                    # the process ends before the promise: the file is an orphan
                    ready[number] += 1
            waiting = [promised[number] for number in sorted(promised)]
            results = await adapter.publish([promise(file) for file in waiting])
            for file, error in zip(waiting, results, strict=True):
                if error is None and chance.random() < 0.8:
                    del promised[int(file.staged_name.split(".")[0])]
    received += [path.name for path in site.outbound.iterdir()]
    assert sorted(received) == [f"answer.{number:06}.xml" for number in range(30)]
