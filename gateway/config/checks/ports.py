"""What must fit together around ports: operations that exist and can be had there, alerts, message stores."""

from collections.abc import Iterable, Iterator, Set

from gateway.batch.rules.alert import ENTRY_EVENTS, PORT_EVENTS, AlertEvent
from gateway.config.addresses import EMBEDDED
from gateway.config.checks.whole import Whole
from gateway.config.document import Finding, Path
from gateway.config.models import Settings
from gateway.config.models_jobs import Alerts
from gateway.config.models_ports import STATUS_MESSAGES, InboundPort, OnError, OutboundPort, Port
from gateway.config.models_services import DocumentService, NumberSequence, PythonService, Service
from gateway.config.suggest import did_you_mean
from gateway.kernel.namespaces import ENTITY_KEY_LIST
from gateway.messaging.rules.states import LoggingMode, OnDuplicate


def names_differ_by_more_than_case(whole: Whole) -> Iterator[Finding]:
    """Some disks and all operation names make no difference between upper and lower case."""
    settings = whole.settings
    yield from _alike(("ports",), settings.ports)
    yield from _alike(("services",), settings.services)
    yield from _alike(("data_exchange", "stores"), settings.data_exchange.stores)
    for name, service in settings.services.items():
        if isinstance(service, PythonService):
            yield from _alike(("services", name, "operations"), service.operations)


def _alike(at: Path, names: Iterable[str]) -> Iterator[Finding]:
    first: dict[str, str] = {}
    for name in names:
        other = first.setdefault(name.lower(), name)
        if other != name:
            yield Finding(path=(*at, name), text=f"differs from {other} only by case")


def operations_exist(whole: Whole) -> Iterator[Finding]:
    """What a port offers is an operation of a service."""
    unsure = _unsure(whole)
    for port_name, port in whole.settings.ports.items():
        for position, reference in enumerate(port.operations):
            path: Path = ("ports", port_name, "operations", position)
            service_name, dot, operation = reference.partition(".")
            if not dot or not operation:
                yield Finding(path=path, text=f"{reference!a} must be written Service.operation or Service.*")
            elif service_name not in unsure:
                known = {*whole.settings.services, *unsure}
                yield from whole.unknown(path, ("services",), service_name, known)
                yield from _unknown_operation(whole.settings, path, service_name, operation)


def _unknown_operation(settings: Settings, path: Path, service_name: str, operation: str) -> Iterator[Finding]:
    service = settings.services.get(service_name)
    if service is not None and operation not in {"*", *service.operation_names}:
        hint = did_you_mean(operation, service.operation_names) or f"; it has {', '.join(service.operation_names)}"
        yield Finding(path=path, text=f"the service {service_name} has no operation {operation!a}{hint}")


def _unsure(whole: Whole) -> Set[str]:
    """Return the names of the services that are not known whole: something was taken away of them."""
    return {str(path[1]) for path in whole.gone if len(path) > 1 and path[0] == "services"}


def rollback_needs_undoable_operations(whole: Whole) -> Iterator[Finding]:
    """What a rollback cannot take back is not offered where one may be needed."""
    for path, port, _, service, names in _offered(whole.settings):
        if not (isinstance(port, InboundPort) and port.process.on_error is OnError.ROLLBACK):
            continue
        if isinstance(service, PythonService) and (lasting := [one for one in names if _lasts(service, one)]):
            text = (
                f"cannot be undone: {', '.join(lasting)}; with process.on_error: rollback every operation must be "
                "undoable, or name a function that takes its effects back (compensate: module:function); else move it "
                "to another port or choose continue or halt"
            )
            yield Finding(path=path, text=text)


def _lasts(service: PythonService, operation: str) -> bool:
    known = service.operations[operation]
    return not known.undoable and known.compensate is None


def _offered(settings: Settings) -> Iterator[tuple[Path, Port, str, Service, list[str]]]:
    """Yield for each reference to operations its path, the port, the service by name, and what it stands for."""
    for port_name, port in settings.ports.items():
        for position, reference in enumerate(port.operations):
            service_name, _, wanted = reference.partition(".")
            service = settings.services.get(service_name)
            if service is not None:
                names = [name for name in service.operation_names if wanted in {"*", name}]
                yield ("ports", port_name, "operations", position), port, service_name, service, names


def replays_need_the_responses(whole: Whole) -> Iterator[Finding]:
    """What is not kept cannot be sent again."""
    for name, port in whole.settings.ports.items():
        if not isinstance(port, InboundPort) or port.process.on_duplicate is not OnDuplicate.REPLAY:
            continue
        path: Path = ("ports", name, "process", "on_duplicate")
        if port.respond is None:
            yield Finding(path=path, text="replay sends a response again, and this port has none (respond)")
        elif port.logging is not LoggingMode.ORIGINAL:
            text = f"replay needs the responses that were sent, and logging: {port.logging} does not keep them"
            yield Finding(path=path, text=text)


_WRITING = {"create", "update", "delete"}
_KEY_LIST = f"{{{ENTITY_KEY_LIST}}}EntityKeyList"


def outbound_ports_only_read(whole: Whole) -> Iterator[Finding]:
    """What is sent is read by key: there is no request, so nothing else can be given to an operation.

    Source: AIF reference, section 29.
    """
    for path, port, service_name, service, names in _offered(whole.settings):
        wrong = [name for name in names if not _reads_by_key(service, name)]
        if wrong and isinstance(port, OutboundPort):
            text = (
                f"cannot be sent: {', '.join(wrong)}; an outbound port offers only operations that read documents by "
                f"key, such as {service_name}.read"
            )
            yield Finding(path=path, text=text)


def _reads_by_key(service: Service, operation: str) -> bool:
    """Tell whether an operation can be given keys and changes nothing; of code we know only its name."""
    if isinstance(service, DocumentService):
        return operation == "read"
    known = service.operations.get(operation)
    return operation.lower() not in _WRITING and (known is None or known.expects in {None, (_KEY_LIST,)})


def sequences_agree(whole: Whole) -> Iterator[Finding]:
    """Services that share a number sequence must describe it alike, or their keys could collide."""
    first: dict[str, tuple[str, NumberSequence]] = {}
    unsure = _unsure(whole)
    for name, service in whole.settings.services.items():
        sequence = service.number_sequence if isinstance(service, DocumentService) else None
        if sequence is None or name in unsure:
            continue
        other, expected = first.setdefault(sequence.name, (name, sequence))
        if sequence != expected:
            text = (
                f"differs from the sequence {sequence.name!a} of the service {other}; "
                "format, first, step and the rest must be the same, or the name another one"
            )
            yield Finding(path=("services", name, "number_sequence"), text=text)


def check_alerts(whole: Whole) -> Iterator[Finding]:
    """Alerts of ports and entries name what exists, and events that they know."""
    settings = whole.settings
    for name, alerts in settings.alerts.ports.items():
        at: Path = ("alerts", "ports", name)
        port = settings.ports.get(name)
        if port is None:
            yield from whole.unknown(at, ("ports",), name, settings.ports)
            continue
        if alerts.silent_hours is not None and not isinstance(port, InboundPort):
            yield Finding(path=(*at, "silent_hours"), text="goes with ports that take requests; this one only sends")
        for user, wanted in alerts.to.items():
            yield from _reader(whole, (*at, "to", user), user, wanted, PORT_EVENTS, "ports")
            if AlertEvent.OVERDUE in wanted.on and alerts.silent_hours is None:
                text = "overdue needs silent_hours, which says after how long"
                yield Finding(path=(*at, "to", user, "on"), text=text)
    for user, wanted in settings.alerts.entries.items():
        yield from _reader(whole, ("alerts", "entries", user), user, wanted, ENTRY_EVENTS, "entries")


def _reader(
    whole: Whole, path: Path, user: str, wanted: Alerts, known: Set[AlertEvent], what: str
) -> Iterator[Finding]:
    yield from whole.unfit_account(path, user)
    for event in wanted.on:
        if event not in known:
            yield Finding(path=(*path, "on"), text=f"{what} know no {event}, only {', '.join(sorted(known))}")


def check_message_stores(whole: Whole) -> Iterator[Finding]:
    """Message stores that are named exist, and those that exist can be had."""
    settings = whole.settings
    stores = settings.data_exchange.stores
    at: Path = ("data_exchange", "stores")
    for name, store in stores.items():
        if store.database == EMBEDDED and not settings.embedded:
            text = "embedded goes with `store: embedded`; give the URL of a database"
            yield Finding(path=(*at, name, "database"), text=text)
    for name, port in settings.ports.items():
        if isinstance(port, OutboundPort) and port.sessions is not None:
            yield from whole.unknown(("ports", name, "sessions"), at, port.sessions, stores)
    for job_name, job in settings.jobs.items():
        for task_name, task in job.tasks.items():
            named = task.parameters.get("stores") if task.run == STATUS_MESSAGES else None
            for position, store_name in enumerate(named if isinstance(named, list) else ()):
                if isinstance(store_name, str) and "${" not in store_name:
                    path: Path = ("jobs", job_name, "tasks", task_name, "with", "stores", position)
                    yield from whole.unknown(path, at, store_name, stores)
