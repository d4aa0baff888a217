"""The order of flushes, and what a power loss at any step may leave behind."""

import os
from itertools import pairwise

import pytest

from adapters.file.outbound.stage import FEW_FILES
from gateway.messaging.rules.delivery import Settled, Settlement
from tests.unit.adapters.support import Site, after_power_loss, archived, outgoing, promise, quarantined


def steps(site: Site) -> list[tuple[str, str]]:
    """Return what was recorded: operation and folder."""
    folders = {str(path): path.name for path in site.root.iterdir()}
    made = []
    for operation in site.recorded:
        path = operation.path
        made.append((operation.op, folders.get(path) or folders[path.rpartition("/")[0]]))
    return made


async def test_claims_are_renamed_then_flushed_once_per_batch_work_first(site: Site) -> None:
    for name in ("a.xml", "b.xml"):
        site.drop(name)
    await site.receiver().poll(10)
    assert steps(site) == [
        ("rename", "inbound"),
        ("rename", "inbound"),
        ("fsync_folder", "work"),
        ("fsync_folder", "inbound"),
    ]


async def test_recovered_claims_are_flushed_before_they_are_handed_over(site: Site) -> None:
    site.drop("a.xml")
    await site.receiver().poll(1)
    site.recorded.clear()
    await site.receiver().recover()
    assert steps(site) == [("fsync_folder", "work"), ("fsync_folder", "inbound")]


async def test_one_response_is_written_flushed_and_its_folder_flushed(site: Site) -> None:
    adapter, file = site.sender(), outgoing(1)
    await adapter.stage([outgoing(0)])
    site.recorded.clear()
    await adapter.stage([file])
    await adapter.publish([promise(file)])
    assert steps(site) == [
        ("create", "staging"),
        ("write", "staging"),
        ("fsync", "staging"),
        ("fsync_folder", "staging"),
        ("rename", "staging"),
        ("fsync_folder", "outbound"),
        ("fsync_folder", "staging"),
    ]


async def test_a_group_of_responses_is_flushed_as_one(site: Site) -> None:
    adapter, files = site.sender(), [outgoing(number) for number in range(FEW_FILES + 1)]
    await adapter.place()
    site.recorded.clear()
    await adapter.stage(files)
    made = [op for op, _ in steps(site)]
    assert made.count("syncfs") == 1
    assert made.count("fsync") == 0
    assert made[-2:] == ["syncfs", "fsync_folder"]


async def test_a_reason_is_durable_before_its_file_is_quarantined(site: Site) -> None:
    site.drop("a.xml")
    adapter = site.receiver()
    (claim,) = await adapter.poll(1)
    site.recorded.clear()
    await adapter.settle([quarantined(claim)])
    assert [op for op, _ in steps(site)] == ["create", "write", "fsync", "rename", "fsync_folder", "fsync_folder"]


async def test_whenever_the_power_fails_a_request_is_in_one_place_and_a_claim_handed_over_stays_claimed(
    site: Site,
) -> None:
    for name in (b"a.xml", b"x" * 251 + b".xml"):
        site.drop(name)
    adapter = site.receiver()
    claims = await adapter.poll(10)
    handed_over = len(site.recorded)
    await adapter.settle([*archived(claims[:1]), quarantined(claims[1])])
    for count in range(len(site.recorded) + 1):
        for state in after_power_loss(site.recorded[:count]):
            files = [path for path in state if path.endswith(".xml") or path.endswith("~")]
            begun = {op.path for op in site.recorded[:count] if op.op == "rename" and "/inbound/" in op.path}
            assert len(files) == len(begun)
            if count >= handed_over:
                assert len(files) == 2
                assert not any("/inbound/" in path for path in files)


@pytest.mark.parametrize("count", [1, 2, FEW_FILES + 1])
async def test_whenever_the_power_fails_a_promised_response_is_whole_and_in_one_place(site: Site, count: int) -> None:
    adapter, files = site.sender(), [outgoing(number) for number in range(count)]
    await adapter.stage(files)
    promised_at = len(site.recorded)
    await adapter.publish([promise(file) for file in files])
    for step in range(promised_at, len(site.recorded) + 1):
        for state in after_power_loss(site.recorded[:step]):
            for file in files:
                staged, final = str(site.staging / file.staged_name), str(site.outbound / file.final_name)
                assert [state.get(staged), state.get(final)] in ([True, None], [None, True])
                if step == len(site.recorded):
                    assert state.get(final)


async def test_the_model_sees_a_missing_flush(site: Site) -> None:
    """A check that cannot fail proves nothing: leave out any flush and some state is bad."""
    adapter, file = site.sender(), outgoing(1)
    await adapter.stage([file])
    await adapter.publish([promise(file)])
    final = str(site.outbound / file.final_name)
    whole = [op for op in site.recorded if not op.path.endswith(".mark.tmp")]
    assert all(state.get(final) for state in after_power_loss(whole))
    for left_out in [number for number, op in enumerate(whole) if op.op in ("fsync", "fsync_folder")]:
        if left_out == 3:
            continue  # the staging folder is flushed a second time after the rename
        fewer = [op for number, op in enumerate(whole) if number != left_out]
        assert not all(state.get(final) for state in after_power_loss(fewer))


async def test_deleting_is_flushed_too(site: Site) -> None:
    site.drop("a.xml")
    adapter = site.receiver()
    (claim,) = await adapter.poll(1)
    site.recorded.clear()
    await adapter.settle([Settled(claim=claim, settlement=Settlement.DELETE)])
    assert steps(site) == [("unlink", "work"), ("fsync_folder", "work")]
    assert os.listdir(site.work) == []
    assert all(before != after for before, after in pairwise(steps(site)))
