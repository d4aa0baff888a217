"""The state of ports and the runs of jobs, as operators see them."""

import json
from collections.abc import Mapping
from datetime import datetime

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


async def insert_run(
    store: Store,
    *,
    job: str,
    incarnation: int,
    started_at: datetime,
    ended_at: datetime,
    counts: Mapping[str, int],
    error: str | None,
) -> int:
    """Record one finished execution of a job."""
    async with store.transaction() as connection:
        status = "ended" if error is None else "error"
        return int(
            await connection.fetchval(
                store.queries.insert_run, job, incarnation, started_at, ended_at, status, json.dumps(counts), error
            )
        )
