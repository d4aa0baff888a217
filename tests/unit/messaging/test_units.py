"""How much of a port may begin, and whose turn it is."""

import itertools
from collections import Counter
from typing import Any, cast

from gateway.messaging.flow.port import OpenInbound
from gateway.messaging.processing.units import PLACES_BYTES, SET, Shares, Unit
from gateway.messaging.rules.message import Work
from tests.integration.messaging.test_inbound import a_port

MOST = 100


class Text:
    """Stands for a message of a size."""

    def __init__(self, size: int = 10) -> None:
        self.content = bytes(size)


def begin(shares: Shares, of: OpenInbound, number: int, size: int = 10) -> Unit:
    works = cast("list[Work]", [Text(size) for _ in range(number)])
    return shares.begin(of, works, is_set=number >= SET)


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
    shares, ports = Shares(MOST), {each.name: each for each in (port("a"), port("b", weight=3), port("c"))}
    takes = {"a": 0.010, "b": 0.010, "c": 0.020}
    turns: Counter[str] = Counter()
    for _ in range(700):
        name = shares.order(ports)[0]
        turns[name] += 1
        shares.end(begin(shares, ports[name], 1), ran=1, seconds=9.0, processor=takes[name])
    assert all(abs(turns[name] - share) <= 5 for name, share in {"a": 156, "b": 467, "c": 78}.items())
