"""What a changed configuration means for a gateway that runs."""

from dataclasses import dataclass

from gateway.config.models import Settings
from gateway.kernel.ids import PortName

RESTART = ("store", "data", "schemas", "workers", "server")
"""Options that are fixed while the gateway runs."""
EVERY_PORT = ("users", "default_company", "default_partition")
"""Options that every port reads when it starts."""
AT_ONCE = (
    "queue", "logging", "retention", "shutdown", "jobs", "job_queues", "groups", "servers", "throttling",
    "active_periods", "accounts", "mail", "alerts", "site", "data_exchange", "posting",
)  # fmt: skip
"""Options that are read when they are needed; no port has to stop for them."""
_KNOWN = frozenset({"logging", "accounts"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What differs between two configurations.

    Shape: ports in the order of the new file (`removed`: of the old one); `at_once` and `restart_needed` are
    names of top-level options.
    """

    added: tuple[PortName, ...] = ()
    removed: tuple[PortName, ...] = ()
    changed: tuple[PortName, ...] = ()
    at_once: tuple[str, ...] = ()
    restart_needed: tuple[str, ...] = ()

    @property
    def concern_services(self) -> bool:
        """Return whether anything differs that those know who run services."""
        return bool(self.added or self.removed or self.changed or _KNOWN.intersection(self.at_once))

    def __bool__(self) -> bool:
        """Return whether anything differs."""
        return any((self.added, self.removed, self.changed, self.at_once, self.restart_needed))


def compare(old: Settings, new: Settings) -> Changes:
    """Return what a step from *old* to *new* changes.

    Rule: a port has changed when its own options or a service it offers differ, or an option that every port
    reads. Options that need a restart change no port: their old value stays in force until then.
    """
    every_port = any(_differs(old, new, name) for name in EVERY_PORT)
    return Changes(
        added=tuple(PortName(name) for name in new.ports if name not in old.ports),
        removed=tuple(PortName(name) for name in old.ports if name not in new.ports),
        changed=tuple(
            PortName(name) for name in new.ports if name in old.ports and (every_port or _port_differs(old, new, name))
        ),
        at_once=tuple(name for name in AT_ONCE if _differs(old, new, name)),
        restart_needed=tuple(name for name in RESTART if _differs(old, new, name)),
    )


def _differs(old: Settings, new: Settings, option: str) -> bool:
    return bool(getattr(old, option) != getattr(new, option))


def _port_differs(old: Settings, new: Settings, name: str) -> bool:
    if old.ports[name] != new.ports[name]:
        return True
    offered = {service for service, _ in new.exposed(name)}
    return any(old.services.get(service) != new.services[service] for service in offered)
