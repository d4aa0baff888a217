"""What is special about AX documents: entities, their record fields and their hash.

Source: AIF reference, sections 8.1 and 8.3.
"""

from collections.abc import Iterator
from hashlib import md5

from lxml import etree

from gateway.domain.namespaces import canonical
from gateway.store.entities import Entity
from gateway.xml.parse import parse_checked

_COUNT = etree.XPath('count(descendant-or-self::*[@class="entity"])')


def root_entities(document: etree._Element, entity: str) -> Iterator[etree._Element]:
    """Yield the root entities of a document, in order."""
    namespace = etree.QName(document).namespace
    yield from document.iterchildren(f"{{{namespace}}}{entity}")


def count_entities(entity: etree._Element) -> int:
    """Return how many entities there are in and below this one; each gets a record number."""
    number = _COUNT(entity)
    return max(int(number), 1) if isinstance(number, float) else 1


def complete_entity(entity: Entity, namespace: str, key_field: str) -> etree._Element:
    """Return a stored root entity as read and find answer it.

    Rule: `_DocumentHash` comes first; key, RecId and RecVersion stand in their alphabetical places among the
    fields, before the child entities. Namespaces are canonical.
    """
    element = parse_checked(entity.content)
    for node in element.iter("*"):
        node.tag = canonical(str(node.tag))
    etree.cleanup_namespaces(element)
    records = [node for node in element.iter("*") if node is element or node.get("class") == "entity"]
    for number, node in enumerate(records):
        _put_field(node, f"{{{namespace}}}RecId", str(entity.rec_id + number))
        _put_field(node, f"{{{namespace}}}RecVersion", str(entity.rec_version))
    _put_field(element, f"{{{namespace}}}{key_field}", entity.key)
    digest = etree.Element(f"{{{namespace}}}_DocumentHash")
    digest.text = _hash(entity, len(records))
    for old in element.findall(digest.tag):
        element.remove(old)
    element.insert(0, digest)
    return element


def _put_field(entity: etree._Element, tag: str, text: str) -> None:
    existing = entity.find(tag)
    if existing is not None:
        existing.text = text
        return
    field = etree.Element(tag)
    field.text = text
    name = etree.QName(tag).localname.casefold()
    for index, child in enumerate(entity):
        local = etree.QName(child).localname
        if child.get("class") == "entity" or (local != "_DocumentHash" and local.casefold() > name):
            entity.insert(index, field)
            return
    entity.append(field)


def _hash(entity: Entity, records: int) -> str:
    """Return 32 hexadecimal digits over RecId and RecVersion of all records; no secret depends on it."""
    text = ";".join(f"{entity.rec_id + number}:{entity.rec_version}" for number in range(records))
    return md5(text.encode(), usedforsecurity=False).hexdigest()
