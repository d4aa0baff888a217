"""What must fit together around data exchange: stores that exist, and a database that can be had."""

from collections.abc import Iterator

from gateway.config.models import OutboundPort, Settings
from gateway.config.models_exchange import EMBEDDED, STATUS_MESSAGES
from gateway.config.place import Finding, Path
from gateway.config.suggest import did_you_mean


def check_exchange(settings: Settings) -> Iterator[Finding]:
    """Yield what names a message store that is not there, and a store that cannot be there."""
    for name, store in settings.data_exchange.stores.items():
        if store.database == EMBEDDED and not settings.embedded:
            yield Finding(
                path=("data_exchange", "stores", name, "database"),
                text="embedded goes with `store: embedded`; give the URL of a database",
            )
    for name, port in settings.ports.items():
        if isinstance(port, OutboundPort) and port.sessions is not None:
            yield from _known(settings, ("ports", name, "sessions"), port.sessions)
    for job_name, job in settings.jobs.items():
        for task_name, task in job.tasks.items():
            named = task.parameters.get("stores") if task.run == STATUS_MESSAGES else None
            at: Path = ("jobs", job_name, "tasks", task_name, "with", "stores")
            for position, store_name in enumerate(named if isinstance(named, list) else ()):
                if isinstance(store_name, str) and "${" not in store_name:
                    yield from _known(settings, (*at, position), store_name)


def _known(settings: Settings, at: Path, name: str) -> Iterator[Finding]:
    stores = settings.data_exchange.stores
    if name not in stores:
        known = f"; there are {', '.join(stores)}" if stores else "; name one under data_exchange.stores"
        yield Finding(path=at, text=f"there is no message store {name!a}{did_you_mean(name, stores) or known}")
