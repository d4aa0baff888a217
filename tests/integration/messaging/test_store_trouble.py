"""Trouble of the database is nobody's failure: it costs no try, no partner hears of it, and the port says so."""

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from gateway.db.open import Store
from gateway.messaging.rules.states import Policy
from tests.factories import ORDERS
from tests.inbound_bench import InboundBench, Scripted

EVERYWHERE = ["53100", "53200", "53000", "58030", "25006"]
"""Disk full, out of memory, no resources, a failing disk, read-only."""
HERE = ["55P03", "57014", "40001", "40P01"]
"""A lock that somebody holds, a statement that takes too long, undone for another transaction."""
REFUSE = """
CREATE SEQUENCE asked;
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF nextval('asked') <= {times} {which} THEN
        RAISE 'could not extend file' USING ERRCODE = '{state}';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER refuse BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION refuse();
"""
WAKE = "UPDATE queue SET reason = 'ready', not_before = NULL WHERE reason = 'backoff'"
ALWAYS = 1_000_000


@pytest.fixture
async def bench(store: Store) -> AsyncIterator[InboundBench]:
    with ThreadPoolExecutor(1) as executor:
        yield InboundBench(store, executor, Scripted())


async def refuse(
    bench: InboundBench, state: str, *, table: str = "number_sequence", times: int = ALWAYS, which: str = ""
) -> None:
    """Let the database refuse rows of a table: what the handler writes, or what records its outcome."""
    async with bench.store.transaction() as connection:
        await connection.execute(REFUSE.format(state=state, table=table, times=times, which=which))


async def mend(bench: InboundBench) -> None:
    async with bench.store.transaction() as connection:
        await connection.execute("DROP TRIGGER refuse ON number_sequence; DROP FUNCTION refuse; DROP SEQUENCE asked")


@pytest.mark.parametrize("state", [*EVERYWHERE, *HERE])
async def test_message_waits_however_often_the_database_cannot(bench: InboundBench, state: str) -> None:
    await bench.put(["M1"])
    await refuse(bench, state)
    for waits in range(1, 6):
        await bench.run(retries=1, pause_after_failures=1)
        assert await bench.rows(
            "SELECT status, reason, attempts, store_waits, error LIKE '%counts as no attempt%' FROM queue"
        ) == [("ready", "backoff", 0, waits, True)]
        await bench.rows(WAKE)
    assert await bench.rows("SELECT code FROM exception") == []
    await mend(bench)
    await bench.run(retries=1)
    (answer,) = await bench.answers()
    assert answer.find(".//{*}Fault") is None


@pytest.mark.parametrize("state", EVERYWHERE)
async def test_port_says_that_it_waits_for_the_database_and_spares_the_others(bench: InboundBench, state: str) -> None:
    await bench.put(["M1", "M2", "M3"])
    await refuse(bench, state)
    await bench.run(pause_after_failures=0, mode="parallel", max_parallel=1)
    ((said, reason),) = await bench.rows("SELECT state, reason FROM port_status")
    assert said == "stopped"
    assert "No message fails by that" in reason
    assert await bench.rows("SELECT count(*) FROM queue WHERE store_waits = 0") == [(2,)]


@pytest.mark.parametrize("state", HERE)
async def test_message_that_waits_for_a_lock_keeps_its_neighbours_from_nothing(bench: InboundBench, state: str) -> None:
    _, (first, *_) = await bench.put(["M1", "M2", "M3"])
    await refuse(bench, state, which=f"AND NEW.name LIKE '%/{first}'")
    await bench.run(pause_after_failures=1)
    assert await bench.rows("SELECT message_id, reason FROM queue WHERE direction = 'in'") == [(first, "backoff")]
    assert len(await bench.answers()) == 2
    assert await bench.rows("SELECT state FROM port_status WHERE state <> 'open'") == []


async def test_set_under_rollback_waits_as_a_whole(bench: InboundBench) -> None:
    await bench.put(["M1", "M2"], policy=Policy.ROLLBACK, lane="set")
    await refuse(bench, "53100")
    await bench.run(retries=1)
    assert await bench.rows("SELECT status, attempts, store_waits FROM queue") == [("ready", 0, 1)] * 2


async def test_database_that_cannot_record_the_outcome_is_waited_for_and_told(bench: InboundBench) -> None:
    await bench.put(["M1"])
    async with bench.store.transaction() as connection:
        await connection.execute("CREATE TABLE told (state text)")
        await connection.execute(
            "CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN INSERT INTO told VALUES (NEW.state); RETURN NULL; END $$;"
            "CREATE TRIGGER tell AFTER INSERT OR UPDATE ON port_status FOR EACH ROW EXECUTE FUNCTION tell()"
        )
    await refuse(bench, "53100", table="message", times=2)
    await bench.run(retries=1)
    told = await bench.rows("SELECT state FROM told")
    assert told == [("stopped",), ("open",)]
    assert len(await bench.answers()) == 1
    assert await bench.rows("SELECT code FROM exception") == []


async def test_port_is_open_again_although_the_outcome_of_its_trial_was_not_recorded(bench: InboundBench) -> None:
    await bench.put(["M1"])
    await refuse(bench, "53100")
    stage = bench.stage()
    await bench.work(stage)
    assert await bench.rows("SELECT state FROM port_status") == [("stopped",)]
    await mend(bench)
    await refuse(bench, "53100", table="message", times=1)
    await bench.rows(WAKE)
    stage.try_now(ORDERS)
    await bench.work(stage)
    assert len(await bench.answers()) == 1
    assert await bench.rows("SELECT state FROM port_status") == [("open",)]
