"""The loop of inbound processing: what comes while thousands of slow messages begin does not wait for all of them."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway.contracts.task import Tally, TaskContext
from gateway.kernel.ids import Fence, PortName
from gateway.messaging.processing import units
from gateway.messaging.processing.claims import RoomSoon
from gateway.messaging.processing.units import UnitRunner
from gateway.messaging.rules.message import Claimed
from tests.inbound_bench import NothingComes

SLOW, QUICK = PortName("slow"), PortName("quick")
ROOM = 200


@dataclass
class Shares:
    """Room for many slow messages; whoever has had least comes first."""

    begun: list[PortName] = field(default_factory=list)
    alone = False

    def order(self, waiting: Iterable[PortName]) -> list[PortName]:
        return sorted(waiting)

    def room(self, port: Any, *, others_wait: bool) -> int:
        return int(port.name == QUICK or self.begun.count(SLOW) < ROOM)

    def tries(self, _: PortName) -> bool:
        return False

    def begin(self, port: Any, _: object, *, is_set: bool, alone: bool) -> Any:
        self.begun.append(port.name)
        return SimpleNamespace(is_set=is_set, alone=alone)

    def end(self, _: object, **__: object) -> None:
        return


class Calm:
    """Nothing is wrong with any port."""

    async def waits_for_store(self, *_: object) -> None:
        return


def a_runner(
    monkeypatch: pytest.MonkeyPatch, shares: Shares, look: object, claim: object, process: object
) -> UnitRunner:
    """Return one for two ports, that finds and does what a test says."""
    monkeypatch.setattr(units, "ports_with_work", look)
    ports = {name: SimpleNamespace(name=name, weight=1, sequential=False) for name in (SLOW, QUICK)}
    return UnitRunner(
        store=cast("Any", SimpleNamespace(held=set())), ports=lambda: cast("Any", ports), claim=cast("Any", claim),
        process=cast("Any", process), trouble=cast("Any", Calm()), shares=cast("Any", shares),
    )  # fmt: skip


async def test_ports_are_looked_for_while_units_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(units, "_FILL_SECONDS", 0.0)
    fences, shares, over = count(1), Shares(), asyncio.Event()

    async def ports_with_work(*_: object) -> list[PortName]:
        return [SLOW, QUICK] if len(shares.begun) >= 20 and QUICK not in shares.begun else [SLOW]

    async def claim(port: Any, limit: int) -> Claimed[Any]:
        await asyncio.sleep(0)
        if port.name == QUICK:
            over.set()
            context.stopping.set()
        return Claimed(fence=Fence(next(fences)), items=[SimpleNamespace(content=b"", crashes=0)])

    async def process(port: Any, *_: object) -> int:
        await over.wait()
        return 1

    runner = a_runner(monkeypatch, shares, ports_with_work, claim, process)
    context = TaskContext(task="inbound", feed=NothingComes(), stopping=asyncio.Event(), tally=Tally())
    running = asyncio.create_task(runner.run(context))
    async with asyncio.timeout(60):
        while not over.is_set() and shares.begun.count(SLOW) < ROOM:
            await asyncio.sleep(0)
    over.set()
    context.stopping.set()
    await running
    assert shares.begun.count(SLOW) < ROOM / 2, "it came while there was room for many more"


async def test_port_whose_work_others_are_ending_is_asked_again_and_keeps_nobody_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also while nothing else happens."""
    monkeypatch.setattr(units, "_SOON_SECONDS", 0.001)
    fences, shares, asked = count(1), Shares(), list[PortName]()

    async def ports_with_work(*_: object) -> list[PortName]:
        return [QUICK, SLOW] if not asked else []

    async def claim(port: Any, limit: int) -> Claimed[Any] | None:
        asked.append(port.name)
        if port.name == QUICK and asked.count(QUICK) < 5:
            raise RoomSoon("others are just ending claims")
        if asked.count(port.name) > (5 if port.name == QUICK else 1):
            return None
        return Claimed(fence=Fence(next(fences)), items=[SimpleNamespace(content=b"", crashes=0)])

    async def process(*_: object) -> int:
        return 1

    runner = a_runner(monkeypatch, shares, ports_with_work, claim, process)
    async with asyncio.timeout(60):
        await runner.run(TaskContext(task="inbound", feed=NothingComes(), stopping=asyncio.Event(), tally=Tally()))
    assert shares.begun == [SLOW, QUICK]
