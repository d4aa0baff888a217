"""Ports whose code has done harm get workers of their own, so many of them; more such ports share the last one."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway.kernel.ids import PortName
from gateway.runtime.processing.handle import Generation
from gateway.runtime.processing.workers import MOST_APART, Workers

PORTS = [PortName(name) for name in "abcdef"]


class Hand:
    """A worker that writes down what it is told."""

    def __init__(self, only: set[PortName] | None) -> None:
        self.only = only
        self.told: list[tuple[str, ...]] = []

    def tell(self, *words: str) -> None:
        self.told.append(words)


@pytest.fixture
async def workers() -> Workers:
    nothing = cast("Any", None)
    return Workers(launcher=nothing, store=nothing, incarnation=1, trouble=nothing, wake=lambda _: None)


async def test_each_gets_one_until_there_are_enough_and_the_others_leave_it(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    generation = Generation(settings=cast("Any", SimpleNamespace()))
    everybody = Hand(None)
    generation.workers.append(cast("Any", everybody))
    started: list[Hand] = []

    async def start(_: Generation, only: set[PortName], pause: float) -> None:
        started.append(Hand(only))
        generation.workers.append(cast("Any", started[-1]))

    monkeypatch.setattr(workers, "_replace", start)
    workers._current = generation
    for port in (*PORTS, *PORTS):
        workers._confine(generation, port)
        await asyncio.sleep(0)
    assert generation.apart == [{"a"}, {"b"}, {"c"}, {"d", "e", "f"}]
    assert [hand.only for hand in started] == generation.apart and len(started) == MOST_APART
    assert everybody.told == [("leave", port) for port in PORTS]
    assert [hand.told for hand in started] == [[], [], [], [("join", "e"), ("join", "f")]]
    assert generation.confined == set(PORTS)


async def test_workers_of_yesterday_get_none(workers: Workers) -> None:
    earlier = Generation(settings=cast("Any", SimpleNamespace()))
    workers._confine(earlier, PORTS[0])
    assert not earlier.apart
