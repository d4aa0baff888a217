"""The command line as scripts use it, on a real database with a short history."""

import asyncio
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import structlog
from typer.testing import CliRunner, Result

from gateway.cli import common
from gateway.cli.main import commands
from gateway.db.data_folder import Use
from gateway.db.open import Store, open_store
from gateway.kernel.ids import PortName
from gateway.kernel.problem import Problem
from gateway.messaging.delivery.promises import SendResult, claim_outbound, record_outbound
from gateway.messaging.intake.writing import ingestion
from gateway.messaging.processing.claims import InboundResult, claim_inbound, record_inbound, take_response_keys
from gateway.messaging.queue.leases import start_incarnation
from gateway.messaging.rules.message import Failure, NewResponse, RefusedFile
from gateway.messaging.rules.states import Policy
from tests.factories import ORDERS, a_claim, a_file, a_message

DONE_ID = UUID("722b196b-4acb-4048-8ed3-36915a7dd269")
FAILED_ID = UUID("44920385-3194-498f-8ac7-438f3632df51")
RESPONSE_ID = UUID("b165292c-bf8b-43a4-9788-21d1b0aed185")
CONFIG = """
store: {store}
data: ./data
services:
  SalesOrderService: {{kind: document, document: SalesOrder, entity: SalesTable, key: SalesId}}
ports:
  orders:
    receive: {{folder: ./in}}
    respond: {{folder: ./out}}
    operations: [SalesOrderService.create]
    process: {{mode: parallel}}
  asleep:
    active: false
    receive: {{folder: ./asleep}}
    operations: [SalesOrderService.create]
"""
NIGHTLY = """\
description: Orders to the warehouse
start: 2030-01-01 02:00
zone: Europe/Copenhagen
recurrence: {every: 1 day}
tasks:
  export: {run: command, with: {command: ["true"]}}
  tell: {run: http, with: {url: "https://example.com/${NAME:-x}"}, after: export}
  undo: {run: command, with: {command: ["true"]}, after: {export: error}}
"""


@dataclass(frozen=True, slots=True)
class Cli:
    """Runs commands on one configuration."""

    config: Path

    def run(self, *words: str) -> Result:
        return CliRunner().invoke(commands(), [*words, "--config", str(self.config)], catch_exceptions=False)

    def json(self, *words: str) -> Any:
        result = self.run(*words, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)


@pytest.fixture
def cli(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cli]:
    """A configuration with an empty database, on a page where nothing is folded; logging is put back afterwards."""
    monkeypatch.setenv("COLUMNS", "1000")
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG.format(store=json.dumps(database_url)))
    for folder in ("in", "out", "asleep"):
        (tmp_path / folder).mkdir()
    handlers, level = logging.getLogger().handlers[:], logging.getLogger().level
    yield Cli(config)
    structlog.reset_defaults()
    logging.getLogger().handlers[:] = handlers
    logging.getLogger().setLevel(level)


@pytest.fixture
def history(cli: Cli, database_url: str) -> None:
    """One request answered, one failed, one waiting, one file refused."""
    asyncio.run(_live_a_little(database_url, cli.config.parent / "data"))


async def _live_a_little(url: str, data: Path) -> None:
    async with open_store(url, data, use=Use.RUN) as store:
        incarnation = await start_incarnation(store, str(store.node), "0.0.0")
        await put_messages(store, [DONE_ID, FAILED_ID])
        await _process(store, incarnation)
        await put_messages(store, [None])
        async with ingestion(store) as ingesting:
            refused = a_claim("bad\x1b[2J.xml")
            await ingesting.refuse_file(
                RefusedFile(
                    claim=refused, submitter=None, code="dtd.forbidden", text="No DOCTYPE \x1b[31m.", line=2, column=1
                )
            )


async def put_messages(store: Store, ids: Sequence[UUID | None]) -> None:
    """Put one file with so many requests into the queue."""
    claim = a_claim("batch.xml")
    async with ingestion(store) as ingesting:
        set_key = await ingesting.new_set()
        messages = [
            a_message(
                position, message_id=message_id, content=f"<Envelope>Gr\u00fc\u00dfe {position}</Envelope>".encode()
            )
            for position, message_id in enumerate(ids, start=1)
        ]
        await ingesting.add_messages(ORDERS, claim.id, "partner", set_key, Policy.CONTINUE, messages)
        await ingesting.end_file(a_file(claim, members=len(ids)), set_key, [])


async def _process(store: Store, incarnation: int) -> None:
    claimed = await claim_inbound(store, incarnation, ORDERS, 10)
    assert claimed is not None
    good, bad = claimed.items
    problem = Problem(code="schema", text="ten is no number", line=12, path="/SalesOrder/SalesTable[1]")
    async with store.transaction() as connection:
        (key,) = await take_response_keys(connection, 1)
        response = NewResponse(
            key=key, request=good, port=PortName("orders"), message_id=RESPONSE_ID, file_name="batch.000001.xml",
            content='<?xml version="1.0" encoding="UTF-16"?><Envelope>SO-1</Envelope>'.encode("utf-16"), is_fault=False,
        )  # fmt: skip
        failure = Failure(work=bad, code="schema", text="The document breaks its schema.", problems=(problem,))
        result = InboundResult(done=[(good, [("SalesId", "SO-1")])], failed=[failure], responses=[response])
        await record_inbound(store, connection, claimed.fence, result)
    sending = await claim_outbound(store, incarnation, ORDERS, 10)
    assert sending is not None
    await record_outbound(store, sending.fence, SendResult(sent=list(sending.items)))


@pytest.fixture
def as_ann(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common, "account_of", lambda _: "ann")


@pytest.fixture
def nightly(cli: Cli, as_ann: None, tmp_path: Path) -> Cli:
    """The job `nightly` of ann, made from a file and withheld."""
    file = tmp_path / "nightly.yaml"
    file.write_text(NIGHTLY)
    assert cli.run("jobs", "create", "nightly", str(file)).exit_code == 0
    return cli
