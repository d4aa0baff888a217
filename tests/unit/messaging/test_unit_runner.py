"""The loop of inbound processing: claims go side by side, and what comes meanwhile does not wait for what is begun."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from itertools import count
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway.contracts.task import Tally, TaskContext
from gateway.kernel.errors import StoreUnavailable
from gateway.kernel.ids import Fence, PortName
from gateway.messaging.processing import units
from gateway.messaging.processing.claims import PortContended
from gateway.messaging.processing.units import UnitRunner
from gateway.messaging.rules.message import Claimed
from tests.inbound_bench import NothingComes

SLOW, QUICK = PortName("slow"), PortName("quick")
ROOM = 200

Look = Callable[..., Awaitable[Sequence[PortName]]]
Claim = Callable[[Any, int], Awaitable[Claimed[Any] | None]]
Process = Callable[..., Awaitable[int]]


@dataclass
class Shares:
    """Room for many slow messages, each claimed by itself, and before any quick one."""

    begun: list[PortName] = field(default_factory=list)
    claiming: set[PortName] = field(default_factory=set)
    exclusive = False

    def next(self, waiting: Collection[Any]) -> tuple[Any, int] | None:
        for port in sorted(waiting, key=lambda port: bool(port.name != SLOW)):
            if port.name not in self.claiming and (port.name == QUICK or self.begun.count(SLOW) < ROOM):
                return port, 1
        return None

    def moment(self, _: object) -> None:
        return None

    def claim(self, port: Any, room: int) -> Any:
        self.claiming.add(port.name)
        return SimpleNamespace(port=port.name, messages=room, is_set=False, exclusive=False, is_claimed=False)

    def begin(self, unit: Any, _: object, *, exclusive: bool) -> None:
        self.claiming.discard(unit.port)
        self.begun.append(unit.port)
        unit.is_claimed = True

    def end(self, unit: Any, **_: object) -> None:
        self.claiming.discard(unit.port)


class Calm:
    """Nothing is wrong with any port."""

    async def waits_for_store(self, *_: object) -> None:
        return


class OneHint(NothingComes):
    """The feed of a task that is told once of something new."""

    def __init__(self) -> None:
        self.hint = asyncio.Event()

    async def hinted(self) -> None:
        await self.hint.wait()
        self.hint.clear()


class Store:
    """A database that is there again as soon as somebody waits for it."""

    def __init__(self) -> None:
        self.held: set[Fence] = set()
        self.waited = 0

    async def wait_until_available(self, _: object) -> bool:
        self.waited += 1
        return True


async def nothing_to_do(*_: object) -> int:
    return 1


@dataclass
class Bench:
    """The loop for two ports, that finds and does what a test says."""

    monkeypatch: pytest.MonkeyPatch
    shares: Shares = field(default_factory=Shares)
    store: Store = field(default_factory=Store)
    feed: OneHint = field(default_factory=OneHint)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    fences: "count[int]" = field(default_factory=lambda: count(1))

    def one_message(self) -> Claimed[Any]:
        return Claimed(fence=Fence(next(self.fences)), items=[SimpleNamespace(content=b"", crashes=0)])

    async def run(self, look: Look, claim: Claim, process: Process = nothing_to_do) -> None:
        self.monkeypatch.setattr(units, "ports_with_work", look)
        ports = {name: SimpleNamespace(name=name, weight=1, sequential=False) for name in (SLOW, QUICK)}
        runner = UnitRunner(
            store=cast("Any", self.store), ports=lambda: cast("Any", ports), claim=cast("Any", claim),
            process=cast("Any", process), trouble=cast("Any", Calm()), shares=cast("Any", self.shares),
        )  # fmt: skip
        async with asyncio.timeout(60):
            await runner.run(TaskContext(task="inbound", feed=self.feed, stopping=self.stopping, tally=Tally()))


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(monkeypatch)


async def test_what_comes_while_units_begin_does_not_wait_for_all_of_them(bench: Bench) -> None:
    over = asyncio.Event()

    async def look(*_: object) -> list[PortName]:
        return [SLOW, QUICK] if bench.shares.begun else [SLOW]

    async def claim(port: Any, _: int) -> Claimed[Any]:
        await asyncio.sleep(0)
        if port.name == QUICK:
            over.set()
            bench.stopping.set()
        elif bench.shares.begun.count(SLOW) == 20:
            bench.feed.hint.set()
        return bench.one_message()

    async def process(*_: object) -> int:
        await over.wait()
        return 1

    await bench.run(look, claim, process)
    assert QUICK in bench.shares.begun
    assert bench.shares.begun.count(SLOW) < ROOM / 2, "it came while there was room for many more"


async def test_claim_that_waits_keeps_nobody_else_waiting(bench: Bench) -> None:
    """It waits for a lock until messages of another port are done."""
    done: list[PortName] = []
    go_on = asyncio.Event()

    async def look(*_: object) -> list[PortName]:
        return [SLOW, QUICK] if not done else []

    async def claim(port: Any, _: int) -> Claimed[Any] | None:
        if port.name == SLOW:
            await go_on.wait()
        return bench.one_message() if done.count(port.name) < 5 else None

    async def process(port: Any, *_: object) -> int:
        done.append(port.name)
        if done.count(QUICK) == 5:
            go_on.set()
        return 1

    await bench.run(look, claim, process)
    assert done == [QUICK] * 5 + [SLOW] * 5


async def test_what_comes_while_a_claim_finds_nothing_is_claimed(bench: Bench) -> None:
    """It came behind what the claim saw, and it was looked for before the claim came back."""
    asked, looks = 0, 0
    looked = asyncio.Event()

    async def look(*_: object) -> list[PortName]:
        nonlocal looks
        looks += 1
        if looks == 2:
            asyncio.get_running_loop().call_later(0, looked.set)
        return [QUICK] if looks < 3 else []

    async def claim(*_: object) -> Claimed[Any] | None:
        nonlocal asked
        asked += 1
        if asked == 1:
            bench.feed.hint.set()
            await looked.wait()
        return bench.one_message() if asked == 2 else None

    await bench.run(look, claim)
    assert bench.shares.begun == [QUICK]


async def test_port_whose_work_others_are_ending_is_asked_again_and_keeps_nobody_waiting(bench: Bench) -> None:
    """Also while nothing else happens."""
    bench.monkeypatch.setattr(units, "_SOON_SECONDS", 0.001)
    asked = list[PortName]()

    async def look(*_: object) -> list[PortName]:
        return [QUICK, SLOW] if not asked else []

    async def claim(port: Any, _: int) -> Claimed[Any] | None:
        asked.append(port.name)
        if port.name == QUICK and asked.count(QUICK) < 5:
            raise PortContended("others are just ending claims")
        if asked.count(port.name) > (5 if port.name == QUICK else 1):
            return None
        return bench.one_message()

    await bench.run(look, claim)
    assert bench.shares.begun == [SLOW, QUICK]


async def test_claim_that_finds_the_database_away_is_made_again_when_it_is_back(bench: Bench) -> None:
    asked = 0

    async def look(*_: object) -> list[PortName]:
        return [QUICK]

    async def claim(*_: object) -> Claimed[Any] | None:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise StoreUnavailable("the database is away")
        if asked == 3:
            bench.stopping.set()
        return bench.one_message() if asked == 2 else None

    await bench.run(look, claim)
    assert bench.shares.begun == [QUICK]
    assert bench.store.waited == 1


async def test_defect_in_a_claim_ends_the_run(bench: Bench) -> None:
    async def look(*_: object) -> list[PortName]:
        return [QUICK, SLOW]

    async def claim(*_: object) -> Claimed[Any] | None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await bench.run(look, claim)
