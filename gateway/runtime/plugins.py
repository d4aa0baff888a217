"""Make services of settings; user code is imported here, once, before anything runs."""

from collections.abc import Callable
from functools import cache

from gateway.config.models import DocumentService, NumberSequence, PythonService, Settings
from gateway.config.models import PythonOperation as PythonEntry
from gateway.contracts.service import ServiceOperation
from gateway.runtime.ports import schema_folders
from gateway.services.document import Create, Read
from gateway.services.document_kind import DocumentKind, Numbering
from gateway.services.entity_document import Writer
from gateway.services.python import CompensatedPythonOperation, Options, PythonOperation, load_handler
from gateway.services.registry import Registry, Service
from gateway.services.usercode import UserCode
from gateway.store.sql import Queries
from gateway.xml.catalog import Catalog


def build_registry(settings: Settings, sql: Queries, code: UserCode) -> Registry:
    """Return all configured services.

    Raises: HandlerNotFound when a handler cannot be imported.
    """
    catalog = cache(lambda: Catalog(schema_folders(settings)))  # read when the first document is sent
    return Registry({name: _build(name, service, sql, code, catalog) for name, service in settings.services.items()})


def _numbering(sequence: NumberSequence | None) -> Numbering | None:
    if sequence is None:
        return None
    return Numbering(
        sequence=sequence.name, format=sequence.format, first=sequence.first, step=sequence.step,
        accept_sent=sequence.accept_sent,
    )  # fmt: skip


def _build(
    name: str,
    service: DocumentService | PythonService,
    sql: Queries,
    code: UserCode,
    catalog: Callable[[], Catalog],
) -> Service:
    operations: dict[str, ServiceOperation]
    match service:
        case DocumentService():
            kind = DocumentKind(
                document=service.document,
                entity=service.entity,
                key=service.key,
                numbering=_numbering(service.number_sequence),
            )
            known: dict[str, ServiceOperation] = {
                "create": Create(kind, sql),
                "read": Read(kind, sql, Writer(kind, catalog)),
            }
            operations = {operation: known[operation] for operation in service.operations}
        case PythonService():
            operations = {operation: _python(entry, code) for operation, entry in service.operations.items()}
    return Service(name=name, namespaces=frozenset(service.namespaces), operations=operations)


def _python(entry: PythonEntry, code: UserCode) -> ServiceOperation:
    options = Options(
        expects=entry.expects, undoable=entry.undoable, idempotent=entry.idempotent,
        timeout_seconds=entry.timeout_seconds,
    )  # fmt: skip
    handler = load_handler(entry.handler)
    if entry.compensate is None:
        return PythonOperation(handler, code=code, **options)
    return CompensatedPythonOperation(handler, load_handler(entry.compensate), code=code, **options)
