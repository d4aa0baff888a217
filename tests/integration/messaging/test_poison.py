"""What ended the process is counted, also when it is taken back from the dead."""

from gateway.db.open import Store
from gateway.kernel.ids import MessageKey
from gateway.messaging.intake.writing import ingestion
from gateway.messaging.processing.claims import InboundResult, claim_inbound, record_inbound
from gateway.messaging.queue.leases import start_incarnation
from gateway.messaging.queue.operate import release
from gateway.messaging.queue.poison import count_crashes, note_held_loop
from gateway.messaging.queue.requests import RequestResult, claim_requests, put_send_requests, record_requests
from gateway.messaging.rules.message import Failure, Retry
from gateway.messaging.rules.outbound import RequestFailure
from gateway.messaging.rules.poison import MOST_CRASHES
from gateway.messaging.rules.states import Policy
from tests.factories import COPIES, ORDERS, a_claim, a_file, a_message, a_send_request


async def rows(store: Store, sql: str) -> list[tuple[object, ...]]:
    async with store.transaction() as connection:
        return [tuple(row.values()) for row in await connection.fetch(sql)]


async def put(store: Store, number: int) -> None:
    claim = a_claim()
    async with ingestion(store) as ingesting:
        messages = [a_message(n) for n in range(1, number + 1)]
        await ingesting.add_messages(ORDERS, claim.id, "partner", None, Policy.CONTINUE, messages)
        await ingesting.end_file(a_file(claim), None, [])


async def die_over(store: Store, *keys: MessageKey) -> None:
    """Start again after an end of the process in the middle of these messages."""
    await count_crashes(store, keys)
    await start_incarnation(store, "node", "1")


QUEUE = "SELECT status, reason, attempts, crashes FROM queue ORDER BY message_id"


async def test_only_the_message_at_work_pays_for_the_end_of_the_process(store: Store) -> None:
    await put(store, 2)
    life = await start_incarnation(store, "node", "1")
    claimed = await claim_inbound(store, life, ORDERS, 10)
    assert claimed is not None
    await die_over(store, claimed.items[0].key)
    assert await rows(store, QUEUE) == [("ready", "ready", 1, 1), ("ready", "ready", 0, 0)]
    log = await rows(store, "SELECT code, severity, message_key FROM exception")
    assert log == [("message.crashed", "warning", claimed.items[0].key)]


async def test_try_that_held_the_loop_is_one_try_and_judged_by_the_next_claim(store: Store) -> None:
    """Held again in the same try, by what takes back its effects, it is a crash: else that would go on for ever."""
    await put(store, 2)
    for crashes in (0, 1):
        life = await start_incarnation(store, "node", "1")
        claimed = await claim_inbound(store, life, ORDERS, 10)
        assert claimed is not None
        await note_held_loop(store, claimed.items[0].key)
        life = await start_incarnation(store, "node", "1")
        held, beside = await rows(store, QUEUE)
        assert (held, beside) == (("ready", "ready", 0, crashes), ("ready", "ready", 0, 0))
    claimed = await claim_inbound(store, life, ORDERS, 10)
    assert claimed is not None
    assert [(work.held_loop, work.attempts) for work in claimed.items] == [(True, 1), (False, 1)]
    async with store.transaction() as connection:
        again = [Retry(claimed.items[0], 0.0, "later")]
        result = InboundResult(again=again, released=claimed.items[1:])
        await record_inbound(store, connection, claimed.fence, result)
    assert await rows(store, "SELECT held_loop FROM queue") == [(False,)] * 2


async def test_message_that_ended_it_too_often_has_a_reason_of_its_own_until_it_is_released(store: Store) -> None:
    await put(store, 1)
    life = await start_incarnation(store, "node", "1")
    for _ in range(MOST_CRASHES):
        claimed = await claim_inbound(store, life, ORDERS, 10)
        assert claimed is not None
        await count_crashes(store, [claimed.items[0].key])
        life = await start_incarnation(store, "node", "1")
    claimed = await claim_inbound(store, life, ORDERS, 10)
    assert claimed is not None
    (work,) = claimed.items
    assert (work.crashes, work.attempts) == (MOST_CRASHES, MOST_CRASHES + 1)
    async with store.transaction() as connection:
        failure = Failure(work=work, code="poison", text="it ended the process")
        await record_inbound(store, connection, claimed.fence, InboundResult(failed=[failure]))
    assert await rows(store, QUEUE) == [("error", "poison", 3, 2)]
    await release(store, [work.key])
    assert await rows(store, QUEUE) == [("ready", "ready", 0, 0)]


async def test_send_requests_are_counted_too(store: Store) -> None:
    (key,) = await put_send_requests(store, [a_send_request()])
    life = await start_incarnation(store, "node", "1")
    for _ in range(MOST_CRASHES):
        assert await claim_requests(store, life, COPIES, 10)
        (crash,) = await count_crashes(store, [key])
        life = await start_incarnation(store, "node", "1")
    assert (crash.operation, crash.crashes) == ("SalesOrderService.read", MOST_CRASHES)
    claimed = await claim_requests(store, life, COPIES, 10)
    assert claimed is not None
    async with store.transaction() as connection:
        failure = RequestFailure(request=claimed.items[0], code="poison", text="it ended the process")
        await record_requests(store, connection, claimed.fence, RequestResult(failed=[failure]))
    state = "SELECT status, reason, crashes FROM send_request"
    assert await rows(store, state) == [("error", "poison", 2)]
    await release(store, [key])
    assert await rows(store, state) == [("ready", "ready", 0)]


async def test_finished_message_is_nobody_s_poison(store: Store) -> None:
    assert await count_crashes(store, [MessageKey(10**9)]) == []
