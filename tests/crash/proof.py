"""What every proof ends with: all is answered, exactly once, and nothing is left behind."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from gateway.admin.doctor import examine
from gateway.config.load import load
from gateway.domain.finding import Finding, Severity
from gateway.runtime.look import folders_of
from gateway.store.data_folder import Use
from gateway.store.open import open_store
from tests.crash.partner import NOTHING, Partner, left_behind
from tests.site import Site, until


async def drained(site: Site, partner: Partner, *, seconds: float = 90.0) -> None:
    """Wait until everything is answered, the queue is empty and so are the folders."""

    async def empty() -> bool:
        if not partner.complete or left_behind(site, partner.port):
            return False
        (row,) = await site.query(
            "SELECT (SELECT count(*) FROM queue WHERE status <> 'malformed') + (SELECT count(*) FROM lease) AS left"
        )
        return bool(row["left"] == 0)

    def tell() -> str:
        return f"{partner.verdict()} {left_behind(site, partner.port)}\n{site.tail()}"

    await until(empty, "everything is answered", seconds=seconds, tell=tell)


async def look_into(site: Site) -> list[Finding]:
    """Ask the doctor."""
    settings = load(site.config, {})
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
    assert [(one.code, one.what) for one in await look_into(site) if one.rule.severity is Severity.WRONG] == []
