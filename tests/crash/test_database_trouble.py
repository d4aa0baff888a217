"""P7, P8: whatever the database does, short of lying, delays; nothing is lost, repeated or answered with a fault."""

import asyncio
from random import Random

import pytest
from asyncpg import connect

from tests.crash.cluster import cut_connections
from tests.crash.partner import Partner
from tests.crash.proof import drained, everything_happened_once
from tests.crash.proxy import LOSE_REPLY, DatabaseProxy
from tests.crash.site import CrashSite
from tests.crash.test_random_kills import moment
from tests.site import until

SERIALIZATION_FAILURE = "40001"
DEADLOCK = "40P01"
DISK_FULL = "53100"
REFUSED = """
CREATE SEQUENCE refused_{table};
CREATE FUNCTION refuse_{table}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF nextval('refused_{table}') % 3 = 1 AND currval('refused_{table}') <= {times} * 3 THEN
        RAISE 'refused by a test' USING ERRCODE = '{state}';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER refuse AFTER INSERT OR UPDATE OR DELETE ON {table} DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION refuse_{table}();
"""
LOST = """
CREATE SEQUENCE lost;
CREATE FUNCTION lose_reply() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF nextval('lost') = 1 THEN
        RAISE NOTICE '{notice}';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER lose_reply AFTER INSERT ON {table} DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION lose_reply();
"""


async def cut_under_load(site: CrashSite, partner: Partner, chance: Random, cuts: int) -> None:
    """End all connections again and again while there is work."""
    for _ in range(cuts):
        partner.drop(5)
        before = len(partner.answered)
        if chance.random() < 0.7:
            await moment(lambda: len(partner.answered) > before)  # noqa: B023  (asked at once)
        await asyncio.sleep(chance.uniform(0, 0.05))
        await cut_connections(site, chance, 1.0)


@pytest.mark.parametrize(
    "cuts", [6, pytest.param(100, marks=[pytest.mark.full, pytest.mark.timeout(0)])], ids=["few", "many"]
)
async def test_connections_that_are_cut_in_the_middle_of_work_lose_and_repeat_nothing(
    crash_site: CrashSite, chance: Random, cuts: int
) -> None:
    crash_site.add_port(process={"mode": "parallel"})
    with Partner(crash_site, seed=chance.random()) as partner:
        life = await crash_site.run(build="short_leases")
        await cut_under_load(crash_site, partner, chance, cuts)
        await drained(crash_site, partner)
        assert life.returncode is None
    await everything_happened_once(crash_site, partner)
    assert await crash_site.stop() == 0


@pytest.mark.parametrize(
    "times", [4, pytest.param(200, marks=[pytest.mark.full, pytest.mark.timeout(0)])], ids=["few", "many"]
)
@pytest.mark.parametrize("kind", ["before", "after"])
async def test_commit_that_fails_or_whose_reply_gets_lost_does_no_harm(
    crash_site: CrashSite, chance: Random, kind: str, times: int
) -> None:
    crash_site.add_port(process={"mode": "parallel"})
    async with DatabaseProxy(crash_site.store, chance) as proxy:
        crash_site.extra["store"] = proxy.url
        with Partner(crash_site, seed=chance.random()) as partner:
            life = await crash_site.run(build="short_leases")
            proxy.lose[kind] = times
            while proxy.lost[kind] < times:
                partner.drop(3)
                before = len(partner.answered)
                await moment(lambda: len(partner.answered) > before, 5.0)  # noqa: B023  (asked at once)
            await drained(crash_site, partner)
            assert life.returncode is None
        await everything_happened_once(crash_site, partner)
        assert await crash_site.stop() == 0


@pytest.mark.parametrize(
    ("table", "build"),
    [("entity", "unfenced fault_on_database_error"), ("delivery", "taken_in_again")],
    ids=["request", "file"],
)
@pytest.mark.parametrize("is_broken", [False, True], ids=["shipped", "broken"])
async def test_commit_that_counts_although_its_reply_gets_lost_is_not_done_again(
    crash_site: CrashSite, chance: Random, table: str, build: str, is_broken: bool
) -> None:
    """The broken gateways take what they do not hear of for undone, and answer it with a fault or do it again."""
    crash_site.add_port(process={"mode": "parallel"})
    async with DatabaseProxy(crash_site.store, chance) as proxy:
        await lose_reply(crash_site, table)
        crash_site.extra["store"] = proxy.url
        with Partner(crash_site) as partner:
            partner.drop(1)
            await crash_site.run(build=f"short_leases {build if is_broken else ''}")
            if is_broken:

                async def harmed() -> bool:
                    return partner.verdict()["faults"] > 0

                await until(harmed, "what was done is answered with a fault", tell=crash_site.tail)
            else:
                await drained(crash_site, partner)
                await everything_happened_once(crash_site, partner)
                assert await crash_site.stop() == 0
        assert proxy.lost["after"] == 1


async def lose_reply(site: CrashSite, table: str) -> None:
    """Let the first transaction that puts something into a table commit, and nobody hear of it."""
    connection = await connect(site.store)
    try:
        await connection.execute(LOST.format(table=table, notice=LOSE_REPLY.decode()))
    finally:
        await connection.close()


async def refuse(site: CrashSite, table: str, state: str) -> None:
    """Let every third change of a table undo its transaction at the commit, for some time."""
    connection = await connect(site.store)
    try:
        await connection.execute(REFUSED.format(table=table, state=state, times=4))
    finally:
        await connection.close()


async def test_transaction_that_the_database_undoes_is_tried_again(crash_site: CrashSite) -> None:
    crash_site.add_port(process={"mode": "parallel"})
    tables = {"queue": SERIALIZATION_FAILURE, "lease": DEADLOCK, "delivery": DEADLOCK}
    with Partner(crash_site) as partner:
        for table, state in tables.items():
            await refuse(crash_site, table, state)
        partner.drop(10)
        life = await crash_site.run(build="short_leases")
        await drained(crash_site, partner)
        assert life.returncode is None and crash_site.told("store.unavailable")
    for table in tables:
        (row,) = await crash_site.query(f"SELECT last_value FROM refused_{table}")
        assert row["last_value"] > 3, f"a change of {table} was refused, and tried again"
    await everything_happened_once(crash_site, partner)
    assert await crash_site.stop() == 0


@pytest.mark.parametrize("state", [SERIALIZATION_FAILURE, DISK_FULL])
async def test_fault_for_trouble_of_the_database_is_seen(crash_site: CrashSite, state: str) -> None:
    """The proofs can fail: a gateway that gives up a request when its commit fails answers with faults."""
    crash_site.add_port(process={"mode": "parallel"})
    with Partner(crash_site) as partner:
        await refuse(crash_site, "entity", state)
        partner.drop(10)
        await crash_site.run(build="short_leases fault_on_database_error")

        async def harmed() -> bool:
            return partner.verdict()["faults"] > 0

        await until(harmed, "a request is answered with a fault", tell=crash_site.tail)


async def test_single_connection_is_enough_to_go_on(crash_site: CrashSite) -> None:
    """A pool that is used up makes the parts wait for one another, not for ever."""
    crash_site.add_port(process={"mode": "parallel"})
    with Partner(crash_site) as partner:
        await crash_site.run(build="tiny_pool")
        partner.drop(10)
        await drained(crash_site, partner)
        assert not crash_site.told("store.unavailable")
    await everything_happened_once(crash_site, partner)
    assert await crash_site.stop() == 0


async def test_slow_database_delays_only(crash_site: CrashSite, chance: Random) -> None:
    """Every statement takes a twentieth of a second on its way: beats come late, and some claims are taken back."""
    crash_site.add_port(process={"mode": "parallel"})
    async with DatabaseProxy(crash_site.store, chance) as proxy:
        crash_site.extra["store"] = proxy.url
        with Partner(crash_site) as partner:
            await crash_site.run(build="short_leases")
            proxy.delay_seconds = 0.05
            partner.drop(3)

            async def answered() -> bool:
                return partner.complete

            await until(answered, "everything is answered", tell=crash_site.tail)
            proxy.delay_seconds = 0.0  # the doctor, who is asked now, asks much
            await drained(crash_site, partner)
        await everything_happened_once(crash_site, partner)
        assert await crash_site.stop() == 0
