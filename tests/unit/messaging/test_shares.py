"""Turns are shared by weight; places leave room for whoever comes new."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.kernel.ids import PortName
from gateway.messaging.rules.shares import CREDIT_SECONDS, Places, Turns

A, B, NEW = PortName("a"), PortName("b"), PortName("new")
costs = st.floats(0.001, 0.2)


@given(st.lists(st.tuples(st.integers(1, 10), costs), min_size=2, max_size=5), st.integers(200, 400))
def test_ports_that_always_wait_get_time_by_their_weights(ports: list[tuple[int, float]], rounds: int) -> None:
    turns, had = Turns(), dict.fromkeys(map(PortName, map(str, range(len(ports)))), 0.0)
    for _ in range(rounds):
        port = turns.order(had)[0]
        weight, cost = ports[int(port)]
        turns.served(port)
        turns.charge(port, cost, weight)
        had[port] += cost / weight
    assert max(had.values()) - min(had.values()) <= max(cost / weight for weight, cost in ports) + 1e-9


def test_port_that_comes_back_is_next_but_has_no_claim_to_what_it_did_not_use() -> None:
    turns = Turns()
    for _ in range(1000):
        turns.served(turns.order([A])[0])
        turns.charge(A, 1.0)
    assert turns.order([A, B])[0] == B
    turns.served(B)
    turns.charge(B, 1.1 + CREDIT_SECONDS)  # A's last turn and the credit, and a little more
    assert turns.order([A, B])[0] == A


def test_ports_that_are_gone_are_forgotten() -> None:
    turns = Turns()
    turns.charge(A, 5.0)
    turns.forget([B])
    assert turns.order([A, B]) == [A, B]


def test_alone_a_port_holds_two_thirds() -> None:
    places = Places(300)
    places.take(A, places.room(A))
    assert places.held(A) == 200 and places.room(A) == 0
    places.take(B, places.room(B))
    assert places.held(B) == 66


@given(
    st.integers(1, 50),
    st.lists(st.tuples(st.sampled_from("abcdef"), st.booleans(), st.integers(1, 40)), max_size=60),
)
def test_whoever_holds_nothing_finds_room_while_any_is_free(size: int, steps: list[tuple[str, bool, int]]) -> None:
    places = Places(size)
    for name, takes, number in steps:
        port = PortName(name)
        if takes:
            taken = min(number, places.room(port))
            places.take(port, taken)
            assert taken <= 1 or places.held(port) <= 2 * places.free
        else:
            places.back(port, min(number, places.held(port)))
        assert 0 <= places.free <= size
        assert (places.room(NEW) > 0) == (places.free > 0)


def test_what_is_taken_beyond_the_room_leaves_none() -> None:
    places = Places(3)
    places.take(A, 7)
    assert places.free == -4 and places.room(A) == places.room(B) == 0
    places.back(A, 7)
    assert places.free == 3 and places.room(B) == 2
