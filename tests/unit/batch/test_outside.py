"""Programs and hosts are looked at without being asked for anything."""

import asyncio
import socket
from pathlib import Path

import pytest

from gateway.batch.alerts.channels.outside import unreachable_address, unreachable_host, unusable_program


def test_a_program_is_looked_for_as_it_would_be_started(tmp_path: Path) -> None:
    script = tmp_path / "go.sh"
    script.write_text("#!/bin/sh\n")
    assert unusable_program("sh", tmp_path) is None
    assert unusable_program("no-such-program", tmp_path) == (
        "there is no program 'no-such-program' in /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; "
        "write its path"
    )
    assert unusable_program("./go.sh", tmp_path) == f"{script} may not be executed by this account"
    script.chmod(0o700)
    assert unusable_program("./go.sh", tmp_path) is None
    assert unusable_program("./gone.sh", tmp_path) == f"there is no file {tmp_path}/gone.sh"


async def test_a_host_that_answers_is_fine_and_gets_no_byte() -> None:
    got: asyncio.Queue[bytes] = asyncio.Queue()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            got.put_nowait(await reader.read())
        except ConnectionError:
            got.put_nowait(b"")
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    assert await unreachable_host("127.0.0.1", port) is None
    assert await unreachable_address(f"http://127.0.0.1:{port}/x") is None
    assert [await got.get(), await got.get()] == [b"", b""]
    server.close()


async def test_a_host_that_does_not_answer_is_told_with_the_reason() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert await unreachable_host("127.0.0.1", port) == (
        f"127.0.0.1:{port} cannot be reached from here: Connection refused"
    )


@pytest.mark.parametrize("host", ["nowhere.invalid", "x" * 70])
async def test_a_host_that_is_none_is_told(host: str) -> None:
    text = await unreachable_host(host, 80)
    assert text is not None and ("cannot be found" in text or "no name that a host can have" in text)
