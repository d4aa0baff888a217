"""Tells operators that a changed configuration was refused: one row in the exception log, and alerts."""

from collections.abc import Sequence

from gateway.batch.alerts.outbox import raise_alerts
from gateway.batch.rules.alert import AlertEvent, Happening
from gateway.db.open import Store
from gateway.messaging.queue.exceptions import Entry, insert_exceptions

_MOST = 10


async def record_config_refused(store: Store, file: str, problems: Sequence[str]) -> None:
    """Record it once, for everybody who hears of errors of a port or of a job that moves messages.

    Raises: StoreUnavailable.
    """
    more = [f"and {len(problems) - _MOST} more"] if len(problems) > _MOST else []
    text = (
        "The changed configuration was refused, and the gateway goes on with the one before: "
        f"{'; '.join([*problems[:_MOST], *more])}. Mend the file: it is then taken into use by itself. "
        "`gateway check` tells everything that is wrong with it."
    )
    async with store.transaction() as connection:
        at = await connection.fetchval(store.queries.database_clock)
        happening = Happening(event=AlertEvent.ERROR, name=file, at=at, text=text)
        await insert_exceptions(connection, store.queries, [Entry(code="config.refused", text=text, file=file)])
        await raise_alerts(connection, store.queries, happening)
