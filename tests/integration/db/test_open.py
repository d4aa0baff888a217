"""The store opens, refuses what it cannot trust, and comes back after trouble."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg
import pytest
from asyncpg import Connection

from gateway.batch.statements import tasks_sql
from gateway.db import open as open_module
from gateway.db.connect import connect
from gateway.db.data_folder import Use
from gateway.db.errors import DataFolderInUse, SchemaMismatch, StoreRefused
from gateway.db.migrate import migrate
from gateway.db.open import Schema, Store, open_store
from gateway.kernel.errors import StoreCrowded, StoreUnavailable
from gateway.kernel.ids import Fence
from gateway.messaging.queue import leases
from gateway.messaging.rules.states import Stage
from tests.conftest import Databases
from tests.factories import ORDERS
from tests.site import until


@pytest.fixture(autouse=True)
def patient_sessions() -> None:
    """Here it is looked at what a gateway asks for."""


async def test_transaction_commits_at_the_end_of_its_block(store: Store) -> None:
    async with store.transaction() as connection:
        await connection.execute("INSERT INTO number_sequence (name, next) VALUES ('a', 1)")
    async with store.transaction() as connection:
        assert await connection.fetchval("SELECT count(*) FROM number_sequence") == 1


async def test_our_own_transactions_need_no_cleaning(store: Store) -> None:
    asked: list[str] = []
    async with store.transaction() as connection:
        connection.add_query_logger(lambda query: asked.append(query.query))
        await connection.fetchval("SELECT 1")
    async with store.transaction() as connection:
        await connection.fetchval("SELECT 2")
    assert [query.rstrip(";") for query in asked] == ["SELECT 1", "COMMIT", "BEGIN", "SELECT 2", "COMMIT"]


async def test_a_question_is_one_statement(store: Store) -> None:
    asked: list[str] = []
    async with store.transaction() as connection:
        connection.add_query_logger(lambda query: asked.append(query.query))
    asked.clear()
    async with store.reading() as connection:
        assert await connection.fetchval("SELECT 1") == 1
    assert asked == ["SELECT 1"]


async def test_a_question_tells_when_the_database_is_away(store: Store) -> None:
    with pytest.raises(StoreUnavailable):
        async with store.reading() as connection:
            await connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    assert await store.is_available()


async def test_raising_undoes_the_transaction_and_passes_unchanged(store: Store) -> None:
    with pytest.raises(FileNotFoundError):
        async with store.transaction() as connection:
            await connection.execute("INSERT INTO number_sequence (name, next) VALUES ('a', 1)")
            raise FileNotFoundError("a partner's folder")
    async with store.transaction() as connection:
        assert await connection.fetchval("SELECT count(*) FROM number_sequence") == 0


async def test_time_out_of_other_work_inside_a_transaction_is_not_blamed_on_the_database(
    store: Store,
) -> None:
    with pytest.raises(TimeoutError):
        async with store.transaction():
            async with asyncio.timeout(0):
                await asyncio.Event().wait()


async def test_sessions_keep_what_they_commit_and_give_up_in_time(store: Store) -> None:
    async with store.transaction() as connection:
        shown = {
            name: await connection.fetchval(f"SHOW {name}")
            for name in ("synchronous_commit", "statement_timeout", "lock_timeout", "application_name")
        }
        idle = await connection.fetchval("SHOW idle_in_transaction_session_timeout")
    assert shown == {
        "synchronous_commit": "on",
        "statement_timeout": "1min",
        "lock_timeout": "5s",
        "application_name": "gateway",
    }
    assert idle == "30s"


async def timeouts(connection: Connection) -> dict[str, int]:
    """Return, in milliseconds, how long the session may be silent and how long it waits for locks."""
    names = ["idle_in_transaction_session_timeout", "lock_timeout"]
    rows = await connection.fetch("SELECT name, setting::int FROM pg_settings WHERE name = ANY($1)", names)
    return {row["name"]: row["setting"] for row in rows}


async def claims_a_task(store: Store, connection: Connection) -> None:
    await tasks_sql.lock_task_claims(connection)


async def claims_in_turn(store: Store, connection: Connection) -> None:
    await leases.claim_in_turn(connection, ORDERS)


async def claims(store: Store, connection: Connection) -> None:
    await leases.draw_fence(connection)


async def records(store: Store, connection: Connection) -> None:
    await leases.take_lease(connection, Fence(1), 1, Stage.INBOUND, ORDERS, 1)
    await leases.drop_lease(store, connection, Fence(1))


@pytest.mark.parametrize("does", [claims_a_task, claims_in_turn, claims, records], ids=lambda does: does.__name__)
async def test_process_that_is_frozen_loses_its_locks_before_others_give_up(
    store: Store, does: Callable[[Store, Connection], Awaitable[None]]
) -> None:
    async with store.transaction() as connection:
        others_wait = (await timeouts(connection))["lock_timeout"]
        await does(store, connection)
        assert 0 < (await timeouts(connection))["idle_in_transaction_session_timeout"] < others_wait


async def test_sessions_choose_plans_by_the_same_rules_on_every_server(store: Store) -> None:
    async with store.transaction() as connection:
        rows = await connection.fetch(
            "SELECT name, setting FROM pg_settings"
            " WHERE name IN ('enable_seqscan', 'jit') AND source = 'client' ORDER BY name"
        )
    assert [tuple(row) for row in rows] == [("enable_seqscan", "off"), ("jit", "off")]


async def test_long_transaction_has_no_limit_on_statements(store: Store) -> None:
    async with store.transaction(long=True) as connection:
        assert await connection.fetchval("SHOW statement_timeout") == "0"


async def test_lost_connection_is_store_unavailable_and_the_next_transaction_works(store: Store) -> None:
    with pytest.raises(StoreUnavailable) as caught:
        async with store.transaction() as connection:
            await _terminate(store, connection.get_server_pid())
            await connection.fetchval("SELECT 1")
    assert not caught.value.outcome_unknown
    assert await store.wait_until_available(asyncio.Event())
    async with store.transaction() as connection:
        assert await connection.fetchval("SELECT 1") == 1


async def test_connection_lost_before_the_commit_leaves_the_outcome_unknown(store: Store) -> None:
    with pytest.raises(StoreUnavailable) as caught:
        async with store.transaction() as connection:
            await connection.execute("INSERT INTO number_sequence (name, next) VALUES ('a', 1)")
            await _terminate(store, connection.get_server_pid())
    assert caught.value.outcome_unknown


async def test_commit_ends_even_when_its_task_is_cancelled(store: Store) -> None:
    in_block = asyncio.Event()

    async def work() -> None:
        async with store.transaction() as connection:
            await connection.execute("INSERT INTO number_sequence (name, next) VALUES ('a', 1)")
            await connection.execute("INSERT INTO slow_commit VALUES (1)")
            in_block.set()

    async with store.transaction() as connection:
        await connection.execute("CREATE TABLE slow_commit (n int)")
        await connection.execute(
            "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS"
            " 'BEGIN PERFORM pg_advisory_xact_lock(77); RETURN NULL; END'"
        )
        await connection.execute(
            "CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON slow_commit DEFERRABLE INITIALLY DEFERRED "
            "FOR EACH ROW EXECUTE FUNCTION slow()"
        )
    async with store.transaction() as connection:
        await connection.execute("SELECT pg_advisory_xact_lock(77)")
        task = asyncio.create_task(work())
        await in_block.wait()
        await _until_commit_runs(store)
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with store.transaction() as connection:
        assert await connection.fetchval("SELECT count(*) FROM number_sequence") == 1


async def test_lock_that_does_not_come_is_store_unavailable(store: Store) -> None:
    async with store.transaction() as holder:
        await holder.execute("LOCK TABLE number_sequence")
        with pytest.raises(StoreUnavailable, match="too late"):
            async with store.transaction() as waiter:
                await waiter.execute("SET LOCAL lock_timeout = '50ms'")
                await waiter.execute("SELECT * FROM number_sequence")


async def test_broken_sql_stays_what_it_is(store: Store) -> None:
    with pytest.raises(asyncpg.UndefinedTableError):
        async with store.transaction() as connection:
            await connection.execute("SELECT * FROM no_such_table")


async def test_misused_connection_is_a_bug_not_a_lost_database(store: Store) -> None:
    with pytest.raises(asyncpg.InterfaceError, match="another operation"):
        async with store.transaction() as connection:
            await asyncio.gather(connection.fetchval("SELECT 1"), connection.fetchval("SELECT 2"))


async def test_waiting_for_the_database_ends_when_asked_to_stop(store: Store) -> None:
    stopping = asyncio.Event()
    stopping.set()
    assert not await store.wait_until_available(stopping)


async def test_trouble_that_repeats_is_waited_out_longer_each_time(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []

    async def note(stopping: asyncio.Event, seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(open_module, "wait_or_stop", note)
    for _ in range(3):
        assert await store.wait_until_available(asyncio.Event())
    assert 0 < waits[0] <= 0.1 <= waits[1] <= 0.2 <= waits[2]


async def test_waiting_in_vain_for_a_free_connection_is_no_trouble_with_the_database(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_store(database_url, tmp_path / "data", pool_size=2) as store:
        async with AsyncExitStack() as busy:
            before = {
                (await busy.enter_async_context(store.transaction())).get_server_pid(),
                (await busy.enter_async_context(store.transaction())).get_server_pid(),
            }
            with monkeypatch.context() as patch, pytest.raises(StoreCrowded, match="all 2 connections"):
                patch.setattr(open_module, "CONNECT_SECONDS", 0.1)
                async with store.transaction():
                    raise AssertionError
        assert await store.wait_until_available(asyncio.Event())
        async with store.transaction() as first, store.transaction() as second:
            assert {first.get_server_pid(), second.get_server_pid()} == before


async def test_connections_from_before_a_trouble_are_not_used_again(store: Store) -> None:
    async with store.transaction() as connection:
        before = connection.get_server_pid()
    with pytest.raises(StoreUnavailable):
        async with store.transaction(long=True) as other:
            await _terminate(store, other.get_server_pid())
            await other.fetchval("SELECT 1")
    assert await store.wait_until_available(asyncio.Event())
    async with store.transaction() as connection:
        assert connection.get_server_pid() != before


async def test_missing_database_is_refused_with_what_to_do(databases: Databases, tmp_path: Path) -> None:
    with pytest.raises(StoreRefused, match="create it"):
        async with open_store(databases.url("missing"), tmp_path):
            pass


async def test_missing_role_is_refused_with_what_to_do(databases: Databases, tmp_path: Path) -> None:
    url = databases.url("postgres").replace("//gateway@", "//stranger@")
    with pytest.raises(StoreRefused, match="role and password"):
        async with open_store(url, tmp_path):
            pass


async def test_unreachable_server_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable):
        async with open_store(f"postgresql://gateway@/gateway?host={tmp_path}&sslmode=disable", tmp_path):
            pass


async def test_address_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreRefused, match="address"):
        async with open_store("mysql://somewhere/else", tmp_path):
            pass


async def test_empty_database_is_refused_until_it_is_migrated(databases: Databases, tmp_path: Path) -> None:
    with pytest.raises(SchemaMismatch, match="this program needs version"):
        async with open_store(databases.url("postgres"), tmp_path):
            pass


async def test_schema_can_be_left_to_the_caller(databases: Databases, tmp_path: Path) -> None:
    async with open_store(databases.url("postgres"), tmp_path, schema=Schema.IGNORE) as store:
        assert await store.is_available()


async def test_second_gateway_on_one_data_folder_is_refused(store: Store, database_url: str, tmp_path: Path) -> None:
    with pytest.raises(DataFolderInUse, match="in use by another gateway: process"):
        async with open_store(database_url, tmp_path / "data"):
            pass


async def test_command_visits_beside_a_running_gateway(store: Store, database_url: str, tmp_path: Path) -> None:
    async with open_store(database_url, tmp_path / "data", use=Use.VISIT) as visit:
        assert await visit.is_available()
        assert visit.node is None


async def test_data_folder_keeps_its_identity(database_url: str, tmp_path: Path) -> None:
    nodes = []
    for _ in range(2):
        async with open_store(database_url, tmp_path / "data") as store:
            nodes.append(store.node)
    assert nodes[0] is not None
    assert nodes[0] == nodes[1]


async def _terminate(store: Store, pid: int) -> None:
    connection = await store.connect()
    try:
        await connection.execute("SELECT pg_terminate_backend($1, 60000)", pid)
    finally:
        await connection.close()


async def _until_commit_runs(store: Store) -> None:
    async def runs() -> bool:
        async with store.transaction() as connection:
            return bool(
                await connection.fetchval(
                    "SELECT count(*) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND query = 'COMMIT;' AND state = 'active'"
                )
            )

    await until(runs, "the commit is under way")


async def test_role_of_any_name_finds_our_tables_first_and_then_its_own(databases: Databases, tmp_path: Path) -> None:
    name = databases.create_empty()
    url = databases.url_of_stranger(name)
    connection = await connect(url)
    await connection.execute("CREATE TABLE queue (mine int); CREATE TABLE shelf (mine int)")
    await migrate(connection)
    await connection.close()
    async with open_store(url, tmp_path / "data") as store:
        for long, life in ((False, False), (True, False), (False, True)):
            async with store.transaction(long=long, life=life) as connection:
                assert await connection.fetchval("SELECT count(status) FROM queue") == 0
                assert await connection.fetchval("SELECT count(mine) FROM shelf") == 0
        single = await store.connect()
        assert await single.fetchval("SELECT count(status) FROM queue") == 0
        await single.close()
    databases.drop(name)
