"""Send requests on a real database: from the request to a message in the queue, and every way aside."""

import asyncio
from collections.abc import Sequence
from uuid import UUID, uuid4

import pytest
from asyncpg import CheckViolationError

from gateway.db.listen import CHANNEL
from gateway.db.open import Store
from gateway.kernel.errors import LeaseLost
from gateway.kernel.ids import Fence, MessageKey, PortName
from gateway.messaging.delivery.promises import SendResult, claim_outbound, record_outbound
from gateway.messaging.queue.leases import (
    give_back,
    ports_with_work,
    read_beats,
    start_incarnation,
    take_back,
    wake_due,
)
from gateway.messaging.queue.requests import (
    RequestProgress,
    RequestResult,
    claim_requests,
    progress_of_requests,
    put_send_requests,
    record_requests,
)
from gateway.messaging.rules.message import Claimed, Retry
from gateway.messaging.rules.outbound import NewSending, RequestFailure, SendRequest
from gateway.messaging.rules.states import Direction, Outcome, Stage, Status
from gateway.operations.reads.gateway import read_overview
from gateway.operations.reads.messages import find_messages, list_queue, read_message
from gateway.operations.reads.selection import MessageFilter
from tests.factories import COPIES, ORDERS, a_send_request

OTHER = PortName("other")


async def rows(store: Store, sql: str) -> list[tuple[object, ...]]:
    async with store.transaction() as connection:
        return [tuple(row.values()) for row in await connection.fetch(sql)]


async def claim(store: Store, limit: int = 100) -> Claimed[SendRequest]:
    claimed = await claim_requests(store, 1, COPIES, limit)
    assert claimed is not None
    return claimed


async def record(store: Store, fence: Fence, result: RequestResult) -> None:
    async with store.transaction() as connection:
        await record_requests(store, connection, fence, result)


def sending(request: SendRequest, content: bytes = b"<Envelope/>") -> NewSending:
    return NewSending(
        request=request, action="http://x/SalesOrderService/read", entity_keys=request.keys,
        file_name=f"{request.message_id}.xml", content=content,
    )  # fmt: skip


STATE = "SELECT status, reason, attempts FROM send_request ORDER BY id"


async def test_request_becomes_a_message_of_the_same_number_and_id(store: Store) -> None:
    new = a_send_request("SO-1", "SO-2")
    (key,) = await put_send_requests(store, [new])
    claimed = await claim(store)
    (request,) = claimed.items
    assert (request.key, request.message_id, request.attempts) == (key, new.message_id, 1)
    assert request.keys == [[("SalesId", "SO-1")], [("SalesId", "SO-2")]]
    await record(store, claimed.fence, RequestResult(done=[sending(request, b"<Envelope>1</Envelope>")]))
    assert await rows(store, STATE) == []
    sent = await claim_outbound(store, 1, COPIES, 10)
    assert sent is not None
    (item,) = sent.items
    assert (item.key, item.content, item.is_fault) == (key, b"<Envelope>1</Envelope>", False)
    await record_outbound(store, sent.fence, SendResult(sent=[item]))
    history = await rows(
        store, "SELECT id, message_id, direction, request_id, submitter, entity_keys, outcome FROM message"
    )
    assert history == [(key, new.message_id, "out", None, "clerk", ["SalesId=SO-1", "SalesId=SO-2"], "sent")]
    assert await rows(store, "SELECT count(*) FROM lease") == [(0,)]


async def test_requests_are_claimed_oldest_first_and_port_by_port(store: Store) -> None:
    keys = await put_send_requests(store, [a_send_request(f"SO-{n}") for n in (1, 2, 3)])
    await put_send_requests(store, [a_send_request(port=OTHER)])
    assert keys == sorted(keys)
    assert [request.key for request in (await claim(store, limit=2)).items] == keys[:2]
    assert [request.key for request in (await claim(store)).items] == keys[2:]
    assert await claim_requests(store, 1, COPIES, 10) is None
    assert await ports_with_work(store, Stage.OUTBOUND, [COPIES, OTHER]) == [OTHER]


async def test_only_outbound_processing_sees_requests(store: Store) -> None:
    await put_send_requests(store, [a_send_request()])
    assert await ports_with_work(store, Stage.OUTBOUND, [COPIES, ORDERS]) == [COPIES]
    assert await ports_with_work(store, Stage.INBOUND, [COPIES, ORDERS]) == []
    assert await ports_with_work(store, Stage.SEND, [COPIES, ORDERS]) == []


async def test_no_requests_are_put_without_trouble(store: Store) -> None:
    assert await put_send_requests(store, []) == []


async def test_putting_requests_hints_running_gateways(store: Store) -> None:
    heard: asyncio.Queue[object] = asyncio.Queue()
    connection = await store.connect()
    try:
        await connection.add_listener(CHANNEL, lambda *call: heard.put_nowait(call[-1]))
        await put_send_requests(store, [a_send_request()])
        async with asyncio.timeout(60):
            assert await heard.get() == Stage.OUTBOUND
    finally:
        await connection.close()


async def test_failed_request_stays_with_its_error_and_an_exception(store: Store) -> None:
    await put_send_requests(store, [a_send_request("SO-1"), a_send_request("SO-2")])
    claimed = await claim(store)
    bad, good = claimed.items
    failure = RequestFailure(request=bad, code="document.not-found", text="There is no such order.", traceback="trace")
    await record(store, claimed.fence, RequestResult(failed=[failure], done=[sending(good)]))
    assert await rows(store, STATE) == [("error", "failed", 1)]
    assert await rows(store, "SELECT code, text, port, message_key, message_id, traceback FROM exception") == [
        ("document.not-found", "There is no such order.", COPIES, bad.key, bad.message_id, "trace")
    ]
    assert await rows(store, "SELECT message_id FROM queue") == [(good.key,)]
    assert await claim_requests(store, 1, COPIES, 10) is None


async def test_waiting_request_wakes_when_due(store: Store) -> None:
    await put_send_requests(store, [a_send_request("SO-1"), a_send_request("SO-2")])
    claimed = await claim(store)
    soon, later = claimed.items
    await record(store, claimed.fence, RequestResult(again=[Retry(soon, 0.0, "away"), Retry(later, 300.0, "away")]))
    assert await claim_requests(store, 1, COPIES, 10) is None
    stages, seconds = await wake_due(store)
    assert stages == {Stage.OUTBOUND}
    assert seconds is not None and 240 < seconds <= 300
    (again,) = (await claim(store)).items
    assert (again.key, again.attempts) == (soon.key, 2)


async def test_lease_that_stands_still_is_taken_back_and_its_late_result_refused(store: Store) -> None:
    await put_send_requests(store, [a_send_request()])
    claimed = await claim(store)
    assert await take_back(store, (await read_beats(store, 0)).leases) == 1
    with pytest.raises(LeaseLost):
        await record(store, claimed.fence, RequestResult(done=[sending(request) for request in claimed.items]))
    assert await rows(store, "SELECT count(*) FROM message") == [(0,)]
    (again,) = (await claim(store)).items
    assert again.attempts == 1, "an interruption is not an attempt"


async def test_request_that_is_given_back_is_ready_again(store: Store) -> None:
    await put_send_requests(store, [a_send_request()])
    claimed = await claim(store)
    await give_back(store, claimed.fence)
    assert await rows(store, STATE) == [("ready", "ready", 0)]


async def test_start_takes_back_what_an_earlier_start_of_the_node_left(store: Store) -> None:
    first = await start_incarnation(store, "node", "1")
    await put_send_requests(store, [a_send_request()])
    assert await claim_requests(store, first, COPIES, 10) is not None
    assert await start_incarnation(store, "node", "1")
    assert await rows(store, STATE) == [("ready", "ready", 0)]


async def test_progress_follows_a_request_to_its_file(store: Store) -> None:
    keys = await put_send_requests(store, [a_send_request("SO-1"), a_send_request("SO-2")])

    async def progress() -> Sequence[RequestProgress]:
        return await progress_of_requests(store, [*keys, MessageKey(10**9)])

    assert [(p.key, p.status) for p in await progress()] == [(key, Status.READY) for key in keys]
    claimed = await claim(store)
    good, bad = claimed.items
    failure = RequestFailure(request=bad, code="x", text="no")
    await record(store, claimed.fence, RequestResult(done=[sending(good)], failed=[failure]))
    assert [(p.status, p.outcome, p.error) for p in await progress()] == [
        (Status.READY, None, None), (Status.ERROR, None, "no"),
    ]  # fmt: skip
    sent = await claim_outbound(store, 1, COPIES, 10)
    assert sent is not None
    await record_outbound(store, sent.fence, SendResult(sent=list(sent.items)))
    first = (await progress())[0]
    assert (first.status, first.outcome, first.file_name) == (None, Outcome.SENT, f"{good.message_id}.xml")


async def test_operators_see_requests_among_the_unfinished_messages(store: Store) -> None:
    first, second = await put_send_requests(store, [a_send_request("SO-1", "SO-2"), a_send_request(port=OTHER)])
    listed, total = await list_queue(store, MessageFilter(), limit=10)
    assert total == 2
    assert [(row.key, row.direction, row.status) for row in listed] == [
        (first, "out", "ready"),
        (second, "out", "ready"),
    ]
    others, _ = await list_queue(store, MessageFilter(port=OTHER), limit=10)
    assert [row.key for row in others] == [second]
    assert await list_queue(store, MessageFilter(direction=Direction.IN), limit=10) == ([], 0)
    cut, total = await list_queue(store, MessageFilter(), limit=1)
    assert ([row.key for row in cut], total) == ([first], 2)
    await claim(store)
    overview = await read_overview(store)
    assert [(c.port, c.status, c.messages) for c in overview.queue] == [(COPIES, "in_process", 1), (OTHER, "ready", 1)]
    assert [(lease.stage, lease.messages) for lease in overview.leases] == [("outbound", 1)]


async def test_operators_see_all_that_is_known_of_a_request(store: Store) -> None:
    new = a_send_request("SO-1", "SO-2")
    (key,) = await put_send_requests(store, [new])
    (found,) = await find_messages(store, key=None, message_id=new.message_id)
    assert (found.key, found.queued, found.port) == (key, True, COPIES)
    report = await read_message(store, key)
    assert report is not None
    assert (report.message.entity_keys, report.message.submitter) == (["SalesId=SO-1", "SalesId=SO-2"], "clerk")
    assert (report.message.status, report.document, report.versions) == ("ready", None, [])


def values(**changes: str) -> str:
    row = {"id": "1", "message_id": f"'{UUID(int=1)}'", "port": "'p'", "service": "'s'", "operation": "'o'",
           "entity_keys": """'[[["a", "b"]]]'""", "submitter": "'u'", **changes}  # fmt: skip
    return f"INSERT INTO send_request ({', '.join(row)}) VALUES ({', '.join(row.values())})"


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "'error'"},
        {"status": "'sent'"},
        {"reason": "'running'", "status": "'in_process'"},
        {"fence": "1"},
        {"reason": "'backoff'"},
        {"not_before": "now()"},
        {"entity_keys": "'[]'"},
        {"entity_keys": "'{}'"},
    ],
)
async def test_states_that_make_no_sense_cannot_be_stored(store: Store, changes: dict[str, str]) -> None:
    with pytest.raises(CheckViolationError):
        await rows(store, values(**changes))


async def test_the_row_the_checks_are_tried_on_is_a_good_one(store: Store) -> None:
    await rows(store, values(message_id=f"'{uuid4()}'"))
    assert await rows(store, STATE) == [("ready", "ready", 0)]
