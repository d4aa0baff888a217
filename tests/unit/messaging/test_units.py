"""How much of a port may begin, and whose turn it is."""

import itertools
from collections import Counter, deque
from typing import Any, cast

from gateway.messaging.flow.port import OpenInbound
from gateway.messaging.processing.units import CLAIMS, PLACES, PLACES_BYTES, Shares, Unit
from gateway.messaging.rules.message import Work
from tests.integration.messaging.test_inbound import a_port

MOST = 100


class Text:
    """Stands for a message of a size."""

    def __init__(self, size: int = 10) -> None:
        self.content = bytes(size)


def begin(shares: Shares, of: OpenInbound, number: int, size: int = 10) -> Unit:
    unit = shares.claim(of, number)
    shares.begin(unit, works(number, size))
    return unit


def works(number: int, size: int = 10) -> list[Work]:
    return cast("list[Work]", [Text(size) for _ in range(number)])


def port(name: str = "a", **options: Any) -> OpenInbound:
    return a_port(options.pop("mode", "parallel"), options.pop("max_parallel", 1000), name=name, **options)[1]


def learn(shares: Shares, of: OpenInbound, *, seconds: float, processor: float) -> None:
    """Let one message of a port have taken so long."""
    shares.end(begin(shares, of, 1), ran=1, seconds=seconds, processor=processor)


def singles(shares: Shares, of: OpenInbound) -> int:
    """Begin single messages as long as there is room; returns how many."""
    number = 0
    while shares.room(of, others_wait=False) == 1:
        begin(shares, of, 1)
        number += 1
    return number


def test_while_nothing_is_known_messages_begin_one_after_another_and_not_too_many() -> None:
    now = 5.0
    shares = Shares(MOST, lambda: now)
    assert singles(shares, port()) == 1
    now += 0.021
    assert singles(shares, port()) == 2
    assert shares.tries(port().name), "the next one begins although nothing happens"
    now += 60.0
    assert singles(shares, port()) == 22
    assert not shares.tries(port().name)


def test_a_port_of_which_something_is_known_is_not_tried_any_more() -> None:
    shares = Shares(MOST, lambda: 5.0)
    learn(shares, port(), seconds=0.001, processor=0.001)
    assert not shares.tries(port().name)


def test_so_many_that_wait_outside_run_as_the_processor_can_take_back_at_once() -> None:
    shares = Shares(MOST)
    learn(shares, port(), seconds=2.0, processor=0.005)
    assert singles(shares, port()) == 100
    learn(shares, port("b"), seconds=2.0, processor=2.0)
    assert singles(shares, port("b")) == 1


def test_limit_of_a_parallel_port_holds() -> None:
    shares = Shares(MOST, itertools.count(0.0).__next__)
    assert singles(shares, port(max_parallel=7)) == 7
    assert shares.room(port(max_parallel=5), others_wait=False) == 0, "it was lowered"


def test_quick_messages_run_in_two_sets_that_grow_with_what_is_known() -> None:
    shares = Shares(MOST)
    learn(shares, port(), seconds=0.001, processor=0.001)
    first = shares.room(port(), others_wait=False)
    unit = begin(shares, port(), first)
    second = shares.room(port(), others_wait=False)
    begin(shares, port(), second)
    assert (first, second, shares.room(port(), others_wait=False)) == (8, 8, 0)
    shares.end(unit, ran=first, seconds=0.004, processor=0.004)
    assert shares.room(port(), others_wait=False) == 64


def test_port_that_turns_slow_goes_singly_at_once() -> None:
    shares = Shares(MOST)
    learn(shares, port(), seconds=0.001, processor=0.001)
    unit = begin(shares, port(), shares.room(port(), others_wait=False))
    shares.end(unit, ran=1, seconds=5.0, processor=0.01)
    assert shares.room(port(), others_wait=False) == 1


def test_large_messages_of_a_port_wait_for_one_another_and_nobody_else_for_them() -> None:
    shares = Shares(MOST)
    begin(shares, port(), 1, PLACES_BYTES)
    assert shares.room(port(), others_wait=False) == 0
    assert shares.room(port("b"), others_wait=False) == 1


def test_turns_go_by_weight_and_by_what_a_message_takes_of_the_processor() -> None:
    shares = Shares(MOST, lambda: 5.0)
    ports = {each.name: each for each in (port("a"), port("b", weight=3), port("c"))}
    takes = {"a": 0.010, "b": 0.010, "c": 0.020}
    turns: Counter[str] = Counter()
    claims: deque[Unit] = deque()
    for _ in range(700):
        while (turn := shares.next(list(ports.values()))) is not None:
            claims.append(shares.claim(*turn))
        unit = claims.popleft()
        turns[unit.port] += 1
        shares.begin(unit, works(1))
        shares.end(unit, ran=1, seconds=9.0, processor=takes[unit.port])
    assert all(abs(turns[name] - share) <= 5 for name, share in {"a": 156, "b": 467, "c": 78}.items())


def test_claims_of_ports_go_side_by_side_of_each_port_one_and_not_too_many() -> None:
    shares, ports = Shares(MOST, lambda: 5.0), [port(name) for name in "abcde"]
    begun = []
    while (turn := shares.next(ports)) is not None:
        begun.append(shares.claim(*turn))
    assert [unit.port for unit in begun] == ["a", "b", "c"] and len(begun) == CLAIMS
    shares.end(begun[1])
    turn = shares.next(ports)
    assert turn is not None and turn[0].name == "b", "it found nothing, and has had nothing"
    shares.claim(*turn)
    shares.begin(begun[0], works(1))
    turn = shares.next(ports)
    assert turn is not None and turn[0].name == "d"


def test_port_whose_turn_it_is_again_waits_for_its_claim_but_others_not_for_long() -> None:
    now = 5.0
    shares = Shares(MOST, lambda: now)
    for name, processor in (("a", 0.010), ("b", 0.030)):
        learn(shares, port(name), seconds=9.0, processor=processor)
    stuck, behind = port("a"), port("b")
    turn = shares.next([stuck, behind])
    assert turn is not None and turn[0] is stuck
    shares.claim(*turn)
    assert shares.next([behind]) is None, "even with this one the other has had less"
    assert shares.moment([behind.name]) == 0.05
    now += 0.06
    turn = shares.next([behind])
    assert turn is not None and turn[0] is behind


def test_what_is_being_claimed_has_its_places() -> None:
    shares = Shares(PLACES)
    for name in "ab":
        learn(shares, port(name), seconds=0.0001, processor=0.0001)
    for _ in range(4):
        for name in "ab":
            unit = shares.claim(port(name), shares.room(port(name), others_wait=False))
            shares.begin(unit, works(unit.messages))
            shares.end(unit, ran=unit.messages, seconds=0.0001 * unit.messages, processor=0.0001 * unit.messages)
    first = shares.claim(port("a"), shares.room(port("a"), others_wait=False))
    second = shares.claim(port("b"), shares.room(port("b"), others_wait=False))
    held = first.messages
    assert held >= PLACES / 2 > second.messages > 0
    assert held + second.messages <= PLACES
    shares.begin(first, works(1))
    shares.end(first)
    shares.end(second)
    assert shares.room(port("b"), others_wait=False) == held, "all came back"
