"""Processes that are there for a block, and how their ends are told."""

import asyncio
import io
import signal
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from gateway.workers.launcher import Child, Launcher, ending, launched
from gateway.workers.link import Message, packed, read_message


def sleeps(connection: socket.socket, _: Sequence[int]) -> None:
    """Say so, and hear nothing any more."""
    with suppress(OSError):
        connection.sendall(packed("sleeps", 1, body=b"deep"))
    signal.pause()


@pytest.fixture
async def sleeper() -> AsyncIterator[Launcher]:
    launcher = Launcher.start({"sleeps": sleeps})
    yield launcher
    launcher.close()


async def test_process_is_gone_after_its_block(sleeper: Launcher) -> None:
    async with launched(sleeper, "sleeps") as (child, link):
        assert await link.receive() == Message("sleeps", (1,), b"deep")
    assert child.ended.result() == -signal.SIGKILL and not Path(f"/proc/{child.pid}").exists()


async def test_one_who_must_end_at_once_does_not_wait_for_it(sleeper: Launcher) -> None:
    born: asyncio.Future[Child] = asyncio.get_running_loop().create_future()

    async def use() -> None:
        async with launched(sleeper, "sleeps") as (child, _):
            born.set_result(child)

    using = asyncio.create_task(use())
    child = await born
    using.cancel()
    with pytest.raises(asyncio.CancelledError):
        await using
    assert await child.ended == -signal.SIGKILL


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (3, "ended with exit status 3"),
        (-signal.SIGTERM, "was ended by SIGTERM"),
        (-signal.SIGKILL, "was ended by SIGKILL (perhaps the machine had no memory left)"),
        (-99, "was ended by signal 99"),
    ],
)
def test_how_a_process_ended_is_told_in_words(status: int, text: str) -> None:
    assert ending(status) == text


def test_message_that_never_came_whole_is_none() -> None:
    assert read_message(io.BytesIO(packed("said")[:3])) is None
    assert read_message(io.BytesIO(packed("said", 1, body=b"x"))) == Message("said", (1,), b"x")
