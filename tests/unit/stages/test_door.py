"""A suspect runs alone; everybody else runs side by side."""

import asyncio

from gateway.stages.door import Door


async def test_a_suspect_waits_for_the_others_and_the_others_for_it() -> None:
    door = Door()
    told: list[str] = []
    gates = {name: asyncio.Event() for name in ("a", "b", "suspect", "late")}

    async def run(name: str) -> None:
        async with door.enter(alone=name == "suspect"):
            told.append(f"{name} in")
            await gates[name].wait()
            told.append(f"{name} out")

    async def settled() -> None:
        for _ in range(10):
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        for name in gates:
            group.create_task(run(name))
            await settled()
        assert told == ["a in", "b in"]
        gates["a"].set()
        await settled()
        assert told[2:] == ["a out"]
        gates["b"].set()
        await settled()
        assert told[3:] == ["b out", "suspect in"]
        gates["suspect"].set()
        await settled()
        assert told[5:] == ["suspect out", "late in"]
        gates["late"].set()


async def test_slow_suspect_does_not_hold_up_the_others_for_ever() -> None:
    door = Door(alone_seconds=0.01)
    async with asyncio.timeout(20), door.enter(alone=True), door.enter(alone=False):
        pass


async def test_suspect_does_not_wait_for_ever_for_a_slow_one() -> None:
    door = Door(alone_seconds=0.01)
    async with asyncio.timeout(20), door.enter(alone=False), door.enter(alone=True):
        pass
    async with asyncio.timeout(20), door.enter(alone=False):
        pass


async def test_between_two_suspects_everybody_else_who_waits_goes_in() -> None:
    door = Door()
    told: list[str] = []
    first = asyncio.Event()

    async def run(name: str) -> None:
        async with door.enter(alone=name.startswith("suspect")):
            told.append(name)
            if name == "suspect 1":
                await first.wait()

    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        for name in ("suspect 1", "suspect 2", "suspect 3", "a", "b"):
            group.create_task(run(name))
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        first.set()
    assert told == ["suspect 1", "a", "b", "suspect 2", "suspect 3"]
