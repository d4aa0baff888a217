"""P3, P4: the real gateway's file operations, in order: whenever the power fails, nothing acknowledged is lost.

The operations of the file layer and the commits between them are recorded in the running program. Then every
state is built that a disk may be in after a power loss at any step, and looked at.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from adapters.file.fsops import Operation
from tests.crash.environments import OPERATIONS
from tests.crash.site import CrashSite
from tests.documents import batch, envelope, guid, single
from tests.unit.adapters.support import after_power_loss

REQUESTS = 3


@dataclass(frozen=True)
class Step:
    """A file operation, or a named point between two."""

    operation: Operation | None = None
    point: str = ""


async def recorded_life(site: CrashSite, build: str = "") -> list[Step]:
    """Let a gateway answer a single envelope and a batch; return what it did to the folders."""
    site.add_port()
    site.drop("a.xml", single(envelope(message_id=guid(1))))
    site.drop("b.xml", batch([envelope(message_id=guid(n)) for n in range(2, REQUESTS + 1)]))
    await site.run(build=f"recorded {build}")
    await site.wait_answers(REQUESTS)
    assert await site.stop() == 0
    lines = [json.loads(line) for line in (site.folder / OPERATIONS).read_text().splitlines()]
    return [Step(point=one["point"]) if "point" in one else Step(Operation(**one)) for one in lines]


def harm(site: CrashSite, steps: list[Step]) -> Iterator[str]:
    """Say what a power loss at any step may do that must not be."""
    inbound, work, staging, outbound = (
        str(path) for path in (site.inbound(), site.data / "work" / "orders", site.data / "staging" / "orders",
                               site.outbound())
    )  # fmt: skip
    points: list[str] = []
    operations: list[Operation] = []
    taken: set[str] = set()
    promised: dict[str, str] = {}
    renamed = (step.operation for step in steps if step.operation is not None and step.operation.op == "rename")
    published = {one.path: str(one.target) for one in renamed if one.path.startswith(f"{staging}/")}
    for step in steps:
        if step.operation is None:
            points.append(step.point)
            if step.point not in ("ingest.before_commit", "send.before_promise", "send.after_sent"):
                continue
        else:
            operations.append(step.operation)
        ingested = "ingest.before_commit" in points
        taken |= {one.path for one in operations if one.op == "rename" and one.path.startswith(f"{inbound}/")}
        if step.point == "send.before_promise":
            names = [one.path for one in operations if one.op == "create" and is_staged(one.path)]
            promised |= {name: published[name] for name in names}
        for state in after_power_loss(operations):
            requests = [path for path in state if path.endswith(".xml") and not path.startswith((staging, outbound))]
            if len(requests) != len(taken):
                yield f"lost or doubled request: {requests} of {taken}"
            if ingested and any(path.startswith(f"{inbound}/") for path in requests):
                yield "a request that was taken in is back in the inbound folder"
            for staged, final in promised.items():
                found = [state[path] for path in (staged, final) if path in state]
                if found != [True]:
                    yield f"promised response is damaged, lost or doubled: {found}"
                if points.count("send.after_sent") == points.count("send.before_promise") and final not in state:
                    yield "a response that counts as sent is not in the outbound folder"
    assert len(promised) == REQUESTS and work


def is_staged(path: str) -> bool:
    return path.endswith(".tmp") and not path.endswith(".mark.tmp")


async def test_whenever_the_power_fails_nothing_acknowledged_is_lost_or_damaged(crash_site: CrashSite) -> None:
    """Each step is durable before the next one counts."""
    steps = await recorded_life(crash_site)
    assert set(harm(crash_site, steps)) == set()
    keep_their_order(crash_site, steps)


@pytest.mark.parametrize("build", ["no_fsync_of_files", "no_fsync_of_claims", "no_fsync_of_outbound"])
async def test_every_missing_flush_does_harm_that_is_seen(crash_site: CrashSite, build: str) -> None:
    steps = await recorded_life(crash_site, build)
    assert set(harm(crash_site, steps))


@pytest.mark.parametrize(
    ("build", "what"),
    [("archive_before_commit", "commit, then archive"), ("inbound_flushed_first", "the work folder first")],
)
async def test_step_out_of_its_order_is_seen(crash_site: CrashSite, build: str, what: str) -> None:
    steps = await recorded_life(crash_site, build)
    with pytest.raises(AssertionError, match=what):
        keep_their_order(crash_site, steps)


def keep_their_order(site: CrashSite, steps: list[Step]) -> None:
    """Claim, both folders, commit, archive; write, flush, folder, promise, rename, both folders, sent."""
    work, staging = (str(site.data / name / "orders") for name in ("work", "staging"))
    inbound, outbound = str(site.inbound()), str(site.outbound())
    place = Places(steps)
    flushed = place.first("fsync_folder", work), place.first("fsync_folder", inbound)
    assert place.last("rename", inbound) < min(flushed), "claim, then flush"
    assert flushed[0] < flushed[1], "the work folder first"
    assert flushed[1] < place.point("ingest.before_commit"), "flush, then commit"
    assert place.point("ingest.after_commit") < place.first("rename", work), "commit, then archive"
    for fence in range(steps.count(Step(point="send.before_promise"))):
        promise = place.point("send.before_promise", fence)
        assert place.before("fsync_folder", staging, promise) > place.before("fsync", staging, promise)
        assert place.before("fsync", staging, promise) > place.before("write", staging, promise)
        renamed = place.after("rename", staging, promise)
        sent = place.point("send.before_sent", fence)
        assert promise < renamed < place.after("fsync_folder", outbound, renamed) < sent
        assert place.after("fsync_folder", outbound, renamed) < place.after("fsync_folder", staging, renamed) < sent


class Places:
    """Where in the record something stands; a folder stands for what is in it."""

    def __init__(self, steps: list[Step]) -> None:
        self._steps = steps

    def _all(self, op: str, folder: str) -> list[int]:
        inside = (folder,) if op == "fsync_folder" else (f"{folder}/",)
        return [
            number for number, step in enumerate(self._steps)
            if step.operation is not None and step.operation.op == op and step.operation.path.startswith(inside)
        ]  # fmt: skip

    def first(self, op: str, folder: str) -> int:
        return self._all(op, folder)[0]

    def last(self, op: str, folder: str) -> int:
        return self._all(op, folder)[-1]

    def before(self, op: str, folder: str, place: int) -> int:
        return max(number for number in self._all(op, folder) if number < place)

    def after(self, op: str, folder: str, place: int) -> int:
        return min(number for number in self._all(op, folder) if number > place)

    def point(self, name: str, nth: int = 0) -> int:
        return [number for number, step in enumerate(self._steps) if step.point == name][nth]
