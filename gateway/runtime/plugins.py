"""Make services of settings; user code is imported here, once, before anything runs."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from gateway.config.models import DocumentService, NumberSequence, PythonService, Settings
from gateway.config.models_services import PythonOperation as PythonEntry
from gateway.contracts.service import ServiceOperation
from gateway.messaging.services.answers import Answers
from gateway.messaging.services.document import Create, Read
from gateway.messaging.services.document_kind import DocumentKind, Numbering
from gateway.messaging.services.entity_document import Writer, longest_key
from gateway.messaging.services.python import CompensatedPythonOperation, Options, PythonOperation, load_handler
from gateway.messaging.services.registry import Registry, Service
from gateway.messaging.services.usercode import UserCode
from gateway.runtime.ports import schema_folders
from gateway.xml.catalog import Catalog


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependencies:
    """What services are made with."""

    code: UserCode
    catalog: Callable[[], Catalog]
    answers: Answers


def build_registry(settings: Settings, code: UserCode) -> Registry:
    """Return all configured services.

    Raises: HandlerNotFound when a handler cannot be imported.
    """
    catalog = cache(lambda: Catalog(schema_folders(settings)))  # read when the first document is sent
    parts = Dependencies(code=code, catalog=catalog, answers=Answers(catalog))
    return Registry({name: _build(name, service, parts) for name, service in settings.services.items()})


def key_lengths(settings: Settings) -> Callable[[DocumentService], int | None]:
    """Return how to find out how long the keys of a service's documents may be; the schemas are read when asked."""
    catalog = cache(lambda: Catalog(schema_folders(settings)))
    return lambda service: longest_key(_kind(service), catalog())


def _kind(service: DocumentService) -> DocumentKind:
    return DocumentKind(
        document=service.document, entity=service.entity, key=service.key,
        numbering=_numbering(service.number_sequence),
    )  # fmt: skip


def _numbering(sequence: NumberSequence | None) -> Numbering | None:
    if sequence is None:
        return None
    return Numbering(
        sequence=sequence.name, format=sequence.format, first=sequence.first, step=sequence.step,
        continuous=sequence.continuous, accept_sent=sequence.accept_sent,
    )  # fmt: skip


def _build(name: str, service: DocumentService | PythonService, parts: Dependencies) -> Service:
    operations: dict[str, ServiceOperation]
    match service:
        case DocumentService():
            kind = _kind(service)
            known: dict[str, ServiceOperation] = {
                "create": Create(kind, lambda: longest_key(kind, parts.catalog())),
                "read": Read(kind, Writer(kind, parts.catalog)),
            }
            operations = {operation: known[operation] for operation in service.operations}
        case PythonService():
            operations = {operation: _python(entry, parts) for operation, entry in service.operations.items()}
    return Service(name=name, namespaces=frozenset(service.namespaces), operations=operations)


def _python(entry: PythonEntry, parts: Dependencies) -> ServiceOperation:
    options = Options(
        expects=entry.expects, undoable=entry.undoable, idempotent=entry.idempotent,
        timeout_seconds=entry.timeout_seconds,
    )  # fmt: skip
    handler = load_handler(entry.handler)
    if entry.compensate is None:
        return PythonOperation(handler, code=parts.code, answers=parts.answers, **options)
    compensation = load_handler(entry.compensate)
    return CompensatedPythonOperation(handler, compensation, code=parts.code, answers=parts.answers, **options)
