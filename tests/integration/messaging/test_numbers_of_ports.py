"""How much is unfinished at a port, and what it got done: every state counts once, in one number."""

from uuid import uuid4

import pytest

from gateway.db.open import Store
from gateway.kernel.ids import MessageKey, PortName
from gateway.kernel.retry import SEND
from gateway.messaging.delivery.promises import SendResult, claim_outbound, record_outbound
from gateway.messaging.intake.writing import ingestion
from gateway.messaging.processing.claims import InboundResult, claim_inbound, record_inbound
from gateway.messaging.queue.requests import claim_requests, put_send_requests
from gateway.messaging.rules.message import NewMessage, NewResponse
from gateway.messaging.rules.states import Policy
from gateway.operations.reads import gateway as reports
from gateway.operations.reads.gateway import count_ports
from gateway.operations.statements.admin_sql import PortCount
from tests.factories import COPIES, ORDERS, a_claim, a_file, a_message, a_send_request

IDLE = PortName("idle")
NOTHING = PortCount(port=IDLE, waiting=0, oldest=None, running=0, held=0, failed=0, per_minute=0)


async def put(store: Store, messages: list[NewMessage]) -> None:
    claim = a_claim()
    async with ingestion(store) as ingesting:
        await ingesting.add_messages(ORDERS, claim.id, "partner", None, Policy.CONTINUE, messages)
        await ingesting.end_file(a_file(claim), None, [])


async def numbers(store: Store, port: PortName = ORDERS) -> tuple[int, int, int, int, int]:
    (count,) = await count_ports(store, [port])
    return count.waiting, count.running, count.held, count.failed, count.per_minute


async def test_messages_are_counted_where_they_are_on_their_whole_way(store: Store) -> None:
    await put(store, [*(a_message(n, lane="one") for n in (1, 2, 3)), a_message(4), a_message(5), a_message(6)])
    assert await numbers(store) == (6, 0, 0, 0, 0)
    claimed = await claim_inbound(store, 1, ORDERS, 2)
    assert claimed is not None
    running = len(claimed.items)
    assert await numbers(store) == (6 - running, running, 0, 0, 0)
    responses = [
        NewResponse(
            key=MessageKey(10**6 + n), request=work, port=ORDERS, message_id=uuid4(), file_name=f"{n}.xml",
            content=b"<r/>", is_fault=False,
        )
        for n, work in enumerate(claimed.items)
    ]  # fmt: skip
    async with store.transaction() as connection:
        result = InboundResult(done=[(work, []) for work in claimed.items], responses=responses)
        await record_inbound(store, connection, claimed.fence, result)
    assert await numbers(store) == (6, 0, 0, 0, running)
    sending = await claim_outbound(store, 1, ORDERS, 100)
    assert sending is not None
    await record_outbound(
        store, sending.fence, SendResult(later=[(item, SEND.most_seconds, "away") for item in sending.items])
    )
    assert await numbers(store) == (6, 0, 0, 0, running)


async def test_what_stands_still_is_told_apart(store: Store) -> None:
    await put(store, [a_message(n) for n in range(1, 8)])
    async with store.transaction() as connection:
        await connection.execute(
            "UPDATE queue SET status = 'hold', reason = 'held_by_operator' WHERE message_id % 7 IN (1, 2);"
            "UPDATE queue SET status = 'error', reason = 'failed' WHERE message_id % 7 IN (3, 4, 5);"
            "UPDATE queue SET status = 'malformed', reason = 'malformed' WHERE message_id % 7 = 6;"
        )
    assert await numbers(store) == (1, 0, 2, 4, 0)


async def test_requests_to_send_count_as_messages_of_their_port(store: Store) -> None:
    await put_send_requests(store, [a_send_request("1"), a_send_request("2"), a_send_request("3")])
    assert await numbers(store, COPIES) == (3, 0, 0, 0, 0)
    assert await claim_requests(store, 1, COPIES, 2) is not None
    assert await numbers(store, COPIES) == (1, 2, 0, 0, 0)


async def test_oldest_is_when_the_first_that_waits_came(store: Store) -> None:
    await put(store, [a_message(1)])
    await put(store, [a_message(2)])
    async with store.transaction() as connection:
        first = await connection.fetchval("SELECT min(created_at) FROM message")
    idle, orders = await count_ports(store, [IDLE, ORDERS])
    assert idle == NOTHING
    assert orders.oldest == first


async def test_numbers_end_at_the_most_that_is_counted(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "MOST_COUNTED", 3)
    await put(store, [*(a_message(n) for n in range(1, 5)), *(a_message(n, lane="one") for n in range(5, 9))])
    assert await numbers(store) == (3, 0, 0, 0, 0)
