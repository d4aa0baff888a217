"""A MessageId that was processed before: refused with a fault, or answered again with the same response."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from uuid import UUID

import pytest
from lxml import etree

from gateway.db.open import Store
from gateway.db.unit import UnitTransaction
from gateway.kernel.errors import OperationRejected
from gateway.messaging.processing.claims import InboundResult, claim_inbound, record_inbound
from gateway.messaging.queue.leases import give_back
from gateway.messaging.queue.operate import hold, release
from gateway.messaging.queue.processed import take_processed_contents, take_processed_ids
from gateway.messaging.rules.states import Policy
from tests.documents import MESSAGE
from tests.factories import ORDERS
from tests.inbound_bench import InboundBench, Scripted

ID, OTHER = UUID(int=1), UUID(int=2)
REPLAY = {"on_duplicate": "replay"}
HTTPS = MESSAGE.replace("http:", "https:")


@pytest.fixture
def operation() -> Scripted:
    return Scripted()


@pytest.fixture
async def bench(store: Store, operation: Scripted) -> AsyncIterator[InboundBench]:
    with ThreadPoolExecutor(1) as executor:
        yield InboundBench(store, executor, operation)


def told(answer: etree._Element) -> str:
    """Return the code of a fault, or what the response says was done."""
    return answer.findtext(".//{*}Code") or str(answer.findtext(".//{*}Done"))


async def test_repeated_request_is_refused(bench: InboundBench, operation: Scripted) -> None:
    for _ in range(2):
        await bench.put(["A"], ids=[ID])
        await bench.run()
    assert [told(answer) for answer in await bench.answers()] == ["A, call 1", "DuplicateMessage"]
    assert operation.calls == ["A"]


async def test_repeated_request_gets_the_same_response_in_a_message_of_its_own(
    bench: InboundBench, operation: Scripted
) -> None:
    for _ in range(3):
        await bench.put(["A"], ids=[ID])
        await bench.run(**REPLAY)
    first, *others = await bench.answers()
    assert operation.calls == ["A"]
    for other in others:
        assert told(other) == "A, call 1"
        assert other.findtext("{*}Header/{*}RequestMessageId") == str(ID)
    own = {answer.findtext("{*}Header/{*}MessageId") for answer in [first, *others]}
    assert len(own) == 3
    history = await bench.rows("SELECT outcome, entity_keys FROM message WHERE direction = 'in'")
    assert history == [("processed", ["SalesId=A"])] * 3
    assert await bench.rows("SELECT severity, code FROM exception") == [("warning", "message.replayed")] * 2
    assert await bench.rows("SELECT count(*) FROM queue WHERE direction = 'in'") == [(0,)]


@pytest.mark.parametrize("policy", [Policy.CONTINUE, Policy.HALT, Policy.ROLLBACK])
async def test_repetition_in_the_same_set_is_answered_too(
    policy: Policy, bench: InboundBench, operation: Scripted
) -> None:
    await bench.put(["A", "A", "B"], ids=[ID, ID, OTHER], policy=policy, lane="the set")
    await bench.run(**REPLAY)
    assert [told(answer) for answer in await bench.answers()] == ["A, call 1", "A, call 1", "B, call 2"]
    assert operation.calls == ["A", "B"]


async def test_response_is_written_in_the_scheme_of_the_request_that_asks_again(bench: InboundBench) -> None:
    for namespace in (HTTPS, MESSAGE):
        await bench.put(["A"], ids=[ID], namespace=namespace)
        await bench.rows("UPDATE message SET namespace = $1 WHERE outcome IS NULL AND direction = 'in'", namespace)
        await bench.run(**REPLAY)
    tags = [answer.find(".//{*}Done").tag for answer in await bench.answers()]  # type: ignore[union-attr]
    assert [tag.partition(":")[0] for tag in tags] == ["{https", "{http"]


async def test_response_that_is_not_kept_cannot_be_repeated_and_the_fault_says_so(bench: InboundBench) -> None:
    await bench.put(["A"], ids=[ID])
    await bench.run(**REPLAY)
    await bench.rows("DELETE FROM document")
    await bench.put(["A"], ids=[ID])
    await bench.run(**REPLAY)
    (fault,) = await bench.answers()
    assert told(fault) == "DuplicateMessage"
    assert "its response is not kept any more" in str(fault.findtext(".//{*}Text"))


async def test_failed_request_may_be_sent_again(bench: InboundBench, operation: Scripted) -> None:
    operation.errors["A"] = OperationRejected("not today")
    await bench.put(["A"], ids=[ID])
    await bench.run(**REPLAY)
    operation.errors.clear()
    await bench.put(["A"], ids=[ID])
    await bench.run(**REPLAY)
    assert [told(answer) for answer in await bench.answers()] == ["RequestFailed", "A, call 2"]


SAME = {"same_content_seconds": 3600}
IN_ORDER = {**SAME, "mode": "parallel", "max_parallel": 1}


async def test_same_content_without_an_id_is_done_again_unless_the_port_says_otherwise(
    bench: InboundBench, operation: Scripted
) -> None:
    for _ in range(2):
        await bench.put(["A"])
        await bench.run()
    assert operation.calls == ["A", "A"]


async def test_same_content_without_an_id_is_refused_within_its_time(bench: InboundBench, operation: Scripted) -> None:
    for marks in (["A", "B"], ["A", "C"]):
        await bench.put(marks)
        await bench.run(**IN_ORDER)
    answers = await bench.answers()
    assert [told(answer) for answer in answers] == ["A, call 1", "B, call 2", "DuplicateMessage", "C, call 3"]
    text = str(answers[2].findtext(".//{*}Text"))
    assert text.startswith("Duplicate message. A message with the same content has already been processed (file ")
    assert text.endswith("give each message a MessageId of its own.")
    await bench.rows("UPDATE processed_content SET at = at - make_interval(hours => 1)")
    await bench.put(["A"])
    await bench.run(**IN_ORDER)
    assert operation.calls == ["A", "B", "C", "A"]


@pytest.mark.parametrize("replay", [False, True])
async def test_same_content_in_the_same_set_counts_too(bench: InboundBench, operation: Scripted, replay: bool) -> None:
    await bench.put(["A", "A", "B"])
    await bench.run(**IN_ORDER, **(REPLAY if replay else {}))
    second = "A, call 1" if replay else "DuplicateMessage"
    assert sorted(told(answer) for answer in await bench.answers()) == sorted(["A, call 1", second, "B, call 2"])


async def test_an_id_makes_the_same_content_a_request_of_its_own(bench: InboundBench, operation: Scripted) -> None:
    for message_id in (None, ID, OTHER):
        await bench.put(["A"], ids=[message_id])
        await bench.run(**SAME)
    assert operation.calls == ["A", "A", "A"]


async def test_content_that_failed_may_be_sent_again(bench: InboundBench, operation: Scripted) -> None:
    operation.errors["A"] = OperationRejected("not today")
    await bench.put(["A"])
    await bench.run(**SAME)
    operation.errors.clear()
    await bench.put(["A"])
    await bench.run(**SAME)
    assert [told(answer) for answer in await bench.answers()] == ["RequestFailed", "A, call 2"]


@pytest.mark.parametrize(("same", "what"), [(ID, "MessageId"), (None, "content")])
async def test_what_is_in_work_is_waited_for_and_that_costs_no_try(
    bench: InboundBench, operation: Scripted, same: UUID | None, what: str
) -> None:
    """Its outcome decides: here it is left alone before it has one, as by a process that dies."""
    _, (first,) = await bench.put(["A"], ids=[same])
    claimed = await claim_inbound(bench.store, 1, ORDERS, 1)
    assert claimed is not None
    async with UnitTransaction(bench.store, ORDERS, silent_seconds=0.0) as unit, unit.aside() as connection:
        take = take_processed_ids if same else partial(take_processed_contents, seconds=3600)
        assert await take(bench.store, connection, claimed.items) == {first}
    _, (second,) = await bench.put(["A"], ids=[same])
    await bench.run(retries=1, **SAME)
    waits = await bench.rows("SELECT reason, attempts, store_waits, error FROM queue WHERE message_id = $1", second)
    text = f"message.twin: The message {first} with the same {what} is in work: its outcome is waited for."
    assert waits == [("backoff", 0, 0, f"{text} This counts as no attempt.")]
    assert operation.calls == []
    await give_back(bench.store, claimed.fence)
    await bench.run(**SAME)
    await bench.rows("UPDATE queue SET reason = 'ready', not_before = NULL WHERE reason = 'backoff'")
    await bench.run(**SAME)
    assert [told(answer) for answer in await bench.answers()] == ["A, call 1", "DuplicateMessage"]


@pytest.mark.parametrize("fails", [False, True])
async def test_a_set_that_has_the_id_in_its_transaction_is_waited_for(
    bench: InboundBench, operation: Scripted, fails: bool
) -> None:
    """A unit of several and a unit of one agree, though the one has its ids in its transaction and the other before."""
    await bench.put(["A", "B"], ids=[ID, OTHER])
    claimed = await claim_inbound(bench.store, 1, ORDERS, 2)
    assert claimed is not None
    await bench.put(["A"], ids=[ID])
    with suppress(OperationRejected):
        async with UnitTransaction(bench.store, ORDERS, silent_seconds=0.0) as unit:
            connection = await unit.open()
            await take_processed_ids(bench.store, connection, claimed.items)
            later = asyncio.create_task(bench.run())
            async with asyncio.timeout(60):
                while not await bench.rows("SELECT 1 FROM pg_locks WHERE NOT granted"):
                    await asyncio.sleep(0.01)
            assert operation.calls == []
            if fails:
                raise OperationRejected("It fails.")
            result = InboundResult(done=[(work, []) for work in claimed.items])
            await record_inbound(bench.store, connection, claimed.fence, result)
    await later
    assert [told(answer) for answer in await bench.answers()] == ["A, call 1" if fails else "DuplicateMessage"]


async def test_what_stands_still_gives_its_id_up(bench: InboundBench, operation: Scripted) -> None:
    """Its process died in the middle, and an operator put it on hold: who comes next need not wait for that."""
    _, (first,) = await bench.put(["A"], ids=[ID])
    claimed = await claim_inbound(bench.store, 1, ORDERS, 1)
    assert claimed is not None
    async with bench.store.transaction() as connection:
        await take_processed_ids(bench.store, connection, claimed.items)
    await give_back(bench.store, claimed.fence)
    await hold(bench.store, [first])
    await bench.put(["A"], ids=[ID])
    await bench.run()
    await release(bench.store, [first])
    await bench.rows("UPDATE queue SET judge_anew = false")
    await bench.run()
    assert [told(answer) for answer in await bench.answers()] == ["A, call 1", "DuplicateMessage"]
