"""Each rule that must always hold is broken by hand once, and the doctor sees it; a healthy queue has no findings."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest

from gateway.config.models import Settings
from gateway.db.open import Store
from gateway.kernel.ids import MessageKey
from gateway.messaging.processing.claims import InboundResult
from gateway.messaging.queue.leases import start_incarnation
from gateway.messaging.queue.requests import put_send_requests
from gateway.messaging.rules.message import NewResponse
from gateway.operations import doctor as operations
from gateway.operations.reads.doctor import find_stuck, find_wrong
from gateway.runtime.folders import folders_of
from gateway.runtime.stuck import StuckWatch
from tests.factories import ORDERS, a_message, a_send_request
from tests.integration.messaging.test_way_of_a_message import claim, put, record, rows

LATER = "clock_timestamp() - interval '11 minutes'"


async def live(store: Store) -> None:
    """A busy queue: a lane in work, one that waits, free messages, an answered request, a send request."""
    incarnation = await start_incarnation(store, "node", "1")
    assert incarnation == 1
    await put(store, [a_message(1), a_message(2)], batch=True)
    claimed = await claim(store)
    responses = [
        NewResponse(key=MessageKey(10**6 + work.key), request=work, port=ORDERS, message_id=uuid4(),
                    file_name=f"{work.key}.xml", content=b"<r/>", is_fault=False)
        for work in claimed.items
    ]  # fmt: skip
    await record(store, claimed, InboundResult(done=[(w, []) for w in claimed.items], responses=responses))
    await put(store, [a_message(n, lane="conversation:a") for n in (1, 2, 3)])
    await claim(store, limit=1)
    await put(store, [a_message(n, lane="conversation:b") for n in (1, 2)])
    await put(store, [a_message()])
    await put_send_requests(store, [a_send_request()])


async def run(store: Store, sql: str) -> None:
    async with store.transaction() as connection:
        await connection.execute(sql)


async def test_busy_queue_has_no_findings(store: Store) -> None:
    await live(store)
    assert await find_wrong(store, [ORDERS]) == []
    assert await find_stuck(store) == []


@pytest.mark.parametrize(
    ("code", "harm"),
    [
        ("lease-missing", "DELETE FROM lease"),
        ("lease-empty", "INSERT INTO lease (fence, owner, stage, port) VALUES (999, 1, 'send', 'orders')"),
        ("lane-head", "UPDATE lane SET head = head + 1 WHERE fence IS NULL"),
        ("lane-missing", "DELETE FROM lane WHERE fence IS NULL"),
        ("lane-order", "UPDATE queue SET status = 'hold', reason = 'lane_parked' WHERE reason = 'behind_in_lane'"),
        ("message-lost", "DELETE FROM queue WHERE lane IS NULL AND direction = 'in'"),
        ("message-twice", "UPDATE message SET outcome = 'sent', finished_at = now() WHERE direction = 'out'"),
        ("message-twice", "DELETE FROM document WHERE message_id IN (SELECT message_id FROM queue)"),
        ("answer-missing", "DELETE FROM message WHERE id = (SELECT max(id) FROM message WHERE direction = 'out')"),
        ("answer-twice", "UPDATE message SET request_id = 1 WHERE direction = 'out'"),
        ("set-count", "UPDATE message_set SET processed = members + 1"),
    ],
)  # fmt: skip
async def test_broken_rule_is_found(store: Store, code: str, harm: str) -> None:
    await live(store)
    await run(store, harm)
    assert code in {place.code for place in await find_wrong(store, [ORDERS])}


@pytest.mark.parametrize(
    ("code", "harm"),
    [
        ("dead-owner", "UPDATE incarnation SET stopped_at = now()"),
        ("dead-owner", "UPDATE incarnation SET lost_at = now()"),
        ("dead-owner", f"UPDATE incarnation SET beat_at = {LATER}"),
        ("dead-owner", "DELETE FROM incarnation"),
        ("response-waits", f"UPDATE queue SET changed_at = {LATER} WHERE direction = 'out'"),
        ("request-waits", f"UPDATE queue SET changed_at = {LATER} WHERE lane IS NULL AND direction = 'in'"),
        ("request-waits", f"UPDATE queue SET changed_at = {LATER} WHERE lane IS NOT NULL"),
        ("request-waits", f"UPDATE send_request SET changed_at = {LATER}"),
        ("overdue", f"UPDATE queue SET reason = 'backoff', not_before = {LATER} WHERE lane IS NULL"),
        ("overdue", f"UPDATE lane SET not_before = {LATER} WHERE fence IS NULL"),
        ("overdue", f"UPDATE send_request SET reason = 'backoff', not_before = {LATER}"),
        ("address-away", "UPDATE queue SET reason = 'address_unavailable', not_before = now(), attempts = 9"
                         " WHERE direction = 'out'"),
    ],
)  # fmt: skip
async def test_what_waits_too_long_is_found(store: Store, code: str, harm: str) -> None:
    await live(store)
    if code != "dead-owner":  # a port that works is not stuck
        freed = "status = 'ready', reason = CASE WHEN lane IS NULL THEN 'ready' ELSE 'behind_in_lane' END, fence = NULL"
        await run(store, f"UPDATE queue SET {freed} WHERE fence IS NOT NULL")
        await run(store, "UPDATE lane SET fence = NULL; DELETE FROM lease")
    await run(store, harm)
    assert code in {place.code for place in await find_stuck(store)}


async def test_port_that_works_is_not_stuck_however_long_its_queue_is(store: Store) -> None:
    await live(store)
    await run(store, f"UPDATE queue SET changed_at = {LATER} WHERE direction = 'in'")
    assert "request-waits" not in {place.code for place in await find_stuck(store)}


async def test_watch_tells_what_stays_once_and_writes_nothing_while_all_is_well(store: Store, tmp_path: Path) -> None:
    await live(store)
    settings = Settings(data=tmp_path / "data")
    watch = StuckWatch(store, lambda: settings, folders_of(lambda: settings, lambda _: ThreadPoolExecutor(1)))
    assert [await watch.look() for _ in range(3)] == [[], [], []]
    assert await rows(store, "SELECT count(*) FROM exception") == [(0,)]
    await run(store, f"UPDATE queue SET changed_at = {LATER} WHERE direction = 'out'")
    assert [len(await watch.look()) for _ in range(3)] == [0, 1, 0], "seen twice, told once"
    again = StuckWatch(store, lambda: settings, folders_of(lambda: settings, lambda _: ThreadPoolExecutor(1)))
    assert [len(await again.look()) for _ in range(2)] == [0, 1]
    assert await rows(store, "SELECT code, severity, port FROM exception") == [
        ("stuck.response-waits", "warning", "orders"),
    ], "another node does not note it again"  # fmt: skip


TIMED_JOB = """
WITH made AS (
    INSERT INTO job (partition_key, name, description, status, mode, company, created_by, original_start, next_start)
    VALUES ('initial', 'nightly', '', $1, 'timed', 'DAT', 'me', now(), now() + interval '1 hour') RETURNING id
)
INSERT INTO task (job_id, position, name, description, handler) SELECT id, 1, 'send', '', 'send' FROM made
"""


@pytest.mark.parametrize(("status", "codes"), [("waiting", set()), ("withhold", {"response-waits"})])
async def test_what_waits_for_a_timed_job_is_not_stuck(
    store: Store, tmp_path: Path, status: str, codes: set[str]
) -> None:
    await live(store)
    await run(store, f"UPDATE queue SET changed_at = {LATER} WHERE direction = 'out'")
    async with store.transaction() as connection:
        await connection.execute(TIMED_JOB, status)
    settings = Settings(data=tmp_path / "data")
    folders = folders_of(lambda: settings, lambda _: ThreadPoolExecutor(1))
    assert {place.code for place in await operations.find_stuck(store, settings, folders)} == codes
