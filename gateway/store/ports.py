"""The state of ports, as operators see it."""

from gateway.domain.alert import Happening
from gateway.domain.ids import PortName
from gateway.store.alerts import raise_alerts
from gateway.store.open import Store


async def write_port_status(
    store: Store, port: PortName, state: str, reason: str | None, left_in_place: str, incarnation: int,
    *, happening: Happening | None = None,
) -> None:  # fmt: skip
    """Replace what the port says of itself, and tell who wants to hear of it. `left_in_place` is a JSON array."""
    async with store.transaction() as connection:
        await connection.execute(store.queries.write_port_status, port, state, reason, left_in_place, incarnation)
        if happening is not None:
            await raise_alerts(connection, store.queries, happening)
