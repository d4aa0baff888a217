"""Answers in a staging folder that is lost: what an operator is told, and what happens when it is confirmed."""

import asyncio
import json
import socket
from pathlib import Path
from uuid import uuid4

import pytest
from asyncpg import connect

from gateway.db.data_folder import Use
from gateway.db.open import Store, open_store
from gateway.kernel.ids import MessageKey, PortName
from gateway.messaging.delivery.promises import claim_outbound, promise_staged
from gateway.messaging.delivery.staging import put_off_unreachable, register_staging
from gateway.messaging.processing.claims import InboundResult, claim_inbound, record_inbound, take_response_keys
from gateway.messaging.queue.leases import declare_nodes_lost, give_back, start_incarnation
from gateway.messaging.rules.delivery import StagingPlace, staged_name
from gateway.messaging.rules.message import NewResponse
from tests.factories import ORDERS
from tests.unit.cli.conftest import Cli, put_messages

FOLDER = "/srv/lost/staging"


@pytest.fixture
def lost(cli: Cli, database_url: str) -> list[int]:
    """The numbers of two answers in a folder that nobody uses, while another gateway runs."""
    return asyncio.run(_lose(database_url, cli.config.parent / "data"))


async def _lose(url: str, data: Path) -> list[int]:
    async with open_store(url, data, use=Use.RUN) as store:
        gone = await start_incarnation(store, "gone", "1")
        place = StagingPlace(id=uuid4(), where=FOLDER)
        await register_staging(store, gone, ORDERS, place)
        await _answer(store, gone)
        sending = await claim_outbound(store, gone, ORDERS, 10)
        assert sending is not None
        staged = [(item.key, staged_name(item.key, sending.fence)) for item in sending.items]
        await promise_staged(store, sending.fence, staged, place.id)
        await give_back(store, sending.fence)
        await declare_nodes_lost(store, {gone: 0})
        await put_off_unreachable(store, ORDERS)
        await start_incarnation(store, "here", "1")  # this process: it runs
        return [int(item.key) for item in sending.items]


async def _answer(store: Store, incarnation: int) -> None:
    await put_messages(store, [None, None])
    claimed = await claim_inbound(store, incarnation, ORDERS, 10)
    assert claimed is not None
    async with store.transaction() as connection:
        keys = await take_response_keys(connection, len(claimed.items))
        responses = [
            NewResponse(
                key=MessageKey(key), request=work, port=PortName("orders"), message_id=uuid4(),
                file_name=f"batch.{number}.xml", content=b"<Envelope/>", is_fault=False,
            )
            for number, (key, work) in enumerate(zip(keys, claimed.items, strict=True), start=1)
        ]  # fmt: skip
        done = InboundResult(done=[(work, []) for work in claimed.items], responses=responses)
        await record_inbound(store, connection, claimed.fence, done)


def test_explain_names_the_command(cli: Cli, lost: list[int]) -> None:
    (told,) = json.loads(cli.run("explain", str(lost[0]), "--json").stdout)["explanations"]
    assert FOLDER in told["why"] and f"gateway queue restage {lost[0]}" in told["way_out"]


def test_without_confirmation_it_says_what_would_happen_and_changes_nothing(cli: Cli, lost: list[int]) -> None:
    asked = cli.run("queue", "restage", str(lost[0]))
    assert asked.exit_code == 1
    assert f"{FOLDER} on {socket.gethostname()}" in asked.stdout
    assert asked.stdout.count("is prepared anew") == 2, "the whole folder is lost"
    assert "a second time" in asked.stderr and "--yes" in asked.stderr
    assert {m["reason"] for m in cli.json("queue", "list")["messages"]} == {"address_unavailable"}


def test_confirmed_the_answers_are_ready_again_and_it_stands_who_did_it(cli: Cli, lost: list[int]) -> None:
    (cli.config.parent / "out" / "batch.1.xml").touch()
    assert cli.json("queue", "restage", str(lost[1]), "--yes") == {"restaged": [lost[1]], "sent": [lost[0]]}
    (left,) = cli.json("queue", "list")["messages"]
    assert (left["key"], left["reason"]) == (lost[1], "ready")
    assert cli.json("history", "show", str(lost[0]))["message"]["outcome"] == "sent"
    noted = cli.json("exceptions", "list")["exceptions"]
    assert {entry["code"] for entry in noted} == {"promise.given-up"} and len(noted) == 2


def test_what_is_not_prepared_anywhere_is_refused(cli: Cli, history: None) -> None:
    (waiting,) = [m for m in cli.json("queue", "list")["messages"] if m["status"] == "ready" and m["direction"] == "in"]
    refused = cli.run("queue", "restage", str(waiting["key"]), "--yes")
    assert refused.exit_code == 1
    assert f"no file is prepared for message {waiting['key']}" in refused.stderr


def test_as_long_as_no_gateway_runs_no_folder_is_lost(cli: Cli, lost: list[int], database_url: str) -> None:
    async def stop() -> None:
        connection = await connect(database_url)
        await connection.execute("UPDATE incarnation SET stopped_at = clock_timestamp()")
        await connection.close()

    asyncio.run(stop())
    refused = cli.run("queue", "restage", str(lost[0]), "--yes")
    assert refused.exit_code == 1
    assert "no gateway runs" in refused.stderr
