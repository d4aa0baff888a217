"""The whole way of a message between addresses without a folder: the stages know nothing of what an address is."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from adapters.file.identity import FolderIdentities
from gateway.config.models import Settings
from gateway.contracts.task import Tally, TaskContext, TaskHandler
from gateway.db.open import Store
from gateway.kernel.errors import StoreUnavailable
from gateway.messaging.delivery.send import SendStage
from gateway.messaging.flow.port import OpenInbound, Ports
from gateway.messaging.flow.port_state import PortHealth
from gateway.messaging.intake.receive import ReceiveStage
from gateway.messaging.processing.inbound import InboundStage
from gateway.messaging.queue.leases import start_incarnation
from gateway.messaging.services.registry import Registry, Service
from gateway.runtime.ports import open_port
from gateway.xml.pool import XmlPool
from tests.documents import SERVICES, batch, envelope, guid
from tests.factories import ORDERS
from tests.inbound_bench import NothingComes, Scripted
from tests.postbox import InBox, OutBox, PostBoxReceiver, PostBoxSender


class Gateway:
    """One port between two post boxes, with the three stages that serve it."""

    def __init__(self, store: Store, folder: Path, executor: ThreadPoolExecutor, pool: XmlPool, me: int) -> None:
        self._store = store
        self.inbox, self.outbox = InBox(ORDERS), OutBox(ORDERS)
        settings = Settings.model_validate(
            {
                "data": str(folder / "data"),
                "queue": {"min_free_bytes": 0},
                "users": {"PARTNER-AS2": "partner"},
                "services": {"SalesOrderService": {"kind": "python", "operations": {"create": "m:create"}}},
                "ports": {
                    ORDERS: {
                        "receive": {"folder": str(folder / "in")},
                        "respond": {"folder": str(folder / "out")},
                        "operations": ["SalesOrderService.create"],
                        "process": {"validate": False},
                    }
                },
            }
        )
        port = open_port(ORDERS, settings, executor=executor, pool=pool, identities=FolderIdentities())
        assert isinstance(port, OpenInbound)
        ports = Ports(settings)
        ports.add(replace(port, receive=PostBoxReceiver(self.inbox), send=PostBoxSender(self.outbox)))
        service = Service(name="SalesOrderService", namespaces=frozenset({SERVICES}), operations={"create": Scripted()})
        common: dict[str, Any] = {
            "store": store, "incarnation": me, "ports": ports, "trouble": PortHealth(store, me),
        }  # fmt: skip
        self.receive = ReceiveStage(**common, pool=pool, readers=1)
        self.inbound = InboundStage(
            **common, registry=Registry({service.name: service}), pool=pool, executor=executor, chunk=100
        )
        self.send = SendStage(**common, chunk=100)
        self.send.forget(ORDERS)  # as the runtime does when it opens a port

    async def run(self, *stages: TaskHandler) -> None:
        for stage in stages:
            await stage.run(TaskContext(task="t", feed=NothingComes(), stopping=asyncio.Event(), tally=Tally()))

    async def rows(self, sql: str) -> list[tuple[Any, ...]]:
        async with self._store.transaction() as connection:
            return [tuple(row.values()) for row in await connection.fetch(sql)]


@pytest.fixture
async def gateway(store: Store, tmp_path: Path) -> AsyncIterator[Gateway]:
    with ThreadPoolExecutor(2) as executor:
        async with XmlPool(size=1) as pool:
            yield Gateway(store, tmp_path, executor, pool, await start_incarnation(store, "a", "1"))


def orders(*numbers: int) -> bytes:
    return batch([envelope(message_id=guid(number)) for number in numbers])


async def test_requests_of_a_post_box_are_answered_into_another(gateway: Gateway) -> None:
    gateway.inbox.deliver(b"orders.xml", orders(1, 2))
    gateway.inbox.deliver(b"broken.xml", b"no document at all")
    gateway.inbox.deliver(b"readme.txt", b"hello")
    await gateway.run(gateway.receive, gateway.inbound, gateway.send)
    answers = [etree.fromstring(content) for content in gateway.outbox.delivered.values()]
    assert sorted(name.split(".")[0] for name in gateway.outbox.delivered) == ["orders", "orders"]
    assert {answer.findtext(".//{*}RequestMessageId") for answer in answers} == {guid(1), guid(2)}
    assert list(gateway.inbox.refused) == [b"broken.xml"] and not gateway.inbox.claimed
    assert list(gateway.inbox.waiting) == [b"readme.txt"]
    assert await gateway.rows("SELECT DISTINCT submitter, owner, owner_uid FROM delivery") == [
        ("partner", "PARTNER-AS2", None)
    ]


@pytest.mark.parametrize(
    ("adapter", "step"), [(PostBoxReceiver, "settle"), (PostBoxSender, "stage"), (PostBoxSender, "publish")]
)
@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
async def test_what_breaks_off_at_a_post_box_takes_effect_once(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, adapter: type[Any], step: str, done: bool
) -> None:
    """As when the database goes away just before or after a step: nobody knows then how far it came."""
    whole: Callable[..., Awaitable[Any]] = getattr(adapter, step)
    broken_off: list[str] = []

    async def breaks_off_once(self: Any, what: Any) -> Any:
        if broken_off:
            return await whole(self, what)
        broken_off.append(step)
        if done:
            await whole(self, what)
        raise StoreUnavailable("The database has gone away.")

    monkeypatch.setattr(adapter, step, breaks_off_once)
    gateway.inbox.deliver(b"orders.xml", orders(1, 2, 3))
    await gateway.run(gateway.receive, gateway.inbound, gateway.send)
    assert broken_off == [step]
    assert len(gateway.outbox.delivered) == 3 and not gateway.outbox.staged
    assert len(gateway.inbox.archived) == 1 and not gateway.inbox.claimed
    assert await gateway.rows("SELECT count(*) FROM delivery") == [(1,)]
    assert await gateway.rows("SELECT count(*) FROM queue") == [(0,)]
