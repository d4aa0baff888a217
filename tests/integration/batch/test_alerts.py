"""The dispatcher on a real outbox: everything is delivered once, or says why not."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

import pytest

from gateway.batch.alerts.delivery import Dispatcher, Reader, tell_silence
from gateway.batch.alerts.outbox import sync_port_rules
from gateway.batch.rules.alert import AlertEvent, Channel
from gateway.contracts.alert import AlertSender, Message
from gateway.db.open import Store
from gateway.kernel.errors import AlertRefused, TransientError
from gateway.kernel.ids import PortName
from gateway.kernel.retry import Backoff
from gateway.messaging.flow.port_state import PortHealth
from gateway.operations.reads.alerts import list_alerts, read_alert
from gateway.operations.reads.gateway import read_overview
from tests.factories import ORDERS
from tests.integration.batch.test_alert_rows import a_job, outcome, rows, rule, subscribe, tell


@dataclass
class Sent:
    """A channel that remembers; `says` is raised in the order given, then it works."""

    says: list[Exception] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)

    async def send(self, message: Message) -> None:
        self.messages.append(message)
        if self.says:
            raise self.says.pop(0)


def a_reader(address: str) -> Reader:
    return Reader(address=address, zone=ZoneInfo("UTC"), site="shop")


class OperatorSession:
    """A dispatcher whose channels are under control."""

    def __init__(self, store: Store, **senders: Sent) -> None:
        self.senders: Mapping[Channel, AlertSender] = {Channel(name): sender for name, sender in senders.items()}
        backoff = Backoff(first_seconds=0.0, most_seconds=0.0, give_up_seconds=86_400.0)
        self.dispatcher = Dispatcher(
            store,
            senders=lambda: self.senders,
            reader=lambda user: a_reader(f"{user}@example.com"),
            backoff=backoff,
        )


async def an_alert(store: Store, *channels: str) -> None:
    job = await a_job(store)
    await subscribe(store, job, "ann", ["error"], channels)
    await tell(store, outcome(job, AlertEvent.ERROR))
    await rows(store, "UPDATE alert SET created_at = clock_timestamp() RETURNING id")


async def test_an_alert_is_sent_once_and_recorded(store: Store) -> None:
    await an_alert(store, "email")
    email = Sent()
    desk = OperatorSession(store, email=email)
    assert await desk.dispatcher.send_one(Channel.EMAIL)
    assert not await desk.dispatcher.send_one(Channel.EMAIL)
    (message,) = email.messages
    assert (message.key, message.address) == ("run:1:error:ann:email", "ann@example.com")
    assert [alert.status for alert in await list_alerts(store)] == ["sent"]


async def test_an_alert_that_may_go_later_waits_and_goes(store: Store) -> None:
    await an_alert(store, "email")
    email = Sent([TransientError("no line"), RuntimeError("a defect")])
    desk = OperatorSession(store, email=email)
    for reason in ("no line", "RuntimeError: a defect"):
        assert await desk.dispatcher.send_one(Channel.EMAIL)
        (alert,) = await list_alerts(store)
        assert (alert.status, alert.reason) == ("pending", reason)
    assert await desk.dispatcher.send_one(Channel.EMAIL)
    (alert,) = await list_alerts(store)
    assert (alert.status, alert.tries) == ("sent", 3)
    assert {message.key for message in email.messages} == {"run:1:error:ann:email"}


async def test_an_alert_that_cannot_go_says_why(store: Store) -> None:
    await an_alert(store, "email")
    desk = OperatorSession(store, email=Sent([AlertRefused("ann has no address")]))
    assert await desk.dispatcher.send_one(Channel.EMAIL)
    (alert,) = await list_alerts(store, status="failed")
    assert alert.reason == "ann has no address"


async def test_an_alert_is_given_up_after_a_day(store: Store) -> None:
    await an_alert(store, "email")
    await rows(store, "UPDATE alert SET created_at = created_at - make_interval(hours => 25) RETURNING id")
    desk = OperatorSession(store, email=Sent([TransientError("no line")]))
    await desk.dispatcher.send_one(Channel.EMAIL)
    (alert,) = await list_alerts(store, status="failed")
    assert alert.reason == "Given up after 24 hours: no line"


async def test_a_channel_that_hangs_holds_up_no_other(store: Store) -> None:
    await an_alert(store, "email", "webhook")
    never = asyncio.Event()

    class Hanging:
        async def send(self, message: Message) -> None:
            await never.wait()

    arrived, stopping = asyncio.Event(), asyncio.Event()

    class Quick:
        async def send(self, message: Message) -> None:
            arrived.set()

    desk = OperatorSession(store)
    desk.senders = {Channel.EMAIL: Hanging(), Channel.WEBHOOK: Quick()}
    task = asyncio.create_task(desk.dispatcher.run(stopping))
    async with asyncio.timeout(60):
        await arrived.wait()
    stopping.set()
    never.set()
    await task
    assert {alert.status for alert in await list_alerts(store)} == {"sent"}, "what is being sent at a stop is sent"


async def test_two_dispatchers_send_an_alert_once(store: Store) -> None:
    await an_alert(store, "email")
    begun, go_on = asyncio.Event(), asyncio.Event()
    messages: list[Message] = []

    class Slow:
        async def send(self, message: Message) -> None:
            messages.append(message)
            begun.set()
            await go_on.wait()

    desks = [OperatorSession(store), OperatorSession(store)]
    for desk in desks:
        desk.senders = {Channel.EMAIL: Slow()}
    first = asyncio.create_task(desks[0].dispatcher.send_one(Channel.EMAIL))
    await begun.wait()
    assert not await desks[1].dispatcher.send_one(Channel.EMAIL)
    go_on.set()
    assert await first
    assert len(messages) == 1


async def test_a_silent_port_is_told_once(store: Store) -> None:
    async with store.transaction() as connection:
        wanted = {ORDERS: [rule("ann", ["overdue"], ["popup"], "config")]}
        await sync_port_rules(connection, wanted)
    await rows(
        store,
        "INSERT INTO incarnation (node, host, pid, version, started_at) VALUES ('n', 'h', 1, '1',"
        " clock_timestamp() - interval '5 hours') RETURNING id",
    )
    hours = {ORDERS: 4.0, PortName("calm"): 6.0}
    silent = await tell_silence(store, hours, set())
    assert silent == {ORDERS}
    await tell_silence(store, hours, set())
    (alert,) = await list_alerts(store)
    assert (alert.port, alert.event, alert.user) == ("orders", AlertEvent.OVERDUE, "ann")
    assert alert.subject == "Port orders received nothing"


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.batch.alerts.delivery._POLL_SECONDS", 1.0)


async def test_a_port_that_cannot_be_used_is_told_once_until_it_can(store: Store) -> None:
    async with store.transaction() as connection:
        wanted = {ORDERS: [rule("ann", ["error"], ["popup"], "config")]}
        await sync_port_rules(connection, wanted)
    trouble = PortHealth(store, 1)
    await trouble.degraded(ORDERS, "the folder is full", "receive")
    await trouble.degraded(ORDERS, "the folder is missing", "receive")
    (alert,) = await list_alerts(store)
    shown = await read_alert(store, alert.id)
    assert shown is not None and shown.subject == "Port orders does not work" and "the folder is full" in shown.body
    await trouble.working(ORDERS, "receive")
    await trouble.degraded(ORDERS, "the folder is full", "receive")
    assert len(await list_alerts(store)) == 2


async def test_a_port_whose_services_fail_is_told_and_shown_as_stopped(store: Store) -> None:
    async with store.transaction() as connection:
        wanted = {ORDERS: [rule("ann", ["error"], ["popup"], "config")]}
        await sync_port_rules(connection, wanted)
    trouble = PortHealth(store, 1)
    await trouble.paused(ORDERS, "the disk is full")
    assert await list_alerts(store) == []
    await trouble.stopped(ORDERS, "20 requests in a row failed")
    (alert,) = await list_alerts(store)
    shown = await read_alert(store, alert.id)
    assert shown is not None and "20 requests in a row failed" in shown.body
    await PortHealth(store, 2).degraded(ORDERS, "the folder is full")
    (port,) = (await read_overview(store)).ports
    assert (port.state, port.reason) == ("stopped", "20 requests in a row failed"), "the worst of all nodes"
    await trouble.stopped(ORDERS, None)
    await trouble.paused(ORDERS, None)
    (port,) = (await read_overview(store)).ports
    assert (port.state, port.reason) == ("degraded", "the folder is full")
