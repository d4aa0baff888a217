"""How much waits is counted now and then only, and what is not known is asked for before intake stops."""

from gateway.stages.room import FULL_SECONDS, TRUSTED_SECONDS, Room
from gateway.store.inbound import claim_inbound
from gateway.store.open import Store
from tests.factories import ORDERS, a_message
from tests.integration.store.test_lanes import finish_claim
from tests.integration.store.test_way_of_a_message import put


class Clock:
    """Seconds that a test moves."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


async def test_count_is_remembered_and_what_was_taken_in_is_added(store: Store) -> None:
    clock = Clock()
    room = Room(store, clock)
    await put(store, [a_message(1), a_message(2, lane="port"), a_message(3, lane="port")])
    assert await room.waiting(100) == 3
    await put(store, [a_message(4)])
    assert await room.waiting(100) == 3
    room.took(1)
    assert await room.waiting(100) == 4
    await finish_claim(store)
    clock.seconds = TRUSTED_SECONDS
    assert await room.waiting(100) == 0


async def test_queue_is_counted_before_intake_stops(store: Store) -> None:
    room = Room(store, Clock())
    assert await room.waiting(10) == 0
    room.took(10)
    assert await room.waiting(10) == 0, "what was taken in is done already"


async def test_room_is_found_soon_after_the_queue_was_full(store: Store) -> None:
    clock = Clock()
    room = Room(store, clock)
    await put(store, [a_message(n) for n in range(1, 6)])
    assert await room.waiting(3) == 3
    await finish_claim(store)
    assert await room.waiting(3) == 3
    clock.seconds = FULL_SECONDS
    assert await room.waiting(3) == 0


async def test_messages_in_work_still_wait(store: Store) -> None:
    await put(store, [a_message(n) for n in range(1, 6)])
    await claim_inbound(store, 1, ORDERS, 2)
    assert await Room(store, Clock()).waiting(100) == 5
