"""What is seen of processing workers: which one stands, which one is past help, and who is to blame for its end."""

import os
import signal
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway.kernel.ids import MessageKey
from gateway.messaging.services.in_flight import NOBODY, Held, InFlightJournal
from gateway.runtime.processing import watch
from gateway.runtime.processing.handle import WorkerHandle
from gateway.runtime.processing.watch import FROZEN_LOOKS, HELD_LOOKS, STANDS_LOOKS, Finding, Watch

ONE, TWO = MessageKey(1), MessageKey(2)


class Process:
    """A child that takes what it is sent."""

    pid = os.getpid()

    def __init__(self) -> None:
        self.sent: list[int] = []

    def send_signal(self, number: int) -> None:
        self.sent.append(number)


@pytest.fixture
def page() -> Iterator[InFlightJournal]:
    """The page as the worker writes it."""
    descriptor = InFlightJournal.make()
    yield InFlightJournal(descriptor)
    os.close(descriptor)


@pytest.fixture
def process() -> Process:
    return Process()


@pytest.fixture
def worker(page: InFlightJournal, process: Process) -> WorkerHandle:
    settings = SimpleNamespace(workers=SimpleNamespace(memory_bytes=1 << 50))
    generation = SimpleNamespace(settings=settings, workers=[])
    return WorkerHandle(
        child=cast("Any", process), link=cast("Any", None), journal=page, generation=cast("Any", generation), only=None,
        began=0.0, ready=cast("Any", None),
    )  # fmt: skip


@pytest.fixture
def look(worker: WorkerHandle) -> Callable[[int], list[Finding]]:
    """Look so often, and return what was found."""
    looks = Watch()
    return lambda times: [found for _ in range(times) if (found := looks.look_at(worker)) is not None]


async def test_loop_that_turns_or_has_nothing_to_do_is_well(
    page: InFlightJournal, process: Process, look: Callable[[int], list[Finding]]
) -> None:
    assert look(2 * HELD_LOOKS) == []
    page.set(ONE, Held.LOOP)
    for _ in range(2 * HELD_LOOKS):
        page._turn()
        assert look(1) == []
    assert process.sent == []


async def test_code_that_holds_its_loop_is_replaced_then_ended_and_named(
    page: InFlightJournal, process: Process, worker: WorkerHandle, look: Callable[[int], list[Finding]]
) -> None:
    page.set(TWO, Held.THREAD)
    page.set(ONE, Held.LOOP)
    page.put_on_loop(ONE)
    assert look(1 + STANDS_LOOKS) == [Finding.STANDS]
    assert look(HELD_LOOKS - STANDS_LOOKS) == []
    assert process.sent == [signal.SIGABRT]
    assert Watch().held_by(worker) == ONE
    assert not Watch().suspects(worker, -signal.SIGABRT), "it is no crash, and nobody else is to blame"
    look(HELD_LOOKS)
    assert process.sent == [signal.SIGABRT, signal.SIGKILL], "what catches the first does not catch the second"


async def test_nobody_is_blamed_when_the_loop_was_free_again_before_the_end(
    page: InFlightJournal, worker: WorkerHandle, look: Callable[[int], list[Finding]]
) -> None:
    page.set(ONE, Held.LOOP)
    page.put_on_loop(ONE)
    look(1 + HELD_LOOKS)
    page.put_on_loop(TWO)
    look(1)
    assert Watch().held_by(worker) == NOBODY
    assert not Watch().suspects(worker, -signal.SIGABRT)


async def test_steps_of_many_hold_the_loop_for_none_of_them(
    page: InFlightJournal, process: Process, worker: WorkerHandle, look: Callable[[int], list[Finding]]
) -> None:
    page.set(ONE, Held.LOOP)
    for number in range(2 * HELD_LOOKS):
        page.put_on_loop(MessageKey(1 + number % 7))
        look(1)
    assert process.sent == [] and Watch().held_by(worker) == NOBODY


async def test_loop_that_stands_for_a_thread_is_ended_later_and_is_a_crash(
    page: InFlightJournal, process: Process, worker: WorkerHandle, look: Callable[[int], list[Finding]]
) -> None:
    page.set(ONE, Held.THREAD)
    assert look(FROZEN_LOOKS) == [Finding.STANDS]
    assert process.sent == []
    look(1)
    assert process.sent == [signal.SIGABRT]
    assert Watch().held_by(worker) == NOBODY
    assert set(Watch().suspects(worker, -signal.SIGABRT)) == {ONE}


async def test_frozen_process_says_nothing_about_its_code(
    page: InFlightJournal, process: Process, worker: WorkerHandle, look: Callable[[int], list[Finding]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    page.set(ONE, Held.LOOP)
    page.put_on_loop(ONE)
    look(2)
    monkeypatch.setattr(watch, "_is_frozen", lambda _: True)
    assert look(FROZEN_LOOKS - 1) == [Finding.STANDS]
    assert process.sent == []
    look(1)
    assert process.sent == [signal.SIGKILL]
    assert Watch().held_by(worker) == NOBODY and not Watch().suspects(worker, -signal.SIGKILL)
