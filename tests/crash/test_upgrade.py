"""P29: an upgrade from the released version, in whatever state that left things, killed again and again.

Nothing is lost or done twice, and what waited for an operator still does.
"""

import asyncio
from collections.abc import Iterator, Sequence
from random import Random
from signal import SIGKILL

import pytest

from gateway.db.migrate import FAULT_POINTS as MIGRATION_POINTS
from gateway.db.migrate import load_migrations, migrate
from gateway.explanations.finding import Finding, Severity
from tests.conftest import Databases
from tests.crash.process_factory import Child
from tests.crash.proof import effects, look_into
from tests.crash.released import (
    Partners,
    Released,
    at_rest,
    connected,
    history,
    once,
    requests_stopped,
    settle_in,
    stopped,
    times_answered,
)
from tests.crash.site import KILLED, CrashSite
from tests.documents import envelope, single
from tests.site import until

WORK_POINTS = (
    "ingest.before_commit", "ingest.after_commit", "inbound.before_effects", "inbound.before_commit",
    "inbound.after_commit", "send.before_promise", "send.after_promise", "send.before_sent", "send.after_sent",
    "publish.renamed", "settle.moved",
)  # fmt: skip
LATER = "SELECT 1 FROM schema_version WHERE name = 'later'"
LISTENING = """
SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'gateway listener'
"""
DUPLICATE = "DuplicateMessage"
DUPLICATE_CODE = "message.duplicate"


@pytest.fixture
def old_url(databases: Databases) -> Iterator[str]:
    """A database that is to get the schema of the released version."""
    name = databases.create_empty()
    yield databases.url(name)
    databases.drop(name)


class Upgrade:
    """One installation of the released version on its way to the present one."""

    def __init__(self, site: CrashSite, released: Released, partner: Partners, chance: Random) -> None:
        self.site = site
        self.released = released
        self.partner = partner
        self.kills = 0
        self._chance = chance
        self._missing: set[str] = set()

    async def version(self) -> int:
        (row,) = await self.site.query("SELECT max(version) AS version FROM schema_version")
        return int(row["version"])

    async def migrate(self) -> None:
        """Migrate to the end."""
        await self.command("db migrate")

    async def kill_migration(self, deaths: Sequence[str], moments: int) -> None:
        """Die at each of the points, `name:nth`, and at so many random moments before each."""
        for death in deaths:
            for _ in range(moments):
                life = self.site.command("db migrate")
                await asyncio.sleep(self._chance.uniform(0.0, 0.3))
                life.send_signal(SIGKILL)
                self.kills += await self._ended(life) == -SIGKILL
            life = self.site.command("db migrate", faults=f"{death}:kill")
            self.kills += await self._ended(life) in KILLED

    async def kill_at_work(self, points: Sequence[str], kills: int) -> None:
        """Die at each of the points that is still reached, and at random moments until there were so many kills."""
        for point in points:
            life = self.site.launch(faults=f"{point}:1:kill")

            async def done(life: Child = life) -> bool:
                return life.returncode is not None or (self.site.told("gateway.started") and await self.all_done())

            await until(done, f"dead at {point}, or nothing is left that leads there", tell=self.tell)
            await self._kill(life)
        while self.kills < kills:
            life = self.site.launch()
            await asyncio.sleep(self._chance.uniform(0.0, 1.5))
            await self._kill(life)

    async def all_done(self) -> bool:
        """Tell whether all has happened that happens without an operator."""
        if not await at_rest(self.site):
            return False
        self._missing = await self.expected() - set(times_answered(self.released, self.partner))
        return not self._missing and len(self.partner.sent) >= self.released.asked

    async def expected(self) -> set[str]:
        """The requests that have their response in the end, as things stand."""
        left = await requests_stopped(self.site)
        return {request for request in self.partner.submitted if request not in left} | self.released.done

    async def drained(self) -> None:
        await until(self.all_done, "all is done that can be", seconds=120, tell=self.tell)

    def tell(self) -> str:
        """Say what is missing, with the end of the log."""
        return f"without an answer: {sorted(self._missing)}\n{self.site.tail()}"

    async def command(self, words: str, *keys: object) -> None:
        """Give a command of an operator, beside the running gateway."""
        life = self.site.command(" ".join((words, *map(str, keys))))
        assert await self._ended(life) == 0, self.site.tail()

    async def _ended(self, life: Child) -> int:
        async with asyncio.timeout(90):
            return await life.wait()

    async def _kill(self, life: Child) -> None:
        self.kills += life.returncode in (None, *KILLED)
        await self.site.kill()


async def prove_upgrade(
    site: CrashSite, url: str, size: str, chance: Random, *,
    deaths: Sequence[str], moments: int, work_points: Sequence[str], kills: int,
) -> None:  # fmt: skip
    """Upgrade, with so many kills on the way; then let an operator finish what waits."""
    released = await settle_in(site, url, size)
    with Partners(site) as partner:
        partner.submitted += released.submitted
        upgrade = Upgrade(site, released, partner, chance)
        site.write_config()
        waiting, over = await stopped(site), await history(site)
        await upgrade.kill_migration(deaths, moments)
        await upgrade.migrate()
        assert await stopped(site) == waiting
        assert await history(site) == over
        await upgrade.kill_at_work(work_points, kills)
        assert upgrade.kills >= kills
        await site.run()
        await upgrade.drained()
        await nothing_but_the_rest_happened(upgrade, waiting, over)
        await an_operator_finishes(upgrade)
        assert await site.stop() == 0


async def amiss(site: CrashSite) -> list[Finding]:
    """Return what should be impossible or is stuck; what waits for an operator or a folder was left so."""
    return [one for one in await look_into(site) if one.rule.severity is not Severity.ATTENTION]


async def nothing_but_the_rest_happened(
    upgrade: Upgrade, waiting: Sequence[tuple[object, ...]], over: dict[str, set[tuple[object, ...]]]
) -> None:
    """All that could go on has, once; what was over is, what was stopped is, for the same reasons; all is well."""
    site, partner = upgrade.site, upgrade.partner
    assert times_answered(upgrade.released, partner) == once(await upgrade.expected())
    assert (partner.faults, partner.partial) == ([], [])
    assert len(set(partner.sent)) == len(partner.sent) == upgrade.released.asked
    assert await stopped(site) == waiting
    now = await history(site)
    assert {name: rows - now[name] for name, rows in over.items()} == {name: set() for name in over}
    assert await amiss(site) == []
    for port in ("line", "slow"):  # sequential: in order of arrival
        rows = await site.query(
            "SELECT e.request_id AS id FROM entity e JOIN message m ON m.id = e.request_id WHERE m.port = $1"
            " ORDER BY e.rec_id", port,
        )  # fmt: skip
        assert [row["id"] for row in rows] == sorted(row["id"] for row in rows)


async def an_operator_finishes(upgrade: Upgrade) -> None:
    """What waits is deleted or released by today's commands; what was processed by the old version is not again."""
    site, partner = upgrade.site, upgrade.partner
    dead = await site.query(
        "SELECT q.message_id AS id FROM queue q WHERE q.status = 'malformed' OR EXISTS"
        " (SELECT 1 FROM exception e WHERE e.message_key = q.message_id AND e.code = $1)"
        " UNION ALL SELECT id FROM send_request WHERE status = 'error'", DUPLICATE_CODE,
    )  # fmt: skip
    await upgrade.command("queue delete --yes", *(row["id"] for row in dead))
    rest = await site.query("SELECT message_id AS id FROM queue WHERE status IN ('error', 'hold')")
    assert dead and rest
    await upgrade.command("queue release --yes", *(row["id"] for row in rest))
    again = min(upgrade.released.done)
    site.drop("again.xml", single(envelope(message_id=again)))
    await upgrade.drained()

    async def refused() -> bool:
        return bool(partner.faults)

    await until(refused, "what was done before the upgrade is refused as a duplicate", tell=site.tail)
    (fault,) = partner.faults
    assert fault.startswith(f"{again}: {DUPLICATE}")
    assert [row[1:5] for row in await stopped(site)] == [("orders", "in", "error", "failed")]
    assert times_answered(upgrade.released, partner) == once(partner.submitted)
    assert await effects(site) == once(partner.submitted)
    assert await amiss(site) == []


async def test_an_upgrade_in_flight_loses_nothing(crash_site: CrashSite, old_url: str, chance: Random) -> None:
    await prove_upgrade(
        crash_site, old_url, "small", chance, moments=0, work_points=["inbound.before_commit"], kills=4,
        deaths=["migrate.noted:1", "migrate.before_commit:2", "migrate.after_commit:2"],
    )  # fmt: skip


async def test_without_a_transaction_a_killed_migration_leaves_half_a_schema(
    crash_site: CrashSite, old_url: str
) -> None:
    crash_site.store = old_url
    crash_site.write_config()
    async with connected(old_url) as connection:
        await migrate(connection, load_migrations()[:1])
    for faults in ("migrate.statement:6:kill", ""):
        life = crash_site.command("db migrate", build="bare_migrations", faults=faults)
        assert await life.wait() != 0
    assert await crash_site.query("SELECT 1 FROM information_schema.columns WHERE column_name = 'parked_by'")
    (row,) = await crash_site.query("SELECT max(version) AS version FROM schema_version")
    assert row["version"] == 1


async def test_a_migration_that_forgets_promises_answers_twice(crash_site: CrashSite, old_url: str) -> None:
    released = await settle_in(crash_site, old_url, "small")
    with Partners(crash_site) as partner:
        crash_site.write_config()
        life = crash_site.command("db migrate", build="forgets_promises")
        assert await life.wait() == 0
        await crash_site.run()

        async def twice() -> bool:
            return max(times_answered(released, partner).values()) > 1

        await until(twice, "an answer that was published before is published again", tell=crash_site.tail)


async def test_a_schema_is_not_changed_under_a_running_gateway(crash_site: CrashSite) -> None:
    await crash_site.run()

    async def listens() -> bool:
        return bool(await crash_site.query(LISTENING))

    await until(listens, "the gateway listens", tell=crash_site.tail)
    assert await crash_site.command("db migrate", build="next_version").wait() == 1
    assert "a gateway works on this database" in crash_site.said()
    assert not await crash_site.query(LATER)
    assert await crash_site.stop() == 0
    assert await crash_site.command("db migrate", build="next_version").wait() == 0
    assert await crash_site.query(LATER)
    assert await crash_site.launch().wait() == 1
    assert "it was migrated by a newer gateway; start that version" in crash_site.said()


async def test_a_gateway_that_was_passed_by_an_upgrade_ends_itself(crash_site: CrashSite) -> None:
    await crash_site.run(build="short_leases")
    assert await crash_site.command("db migrate", build="next_version migrates_anyway").wait() == 0
    assert await crash_site.ended() == 1
    assert "it was migrated by a newer gateway; start that version" in crash_site.said()


@pytest.mark.full
async def test_an_upgrade_in_flight_loses_nothing_at_full_size(
    crash_site: CrashSite, old_url: str, chance: Random
) -> None:
    await prove_upgrade(
        crash_site, old_url, "full", chance, moments=1, work_points=WORK_POINTS, kills=50,
        deaths=[f"{point}:1" for _ in load_migrations()[1:] for point in MIGRATION_POINTS],
    )  # fmt: skip
