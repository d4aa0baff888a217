"""What must fit together around alerts of ports: names that exist, events that ports know."""

from collections.abc import Iterator

from gateway.config.models import InboundPort, PortAlerts, Settings
from gateway.config.place import Finding, Path
from gateway.config.suggest import did_you_mean
from gateway.domain.alert import PORT_EVENTS, AlertEvent


def check_alerts(settings: Settings) -> Iterator[Finding]:
    """Yield everything about alerts of ports that does not fit together."""
    for name, alerts in settings.alerts.ports.items():
        at: Path = ("alerts", "ports", name)
        port = settings.ports.get(name)
        if port is None:
            known = f"; known are {', '.join(sorted(settings.ports))}" if settings.ports else "; there are no ports"
            yield Finding(path=at, text=f"there is no port {name!a}{did_you_mean(name, settings.ports) or known}")
            continue
        if alerts.silent_hours is not None and not isinstance(port, InboundPort):
            yield Finding(path=(*at, "silent_hours"), text="goes with ports that take requests; this one only sends")
        yield from _people(settings, at, alerts)


def _people(settings: Settings, at: Path, alerts: PortAlerts) -> Iterator[Finding]:
    for user, wanted in alerts.to.items():
        path = (*at, "to", user)
        if settings.accounts and user not in settings.accounts:
            hint = did_you_mean(user, settings.accounts) or f"; known are {', '.join(sorted(settings.accounts))}"
            yield Finding(path=path, text=f"there is no account {user!a}{hint}")
        for event in wanted.on:
            if event not in PORT_EVENTS:
                allowed = ", ".join(sorted(PORT_EVENTS))
                yield Finding(path=(*path, "on"), text=f"ports know no {event}, only {allowed}")
        if AlertEvent.OVERDUE in wanted.on and alerts.silent_hours is None:
            yield Finding(path=(*path, "on"), text="overdue needs silent_hours, which says after how long")
