"""What is asked all the time reads what can be claimed now, through indexes, however much waits."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from asyncpg import Connection

from gateway.db.open import Store
from gateway.messaging.queue.leases import draw_fence
from tests.statements import text_of

WAITING = 24_000
"""ANALYZE reads all of a table of up to 30,000 rows, and so finds the same each time."""
CHUNK = 100
MOST_ROWS = 10 * CHUNK
TRIES = 6
"""One more than PostgreSQL, left to itself, plans a statement for the values given before it compares."""
FILL = """
INSERT INTO delivery (claim_id, port, name, display, size_bytes, owner_uid, modified_at, outcome, settlement)
VALUES ('00000000-0000-0000-0000-000000000001', 'orders', 'a', 'a', 1, 0, now(), 'ingested', 'archive');
INSERT INTO message (id, direction, port, claim_id, position, message_id, namespace, size_bytes)
SELECT i, CASE i % 5 WHEN 3 THEN 'out' ELSE 'in' END, 'orders', '00000000-0000-0000-0000-000000000001', i,
       gen_random_uuid(), 'n', 1000
FROM generate_series(1, $ROWS) AS i;
INSERT INTO document (message_id, version, step, content) SELECT id, 0, 'received', 'x' FROM message;
INSERT INTO queue (message_id, port, direction, status, reason, lane, not_before)
SELECT i, 'orders', CASE i % 5 WHEN 3 THEN 'out' ELSE 'in' END, 'ready',
       CASE WHEN i % 5 = 4 THEN 'backoff' WHEN i % 5 < 2 THEN 'behind_in_lane' ELSE 'ready' END,
       CASE i % 5 WHEN 0 THEN 'one' WHEN 1 THEN 'lane ' || i END, CASE i % 5 WHEN 4 THEN now() + interval '1 hour' END
FROM generate_series(1, $ROWS) AS i;
INSERT INTO lane (port, name, head)
SELECT port, lane, min(message_id) FROM queue WHERE lane IS NOT NULL GROUP BY port, lane;
INSERT INTO lane (port, name, head, not_before)
SELECT 'orders', 'waits ' || i, i, now() + interval '1 hour' FROM generate_series(1, $ROWS / 5) AS i;
INSERT INTO send_request (id, message_id, port, service, operation, entity_keys, submitter)
SELECT i, gen_random_uuid(), 'copies', 'S', 'read', '[[["a", "b"]]]', 'clerk' FROM generate_series(1, $ROWS / 5) AS i;
INSERT INTO queue (message_id, port, direction, status, reason)
SELECT i, 'orders', 'in', CASE i % 3 WHEN 0 THEN 'hold' WHEN 1 THEN 'error' ELSE 'malformed' END,
       CASE i % 3 WHEN 0 THEN 'held_by_operator' WHEN 1 THEN 'failed' ELSE 'malformed' END
FROM generate_series($ROWS + 1, $ROWS + $ROWS / 5) AS i;
"""
"""A fifth each: behind one another in one lane, lanes of one, without lane, waiting for their time, going out; and as
many that stand still."""
HISTORY = """
INSERT INTO run (job, partition_key, company, created_by, run_as, cause, planned_at, started_at, ended_at, status)
SELECT 'nightly', 'initial', 'DAT', 'ann', 'ann', 'schedule', now(), now(), now(), 'ended'
FROM generate_series(1, $ROWS / 5);
INSERT INTO run_task (run_id, position, name, handler, company, batch_group, priority, location, is_private, owner,
    condition_type, ignore_failure, max_retries, retry_seconds, wait_for_children, status, ready_at, ended_at)
SELECT id, 1, 'export', 'command', 'DAT', '', 'normal', 'server', false, 'ann', 'all', false, 0, 0, true, 'ended',
       now(), now() FROM run;
INSERT INTO alert (event_key, event, user_name, channel, subject, body, status)
SELECT 'run:' || i, 'error', 'ann', 'email', 's', 'b', 'sent' FROM generate_series(1, $ROWS / 5) AS i;
"""
QUESTIONS: Mapping[str, str] = {
    "claim_lanes": f"'orders', 1, {CHUNK}, 2000000",
    "claim_free": f"'orders', 1, {CHUNK}, 2000000",
    "claim_outbound": f"'orders', 1, {CHUNK}, 2000000, NULL",
    "claim_requests": f"'copies', 1, {CHUNK}",
    "ports_with_work": "'inbound', ARRAY['orders', 'idle']",
    "count_ports": f"ARRAY['orders', 'idle'], {CHUNK}",
    "messages_in_work": "'orders', 'inbound'",
    "oldest_claimable": "'orders', 60",
    "read_claimed": "1",
    "read_sending": "1",
    "lock_lanes": "ARRAY['orders', 'orders'], ARRAY['one', 'lane 6']",
    "lock_lanes_under": "ARRAY[1, 2]",
    "park_lanes": "1, ARRAY[6]",
    "join_lanes": "ARRAY['orders', 'orders'], ARRAY['one', 'new'], ARRAY[1000001, 1000002]",
    "hold_in_parked_lanes": "ARRAY['orders'], ARRAY['one'], ARRAY[1000001]",
    "recompute_heads": "ARRAY['orders', 'orders'], ARRAY['one', 'lane 6'], ARRAY[1]",
    "wake_due": "10000",
    "reclaim_postponed": "86400",
    "next_due": "",
    "stuck_dead_owner": "100, 60",
    "stuck_response_waits": "100, 600",
    "stuck_address_away": "100",
    "stuck_request_waits": "100, 600",
    "stuck_overdue": "100, 60",
    "stuck_run_not_ended": "100, 60",
    "stuck_start": "100, 600, ARRAY['night']",
    "tasks_not_taken": "600",
    "servers_at_work": "",
    "stuck_alert": "100, 600",
}
AT_EVERY_CLAIM = (
    "claim_lanes", "claim_free", "claim_outbound", "claim_requests", "read_claimed", "read_sending", "lock_lanes",
    "lock_lanes_under", "recompute_heads", "join_lanes", "hold_in_parked_lanes", "ports_with_work", "wake_due",
    "oldest_claimable",
)  # fmt: skip
CLAIMS = ("claim_lanes", "claim_free", "claim_outbound", "claim_requests", "read_claimed", "read_sending")
LARGE = {"queue", "message", "lane", "document", "send_request", "run", "run_task", "alert"}
EMPTY = "".join(
    f"DELETE FROM {table};" for table in ("send_request", "lane", "queue", "document", "message", "delivery")
)

ONE_AND_ANOTHER = """
INSERT INTO queue (message_id, port, direction, status, reason, lane)
SELECT i, $PORT, CASE WHEN i % 2 = 0 AND $LANE IS NULL THEN 'out' ELSE 'in' END, 'ready',
       CASE WHEN $LANE IS NULL THEN 'ready' ELSE 'behind_in_lane' END, $LANE
FROM generate_series($FROM, $FROM + $ROWS - 1) AS i;
INSERT INTO lane (port, name, head) SELECT $PORT, $LANE, $FROM WHERE $LANE IS NOT NULL;
INSERT INTO send_request (id, message_id, port, service, operation, entity_keys, submitter)
SELECT i, gen_random_uuid(), $PORT, 'S', 'read', '[[["a", "b"]]]', 'clerk'
FROM generate_series($FROM, $FROM + $ROWS - 1) AS i;
"""
"""Either behind one another in a lane, or without lane and both ways; and as many send requests."""
OTHERS: Mapping[str, str] = {
    "claim_lanes": f"'returns', 1, {CHUNK}, 2000000",
    "claim_free": f"'returns', 1, {CHUNK}, 2000000",
    "claim_outbound": f"'returns', 1, {CHUNK}, 2000000, NULL",
    "claim_requests": f"'returns', 1, {CHUNK}",
    "ports_with_work": "'inbound', ARRAY['returns']",
    "oldest_claimable": "'returns', 60",
    "recompute_heads": "ARRAY['orders', 'returns'], ARRAY['late', 'port'], ARRAY[1]",
}


async def test_questions_read_a_bounded_number_of_rows_through_indexes(store: Store) -> None:
    async with store.transaction(long=True) as connection:
        await connection.execute((FILL + HISTORY).replace("$ROWS", str(WAITING)))
        found = await _read_too_much(store, connection, "sizes unknown")
        await connection.execute(
            "ANALYZE queue, message, lane, document, send_request, delivery, lease, run, run_task, alert"
        )
        found |= await _read_too_much(store, connection, "sizes known")
    assert found == {}


async def test_plans_made_while_little_waits_are_right_when_much_does(store: Store) -> None:
    found: dict[str, str] = {}
    async with store.transaction(long=True) as connection:
        await connection.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        await connection.execute(FILL.replace("$ROWS", "10"))
        await connection.execute("ANALYZE queue, message, lane, document, send_request, delivery, lease")
        for name in AT_EVERY_CLAIM:
            await connection.execute(f"PREPARE {name} AS {text_of(name)}")
            await _explain(connection, name, QUESTIONS[name])
        await connection.execute(EMPTY)
        await connection.execute(FILL.replace("$ROWS", str(WAITING)))
        for name in AT_EVERY_CLAIM:
            if trouble := _too_much(await _explain(connection, name, QUESTIONS[name])):
                found[name] = trouble
    assert found == {}


@pytest.mark.parametrize("in_lanes", [True, False], ids=["in lanes", "no lanes"])
async def test_long_queue_of_one_port_or_lane_costs_the_others_nothing(store: Store, in_lanes: bool) -> None:
    def fill(port: str, lane: str, first: int, rows: int) -> str:
        text = ONE_AND_ANOTHER.replace("$PORT", f"'{port}'").replace("$LANE", f"'{lane}'" if in_lanes else "NULL")
        return text.replace("$FROM", str(first)).replace("$ROWS", str(rows))

    found: dict[str, str] = {}
    async with store.transaction(long=True) as connection:
        await connection.execute(fill("orders", "port", 1, WAITING))
        await connection.execute("ANALYZE queue, lane, send_request")  # as if there were no others
        await connection.execute(fill("returns", "port", WAITING + 1, CHUNK))
        await connection.execute(fill("orders", "late", WAITING + CHUNK + 1, CHUNK))
        for mode in ("force_custom_plan", "force_generic_plan"):
            await connection.execute(f"SET LOCAL plan_cache_mode = {mode}")
            for name, values in OTHERS.items():
                await connection.execute(f"PREPARE asked AS {text_of(name)}")
                if trouble := _too_much(await _explain(connection, "asked", values)):
                    found[f"{name}, {mode}"] = trouble
                await connection.execute("DEALLOCATE asked")
    assert found == {}


async def test_what_is_claimed_under_a_lease_is_never_planned_for_its_values(store: Store) -> None:
    async with store.transaction(long=True) as connection:
        await connection.execute(FILL.replace("$ROWS", "10"))
        await draw_fence(connection)
        planned = {name: await _times_planned_for_values(store, connection, name) for name in CLAIMS}
    assert planned == dict.fromkeys(CLAIMS, 0)


async def test_lanes_are_settled_with_one_plan_however_much_waits(store: Store) -> None:
    async with store.transaction(long=True) as connection:
        await connection.execute(FILL.replace("$ROWS", str(WAITING)))
        await connection.execute("ANALYZE queue, message, lane")
        assert await _times_planned_for_values(store, connection, "recompute_heads") < TRIES


async def _times_planned_for_values(store: Store, connection: Connection, name: str) -> int:
    await connection.execute(f"PREPARE {name} AS {text_of(name)}")
    for _ in range(TRIES):
        await _explain(connection, name, QUESTIONS[name])
    planned: int = await connection.fetchval("SELECT custom_plans FROM pg_prepared_statements WHERE name = $1", name)
    return planned


async def _read_too_much(store: Store, connection: Connection, sizes: str) -> dict[str, str]:
    """Ask everything, for the values given and for any values; what is changed is undone."""
    found: dict[str, str] = {}
    for mode in ("force_custom_plan", "force_generic_plan"):
        await connection.execute(f"SET LOCAL plan_cache_mode = {mode}")
        for name, values in QUESTIONS.items():
            await connection.execute(f"PREPARE asked AS {text_of(name)}")
            if trouble := _too_much(await _explain(connection, "asked", values)):
                found[f"{name}, {sizes}, {mode}"] = trouble
            await connection.execute("DEALLOCATE asked")
    return found


async def _explain(connection: Connection, prepared: str, values: str) -> Mapping[str, Any]:
    """Run a prepared statement with these values and return its plan; what is changed is undone."""
    given = f"({values})" if values else ""
    await connection.execute("SAVEPOINT before")
    plan = await connection.fetchval(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) EXECUTE {prepared}{given}")
    await connection.execute("ROLLBACK TO before")
    found: Mapping[str, Any] = json.loads(plan)[0]["Plan"]
    return found


def _too_much(plan: Mapping[str, Any]) -> str | None:
    steps = [step for step in _steps(plan) if step.get("Relation Name") in LARGE]
    whole = [step["Relation Name"] for step in steps if step["Node Type"] == "Seq Scan" and step["Actual Loops"]]
    read = sum(_rows(step) for step in steps)
    return f"reads all of {whole}; {read} rows" if whole or read > MOST_ROWS else None


def _steps(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield plan
    for below in plan.get("Plans", []):
        yield from _steps(below)


def _rows(step: Mapping[str, Any]) -> int:
    """Return how many rows a step read, those it threw away included."""
    if "Scan" not in step["Node Type"]:
        return 0
    thrown = step.get("Rows Removed by Filter", 0) + step.get("Rows Removed by Index Recheck", 0)
    return int((step["Actual Rows"] + thrown) * step["Actual Loops"])
