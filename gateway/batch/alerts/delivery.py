"""Delivers what stands in the outbox of alerts, and notices ports at which nothing comes in.

Each channel has its own turn, so that one that hangs holds up no other. The row of an alert is locked while it is
being sent: a death before the record frees it, and it is sent again under the same key.
"""

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final
from zoneinfo import ZoneInfo

import structlog
from asyncpg import Connection

from gateway.batch.alerts.outbox import (
    Outgoing,
    claim_alert,
    raise_alerts,
    record_failed,
    record_postponed,
    record_sent,
    seconds_to_next_alert,
    silent_port,
)
from gateway.batch.rules.alert import Channel, in_words
from gateway.contracts.alert import AlertSender, Message
from gateway.db.clock import database_clock
from gateway.db.open import Store
from gateway.db.waiting import wait_for_any, wait_or_stop
from gateway.kernel.errors import AlertRefused, StoreUnavailable, TransientError
from gateway.kernel.faultpoints import reach
from gateway.kernel.ids import PortName
from gateway.kernel.retry import Backoff

log = structlog.get_logger()

BACKOFF: Final = Backoff(first_seconds=5.0, most_seconds=900.0, give_up_seconds=86_400.0)
_POLL_SECONDS: Final = 60.0
_SEND_SECONDS: Final = 25.0
"""Less than the database lets a transaction rest: what was sent must still be recorded."""
_LOOK_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Who reads an alert: the e-mail address, None when there is none; the zone to show times in; the site it is of."""

    address: str | None
    zone: ZoneInfo
    site: str


class Dispatcher:
    """Sends alerts through *senders*, which are asked anew for each, as is *reader*: who a user is, and from where."""

    def __init__(
        self,
        store: Store,
        *,
        senders: Callable[[], Mapping[Channel, AlertSender]],
        reader: Callable[[str], Reader],
        backoff: Backoff = BACKOFF,
    ) -> None:
        self._store = store
        self._senders = senders
        self._reader = reader
        self._backoff = backoff
        self._hints = {channel: asyncio.Event() for channel in Channel if channel is not Channel.POPUP}

    def wake(self) -> None:
        """Hint that there may be something to send."""
        for hint in self._hints.values():
            hint.set()

    async def run(self, stopping: asyncio.Event) -> None:
        """Send what is due, whenever it is, until a stop is asked for."""
        async with asyncio.TaskGroup() as group:
            for channel, hint in self._hints.items():
                group.create_task(self._follow(channel, hint, stopping), name=f"alerts:{channel}")

    async def _follow(self, channel: Channel, hint: asyncio.Event, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            hint.clear()
            seconds: float | None = None
            try:
                while not stopping.is_set() and await self.send_one(channel):
                    pass
                async with self._store.transaction() as connection:
                    seconds = await seconds_to_next_alert(connection, channel)
            except StoreUnavailable:
                log.debug("store.unavailable", part="alerts")
            pause = _POLL_SECONDS if seconds is None else min(max(seconds, 0.1), _POLL_SECONDS)
            await wait_for_any(pause, stopping, hint)

    async def send_one(self, channel: Channel) -> bool:
        """Send the oldest alert of a channel that is due; False when none is.

        Raises: StoreUnavailable; the alert may have been sent, and will be again.
        """
        async with self._store.transaction() as connection:
            alert = await claim_alert(connection, channel)
            if alert is None:
                return False
            reach("alert.before_send")
            try:
                async with asyncio.timeout(_SEND_SECONDS):
                    await self._senders()[channel].send(self._message(alert))
                reach("alert.after_send")
            except AlertRefused as refused:
                log.warning("alert.failed", alert_id=alert.id, channel=channel, error=refused.message)
                await record_failed(connection, alert, refused.message)
            except TransientError as error:
                await self._postpone(connection, alert, error.message)
            except TimeoutError:
                await self._postpone(connection, alert, f"No end within {_SEND_SECONDS:g} seconds.")
            except Exception as bug:  # of one channel: it must stop neither the others nor the gateway
                log.exception("alert.crashed", alert_id=alert.id, channel=channel)
                await self._postpone(connection, alert, f"{type(bug).__name__}: {bug}")
            else:
                await record_sent(connection, alert)
                log.info("alert.sent", alert_id=alert.id, channel=channel, tries=alert.tries + 1)
            reach("alert.before_commit")
        return True

    async def _postpone(self, connection: Connection, alert: Outgoing, text: str) -> None:
        seconds = self._backoff.delay(alert.tries + 1, random.random())  # noqa: S311 (not a secret)
        again = await record_postponed(
            connection, alert, text, seconds=seconds,
            give_up_seconds=self._backoff.give_up_seconds,
        )  # fmt: skip
        log.warning("alert.postponed", alert_id=alert.id, channel=alert.channel, error=text, again=again)

    def _message(self, alert: Outgoing) -> Message:
        reader = self._reader(alert.user)
        return Message(
            site=reader.site, key=alert.key, user=alert.user, address=reader.address, subject=alert.subject,
            body=in_words(alert.body, alert.facts, zone=reader.zone, site=reader.site), facts=alert.facts,
            raised_at=alert.raised_at,
        )  # fmt: skip


async def watch_traffic(
    store: Store, hours: Callable[[], Mapping[PortName, float]], stopping: asyncio.Event
) -> None:  # fmt: skip
    """Raise an alert when nothing has come in at a port for so many *hours*; once for each silence."""
    silent: set[PortName] = set()
    while not stopping.is_set():
        try:
            silent = await tell_silence(store, hours(), silent)
        except StoreUnavailable:
            log.debug("store.unavailable", part="alerts")
        await wait_or_stop(stopping, _LOOK_SECONDS)


async def tell_silence(store: Store, hours: Mapping[PortName, float], told: set[PortName]) -> set[PortName]:
    """Raise the alerts of ports that are silent, but for those in *told*; returns all that are."""
    now = await database_clock(store)
    silent: set[PortName] = set()
    for port, limit in hours.items():
        async with store.transaction() as connection:
            happening = await silent_port(connection, port, now, limit)
            if happening is not None:
                silent.add(port)
                if port not in told:
                    await raise_alerts(connection, happening)
    return silent
