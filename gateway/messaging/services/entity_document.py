"""What is special about AX documents: entities, their record fields and their hash.

Source: AIF reference, sections 8.1 and 8.3.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from hashlib import md5
from itertools import count
from threading import Lock

from lxml import etree

from gateway.kernel.errors import ConfigError, GatewayError, OperationRejected
from gateway.kernel.namespaces import HTTPS, XSI, Scheme
from gateway.messaging.services.document_kind import DocumentKind
from gateway.messaging.services.entities import Entity
from gateway.xml.catalog import Catalog
from gateway.xml.normalise import rewrite_scheme
from gateway.xml.parse import parse_checked
from gateway.xml.shapes import Shape, Shapes
from gateway.xml.verdict import Checker

_INNER = etree.XPath('count(descendant::*[@class="entity"])')
_DEFAULT_NAMESPACE = re.compile(rb'<[^>]*\sxmlns="')
_NIL = f"{{{XSI}}}nil"


def root_entities(document: etree._Element, entity: str) -> Iterator[etree._Element]:
    """Yield the root entities of a document, in order; a schema may put them in any namespace."""
    yield from document.iterchildren(f"{{*}}{entity}")


def count_entities(entity: etree._Element) -> int:
    """Return how many entities there are in and below this one; each gets a record number."""
    number = _INNER(entity)
    assert isinstance(number, float)
    return 1 + int(number)


def longest_key(kind: DocumentKind, catalog: Catalog) -> int | None:
    """Return how many characters the key of a document may have; None when no schema that can be used says so."""
    grammar = catalog.element(kind.document)
    if grammar is None:
        return None
    try:
        grammar.compile()  # first: only what compiles has shapes without circles
    except ConfigError:
        return None
    root = grammar.shapes.root(kind.document)
    entity = root.tag(kind.entity)
    if entity is None:
        return None
    fields = grammar.shapes.declared(root, entity)
    key = fields.tag(kind.key)
    return None if key is None else grammar.shapes.longest(fields, key)


class Writer:
    """Writes kept entities as the document that read answers.

    Rule: the document is valid against its schema, or it is not sent. The schema decides order and which of the
    fields exist that the gateway knows: the key, `DocPurpose`, `SenderId`, `_DocumentHash`, `RecId`, `RecVersion`.
    """

    def __init__(self, kind: DocumentKind, catalog: Callable[[], Catalog]) -> None:
        self._kind = kind
        self._catalog = catalog
        self._lock = Lock()  # a compiled schema serves one thread at a time

    def write(self, entities: Sequence[Entity], company: str) -> etree._Element:
        """Return the document with these entities, in canonical namespaces; takes its time, for a thread.

        Raises: OperationRejected when what is kept does not follow the schema; GatewayError or ConfigError when there
        is no schema that can be used.
        """
        with self._lock:
            kind, catalog = self._kind, self._catalog()
            grammar = catalog.element(kind.document)
            if grammar is None:
                raise GatewayError(
                    f"No schema declares {kind.document}, so no document of it can be sent. Put its XSD into a folder "
                    "named by `schemas`, start the gateway again and release the message.",
                    code="document.no-schema",
                )
            grammar.compile()  # first: only what compiles has shapes without circles
            content = self._join([_canonical(entity.content) for entity in entities])
            checker = Checker(catalog)
            for complete in (True, False):  # a schema may use a name of ours for something else
                document = parse_checked(content)
                self._fill(document, entities, grammar.shapes, company if complete else None)
                # judged as it will be read: a tree may hold what its text does not say
                document = parse_checked(etree.tostring(document))
                if not checker.check(document, explain=False):
                    return document
            problem = checker.check(document)[0]
            raise OperationRejected(
                f"The {kind.name} cannot be sent, because what is kept does not follow its schema: {problem.text} "
                f"({problem.path})",
                code="document.invalid",
            )

    def _join(self, contents: Sequence[bytes]) -> bytes:
        """Return the text of a document. As text: a tree would rename prefixes that values need."""
        kind = self._kind
        # an entity that declares no default namespace may hold elements without namespace; they must stay so
        prefix = None if all(_DEFAULT_NAMESPACE.match(content) for content in contents) else "d"
        shell = etree.Element(kind.document, nsmap={prefix: kind.namespace})  # type: ignore[dict-item]  # the stubs forget the default namespace
        shell.text = ""
        start, slash, end = etree.tostring(shell, encoding="utf-8").rpartition(b"</")
        declared = start[start.index(b" ") : -1]
        if prefix is None:  # said once is enough
            heads = [content.partition(b">") for content in contents]
            contents = [b"".join((head.replace(declared, b"", 1), *rest)) for head, *rest in heads]
        return b"".join((start, *contents, slash, end))

    def _fill(self, document: etree._Element, entities: Sequence[Entity], shapes: Shapes, company: str | None) -> None:
        """Put in what the gateway knows; without *company* the keys alone."""
        shape = shapes.root(self._kind.document)
        for element, entity in zip(list(document), entities, strict=True):
            own = shapes.child(shape, element)
            if not _filled(element, own, self._kind.key):
                _put(element, own, self._kind.key, entity.key)
            if company is not None:
                _put(element, own, "_DocumentHash", _hash(entity, count_entities(element)))
                _number(element, own, entity, shapes)
        if company is not None:
            _put(document, shape, "DocPurpose", "Original")
            sender = shape.tag("SenderId")
            longest = None if sender is None else shapes.longest(shape, sender)
            if longest is None or len(company) <= longest:
                _put(document, shape, "SenderId", company)


def _canonical(content: bytes) -> bytes:
    if HTTPS.encode() not in content:
        return content
    return rewrite_scheme(content.decode(), Scheme.HTTP).encode()


def _number(entity: etree._Element, shape: Shape, kept: Entity, shapes: Shapes) -> None:
    """Give RecId and RecVersion to the entity and to every entity in it, in document order."""
    numbers = count(kept.rec_id)

    def walk(element: etree._Element, shape: Shape) -> None:
        children = list(element.iterchildren("*"))
        if element is entity or element.get("class") == "entity":
            _put(element, shape, "RecId", str(next(numbers)))
            _put(element, shape, "RecVersion", str(kept.rec_version))
        for child in children:
            walk(child, shapes.child(shape, child))

    walk(entity, shape)


def _filled(entity: etree._Element, shape: Shape, name: str) -> bool:
    tag = shape.tag(name)
    return tag is not None and bool((entity.findtext(tag) or "").strip())


def _put(element: etree._Element, shape: Shape, name: str, text: str) -> None:
    """Give a value to a field, at its place in the schema; nothing happens when the schema has none."""
    tag = shape.tag(name)
    if tag is None:
        return
    field = element.find(tag)
    if field is None:
        at = shape.place(tag, [str(child.tag) for child in element])
        if at is None:
            return
        # parsed, because only a parsed element says that it is not in the default namespace around it
        bare = not tag.startswith("{") and element.nsmap.get(None)
        field = parse_checked(f'<{tag} xmlns=""/>'.encode()) if bare else etree.Element(tag)
        element.insert(at, field)
    field.attrib.pop(_NIL, "")
    field.text = text


def _hash(entity: Entity, records: int) -> str:
    """Return 32 hexadecimal digits over RecId and RecVersion of all records; no secret depends on it."""
    text = ";".join(f"{entity.rec_id + number}:{entity.rec_version}" for number in range(records))
    return md5(text.encode(), usedforsecurity=False).hexdigest()
