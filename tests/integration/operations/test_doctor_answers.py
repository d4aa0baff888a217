"""What stands between a partner and an answer is found by its cause; what was answered, or goes on, is not."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from gateway.batch.rules.job import JobStatus
from gateway.config.models import Settings
from gateway.db.open import Store
from gateway.explanations.facts import JobFacts
from gateway.explanations.finding import RULES, Place
from gateway.messaging.queue.requests import put_send_requests
from gateway.messaging.rules.states import Stage
from gateway.operations.attention import find_attention
from gateway.operations.reads.doctor_answers import find_unanswered
from gateway.operations.reads.gateway import PortStatusRow
from tests.factories import ORDERS, a_message, a_send_request
from tests.integration.messaging.test_way_of_a_message import put
from tests.integration.operations.test_doctor import LATER, live, run

FAIL = "UPDATE queue SET status = 'error', reason = 'failed', error = 'no such item' WHERE"
FAULTS = """INSERT INTO message (id, direction, port, position, request_id, message_id, namespace, size_bytes, is_fault)
    SELECT 1000000 + message_id, 'out', port, 1, message_id, gen_random_uuid(), '', 1, true FROM queue
    WHERE status = 'error'"""


async def test_busy_queue_needs_no_attention(store: Store) -> None:
    await live(store)
    assert await find_unanswered(store) == []


@pytest.mark.parametrize(
    ("code", "harm"),
    [
        ("answer-not-delivered", "UPDATE queue SET reason = 'address_unavailable', not_before = now(), error = 'away'"
                                 " WHERE direction = 'out'"),
        ("answer-not-delivered", f"{FAIL} direction = 'out'"),
        ("answer-not-delivered", "UPDATE queue SET attempts = 3, error = 'away' WHERE direction = 'out'"),
        ("request-failed", f"{FAIL} direction = 'in' AND lane IS NULL"),
        ("request-held", "UPDATE queue SET status = 'hold', reason = 'held_by_operator'"
                         " WHERE direction = 'in' AND lane IS NULL"),
        ("request-retried", "UPDATE queue SET reason = 'backoff', not_before = now()"
                            " WHERE direction = 'in' AND lane IS NULL;"
                            f" UPDATE message SET created_at = {LATER}"),
        ("file-refused", "UPDATE queue SET status = 'malformed', reason = 'malformed'"
                         " WHERE direction = 'in' AND lane IS NULL"),
        ("document-not-sent", "UPDATE send_request SET status = 'error', reason = 'failed', error = 'no such key'"),
        ("lane-stopped", "UPDATE lane SET blocked_by = head, head = NULL, on_error = 'block' WHERE fence IS NULL"),
    ],
)  # fmt: skip
async def test_cause_is_found(store: Store, code: str, harm: str) -> None:
    await live(store)
    await put(store, [a_message()])
    await put_send_requests(store, [a_send_request()])
    await run(store, harm)
    found = await find_unanswered(store)
    assert {place.code for place in found} == {code}
    assert all(place.port and place.target for place in found)


async def test_failed_request_whose_partner_got_a_fault_is_none_of_the_few_that_matter(store: Store) -> None:
    await put(store, [a_message()])
    await run(store, f"{FAIL} true")
    await run(store, FAULTS)
    assert await find_unanswered(store) == []


@pytest.mark.parametrize(
    ("code", "told"), [("operation.failed", True), ("handler.result", True), ("operation.rejected", False),
                       ("schema", False)],
)  # fmt: skip
async def test_service_that_does_not_work_is_told_although_the_partner_got_a_fault(
    store: Store, code: str, told: bool
) -> None:
    await fail_many(store, 2)
    await run(store, "INSERT INTO exception (code, text, port, message_key)"
                     f" SELECT '{code}', '', port, message_id FROM queue")  # fmt: skip
    found = await find_unanswered(store)
    assert [(place.code, place.target) for place in found] == ([("service-fails", "orders")] if told else [])
    if told:
        assert "2 messages" in found[0].what and "of the file" in found[0].what and found[0].since is not None


async def test_cause_of_a_stopped_lane_is_told(store: Store) -> None:
    await live(store)
    await run(store, "UPDATE lane SET blocked_by = head, head = NULL, on_error = 'block' WHERE fence IS NULL")
    await run(store, "UPDATE queue SET error = 'no such item' WHERE message_id IN (SELECT blocked_by FROM lane)")
    (found,) = (place for place in await find_unanswered(store) if place.code == "lane-stopped")
    assert "(no such item)" in found.what and found.since is not None


async def fail_many(store: Store, number: int) -> None:
    await put(store, [a_message(n) for n in range(1, number + 1)])
    await run(store, f"{FAIL} true")
    await run(store, FAULTS)


async def test_many_failures_are_told_although_each_was_answered(store: Store) -> None:
    await fail_many(store, 12)
    (found,) = await find_unanswered(store)
    assert found.code == "requests-fail" and "12 messages" in found.what and "no such item" in found.what
    await run(store, f"UPDATE queue SET changed_at = {LATER}")
    assert len(await find_unanswered(store)) == 1, "it stays until something goes well"


async def test_failures_among_more_successes_are_chance(store: Store) -> None:
    await fail_many(store, 12)
    await run(store, """INSERT INTO message (id, direction, port, position, message_id, namespace, size_bytes, outcome,
                        finished_at) SELECT n, 'in', 'orders', 1, gen_random_uuid(), '', 1, 'processed',
                        clock_timestamp() FROM generate_series(2000000, 2000012) AS n""")  # fmt: skip
    assert await find_unanswered(store) == []


def said(state: str, *left: tuple[str, timedelta]) -> PortStatusRow:
    now = datetime.now(UTC)
    entries = [{"name": "a.xml", "code": code, "text": "So.", "since": (now - ago).isoformat()} for code, ago in left]
    return PortStatusRow(port=ORDERS, state=state, reason="The disk is full.", left_in_place=entries, changed_at=now)


def job(status: JobStatus, *, timed: bool = False) -> JobFacts:
    return JobFacts(name="gateway", status=status, timed=timed, next_start=datetime.now(UTC))


async def attention(
    store: Store, *, port: PortStatusRow | None = None, running: bool = True, jobs: Sequence[JobFacts] = ()
) -> list[Place]:
    settings = Settings.model_validate(
        {"ports": {"orders": {"receive": {"folder": "/in"}, "operations": ["S.x"]}},
         "services": {"S": {"kind": "python", "operations": {"x": "m:x"}}}},
        context={"base": "/"},
    )  # fmt: skip
    ports = [] if port is None else [port]
    return await find_attention(store, settings, ports, dict.fromkeys(Stage, jobs) if jobs else {}, running=running)


@pytest.mark.parametrize("state", ["degraded", "paused", "stopped"])
async def test_port_that_does_not_work_is_told_with_its_reason(store: Store, state: str) -> None:
    (found,) = await attention(store, port=said(state))
    assert found.code == f"port-{state}" and found.what == "The disk is full"
    assert await attention(store, port=said(state), running=False) == [], "nobody knows how it is now"
    assert await attention(store, port=said("open")) == []


async def test_file_that_is_not_taken_for_long_is_told_and_rubbish_is_not(store: Store) -> None:
    hour = timedelta(hours=1)
    assert await attention(store, port=said("open", ("not-matched", hour), ("entry.unreadable", timedelta()))) == []
    (found,) = await attention(store, port=said("open", ("entry.unreadable", hour)))
    assert (found.code, found.target) == ("file-not-taken", "a.xml")


async def test_service_that_nothing_runs_is_told_unless_its_start_is_planned(store: Store) -> None:
    (found,) = await attention(store, jobs=[job(JobStatus.WITHHOLD)], running=False)
    assert (found.code, found.target) == ("service-stopped", "gateway") and "receive, inbound" in found.what
    assert await attention(store, jobs=[job(JobStatus.WAITING, timed=True)]) == []
    assert await attention(store, jobs=[job(JobStatus.EXECUTING)]) == []


def test_every_code_has_a_remedy() -> None:
    assert all(rule.remedies for rule in RULES.values())
