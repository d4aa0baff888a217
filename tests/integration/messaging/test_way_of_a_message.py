"""The queue operations on a real database: from a file to a sent response, and every way aside."""

from collections.abc import Sequence
from dataclasses import replace
from uuid import uuid4

import pytest

from gateway.db.open import Store
from gateway.kernel.errors import LeaseLost
from gateway.kernel.ids import MessageKey, PortName, SetKey
from gateway.kernel.namespaces import MESSAGE_2008, MESSAGE_2011
from gateway.messaging.delivery.promises import SendResult, claim_outbound, promise_staged, record_outbound
from gateway.messaging.intake.writing import AlreadyIngested, ingestion, known_deliveries, same_content
from gateway.messaging.processing.claims import (
    InboundResult,
    claim_inbound,
    record_inbound,
    take_response_keys,
)
from gateway.messaging.queue.leases import (
    CLAIM_BYTES,
    draw_fence,
    give_back,
    read_beats,
    start_incarnation,
    take_back,
    wake_due,
)
from gateway.messaging.queue.processed import read_earlier, take_processed_ids
from gateway.messaging.rules.delivery import Claim
from gateway.messaging.rules.message import Claimed, Failure, NewMessage, NewResponse, RefusedFile, Retry, Work
from gateway.messaging.rules.states import LoggingMode, Policy
from tests.factories import ORDERS, a_claim, a_file, a_message


async def put(
    store: Store, messages: Sequence[NewMessage], *, policy: Policy = Policy.CONTINUE, batch: bool = False,
    max_failed: int | None = None,
) -> SetKey | None:  # fmt: skip
    claim = a_claim()
    async with ingestion(store) as ingesting:
        set_key = await ingesting.new_set() if batch else None
        await ingesting.add_messages(ORDERS, claim.id, "partner", set_key, policy, messages)
        file = a_file(claim, members=len(messages) if batch else None, policy=policy)
        await ingesting.end_file(replace(file, max_failed=max_failed), set_key, [])
    return set_key


async def claim(store: Store, limit: int = 100) -> Claimed[Work]:
    claimed = await claim_inbound(store, 1, ORDERS, limit)
    assert claimed is not None
    return claimed


async def record(store: Store, claimed: Claimed[Work], result: InboundResult) -> None:
    async with store.transaction() as connection:
        await record_inbound(store, connection, claimed.fence, result)


async def rows(store: Store, sql: str) -> list[tuple[object, ...]]:
    async with store.transaction() as connection:
        return [tuple(row.values()) for row in await connection.fetch(sql)]


FOLDER = uuid4()
QUEUE = """
SELECT q.status, CASE WHEN h.head IS NULL THEN q.reason ELSE 'ready' END
FROM queue q LEFT JOIN ready_head h ON h.port = q.port AND h.head = q.message_id ORDER BY q.message_id
"""


async def test_message_goes_from_file_to_sent_response(store: Store) -> None:
    await put(store, [a_message(content=b"<Envelope>1</Envelope>")])
    claimed = await claim(store)
    (work,) = claimed.items
    assert (work.content, work.file_display, work.attempts, work.submitter) == (
        b"<Envelope>1</Envelope>", "order.xml", 1, "partner",
    )  # fmt: skip
    async with store.transaction() as connection:
        (key,) = await take_response_keys(connection, 1)
        response = NewResponse(
            key=key, request=work, port=ORDERS, message_id=uuid4(), file_name="a.xml", content=b"<r/>", is_fault=False
        )
        result = InboundResult(done=[(work, [("SalesId", 'SO-"1\\')])], responses=[response])
        await record_inbound(store, connection, claimed.fence, result)
    sending = await claim_outbound(store, 1, ORDERS, 10)
    assert sending is not None
    (item,) = sending.items
    assert (item.file_name, item.content, item.staged_name) == ("a.xml", b"<r/>", None)
    await promise_staged(store, sending.fence, [(item.key, "a.xml.1.tmp")], FOLDER)
    await record_outbound(store, sending.fence, SendResult(sent=[item]))
    assert await rows(store, "SELECT count(*) FROM queue") == [(0,)]
    assert await rows(store, "SELECT count(*) FROM lease") == [(0,)]
    history = await rows(store, "SELECT direction, outcome, entity_keys, request_id FROM message ORDER BY id")
    assert history == [("in", "processed", ['SalesId=SO-"1\\'], None), ("out", "sent", None, work.key)]


async def test_uncommitted_file_is_invisible_and_a_failed_one_leaves_nothing(store: Store) -> None:
    claimed_file = a_claim()
    with pytest.raises(RuntimeError):
        async with ingestion(store) as ingesting:
            messages = [a_message(n) for n in range(1, 2501)]  # more than one copy
            await ingesting.add_messages(ORDERS, claimed_file.id, None, None, Policy.CONTINUE, messages)
            assert await claim_inbound(store, 1, ORDERS, 10) is None
            raise RuntimeError("the file turned out bad")
    assert await rows(store, "SELECT count(*) FROM message") == [(0,)]
    assert await known_deliveries(store, [claimed_file.id]) == {}


async def test_refused_file_is_kept_as_delivery_exception_and_malformed_row(store: Store) -> None:
    claimed_file = a_claim("bad.xml")
    async with ingestion(store) as ingesting:
        await ingesting.refuse_file(
            RefusedFile(claim=claimed_file, submitter=None, code="dtd.forbidden", text="No DOCTYPE.", line=2, column=1)
        )
    assert await rows(store, "SELECT status, reason, error FROM queue") == [("malformed", "malformed", "No DOCTYPE.")]
    log = await rows(store, "SELECT code, text, file, line, claim_id FROM exception")
    assert log == [("dtd.forbidden", "No DOCTYPE.", "bad.xml", 2, claimed_file.id)]
    assert set(await known_deliveries(store, [claimed_file.id])) == {claimed_file.id}
    assert await claim_inbound(store, 1, ORDERS, 10) is None


async def test_lane_is_claimed_by_one_at_a_time_and_in_order(store: Store) -> None:
    await put(store, [a_message(n, lane="conversation:a") for n in (1, 2, 3)])
    await put(store, [a_message(lane="conversation:b")])
    first = await claim(store, limit=2)
    assert [(work.lane, work.position) for work in first.items] == [("conversation:a", 1), ("conversation:a", 2)]
    beside = await claim(store)
    assert [(work.lane, work.position) for work in beside.items] == [("conversation:b", 1)]
    assert await claim_inbound(store, 1, ORDERS, 10) is None, "the rest of lane a waits for its front"
    for claimed in (first, beside):
        await record(store, claimed, InboundResult(done=[(work, []) for work in claimed.items]))
    second = await claim(store)
    assert [work.position for work in second.items] == [3]
    await record(store, second, InboundResult(done=[(work, []) for work in second.items]))
    assert await rows(store, "SELECT count(*) FROM lane") == [(0,)]


async def test_only_the_head_of_a_lane_is_ready(store: Store) -> None:
    await put(store, [a_message(n, lane="port") for n in (1, 2)])
    await put(store, [a_message(lane="port")])
    assert await rows(store, QUEUE) == [("ready", "ready"), ("ready", "behind_in_lane"), ("ready", "behind_in_lane")]
    claimed = await claim(store, limit=1)
    await record(store, claimed, InboundResult(done=[(work, []) for work in claimed.items]))
    assert await rows(store, QUEUE) == [("ready", "ready"), ("ready", "behind_in_lane")]


async def test_waiting_head_keeps_its_lane_waiting(store: Store) -> None:
    await put(store, [a_message(n, lane="port") for n in (1, 2)])
    claimed = await claim(store)
    head, behind = claimed.items
    await record(store, claimed, InboundResult(again=[Retry(head, 300.0, "away")], released=[behind]))
    assert await rows(store, QUEUE) == [("ready", "backoff"), ("ready", "behind_in_lane")]
    assert await claim_inbound(store, 1, ORDERS, 10) is None
    _, seconds = await wake_due(store)
    assert seconds is not None and 240 < seconds <= 300


async def test_message_without_lane_wakes_when_due(store: Store) -> None:
    await put(store, [a_message()])
    claimed = await claim(store)
    await record(store, claimed, InboundResult(again=[Retry(claimed.items[0], 0.0, "away")]))
    await wake_due(store)
    again = await claim(store)
    assert again.items[0].attempts == 2


@pytest.mark.parametrize(("limit", "taken"), [(1, 1), (3, 3), (5, 5), (9, 6)])
async def test_claim_takes_no_more_than_its_limit_over_all_lanes(store: Store, limit: int, taken: int) -> None:
    for lane in "abc":
        await put(store, [a_message(n, lane=lane) for n in (1, 2)])
    claimed = await claim(store, limit=limit)
    assert [(work.lane, work.position) for work in claimed.items] == [
        (lane, n) for lane in "abc" for n in (1, 2)
    ][:taken]  # fmt: skip
    leased = await rows(store, "SELECT count(*) FROM lane WHERE fence IS NOT NULL")
    assert leased == [((taken + 1) // 2,)], "lanes of which nothing was taken stay free"


@pytest.mark.parametrize("lane", [None, "port"])
async def test_claim_takes_fewer_messages_when_they_are_large(store: Store, lane: str | None) -> None:
    half = bytes(CLAIM_BYTES // 2)
    await put(store, [a_message(1, content=bytes(2 * CLAIM_BYTES), lane=lane)])
    await put(store, [a_message(n, content=half, lane=lane) for n in (2, 3, 4)])
    taken = []
    while (claimed := await claim_inbound(store, 1, ORDERS, 100)) is not None:
        taken.append([work.position for work in claimed.items])
        responses = [
            NewResponse(key=MessageKey(10**6 + work.key), request=work, port=ORDERS, message_id=uuid4(),
                        file_name=f"{work.key}.xml", content=work.content, is_fault=False)
            for work in claimed.items
        ]  # fmt: skip
        await record(store, claimed, InboundResult(done=[(work, []) for work in claimed.items], responses=responses))
    assert taken == [[1], [2, 3], [4]]
    sent = []
    while (sending := await claim_outbound(store, 1, ORDERS, 100)) is not None:
        sent.append(len(sending.items))
        await record_outbound(store, sending.fence, SendResult(sent=list(sending.items)))
    assert sent == [1, 2, 1]


async def test_rollback_set_is_claimed_whole_and_alone(store: Store) -> None:
    await put(store, [a_message(n, lane="port") for n in (1, 2)], policy=Policy.ROLLBACK, batch=True)
    await put(store, [a_message(lane="port")])
    claimed = await claim(store, limit=1)
    assert [work.position for work in claimed.items] == [1, 2]
    failing, other = claimed.items
    assert failing.set_key is not None
    failure = Failure(work=failing, code="schema", text="wrong")
    await record(store, claimed, InboundResult(failed=[failure], rolled_back={failing.set_key: failing.key}))
    assert await rows(store, QUEUE) == [("error", "failed"), ("hold", "set_rolled_back"), ("ready", "ready")]
    assert await rows(store, "SELECT status FROM message_set") == [("rolled_back",)]
    assert other.key not in [work.key for work in (await claim(store)).items]


async def test_halted_set_holds_what_is_behind_even_outside_the_claim(store: Store) -> None:
    set_key = await put(store, [a_message(n, lane="set") for n in (1, 2, 3, 4)], policy=Policy.HALT, batch=True)
    claimed = await claim(store, limit=3)
    first, failing, _ = claimed.items
    assert set_key is not None
    failure = Failure(work=failing, code="schema", text="wrong")
    await record(store, claimed, InboundResult(done=[(first, [])], failed=[failure], halted={set_key: failing.key}))
    assert await rows(store, QUEUE) == [("error", "failed"), ("hold", "set_halted"), ("hold", "set_halted")]
    assert await rows(store, "SELECT count(*) FROM lane") == [(0,)]
    assert await rows(store, "SELECT processed, status FROM message_set") == [(1, "error")]


async def test_lease_that_stands_still_is_taken_back_and_its_late_result_refused(store: Store) -> None:
    await put(store, [a_message(lane="port")])
    claimed = await claim(store)
    assert await take_back(store, (await read_beats(store, 0)).leases) == 1
    with pytest.raises(LeaseLost):
        await record(store, claimed, InboundResult(done=[(work, []) for work in claimed.items]))
    again = await claim(store)
    assert again.items[0].attempts == 1, "an interruption is not an attempt"


async def test_start_takes_back_what_an_earlier_start_of_the_node_left(store: Store) -> None:
    first = await start_incarnation(store, "node", "1")
    await put(store, [a_message()])
    assert await claim_inbound(store, first, ORDERS, 10) is not None
    assert await start_incarnation(store, "other node", "1")
    assert await claim_inbound(store, first, ORDERS, 10) is None, "another node must wait for the lease"
    assert await start_incarnation(store, "node", "1")
    assert await claim_inbound(store, first, ORDERS, 10) is not None


async def test_give_back_does_nothing_after_the_outcome_was_recorded(store: Store) -> None:
    await put(store, [a_message()])
    claimed = await claim(store)
    await record(store, claimed, InboundResult(done=[(work, []) for work in claimed.items]))
    await give_back(store, claimed.fence)
    assert await claim_inbound(store, 1, ORDERS, 10) is None


async def test_promised_file_survives_the_loss_of_its_lease(store: Store) -> None:
    await put(store, [a_message()])
    claimed = await claim(store)
    (work,) = claimed.items
    response = NewResponse(
        key=MessageKey(10**6), request=work, port=ORDERS, message_id=uuid4(), file_name="a.xml", content=b"<r/>",
        is_fault=False,
    )  # fmt: skip
    await record(store, claimed, InboundResult(done=[(work, [])], responses=[response]))
    sending = await claim_outbound(store, 1, ORDERS, 10)
    assert sending is not None
    await promise_staged(store, sending.fence, [(sending.items[0].key, "a.xml.1.tmp")], FOLDER)
    await give_back(store, sending.fence)
    with pytest.raises(LeaseLost):
        await record_outbound(store, sending.fence, SendResult(sent=list(sending.items)))
    again = await claim_outbound(store, 1, ORDERS, 10, FOLDER)
    assert again is not None and again.items[0].staged_name == "a.xml.1.tmp"


@pytest.mark.parametrize("several", [False, True], ids=["one", "several"])
async def test_promise_under_a_lease_that_was_taken_back_is_refused(store: Store, several: bool) -> None:
    await put(store, [a_message(n) for n in range(1, 2 + several)])
    claimed = await claim(store)
    responses = [
        NewResponse(
            key=MessageKey(10**6 + work.key), request=work, port=ORDERS, message_id=uuid4(),
            file_name=f"{work.key}.xml", content=b"<r/>", is_fault=False,
        )
        for work in claimed.items
    ]  # fmt: skip
    await record(store, claimed, InboundResult(done=[(work, []) for work in claimed.items], responses=responses))
    sending = await claim_outbound(store, 1, ORDERS, 10)
    assert sending is not None
    assert await take_back(store, (await read_beats(store, 0)).leases) == 1
    with pytest.raises(LeaseLost):
        await promise_staged(store, sending.fence, [(item.key, f"{item.key}.1.tmp") for item in sending.items], FOLDER)
    assert await rows(store, "SELECT DISTINCT status, staged_name FROM queue") == [("ready", None)]


async def test_namespace_of_2011_is_not_stored_with_each_message(store: Store) -> None:
    await put(store, [a_message(1), replace(a_message(2), namespace=MESSAGE_2008)])
    claimed = await claim(store)
    assert [work.namespace for work in claimed.items] == [MESSAGE_2011, MESSAGE_2008]
    assert await rows(store, "SELECT namespace FROM message ORDER BY id") == [(None,), (MESSAGE_2008,)]


@pytest.mark.parametrize(
    ("mode", "kept", "documents"),
    [(LoggingMode.ORIGINAL, 2, 2), (LoggingMode.HEADER, 2, 0), (LoggingMode.OFF, 0, 0)],
)
async def test_history_keeps_of_finished_messages_what_the_logging_mode_says(
    store: Store, mode: LoggingMode, kept: int, documents: int
) -> None:
    counts = "SELECT (SELECT count(*) FROM message), (SELECT count(*) FROM document), (SELECT count(*) FROM queue)"
    await put(store, [a_message(), a_message(2)])
    claimed = await claim(store)
    done, failed = claimed.items
    response = NewResponse(
        key=MessageKey(10**6), request=done, port=ORDERS, message_id=uuid4(), file_name="a.xml", content=b"<r/>",
        is_fault=False,
    )  # fmt: skip
    failure = Failure(work=failed, code="schema", text="wrong")
    await record(store, claimed, InboundResult(done=[(done, [])], failed=[failure], responses=[response], logging=mode))
    unfinished = (2, 2, 2)  # the failed request and the answer
    requests = [(1, 1, 0), (1, 0, 0), (0, 0, 0)][list(LoggingMode).index(mode)]
    assert await rows(store, counts) == [tuple(a + b for a, b in zip(unfinished, requests, strict=True))]
    sending = await claim_outbound(store, 1, ORDERS, 10)
    assert sending is not None
    await record_outbound(store, sending.fence, SendResult(sent=list(sending.items), logging=mode))
    assert await rows(store, counts) == [(1 + kept, 1 + documents, 1)]
    assert await rows(store, "SELECT count(*) FROM message WHERE outcome IS NOT NULL") == [(kept,)]


async def test_message_id_counts_once_per_operation_until_it_is_undone(store: Store) -> None:
    guid = uuid4()
    await put(store, [a_message(message_id=guid)])
    await put(store, [a_message(message_id=guid)])
    first, second = (await claim(store)).items
    with pytest.raises(RuntimeError):
        async with store.transaction() as connection:
            assert await take_processed_ids(store, connection, [first]) == {first.key}
            raise RuntimeError("the message failed")
    async with store.transaction() as connection:
        assert await take_processed_ids(store, connection, [first]) == {first.key}
    async with store.transaction() as connection:
        assert await take_processed_ids(store, connection, [second]) == set()
        earlier = await read_earlier(connection, [second], with_answers=True)
    assert (earlier[second.key].key, earlier[second.key].file, earlier[second.key].answer) == (
        first.key,
        "order.xml",
        None,
    )


async def test_same_bytes_are_recognised_but_not_for_another_port(store: Store) -> None:
    claimed_file = a_claim("first.xml")
    file = a_file(claimed_file)
    async with ingestion(store) as ingesting:
        await ingesting.end_file(file, None, [("file.repeated", "again")])
    digest = file.end.sha256
    assert await same_content(store, ORDERS, [digest], []) == {digest: "first.xml"}
    assert await same_content(store, PortName("other"), [digest], []) == {}
    assert await rows(store, "SELECT severity, code FROM exception") == [("warning", "file.repeated")]


async def test_message_of_a_lane_and_set_changes_few_rows_and_fewer_indexes(store: Store) -> None:
    """A row that is not changed in place costs an entry in most indexes of its table."""
    await put(store, [a_message(lane="a") for _ in range(3)], batch=True)
    before = await changes(store)
    claimed = await claim(store, 1)
    (work,) = claimed.items
    key = MessageKey(10**6)
    response = NewResponse(
        key=key, request=work, port=ORDERS, message_id=uuid4(), file_name="a.xml", content=b"<r/>", is_fault=False
    )
    await record(store, claimed, InboundResult(done=[(work, [])], responses=[response]))
    sending = await claim_outbound(store, 1, ORDERS, 10)
    assert sending is not None
    await promise_staged(store, sending.fence, [(key, f"{key}.1.tmp")], FOLDER)
    await record_outbound(store, sending.fence, SendResult(sent=list(sending.items)))
    after = await changes(store)
    changed = {name: (after[name][0] - before[name][0], after[name][1] - before[name][1]) for name in after}
    assert {name: counts for name, counts in changed.items() if counts[0]} == {
        "queue": (3, 1), "lane": (2, 0), "message": (2, 2), "message_set": (1, 1),
    }  # fmt: skip


async def changes(store: Store) -> dict[str, tuple[int, int]]:
    """Return how many rows of each table were changed so far, and how many of these in place."""
    for long in (False, True):  # of either kind there is one connection: nothing here runs side by side
        async with store.transaction(long=long) as connection:
            await connection.fetch("SELECT pg_stat_force_next_flush()")
    async with store.transaction() as connection:
        found = await connection.fetch("SELECT relname, n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables")
    return {row["relname"]: (row["n_tup_upd"], row["n_tup_hot_upd"]) for row in found}


async def test_lease_numbers_only_grow(store: Store) -> None:
    async with store.transaction() as connection:
        fences = [await draw_fence(connection) for _ in range(3)]
    assert fences == sorted(set(fences))


async def test_file_is_ingested_once_whoever_tries_again(store: Store) -> None:
    claimed_file = a_claim()
    await ingest_one(store, claimed_file)
    with pytest.raises(AlreadyIngested):
        await ingest_one(store, claimed_file)
    assert await rows(store, "SELECT count(*) FROM message") == [(1,)]


async def ingest_one(store: Store, claimed_file: Claim) -> None:
    async with ingestion(store) as ingesting:
        await ingesting.add_messages(ORDERS, claimed_file.id, None, None, Policy.CONTINUE, [a_message()])
        await ingesting.end_file(a_file(claimed_file), None, [])
