"""What every proof ends with: all is answered, exactly once, and nothing is left behind."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gateway.admin.doctor import examine
from gateway.config.load import load
from gateway.domain.finding import Finding, Severity
from gateway.runtime.look import folders_of
from gateway.store.data_folder import Use
from gateway.store.open import open_store
from tests.crash.partner import NOTHING, Partner, left_behind
from tests.site import Site, until

CALM_SECONDS = 30.0
SILENT_SECONDS = 90.0
"""Longer than a lease and what comes before and after it."""
_UNFINISHED = """
SELECT (SELECT count(*) FROM queue WHERE status <> 'malformed') AS queue, (SELECT count(*) FROM lease) AS leases,
       ARRAY(SELECT s.port || ': ' || s.reason FROM port_status s JOIN incarnation i ON i.id = s.incarnation
             WHERE i.stopped_at IS NULL AND i.lost_at IS NULL AND s.state <> 'open') AS troubled
"""


async def drained(site: Site, partner: Partner, *, seconds: float | None = None) -> None:
    """P37: wait until everything is answered; soon after, by itself, nothing is left and all says that it is well.

    All answers are there within *seconds*; None: however many they are, they go on coming.
    """
    unfinished: dict[str, object] = {}
    seen = 0

    async def answered() -> bool:
        return partner.complete

    async def moved() -> bool:
        return partner.complete or len(partner.answered) > seen

    async def calm() -> bool:
        unfinished.update((await site.query(_UNFINISHED))[0])
        return not any(unfinished.values()) and not left_behind(site, partner.port)

    def tell() -> str:
        return f"{partner.verdict()} {left_behind(site, partner.port)} {unfinished}\n{site.tail()}"

    if seconds is not None:
        await until(answered, "everything is answered", seconds=seconds, tell=tell)
    while not partner.complete:
        seen = len(partner.answered)
        await until(moved, "more is answered", seconds=SILENT_SECONDS, tell=tell)
    await until(calm, "nothing is left and all is well", seconds=CALM_SECONDS, tell=tell)


async def look_into(site: Site, config: Path | None = None) -> list[Finding]:
    """Ask the doctor."""
    settings = load(config or site.config, {})
    with ThreadPoolExecutor(1) as threads:
        async with open_store(settings.store, settings.data, use=Use.VISIT) as store:
            return await examine(store, settings, folders_of(lambda: settings, lambda _: threads))


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
    found = [one for config in site.configs for one in await look_into(site, config)]
    assert [(one.code, one.what) for one in found if one.rule.severity is Severity.WRONG] == []
