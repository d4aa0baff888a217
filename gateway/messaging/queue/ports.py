"""The state of ports, as operators see it."""

from dataclasses import dataclass

from gateway.batch.alerts.outbox import raise_alerts
from gateway.batch.rules.alert import AlertEvent, RaisedEvent
from gateway.db.listen import CHANNEL, RETRY_HINT
from gateway.db.open import Store
from gateway.db.statements import session_sql
from gateway.kernel.ids import PortName
from gateway.messaging.statements import port_health_sql, ports_sql


@dataclass(frozen=True, slots=True, kw_only=True)
class Retried:
    """How much of a port waited for another try, and is due now: messages, lanes, requests to send."""

    port: PortName
    messages: int
    lanes: int
    requests: int


async def write_port_status(
    store: Store, port: PortName, state: str, reason: str | None, left_in_place: str, incarnation: int, *, tell: bool
) -> None:
    """Replace what the port says of itself. `left_in_place` is a JSON array; *tell* those who want to hear of it."""
    async with store.transaction() as connection:
        at = await ports_sql.write_port_status(connection, port, state, reason, left_in_place, incarnation)
        if tell:
            happening = RaisedEvent(event=AlertEvent.ERROR, name=port, port=port, at=at, since=at, text=reason or "")
            await raise_alerts(connection, happening)


async def retry_port(store: Store, port: PortName) -> Retried:
    """Let everything of a port that waits for another try be tried now, and the port itself when it is stopped."""
    async with store.transaction() as connection:
        (row,) = await ports_sql.retry_port(connection, port)
        await port_health_sql.try_port_now(connection, port)
        await session_sql.hint(connection, CHANNEL, f"{RETRY_HINT}{port}")
    return Retried(port=port, messages=row.messages, lanes=row.lanes, requests=row.requests)
