"""Does what is configured of a service fit the schemas of its documents?"""

from collections.abc import Iterable, Iterator

from gateway.config.models import DocumentService, PythonService, Settings
from gateway.config.suggest import did_you_mean
from gateway.kernel.errors import ConfigError
from gateway.messaging.rules.numbers import last_number, numbers_left
from gateway.runtime.checked import Finding, Verdict
from gateway.xml.catalog import Catalog
from gateway.xml.shapes import Shape, Shapes

_OURS = ("DocPurpose", "SenderId")
_MOST_NAMES = 10
_FEW_NUMBERS = 10_000

_Wrong = tuple[tuple[str, ...], Verdict, str]


def check_services(settings: Settings, catalog: Catalog) -> Iterator[Finding]:
    """Yield what keeps services from knowing, creating or answering their documents."""
    for name, service in settings.services.items():
        for document, path in _named_by(service):
            if rivals := catalog.rivals(document):
                text = (
                    f"{document} is declared differently by {' and '.join(map(str, rivals))}; the first counts. "
                    "Keep the one that this service means"
                )
                yield Finding(
                    subject=f"service {name}", verdict=Verdict.ERROR, text=text, path=("services", name, *path)
                )
        if isinstance(service, DocumentService):
            for path, verdict, text in _wrong_with(service, catalog):
                yield Finding(subject=f"service {name}", verdict=verdict, text=text, path=("services", name, *path))


def _named_by(service: DocumentService | PythonService) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the documents that a service names, each with the option that does."""
    if isinstance(service, DocumentService):
        yield service.document, ("document",)
        return
    for operation, entry in service.operations.items():
        for document in entry.expects or ():
            yield document, ("operations", operation, "expects")


def _wrong_with(service: DocumentService, catalog: Catalog) -> Iterator[_Wrong]:
    grammar = catalog.element(service.document)
    if grammar is None:
        text = f"no schema declares {service.document}; put its XSD into a folder named by `schemas`"
        yield ("document",), Verdict.ERROR, text
        return
    try:
        grammar.compile()
    except ConfigError:  # told where schemas are checked; such a schema may even be one that derives from itself
        return
    shapes = grammar.shapes
    root = shapes.root(service.document)
    document = _local(service.document)
    entity = root.tag(service.entity)
    if entity is None:
        yield ("entity",), Verdict.ERROR, _unknown(document, service.entity, root.declared)
        return
    if "read" in service.operations:
        missing = [name for tag in root.required() if (name := _local(tag)) not in (service.entity, *_OURS)]
        if missing:
            text = (
                f"{document} must hold {', '.join(missing)} beside {service.entity}, which is not kept: read cannot "
                f"answer. Make it optional in the schema (minOccurs=0), or say operations: [create]"
            )
            yield ("operations",), Verdict.WARNING, text
    fields = shapes.declared(root, entity)
    key = fields.tag(service.key)
    if key is None:
        yield ("key",), Verdict.ERROR, _unknown(service.entity, service.key, fields.declared)
    elif shapes.declared(fields, key).declared:
        text = f"{service.key} holds elements of its own; a key is a field with a value"
        yield ("key",), Verdict.ERROR, text
    else:
        yield from _numbering(service, shapes, fields, key)


def _numbering(service: DocumentService, shapes: Shapes, fields: Shape, key: str) -> Iterator[_Wrong]:
    sequence = service.number_sequence
    if sequence is None:
        return
    longest, first = shapes.longest(fields, key), sequence.format.format(number=sequence.first)
    if longest is not None and len(first) > longest:
        text = f"it makes {first}, {len(first)} characters; {service.key} takes {longest} at most"
        yield ("number_sequence", "format"), Verdict.ERROR, text
    elif longest is not None and (last := last_number(sequence.format, longest)) is not None:
        left = numbers_left(sequence.format, longest, following=sequence.first, step=sequence.step)
        if left is not None and left < _FEW_NUMBERS:
            text = (
                f"it ends with {sequence.format.format(number=last)}, after {left} numbers: a longer one does not fit "
                f"into {service.key}, which takes {longest} characters. Then every request fails"
            )
            yield ("number_sequence", "format"), Verdict.WARNING, text
    if (
        not sequence.accept_sent
        and key in fields.required()
        and fields.declared[key].get("nillable") not in ("true", "1")
    ):
        text = (
            f"the sequence makes {service.key}, so partners must not send it, but the schema wants it in every "
            f"{service.entity}. Make it optional in the schema (minOccurs=0), or say accept_sent: true"
        )
        yield ("number_sequence",), Verdict.WARNING, text


def _unknown(owner: str, name: str, declared: Iterable[str]) -> str:
    names = [_local(tag) for tag in declared]
    guess = did_you_mean(name, names)
    if guess or not names:
        return f"{owner} has no element {name}{guess}"
    shown = ", ".join(names[:_MOST_NAMES]) + (" …" if len(names) > _MOST_NAMES else "")
    return f"{owner} has no element {name}; it has {shown}"


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]
