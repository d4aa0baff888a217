"""Outbound processing in this process: what a service says decides what becomes of a send request."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from asyncpg import DiskFullError
from lxml import etree

from gateway.config.models import OutboundPort, Settings
from gateway.contracts.service import Reply, Request, ServiceContext
from gateway.contracts.task import Tally, TaskContext
from gateway.db.open import Store
from gateway.kernel.errors import GatewayError, OperationRejected, StoreUnavailable, TransientError
from gateway.kernel.namespaces import ENTITY_KEY_LIST
from gateway.messaging.flow.port import OpenOutbound, Ports
from gateway.messaging.flow.port_state import PortHealth
from gateway.messaging.processing.outbound import OutboundStage
from gateway.messaging.queue.requests import put_send_requests
from gateway.messaging.rules.delivery import OutgoingFile, Promise
from gateway.messaging.rules.poison import MOST_CRASHES
from gateway.messaging.services.registry import Registry, Service
from gateway.xml.keys import read_keys
from tests.factories import COPIES, a_send_request

NAMESPACE = "http://schemas.microsoft.com/dynamics/2008/01/services"
ACTION = f"{NAMESPACE}/SalesOrderService/read"
SETTINGS: dict[str, Any] = {
    "services": {"SalesOrderService": {"kind": "python", "operations": {"read": "m:read"}}},
    "ports": {
        COPIES: {"direction": "outbound", "send": {"folder": "/srv/out"}, "operations": ["SalesOrderService.read"]}
    },
}


class Nowhere:
    """A send adapter that outbound processing never uses."""

    async def stage(self, files: Sequence[OutgoingFile]) -> Sequence[GatewayError | None]:
        raise AssertionError

    async def publish(self, promises: Sequence[Promise]) -> Sequence[GatewayError | None]:
        raise AssertionError

    async def probe(self) -> None:
        raise AssertionError

    async def discard(self, staged_names: Sequence[str]) -> None:
        raise AssertionError

    async def recover(self) -> Sequence[str]:
        raise AssertionError


class Reading:
    """A service operation that does what a test says for each key."""

    expects: tuple[str, ...] | None = (f"{{{ENTITY_KEY_LIST}}}EntityKeyList",)
    undoable = True
    idempotent = False
    timeout_seconds = 60.0

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.outcomes: dict[str, Callable[[], Reply]] = {}

    async def call(self, request: Request, context: ServiceContext) -> Reply:
        self.requests.append(request)
        ((_, key),) = read_keys(request.parts[0])[0]
        await context.connection.execute("INSERT INTO number_sequence (name, next) VALUES ($1, 1)", key)
        return self.outcomes.get(key, lambda: Reply(parts=[etree.Element("{urn:x}Order")]))()


class NothingComes:
    """The feed of a task that stands alone."""

    def __init__(self) -> None:
        self.told = 0

    async def more(self) -> bool:
        return False

    async def hinted(self) -> None:
        await asyncio.Event().wait()

    def produced(self) -> None:
        self.told += 1

    @property
    def closed(self) -> bool:
        return False

    @property
    def once(self) -> bool:
        return True


class Bench:
    """The stage with one port and one operation."""

    def __init__(self, store: Store, executor: ThreadPoolExecutor) -> None:
        self.store = store
        self.settings = Settings.model_validate(SETTINGS)
        self.reading = Reading()
        self.feed = NothingComes()
        self.tally = Tally()
        self.ports = Ports(self.settings)
        self.open({("SalesOrderService", "read"): ACTION})
        service = Service(
            name="SalesOrderService", namespaces=frozenset({NAMESPACE}), operations={"read": self.reading}
        )
        self.stage = OutboundStage(
            store=store, incarnation=1, ports=self.ports, registry=Registry({service.name: service}),
            executor=executor, trouble=PortHealth(store, 1), chunk=100,
        )  # fmt: skip

    def open(self, actions: dict[tuple[str, str], str]) -> None:
        port = self.settings.ports[COPIES]
        assert isinstance(port, OutboundPort)
        self.ports.add(
            OpenOutbound(name=COPIES, settings=port, actions=actions, send=Nowhere(), name_sent=lambda i: f"{i}.xml")
        )

    async def run(self) -> None:
        await self.stage.run(TaskContext(task="outbound", feed=self.feed, stopping=asyncio.Event(), tally=self.tally))

    async def rows(self, sql: str) -> list[tuple[Any, ...]]:
        async with self.store.transaction() as connection:
            return [tuple(row.values()) for row in await connection.fetch(sql)]


@pytest.fixture
async def bench(store: Store) -> AsyncIterator[Bench]:
    with ThreadPoolExecutor(1) as executor:
        yield Bench(store, executor)


def fails(error: Exception) -> Callable[[], Reply]:
    def raises() -> Reply:
        raise error

    return raises


async def test_document_is_read_for_the_asker_and_wrapped_in_an_envelope(bench: Bench) -> None:
    request = a_send_request("SO-1")
    (key,) = await put_send_requests(bench.store, [request])
    await bench.run()
    (seen,) = bench.reading.requests
    assert (seen.user, seen.company, seen.partition) == ("clerk", "DAT", "initial")
    assert (seen.key, seen.message_id, seen.idempotency_key) == (key, request.message_id, f"order-copies/{key}")
    ((guid, name, content, reason),) = await bench.rows(
        "SELECT m.message_id, m.file_name, d.content, q.reason FROM message m JOIN document d ON d.message_id = m.id"
        " JOIN queue q ON q.message_id = m.id"
    )
    assert (guid, name, reason) == (request.message_id, f"{request.message_id}.xml", "ready")
    root = etree.fromstring(content)
    assert root.findtext("{*}Header/{*}Action") == ACTION
    assert UUID(root.findtext("{*}Header/{*}MessageId")) == guid
    assert root.find("{*}Header/{*}RequestMessageId") is None
    assert root.find("{*}Body/{*}MessageParts/{urn:x}Order") is not None
    assert bench.feed.told == 1 and bench.tally.counts == {"requests": 1}


async def test_keys_that_a_service_returns_become_a_list_of_keys(bench: Bench) -> None:
    bench.reading.outcomes["SO-1"] = lambda: Reply(entity_keys=[[("SalesId", "SO-1")]], keys_only=True)
    await put_send_requests(bench.store, [a_send_request("SO-1")])
    await bench.run()
    ((content,),) = await bench.rows("SELECT content FROM document")
    key_list = etree.fromstring(content).find(f".//{{{ENTITY_KEY_LIST}}}EntityKeyList")
    assert key_list is not None
    assert read_keys(key_list) == ((("SalesId", "SO-1"),),)


@pytest.mark.parametrize(
    ("error", "code", "traced"),
    [
        (OperationRejected("no"), "operation.rejected", False),
        (ZeroDivisionError("a bug"), "operation.failed", True),
        (ValueError("cannot be written"), "operation.failed", True),
    ],
)
async def test_failing_request_is_undone_alone(bench: Bench, error: Exception, code: str, traced: bool) -> None:
    bench.reading.outcomes["SO-2"] = fails(error)
    keys = await put_send_requests(bench.store, [a_send_request(f"SO-{n}") for n in (1, 2, 3)])
    await bench.run()
    assert await bench.rows("SELECT id, status FROM send_request") == [(keys[1], "error")]
    assert await bench.rows("SELECT message_id FROM queue ORDER BY 1") == [(keys[0],), (keys[2],)]
    assert await bench.rows("SELECT name FROM number_sequence ORDER BY 1") == [("SO-1",), ("SO-3",)], "effects undone"
    assert await bench.rows("SELECT message_key, code, traceback IS NOT NULL FROM exception") == [
        (keys[1], code, traced)
    ]
    assert bench.tally.counts == {"requests": 2, "failed": 1}


async def test_reply_that_cannot_be_written_fails_its_request_alone(bench: Bench) -> None:
    bench.reading.outcomes["SO-1"] = lambda: Reply(entity_keys=[[("SalesId", "\x00")]], keys_only=True)
    await put_send_requests(bench.store, [a_send_request("SO-1"), a_send_request("SO-2")])
    await bench.run()
    assert await bench.rows("SELECT status, reason FROM send_request") == [("error", "failed")]
    assert await bench.rows("SELECT count(*) FROM queue") == [(1,)]
    assert await bench.rows("SELECT name FROM number_sequence") == [("SO-2",)]


async def test_key_that_xml_cannot_hold_fails_its_request_alone(bench: Bench) -> None:
    await put_send_requests(bench.store, [a_send_request("\x01"), a_send_request("SO-2")])
    await bench.run()
    assert await bench.rows("SELECT code FROM exception") == [("key.malformed",)]
    assert await bench.rows("SELECT count(*) FROM queue") == [(1,)]


async def test_trouble_of_the_database_costs_no_try_and_is_told(bench: Bench) -> None:
    bench.reading.outcomes["SO-1"] = fails(DiskFullError("could not extend file"))
    await put_send_requests(bench.store, [a_send_request("SO-1")])
    for waits in range(1, 6):
        await bench.run()
        assert await bench.rows("SELECT status, reason, attempts, store_waits FROM send_request") == [
            ("ready", "backoff", 0, waits)
        ]
        await bench.rows("UPDATE send_request SET reason = 'ready', not_before = NULL")
    ((state, reason),) = await bench.rows("SELECT state, reason FROM port_status")
    assert (state, "disk of the database is full" in reason) == ("stopped", True)
    bench.reading.outcomes.clear()
    await bench.run()
    assert await bench.rows("SELECT state FROM port_status") == [("open",)]
    assert bench.tally.counts["requests"] == 1


async def test_passing_trouble_is_tried_again_until_the_tries_are_used_up(bench: Bench) -> None:
    bench.reading.outcomes["SO-1"] = fails(TransientError("the other side is away"))
    await put_send_requests(bench.store, [a_send_request("SO-1")])
    for attempt in (1, 2):
        await bench.run()
        assert await bench.rows("SELECT status, reason, attempts FROM send_request") == [("ready", "backoff", attempt)]
        await bench.rows("UPDATE send_request SET reason = 'ready', not_before = NULL")
    await bench.run()
    assert await bench.rows("SELECT status, attempts, error FROM send_request") == [
        ("error", 3, "the other side is away. Tried 3 times.")
    ]


async def test_request_for_what_the_port_sends_no_more_fails_clearly(bench: Bench) -> None:
    await put_send_requests(bench.store, [a_send_request()])
    bench.open({})
    await bench.run()
    ((code, text),) = await bench.rows("SELECT code, text FROM exception")
    assert code == "action.not-allowed"
    assert "does not send SalesOrderService.read any more" in text


async def test_requests_of_a_closed_port_wait(bench: Bench) -> None:
    await put_send_requests(bench.store, [a_send_request()])
    bench.ports.remove(COPIES)
    await bench.run()
    assert await bench.rows("SELECT status, reason FROM send_request") == [("ready", "ready")]


async def test_request_that_ended_the_process_too_often_is_not_read_again(bench: Bench) -> None:
    (key, _) = await put_send_requests(bench.store, [a_send_request("SO-1"), a_send_request("SO-2")])
    await bench.rows(f"UPDATE send_request SET crashes = {MOST_CRASHES} WHERE id = {key}")
    await bench.run()
    assert await bench.rows("SELECT id, status, reason FROM send_request") == [(key, "error", "poison")]
    assert await bench.rows("SELECT message_key, code FROM exception") == [(key, "poison")]
    assert await bench.rows("SELECT name FROM number_sequence") == [("SO-2",)]


async def test_statement_that_takes_too_long_is_tried_again_and_holds_up_nobody(bench: Bench) -> None:
    bench.reading.outcomes["SO-1"] = fails(StoreUnavailable("the database answers too late"))
    await put_send_requests(bench.store, [a_send_request("SO-1"), a_send_request("SO-2")])
    await bench.run()
    assert await bench.rows("SELECT reason FROM send_request") == [("backoff",)]
    assert await bench.rows("SELECT count(*) FROM queue") == [(1,)]
