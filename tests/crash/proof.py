"""What every proof ends with: all is answered, exactly once, and nothing is left behind."""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gateway.config.load import load
from gateway.db.data_folder import Use
from gateway.db.open import open_store
from gateway.explanations.finding import Finding, Severity
from gateway.operations.doctor import examine
from gateway.runtime.folders import folders_of
from gateway.runtime.plugins import key_lengths
from tests.crash.partner import NOTHING, Partner, left_behind
from tests.site import Site, until

CALM_SECONDS = 90.0
SILENT_SECONDS = 90.0
"""Longer than a lease and what comes before and after it."""
_UNFINISHED = """
SELECT ARRAY(SELECT status || ', ' || reason FROM queue WHERE status <> ALL($1)) AS queue,
       ARRAY(SELECT fence FROM lease) AS leases,
       ARRAY(SELECT s.port || ': ' || s.reason FROM port_status s JOIN incarnation i ON i.id = s.incarnation
             WHERE i.stopped_at IS NULL AND i.lost_at IS NULL AND s.state <> 'open') AS troubled
"""


async def drained(site: Site, partner: Partner, *, seconds: float | None = None) -> None:
    """Wait until everything is answered, and all is calm soon after.

    All answers are there within *seconds*; None: however many they are, they go on coming.
    """
    seen = 0

    async def answered() -> bool:
        return partner.complete

    async def moved() -> bool:
        return partner.complete or len(partner.answered) > seen

    def tell() -> str:
        return f"{partner.verdict()} {left_behind(site, partner.port)}\n{site.tail()}"

    if seconds is not None:
        await until(answered, "everything is answered", seconds=seconds, tell=tell)
    while not partner.complete:
        seen = len(partner.answered)
        await until(moved, "more is answered", seconds=SILENT_SECONDS, tell=tell)
    await calm(site, partner.port)


async def calm(
    site: Site, port: str = "orders", *, resting: Sequence[str] = ("malformed",), taken: bool = True,
    seconds: float = CALM_SECONDS,
) -> None:  # fmt: skip
    """P37: wait until nothing is left and all says that it is well, which it does soon and by itself.

    Shape: *resting* are the states in which messages may stay, because a person has to decide about them; *taken* says
    whether somebody takes the answers away.
    """
    left: dict[str, object] = {}

    async def well() -> bool:
        left.clear()
        left.update(await unrest(site, port, resting, taken=taken))
        return not left

    await until(well, "nothing is left and all is well", seconds=seconds, tell=lambda: f"{left}\n{site.tail()}")


async def unrest(
    site: Site, port: str = "orders", resting: Sequence[str] = ("malformed",), *, taken: bool = True
) -> dict[str, object]:
    """Return what has not come to its end, by where it is; the doctor is asked once nothing else is left."""
    (row,) = await site.query(_UNFINISHED, list(resting))
    left: dict[str, object] = {**row, **left_behind(site, port)}
    if not taken:
        left.pop("outbound", None)
    if not any(left.values()):
        found = [one for config in site.configs for one in await look_into(site, config)]
        left["wrong"] = [(one.code, one.what) for one in found if one.rule.severity is Severity.WRONG]
    return {where: what for where, what in left.items() if what}


async def look_into(site: Site, config: Path | None = None) -> list[Finding]:
    """Ask the doctor."""
    settings = load(config or site.config, {})
    with ThreadPoolExecutor(1) as threads:
        async with open_store(settings.store, settings.data, use=Use.VISIT) as store:
            folders = folders_of(lambda: settings, lambda _: threads)
            return await examine(store, settings, folders, longest_key=key_lengths(settings))


async def effects(site: Site) -> Counter[str]:
    """Count what the service did, by the MessageId of the request."""
    rows = await site.query(
        "SELECT m.message_id_sent AS id, count(*) AS orders FROM entity e JOIN message m ON m.id = e.request_id"
        " GROUP BY m.message_id_sent"
    )
    return Counter({row["id"]: row["orders"] for row in rows})


async def everything_happened_once(site: Site, partner: Partner) -> None:
    """Each request has one answer and one effect; nothing else was answered, nothing was seen half-written."""
    assert partner.verdict() == NOTHING, partner.faults[:3]
    assert await effects(site) == Counter(partner.submitted)
    assert left_behind(site, partner.port) == {}
