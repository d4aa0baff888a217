"""Make services of settings; user code is imported here, once, before anything runs."""

from gateway.config.models import DocumentService, PythonService, Settings
from gateway.contracts.service import ServiceOperation
from gateway.services.document import Create, DocumentKind, Numbering, Read
from gateway.services.python import PythonOperation, load_handler
from gateway.services.registry import Registry, Service
from gateway.store.sql import Queries


def build_registry(settings: Settings, sql: Queries) -> Registry:
    """Return all configured services.

    Raises: HandlerNotFound when a handler cannot be imported.
    """
    return Registry({name: _build(name, service, sql) for name, service in settings.services.items()})


def _build(name: str, service: DocumentService | PythonService, sql: Queries) -> Service:
    operations: dict[str, ServiceOperation]
    match service:
        case DocumentService():
            numbering = service.number_sequence
            kind = DocumentKind(
                document=service.document,
                entity=service.entity,
                key=service.key,
                numbering=numbering
                and Numbering(
                    sequence=numbering.name, format=numbering.format, first=numbering.first, step=numbering.step
                ),
            )
            known: dict[str, ServiceOperation] = {"create": Create(kind, sql), "read": Read(kind, sql)}
            operations = {operation: known[operation] for operation in service.operations}
        case PythonService():
            operations = {
                operation: PythonOperation(
                    load_handler(entry.handler),
                    expects=entry.expects,
                    undoable=entry.undoable,
                    idempotent=entry.idempotent,
                    timeout_seconds=entry.timeout_seconds,
                )
                for operation, entry in service.operations.items()
            }
    return Service(name=name, namespaces=frozenset(service.namespaces), operations=operations)
