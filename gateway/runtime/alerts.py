"""Alerts of a running gateway: who is told of ports, by which channels, and the delivery itself."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from gateway.batch.alerts.channels.command import CommandSender
from gateway.batch.alerts.channels.email import EmailSender
from gateway.batch.alerts.channels.webhook import WebhookSender
from gateway.batch.alerts.delivery import Dispatcher, Reader, watch_traffic
from gateway.batch.alerts.outbox import HINT, AlertRule, sync_entry_rules, sync_port_rules
from gateway.batch.rules.alert import Channel
from gateway.config.models import InboundPort, Settings
from gateway.contracts.alert import AlertSender
from gateway.db.open import Store
from gateway.kernel.ids import PortName
from gateway.kernel.local_time import zone_named


class Alerting:
    """Delivers alerts and watches ports; *settings* is asked whenever they count, *base* is their folder."""

    def __init__(self, store: Store, settings: Callable[[], Settings], base: Path) -> None:
        self._store = store
        self._settings = settings
        self._dispatcher = Dispatcher(
            store, senders=lambda: senders(settings(), base), reader=lambda user: reader_of(settings(), user, base)
        )

    async def keep_rules(self, settings: Settings) -> None:
        """Take the alerts of a configuration into use. Raises: StoreUnavailable."""
        self._store.ax_alerts = settings.alerts.ax_alerts
        async with self._store.transaction() as connection:
            await sync_port_rules(connection, port_rules(settings))
            await sync_entry_rules(connection, entry_rules(settings))

    def heard(self, hint: str | None) -> None:
        """Look into the outbox when a hint is for it."""
        if hint is None or hint == HINT:
            self._dispatcher.wake()

    async def run(self, stopping: asyncio.Event) -> None:
        """Deliver and watch until a stop is asked for; what is being sent is sent."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._dispatcher.run(stopping), name="alerts:delivery")
            group.create_task(
                watch_traffic(self._store, lambda: silent_hours(self._settings()), stopping), name="alerts:silence"
            )


def senders(settings: Settings, base: Path) -> Mapping[Channel, AlertSender]:
    """Return the channels as the configuration sets them up."""
    return {
        Channel.EMAIL: EmailSender(settings.mail),
        Channel.WEBHOOK: WebhookSender(settings.alerts.webhook),
        Channel.COMMAND: CommandSender(settings.alerts.command, base),
    }


def reader_of(settings: Settings, user: str, base: Path) -> Reader:
    """Return how a user reads: at the account's address, or the name itself when it is one; in the account's zone."""
    account = settings.accounts.get(user)
    address = account.email if account is not None else None
    return Reader(
        address=address or (user if "@" in user else None),
        zone=zone_named("UTC" if account is None else account.zone),
        site=settings.site or base.absolute().name,
    )


def port_rules(settings: Settings) -> Mapping[PortName, Sequence[AlertRule]]:
    """Return who wants to hear of which port."""
    return {
        PortName(name): [
            AlertRule(user=user, events=frozenset(wanted.on), channels=frozenset(wanted.by), source="config")
            for user, wanted in alerts.to.items()
        ]
        for name, alerts in settings.alerts.ports.items()
    }


def entry_rules(settings: Settings) -> Sequence[AlertRule]:
    """Return who wants to hear of job queue entries."""
    return [
        AlertRule(user=user, events=frozenset(wanted.on), channels=frozenset(wanted.by), source="config")
        for user, wanted in settings.alerts.entries.items()
    ]


def silent_hours(settings: Settings) -> Mapping[PortName, float]:
    """Return after how many hours without a file a port is overdue; only ports that take files now."""
    return {
        PortName(name): alerts.silent_hours
        for name, alerts in settings.alerts.ports.items()
        if alerts.silent_hours is not None and name in settings.active_ports()
        and isinstance(settings.ports[name], InboundPort)
    }  # fmt: skip
