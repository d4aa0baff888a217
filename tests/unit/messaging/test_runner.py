"""The loop of a stage: what runs when a stop is asked for may end, until the time for that is over."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.contracts.task import Tally, TaskContext
from gateway.messaging.flow import runner
from gateway.messaging.flow.runner import PortRunner
from gateway.messaging.rules.states import Stage
from tests.integration.messaging.test_inbound import NothingComes

DEADLINE = 60.0


async def test_the_end_of_the_time_to_drain_reaches_work_that_another_outlived(monkeypatch: pytest.MonkeyPatch) -> None:
    """One chunk ends after the stop was asked for; the other is then still given back."""
    returned: list[int] = []
    working = asyncio.Event()
    quick, stopping = asyncio.Event(), asyncio.Event()
    fences = {"quick": 1, "slow": 2}

    async def ports_with_work(*_: object) -> list[str]:
        return list(fences)

    async def give_back(_: object, fence: int) -> None:
        returned.append(fence)

    async def claim(name: str) -> Any:
        return SimpleNamespace(fence=fences[name])

    async def work(port: Any, *_: object) -> None:
        working.set()
        await (quick if port.name == "quick" else asyncio.Event()).wait()

    async def nothing(*_: object) -> None:
        return

    monkeypatch.setattr(runner, "ports_with_work", ports_with_work)
    monkeypatch.setattr(runner, "give_back", give_back)
    stage: PortRunner[Any, Any] = PortRunner(
        stage=Stage.SEND, store=SimpleNamespace(held=set()),  # type: ignore[arg-type]
        ports=lambda: {name: SimpleNamespace(name=name, weight=1) for name in fences},  # type: ignore[misc]
        claim=claim, work=work, places=4, trouble=SimpleNamespace(waits_for_store=nothing),  # type: ignore[arg-type]
    )  # fmt: skip
    context = TaskContext(task="send", feed=NothingComes(), stopping=stopping, tally=Tally())
    running = asyncio.create_task(stage.run(context))
    async with asyncio.timeout(DEADLINE):
        await working.wait()
        stopping.set()
        quick.set()
        for _ in range(20):
            await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert returned == [2]
