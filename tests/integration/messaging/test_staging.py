"""Promised files are published by whoever has the folder they lie in; nothing in it that is needed is removed."""

from uuid import UUID, uuid4

import pytest

from gateway.db.open import Store
from gateway.kernel.ids import Fence, MessageKey
from gateway.messaging.delivery.promises import SendResult, claim_outbound, promise_staged, record_outbound
from gateway.messaging.delivery.staging import (
    give_up_promises,
    known_staging,
    lost_staging,
    needed_staged,
    prepared_beside,
    put_off_unreachable,
    register_staging,
)
from gateway.messaging.processing.claims import InboundResult
from gateway.messaging.queue.leases import (
    beat,
    declare_nodes_lost,
    give_back,
    ports_with_work,
    start_incarnation,
    stop_incarnation,
)
from gateway.messaging.rules.delivery import StagingPlace, fence_of, staged_name
from gateway.messaging.rules.message import Claimed, NewResponse, Sending
from gateway.messaging.rules.states import LoggingMode, Stage
from tests.factories import ORDERS
from tests.integration.messaging.test_way_of_a_message import a_message, claim, put, record, rows

MINE = StagingPlace(id=uuid4(), where="/srv/mine")
THEIRS = StagingPlace(id=uuid4(), where="/srv/theirs")


async def answers(store: Store, count: int) -> None:
    """Put so many responses into the queue."""
    await put(store, [a_message(n) for n in range(1, count + 1)])
    claimed = await claim(store)
    responses = [
        NewResponse(
            key=MessageKey(10**6 + n), request=work, port=ORDERS, message_id=uuid4(), file_name=f"{n}.xml",
            content=b"<r/>", is_fault=False,
        )
        for n, work in enumerate(claimed.items)
    ]  # fmt: skip
    await record(store, claimed, InboundResult(done=[(work, []) for work in claimed.items], responses=responses))


async def claim_in(store: Store, place: StagingPlace | None, limit: int = 10) -> Claimed[Sending] | None:
    return await claim_outbound(store, 1, ORDERS, limit, None if place is None else place.id)


async def promised_and_given_back(store: Store, place: StagingPlace, count: int = 1) -> None:
    """Let the first responses be promised in *place* and their process end before the publication."""
    sending = await claim_in(store, place, count)
    assert sending is not None and len(sending.items) == count
    staged = [(item.key, staged_name(item.key, sending.fence)) for item in sending.items]
    await promise_staged(store, sending.fence, staged, place.id)
    await give_back(store, sending.fence)


@pytest.fixture
async def two_nodes(store: Store) -> tuple[int, int]:
    """Two processes, each with a staging folder of its own."""
    mine, theirs = await start_incarnation(store, "mine", "1"), await start_incarnation(store, "theirs", "1")
    await register_staging(store, mine, ORDERS, MINE)
    await register_staging(store, theirs, ORDERS, THEIRS)
    return mine, theirs


@pytest.mark.parametrize("place", [MINE, None])
async def test_what_is_promised_elsewhere_is_not_claimed(store: Store, place: StagingPlace | None) -> None:
    await answers(store, 2)
    await promised_and_given_back(store, THEIRS)
    claimed = await claim_in(store, place)
    assert claimed is not None and [item.staged_in for item in claimed.items] == [None]
    again = await claim_in(store, THEIRS)
    assert again is not None and [item.staged_in for item in again.items] == [THEIRS.id]


async def test_promise_waits_for_a_living_node_without_being_put_off(store: Store, two_nodes: tuple[int, int]) -> None:
    await answers(store, 1)
    await promised_and_given_back(store, THEIRS)
    assert await put_off_unreachable(store, ORDERS) == 0
    assert await ports_with_work(store, Stage.SEND, [ORDERS]) == [ORDERS]


@pytest.mark.parametrize("end", ["lost", "stopped", "other folder"])
async def test_promise_in_a_folder_that_nobody_uses_says_where_it_is(
    store: Store, two_nodes: tuple[int, int], end: str
) -> None:
    _, theirs = two_nodes
    await answers(store, 1)
    await promised_and_given_back(store, THEIRS)
    match end:
        case "lost":
            await declare_nodes_lost(store, {theirs: 0})
        case "stopped":
            await stop_incarnation(store, theirs)
        case _:
            await register_staging(store, theirs, ORDERS, StagingPlace(id=uuid4(), where="/srv/new"))
    assert await put_off_unreachable(store, ORDERS) == 1
    ((reason, error, attempts),) = await rows(store, "SELECT reason, error, attempts FROM queue")
    assert (reason, attempts) == ("address_unavailable", 0)
    assert "/srv/theirs" in str(error)
    assert await ports_with_work(store, Stage.SEND, [ORDERS]) == []


async def test_promise_is_ready_again_when_a_node_comes_with_its_folder(
    store: Store, two_nodes: tuple[int, int]
) -> None:
    await answers(store, 1)
    await promised_and_given_back(store, THEIRS)
    await declare_nodes_lost(store, {two_nodes[1]: 0})
    await put_off_unreachable(store, ORDERS)
    await register_staging(store, await start_incarnation(store, "theirs", "2"), ORDERS, THEIRS)
    sending = await claim_in(store, THEIRS)
    assert sending is not None
    await record_outbound(store, sending.fence, SendResult(sent=list(sending.items)))
    assert await rows(store, "SELECT count(*) FROM queue") == [(0,)]


async def test_promise_is_ready_again_when_its_node_was_not_dead_after_all(
    store: Store, two_nodes: tuple[int, int]
) -> None:
    await answers(store, 1)
    await promised_and_given_back(store, THEIRS)
    await declare_nodes_lost(store, {two_nodes[1]: 0})
    await put_off_unreachable(store, ORDERS)
    assert await claim_in(store, THEIRS) is None
    assert await beat(store, two_nodes[1])
    assert await claim_in(store, THEIRS) is not None


async def test_folder_of_unknown_history_is_told_as_such(store: Store) -> None:
    await answers(store, 1)
    await promised_and_given_back(store, THEIRS)
    assert await put_off_unreachable(store, ORDERS) == 1
    ((error,),) = await rows(store, "SELECT error FROM queue")
    assert "no gateway of this database has used" in str(error)


async def lost(store: Store, theirs: int, count: int) -> list[MessageKey]:
    """Promise so many answers in their folder and lose it with its node; returns the messages in order."""
    await answers(store, count)
    await promised_and_given_back(store, THEIRS, count)
    await declare_nodes_lost(store, {theirs: 0})
    await put_off_unreachable(store, ORDERS)
    return [MessageKey(int(str(key))) for (key,) in await rows(store, "SELECT message_id FROM queue ORDER BY 1")]


async def test_promises_that_are_given_up_are_staged_anew_by_anybody(store: Store, two_nodes: tuple[int, int]) -> None:
    keys = await lost(store, two_nodes[1], 2)
    beside = await prepared_beside(store, keys[:1])
    assert [one.key for one in beside] == keys and not any(one.reachable for one in beside)
    assert await lost_staging(store, keys[1]) == beside[1].where
    assert "/srv/theirs" in beside[1].where
    assert await give_up_promises(store, beside, published={}, by="ann") == keys
    sending = await claim_in(store, MINE)
    assert sending is not None
    assert [(item.key, item.staged_name, item.staged_in) for item in sending.items] == [
        (key, None, None) for key in keys
    ]
    told = await rows(store, "SELECT message_key, text FROM exception WHERE code = 'promise.given-up' ORDER BY 1")
    assert [key for key, _ in told] == keys
    assert all(str(text).startswith("ann ") and "/srv/theirs" in str(text) for _, text in told)


async def test_answer_of_a_lost_folder_that_was_published_counts_as_sent(
    store: Store, two_nodes: tuple[int, int]
) -> None:
    first, second = await lost(store, two_nodes[1], 2)
    beside = await prepared_beside(store, [first])
    await give_up_promises(store, beside, published={first: LoggingMode.ORIGINAL}, by="ann")
    assert await rows(store, f"SELECT outcome FROM message WHERE id = {first}") == [("sent",)]
    assert await rows(store, "SELECT message_id, staged_in FROM queue") == [(second, None)]


async def test_promise_of_a_node_that_came_back_is_not_given_up(store: Store, two_nodes: tuple[int, int]) -> None:
    keys = await lost(store, two_nodes[1], 1)
    beside = await prepared_beside(store, keys)
    assert await beat(store, two_nodes[1])
    assert (await prepared_beside(store, keys))[0].reachable
    assert await lost_staging(store, keys[0]) is None
    assert await give_up_promises(store, beside, published={}, by="ann") == []
    assert await claim_in(store, THEIRS) is not None


async def test_node_knows_its_folder_also_when_it_cannot_be_reached(store: Store, two_nodes: tuple[int, int]) -> None:
    again = await start_incarnation(store, "mine", "2")
    assert await known_staging(store, again, ORDERS) == MINE.id
    newer = StagingPlace(id=uuid4(), where="/srv/newer")
    await register_staging(store, again, ORDERS, newer)
    assert await known_staging(store, again, ORDERS) == newer.id


async def test_staged_file_is_needed_while_its_claim_lives_or_it_is_promised(store: Store) -> None:
    await answers(store, 3)
    await promised_and_given_back(store, MINE)
    under_way = await claim_in(store, None, 1)
    assert under_way is not None
    ((promised,),) = await rows(store, "SELECT staged_name FROM queue WHERE staged_name IS NOT NULL")
    living = staged_name(MessageKey(1), under_way.fence)
    names = [str(promised), living, staged_name(MessageKey(1), Fence(10**15)), "strange.tmp", f"{UUID(int=1)}.mark.tmp"]
    assert await needed_staged(store, ORDERS, {name: fence_of(name) for name in names}) == {promised, living}
    await give_back(store, under_way.fence)
    assert await needed_staged(store, ORDERS, {name: fence_of(name) for name in names}) == {promised}


@pytest.mark.parametrize(
    ("name", "fence"),
    [("a.000001.xml.17.tmp", 17), ("a.xml.tmp", None), ("a.xml", None), (".tmp", None), (f"a.{'9' * 30}.tmp", None)],
)
def test_claim_of_a_staged_file_stands_in_its_name(name: str, fence: int | None) -> None:
    assert fence_of(name) == fence
