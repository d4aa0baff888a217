"""Blocking work of one folder: in turn, and at most one that hangs."""

import asyncio
import threading
from concurrent.futures import Executor
from pathlib import Path

import pytest

from adapters.file.errors import PortFolder
from adapters.file.offload import OneAtATime
from gateway.kernel.errors import AdapterUnavailable

PLACE = PortFolder(path=Path("/srv/in"), setting="ports.orders.receive.folder", port="orders")


async def test_calls_run_one_after_another(executor: Executor) -> None:
    turn, running, most = OneAtATime(executor, PLACE, 30), 0, 0

    def work() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        threading.Event().wait(0.002)
        running -= 1

    await asyncio.gather(*(turn.run(work) for _ in range(10)))
    assert most == 1


async def test_what_the_work_raises_comes_out(executor: Executor) -> None:
    def work() -> None:
        raise TimeoutError("of the share itself")

    with pytest.raises(TimeoutError, match="share itself"):
        await OneAtATime(executor, PLACE, 30).run(work)


async def test_while_one_call_hangs_the_others_are_refused_without_a_thread(executor: Executor) -> None:
    turn, wake, calls = OneAtATime(executor, PLACE, 1.0), threading.Event(), []  # long enough to begin

    def hang() -> None:
        calls.append(1)
        wake.wait()

    for _ in range(3):
        with pytest.raises(AdapterUnavailable, match=r"/srv/in \(ports.orders.receive.folder\) has not answered"):
            await turn.run(hang)
    assert len(calls) == 1
    wake.set()
    async with asyncio.timeout(60):
        while True:
            try:
                assert await turn.run(lambda: "back") == "back"
                break
            except AdapterUnavailable:
                await asyncio.sleep(0.005)
