"""What is foreign and waits elsewhere counts as outside; what it waits for us does not."""

import asyncio

import pytest

from gateway.kernel import meter as module
from gateway.kernel.meter import Meter


class Time:
    """A clock that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    clock = Time()
    monkeypatch.setattr(module, "monotonic", clock)
    monkeypatch.setattr(module, "thread_time", lambda: 0.0)
    return clock


async def waiting(time: Time, seconds: float) -> str:
    asyncio.get_running_loop().call_soon(lambda: setattr(time, "now", time.now + seconds))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return "done"


async def test_what_foreign_code_waits_for_elsewhere_is_outside(time: Time) -> None:
    meter = Meter()
    assert await meter.metered(waiting(time, 2.0), foreign=True) == "done"
    assert meter.outside == 2.0


async def test_what_it_waits_for_us_is_not(time: Time) -> None:
    meter = Meter()

    async def handler() -> None:
        await waiting(time, 2.0)
        with meter.with_us():
            await waiting(time, 5.0)
            with meter.with_us():
                await waiting(time, 7.0)

    await meter.metered(handler(), foreign=True)
    assert meter.outside == 2.0
    assert meter.waited == 12.0


async def test_what_our_own_code_waits_for_is_nothing(time: Time) -> None:
    meter = Meter()

    async def work() -> None:
        with meter.with_us():
            await waiting(time, 5.0)
        await meter.metered(waiting(time, 1.0), foreign=True)
        await waiting(time, 3.0)

    await meter.metered(work())
    assert meter.outside == 1.0


def test_function_in_a_thread_waits_for_what_it_does_not_compute(time: Time) -> None:
    meter = Meter()
    meter.watched(lambda: setattr(time, "now", time.now + 3.0))
    assert meter.outside == 3.0
