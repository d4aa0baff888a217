"""What must fit together around alerts of ports and entries: names that exist, events that they know."""

from collections.abc import Iterator, Set

from gateway.batch.rules.alert import ENTRY_EVENTS, PORT_EVENTS, AlertEvent
from gateway.config.models import InboundPort, Settings
from gateway.config.models_jobs import Alerts
from gateway.config.place import Finding, Path
from gateway.config.suggest import did_you_mean


def check_alerts(settings: Settings) -> Iterator[Finding]:
    """Yield everything about alerts of ports and entries that does not fit together."""
    for name, alerts in settings.alerts.ports.items():
        at: Path = ("alerts", "ports", name)
        port = settings.ports.get(name)
        if port is None:
            known = f"; known are {', '.join(sorted(settings.ports))}" if settings.ports else "; there are no ports"
            yield Finding(path=at, text=f"there is no port {name!a}{did_you_mean(name, settings.ports) or known}")
            continue
        if alerts.silent_hours is not None and not isinstance(port, InboundPort):
            yield Finding(path=(*at, "silent_hours"), text="goes with ports that take requests; this one only sends")
        for user, wanted in alerts.to.items():
            yield from _person(settings, (*at, "to", user), user, wanted, PORT_EVENTS, "ports")
            if AlertEvent.OVERDUE in wanted.on and alerts.silent_hours is None:
                yield Finding(
                    path=(*at, "to", user, "on"), text="overdue needs silent_hours, which says after how long"
                )
    for user, wanted in settings.alerts.entries.items():
        yield from _person(settings, ("alerts", "entries", user), user, wanted, ENTRY_EVENTS, "entries")


def _person(
    settings: Settings, path: Path, user: str, wanted: Alerts, known: Set[AlertEvent], what: str
) -> Iterator[Finding]:
    if settings.accounts and user not in settings.accounts:
        hint = did_you_mean(user, settings.accounts) or f"; known are {', '.join(sorted(settings.accounts))}"
        yield Finding(path=path, text=f"there is no account {user!a}{hint}")
    for event in wanted.on:
        if event not in known:
            yield Finding(path=(*path, "on"), text=f"{what} know no {event}, only {', '.join(sorted(known))}")
