"""What must fit together across sections; needs no disk, no database and no schema.

Each rule is a function from settings to findings, so that all of them are told at once.
"""

from collections.abc import Iterable, Iterator, Set

from gateway.config.consistency_alerts import check_alerts
from gateway.config.consistency_exchange import check_exchange
from gateway.config.consistency_folders import folders_do_not_overlap
from gateway.config.consistency_jobs import check_jobs
from gateway.config.consistency_posting import check_posting
from gateway.config.consistency_queues import check_queues
from gateway.config.models import (
    DocumentService,
    InboundPort,
    NumberSequence,
    OnError,
    OutboundPort,
    PythonService,
    Service,
    Settings,
)
from gateway.config.place import Finding, Path
from gateway.config.suggest import did_you_mean
from gateway.kernel.namespaces import ENTITY_KEY_LIST
from gateway.messaging.rules.states import LoggingMode, OnDuplicate


def check(
    settings: Settings, *, unsure: frozenset[str] = frozenset(), gone: Set[Path] = frozenset()
) -> Iterator[Finding]:
    """Yield everything that does not fit together.

    `unsure` are the names of services that stand in the file but are wrong in themselves, `gone` the paths of
    everything that is: nothing is said about them.
    """
    yield from _names_differ_by_more_than_case(("ports",), settings.ports)
    yield from _names_differ_by_more_than_case(("services",), settings.services)
    yield from _names_differ_by_more_than_case(("data_exchange", "stores"), settings.data_exchange.stores)
    for name, service in settings.services.items():
        if isinstance(service, PythonService):
            yield from _names_differ_by_more_than_case(("services", name, "operations"), service.operations)
    yield from _references(settings, unsure)
    yield from _rollback_needs_undoable_operations(settings)
    yield from _replays_need_the_responses(settings)
    yield from _outbound_ports_only_read(settings)
    yield from _sequences_agree(settings, unsure)
    yield from folders_do_not_overlap(settings)
    yield from check_jobs(settings, gone=gone)
    yield from check_queues(settings, gone=gone)
    yield from check_posting(settings, gone=gone)
    yield from check_alerts(settings)
    yield from check_exchange(settings)


def _names_differ_by_more_than_case(at: Path, names: Iterable[str]) -> Iterator[Finding]:
    """Some disks and all operation names make no difference between upper and lower case."""
    first: dict[str, str] = {}
    for name in names:
        other = first.setdefault(name.lower(), name)
        if other != name:
            yield Finding(path=(*at, name), text=f"differs from {other} only by case")


def _references(settings: Settings, unsure: frozenset[str]) -> Iterator[Finding]:
    for port_name, port in settings.ports.items():
        for position, reference in enumerate(port.operations):
            text = _reference(settings, reference, unsure)
            if text is not None:
                yield Finding(path=("ports", port_name, "operations", position), text=text)


def _reference(settings: Settings, reference: str, unsure: frozenset[str]) -> str | None:
    service_name, dot, operation = reference.partition(".")
    if not dot or not operation:
        return f"{reference!a} must be written Service.operation or Service.*"
    if service_name in unsure:
        return None
    service = settings.services.get(service_name)
    if service is None:
        names = {*settings.services, *unsure}
        known = f"; known are {', '.join(sorted(names))}" if names else "; there are no services"
        return f"there is no service {service_name!a}{did_you_mean(service_name, names) or known}"
    if operation in {"*", *service.operation_names}:
        return None
    hint = did_you_mean(operation, service.operation_names)
    offered = f"; it has {', '.join(service.operation_names)}"
    return f"the service {service_name} has no operation {operation!a}{hint or offered}"


def _rollback_needs_undoable_operations(settings: Settings) -> Iterator[Finding]:
    for port_name, port in settings.ports.items():
        if not isinstance(port, InboundPort) or port.process.on_error is not OnError.ROLLBACK:
            continue
        for position, reference in enumerate(port.operations):
            lasting = list(_lasting(settings, reference))
            if lasting:
                yield Finding(
                    path=("ports", port_name, "operations", position),
                    text=f"cannot be undone: {', '.join(lasting)}; with process.on_error: rollback every "
                    "operation must be undoable, or name a function that takes its effects back (compensate: "
                    "module:function); else move it to another port or choose continue or halt",
                )


def _lasting(settings: Settings, reference: str) -> Iterator[str]:
    """Yield the operations meant by *reference* whose effects a rollback cannot take back."""
    service_name, _, wanted = reference.partition(".")
    service = settings.services.get(service_name)
    if isinstance(service, PythonService):
        for name, operation in service.operations.items():
            if wanted in {"*", name} and not operation.undoable and operation.compensate is None:
                yield name


def _replays_need_the_responses(settings: Settings) -> Iterator[Finding]:
    """What is not kept cannot be sent again."""
    for name, port in settings.ports.items():
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


def _outbound_ports_only_read(settings: Settings) -> Iterator[Finding]:
    """What is sent is read by key: there is no request, so nothing else can be given to an operation.

    Source: AIF reference, section 29.
    """
    for port_name, port in settings.ports.items():
        if not isinstance(port, OutboundPort):
            continue
        for position, reference in enumerate(port.operations):
            service_name, _, wanted = reference.partition(".")
            service = settings.services.get(service_name)
            if service is None:
                continue
            names = [name for name in service.operation_names if wanted in {"*", name}]
            wrong = [name for name in names if not _reads_by_key(service, name)]
            if wrong:
                yield Finding(
                    path=("ports", port_name, "operations", position),
                    text=f"cannot be sent: {', '.join(wrong)}; an outbound port offers only operations that read "
                    f"documents by key, such as {service_name}.read",
                )


def _reads_by_key(service: Service, operation: str) -> bool:
    """Tell whether an operation can be given keys and changes nothing; of code we know only its name."""
    if isinstance(service, DocumentService):
        return operation == "read"
    known = service.operations.get(operation)
    return operation.lower() not in _WRITING and (known is None or known.expects in {None, (_KEY_LIST,)})


def _sequences_agree(settings: Settings, unsure: frozenset[str]) -> Iterator[Finding]:
    """Services that share a number sequence must describe it alike, or their keys could collide."""
    first: dict[str, tuple[str, NumberSequence]] = {}
    for name, service in settings.services.items():
        sequence = service.number_sequence if isinstance(service, DocumentService) else None
        if sequence is None or name in unsure:
            continue
        other, expected = first.setdefault(sequence.name, (name, sequence))
        if sequence != expected:
            yield Finding(
                path=("services", name, "number_sequence"),
                text=f"differs from the sequence {sequence.name!a} of the service {other}; "
                "format, first, step and the rest must be the same, or the name another one",
            )
