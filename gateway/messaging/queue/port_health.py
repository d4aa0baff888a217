"""What all processes together know of the services of a port; written when they fail, and when they work again.

A port that works costs a look by key in statements that are made anyway, and nothing is written.
"""

from collections.abc import Collection, Sequence

from asyncpg import Connection

from gateway.batch.alerts.outbox import raise_alerts
from gateway.batch.rules.alert import AlertEvent, RaisedEvent
from gateway.db.listen import CHANNEL
from gateway.db.open import Store
from gateway.db.statements import session_sql
from gateway.kernel.ids import Fence, PortName
from gateway.messaging.queue.exceptions import Entry, insert_exceptions
from gateway.messaging.rules.health import PAUSE_SECONDS, Findings
from gateway.messaging.rules.states import PortState, Stage
from gateway.messaging.statements import port_health_sql

_LAST_LENGTH = 300


async def begin_try(connection: Connection, port: PortName, fence: Fence, seen: Fence | None) -> bool:
    """Let the claim *fence* be the try of a paused port; False: another process was quicker.

    *seen* is the last try as the caller saw it. Rule: a try lasts as long as its lease, so one that is lost, given back
    or says nothing of the services leaves nothing behind, and the next may begin at once.
    """
    return await port_health_sql.begin_try(connection, port, fence, seen) is not None


async def record_health(connection: Connection, found: Findings, known: int | None) -> PortState | None:
    """Record what a unit found out, in its transaction, as the last row that is locked there.

    *known* is how often in a row services had failed until now; None: nothing is known.
    Returns STOPPED when this made the port pause, OPEN when it ended a pause. Of all processes one is told so.
    """
    port = found.port
    if not found.most:
        return None
    turn: PortState | None = None
    if found.works and known != 0 and await port_health_sql.services_work(connection, port):
        await session_sql.hint(connection, CHANNEL, Stage.INBOUND)
        turn = PortState.OPEN
    if found.failures:
        text = why_stopped(found)
        row = await port_health_sql.count_failures(connection, port, found.failures, found.most, PAUSE_SECONDS, text)
        if row.paused_at is not None and row.failures >= found.most > row.failures - found.failures:
            await insert_exceptions(connection, [Entry(code="port.stopped", text=text, port=port)])
            at = row.paused_at
            happening = RaisedEvent(event=AlertEvent.ERROR, name=port, port=port, at=at, since=at, text=text)
            await raise_alerts(connection, happening)
            turn = PortState.STOPPED
    return turn


def why_stopped(found: Findings) -> str:
    """Say why nothing of a port is processed, and what to do."""
    last = found.last if len(found.last) <= _LAST_LENGTH else f"{found.last[:_LAST_LENGTH]}…"
    return (
        f"{found.most} requests in a row failed because their services do not work. The last failure: "
        f"{last.rstrip('.')}. "
        f"One request is tried every {PAUSE_SECONDS:g} seconds, and at once when somebody retries the port "
        f"{found.port}. The port goes on by itself when one succeeds."
    )


async def doubt_ports(store: Store, ports: Collection[PortName]) -> None:
    """Say that a gateway starts with these ports: the next request of one that is paused is tried at once."""
    async with store.transaction() as connection:
        await port_health_sql.doubt_ports(connection, list(ports))


async def forget_health(store: Store, ports: Collection[PortName]) -> Sequence[PortName]:
    """Know nothing of the services of these ports any more: they were changed, and that may be what mends them.

    Returns those that were paused.
    """
    async with store.transaction() as connection:
        rows = await port_health_sql.forget_health(connection, list(ports))
    return [PortName(row.port) for row in rows if row.was_paused]
