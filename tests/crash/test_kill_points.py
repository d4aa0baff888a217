"""Promise: a process that dies at any named point loses nothing and repeats nothing; also when it dies again at once."""

import pytest

from adapters.file.fsops import FAULT_POINTS as FILE_POINTS
from gateway.domain.faultpoints import KILLED_STATUS
from gateway.stages.faultpoints import FAULT_POINTS as STAGE_POINTS
from tests.crash.partner import NOTHING, Partner, left_behind
from tests.site import Site, until

NEVER_ON_THE_WAY = {
    "claim.put_back",  # only when a file changes hands in the middle of the claim
    "claim.name_kept",  # only for names too long to be part of the work name
    "claim.unmark", "claim.unmarked",  # only with done markers
    "settle.reason", "settle.reason_written",  # only for refused files
    "settle.unlink", "settle.unlinked",  # only when files are deleted after the intake
    "stage.unlink", "stage.unlinked",  # only after a failed write
}  # fmt: skip
POINTS = [point for point in (*FILE_POINTS, *STAGE_POINTS) if point not in NEVER_ON_THE_WAY]


async def drained(site: Site, partner: Partner) -> None:
    """Wait until everything is answered and the queue is empty."""

    async def empty() -> bool:
        if not partner.complete:
            return False
        (row,) = await site.query("SELECT (SELECT count(*) FROM queue) + (SELECT count(*) FROM lease) AS left")
        return bool(row["left"] == 0) and not left_behind(site)

    await until(empty, "everything is answered", tell=site.tail)


async def effects(site: Site) -> int:
    (row,) = await site.query("SELECT count(*) AS orders, count(DISTINCT key) AS keys FROM entity")
    assert row["orders"] == row["keys"]
    return int(row["orders"])


@pytest.mark.parametrize("point", POINTS)
async def test_death_at_a_named_point_loses_and_repeats_nothing(site: Site, point: str) -> None:
    site.add_port(process={"mode": "parallel"})
    with Partner(site) as partner:
        partner.drop(20)
        await site.start(faults=f"{point}:1:kill")
        if await ends_or_finishes(site, partner):
            assert site.process is not None and site.process.returncode == KILLED_STATUS
            await site.start()
        await drained(site, partner)
    assert partner.verdict() == NOTHING
    assert await effects(site) == len(partner.submitted)
    assert await site.stop() == 0


async def ends_or_finishes(site: Site, partner: Partner) -> bool:
    """Wait until the process died at its point (True) or did all its work without reaching it (False)."""

    async def over() -> bool:
        assert site.process is not None
        return site.process.returncode is not None or partner.complete

    await until(over, "the process dies or finishes", tell=site.tail)
    assert site.process is not None
    return site.process.returncode is not None
