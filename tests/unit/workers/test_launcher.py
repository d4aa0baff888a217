"""Processes that are forked from one that did nothing yet."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from gateway.workers.forking import _Launcher
from gateway.workers.launcher import Child, Launcher, NotLaunched
from gateway.workers.link import Link, Message


def echo(connection: socket.socket, descriptors: Sequence[int]) -> None:
    """Say what comes, and what stands in the descriptor, until nobody talks."""

    async def talk() -> None:
        link = await Link.over(connection)
        link.tell("holds", os.getpid(), *(os.pread(one, 100, 0).decode() for one in descriptors))
        async for message in link.messages():
            link.tell(message.kind, *message.fields, body=message.body)
            if message.kind == "end":
                os._exit(message.fields[0])

    asyncio.run(talk())


@pytest.fixture
async def launcher() -> AsyncIterator[Launcher]:
    launcher = Launcher.start({"echo": echo})
    yield launcher
    launcher.close()


async def test_process_answers_over_its_link_and_holds_what_it_was_given(launcher: Launcher, tmp_path: Path) -> None:
    (tmp_path / "page").write_text("a page")
    with (tmp_path / "page").open() as page:
        child, link = await _open(launcher, page.fileno())
    assert await link.receive() == Message("holds", (child.pid, "a page"))
    large = bytes(300_000)
    link.tell("said", 1, None, {"a": "ü"}, body=large)
    assert await link.receive() == Message("said", (1, None, {"a": "ü"}), large)
    link.close()
    assert await child.ended == 0


async def test_how_processes_end_is_told_for_each(launcher: Launcher) -> None:
    opened = await asyncio.gather(*(_open(launcher) for _ in range(3)))
    (first, one), (second, two), (third, three) = opened
    one.tell("end", 7)
    second.send_signal(signal.SIGTERM)
    three.close()
    assert [await child.ended for child in (first, second, third)] == [7, -signal.SIGTERM, 0]
    second.send_signal(signal.SIGTERM)  # it is no more, and nobody else gets it
    assert (await one.receive(), await one.receive()) == (Message("holds", (first.pid,)), Message("end", (7,)))
    assert await one.receive() is None
    one.close()
    two.close()


async def test_signal_that_comes_before_a_process_hears_signals_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    waits, goes_on = os.pipe()
    become = _Launcher._become

    def late(self: _Launcher, role: str) -> None:
        os.read(waits, 1)
        become(self, role)

    monkeypatch.setattr(_Launcher, "_become", late)
    launcher = Launcher.start({"echo": echo})
    child, link = await _open(launcher)
    child.send_signal(signal.SIGTERM)
    _, other = await _open(launcher)  # the launcher does one thing after the other: it has sent the signal
    os.write(goes_on, b"12")
    assert await child.ended == -signal.SIGTERM
    link.close()
    other.close()
    launcher.close()
    os.close(waits)
    os.close(goes_on)


async def test_one_that_does_not_end_is_ended(launcher: Launcher) -> None:
    child, link = await _open(launcher)
    assert await child.end(seconds=0.01) == -signal.SIGKILL
    link.close()


async def test_end_of_the_launcher_is_the_end_of_all(launcher: Launcher) -> None:
    child, link = await _open(launcher)
    assert await link.receive() is not None
    os.kill(launcher.pid, signal.SIGKILL)
    assert await child.ended == -signal.SIGKILL
    assert await link.receive() is None
    link.close()
    with pytest.raises(NotLaunched):
        await launcher.launch("echo")


def test_end_of_the_gateway_is_the_end_of_all() -> None:
    program = """
import asyncio, os, signal, socket, tests.unit.workers.test_launcher as it
async def main():
    _, link = await it._open(launcher)
    print((await link.receive()).fields[0], flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
launcher = it.Launcher.start({"echo": it.echo})
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    assert done.stdout.strip().isdigit()  # and the other end of the pipe was closed: its process has ended, too


async def _open(launcher: Launcher, *descriptors: int) -> tuple[Child, Link]:
    child, connection = await launcher.launch("echo", *descriptors)
    return child, await Link.over(connection)


def test_it_is_closed_by_one_whose_loop_is_over() -> None:
    """A command starts it before it has a loop, and closes it after that."""
    launcher = Launcher.start({"echo": echo})

    async def work() -> int:
        child, ours = await launcher.launch("echo")
        with ours:
            return await child.end()

    assert asyncio.run(work()) == -signal.SIGKILL
    launcher.close()
