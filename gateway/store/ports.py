"""The state of ports, as operators see it."""

from gateway.domain.alert import AlertEvent, Happening
from gateway.domain.ids import PortName
from gateway.store.alerts import raise_alerts
from gateway.store.open import Store


async def write_port_status(
    store: Store, port: PortName, state: str, reason: str | None, left_in_place: str, incarnation: int, *, tell: bool
) -> None:
    """Replace what the port says of itself. `left_in_place` is a JSON array; *tell* those who want to hear of it."""
    sql = store.queries
    async with store.transaction() as connection:
        at = await connection.fetchval(sql.write_port_status, port, state, reason, left_in_place, incarnation)
        if tell:
            happening = Happening(event=AlertEvent.ERROR, name=port, port=port, at=at, since=at, text=reason or "")
            await raise_alerts(connection, sql, happening)
