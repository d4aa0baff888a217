"""What people may do to a port."""

from collections.abc import Sequence

from gateway.config.models import Settings
from gateway.db.open import Store
from gateway.messaging.queue.ports import Retried, retry_port
from gateway.operations.audit import recorded
from gateway.operations.person import Principal
from gateway.operations.references import require_port


async def retry(store: Store, settings: Settings, who: Principal, names: Sequence[str]) -> list[Retried]:
    """Try now what these ports wait for: somebody has mended the cause.

    Raises: NotFound for an unknown port; then nothing is changed.
    """
    ports = [require_port(settings, name) for name in names]
    async with recorded(store, who, "port.retry", ", ".join(ports)):
        return [await retry_port(store, port) for port in ports]
