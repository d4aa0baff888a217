"""What is known of the processes of a gateway."""

import os
import socket
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from gateway.db.open import Store
from gateway.messaging.queue.leases import beat, declare_nodes_lost, start_incarnation, stop_incarnation
from gateway.operations.nodes import Alive, nodes
from tests.factories import operator


async def alive(store: Store) -> list[Alive]:
    return [node.alive for node in await nodes(operator(store))]


async def test_gateway_that_never_ran_has_no_process(store: Store) -> None:
    assert await alive(store) == []


async def test_process_of_this_machine_runs_until_it_says_that_it_stopped(store: Store) -> None:
    incarnation = await start_incarnation(store, "node", "0")
    assert await alive(store) == [Alive.RUNNING]
    await stop_incarnation(store, incarnation)
    assert await alive(store) == [Alive.STOPPED]


async def test_process_that_is_gone_without_a_word_has_ended(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    monkeypatch.setattr("gateway.messaging.queue.leases.getpid", lambda: ended.pid)
    await start_incarnation(store, "node", "0")
    assert await alive(store) == [Alive.ENDED]


async def test_process_of_another_machine_runs_while_it_beats(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    name = socket.gethostname()
    incarnation = await start_incarnation(store, "node", "0")
    monkeypatch.setattr(socket, "gethostname", lambda: f"not-{name}")
    assert await alive(store) == [Alive.RUNNING]
    async with store.transaction() as connection:
        await connection.execute("UPDATE incarnation SET beat_at = beat_at - interval '40 seconds'")
    assert await alive(store) == [Alive.SILENT]
    await declare_nodes_lost(store, {incarnation: 0})
    assert await alive(store) == [Alive.LOST]
    await beat(store, incarnation)
    assert await alive(store) == [Alive.RUNNING]


async def test_latest_start_of_each_node_counts(store: Store) -> None:
    before = datetime.now(UTC)
    for node in ("a", "a", "b"):
        await start_incarnation(store, node, "0")
    found = await nodes(operator(store))
    assert [node.node for node in found] == ["a", "b"]
    assert all(node.pid == os.getpid() and node.started_at >= before for node in found)
