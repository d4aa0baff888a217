"""Entity keys: which records a request means and which a response tells.

Source: AIF reference, section 7.1.
"""

from collections.abc import Iterable

from lxml import etree

from gateway.contracts.service import EntityKey
from gateway.kernel.errors import MalformedMessage
from gateway.kernel.namespaces import ENTITY_KEY, ENTITY_KEY_LIST, canonical
from gateway.kernel.problem import Problem
from gateway.xml.names import path_of

_KEY_LIST = f"{{{ENTITY_KEY_LIST}}}EntityKeyList"
_KEY = f"{{{ENTITY_KEY}}}EntityKey"
_KEY_DATA = f"{{{ENTITY_KEY}}}KeyData"
_KEY_FIELD = f"{{{ENTITY_KEY}}}KeyField"
_FIELD = f"{{{ENTITY_KEY}}}Field"
_VALUE = f"{{{ENTITY_KEY}}}Value"

# the stubs do not know that None is the prefix of the default namespace
_LIST_PREFIXES: dict[str, str] = {None: ENTITY_KEY_LIST}  # type: ignore[dict-item]
_KEY_PREFIXES: dict[str, str] = {None: ENTITY_KEY}  # type: ignore[dict-item]


def read_keys(part: etree._Element) -> tuple[EntityKey, ...]:
    """Return the keys of an EntityKeyList, in document order; white space around fields and values is trimmed.

    Rule: the `http://` and `https://` forms of the namespaces count alike, also mixed. A list that a schema
    has accepted never fails here.
    Raises: MalformedMessage when something else stands where a part of a key must stand.
    """
    _expect(part, _KEY_LIST)
    return tuple(_read_key(entity) for entity in part.iterchildren("*"))


def build_keys(keys: Iterable[EntityKey]) -> etree._Element:
    """Return an EntityKeyList in canonical (`http://`) namespaces with one EntityKey per key.

    Raises: ValueError when a text holds a character that XML forbids.
    """
    root = etree.Element(_KEY_LIST, nsmap=_LIST_PREFIXES)
    for key in keys:
        entity = etree.SubElement(root, _KEY, nsmap=_KEY_PREFIXES)
        data = etree.SubElement(entity, _KEY_DATA)
        for field, value in key:
            key_field = etree.SubElement(data, _KEY_FIELD)
            etree.SubElement(key_field, _FIELD).text = field
            etree.SubElement(key_field, _VALUE).text = value
    return root


def _read_key(entity: etree._Element) -> EntityKey:
    _expect(entity, _KEY)
    fields: list[tuple[str, str]] = []
    for data in entity.iterchildren("*"):
        _expect(data, _KEY_DATA)
        for key_field in data.iterchildren("*"):
            _expect(key_field, _KEY_FIELD)
            children = list(key_field.iterchildren("*"))
            if len(children) != 2:
                raise _refused(key_field, "KeyField must hold one Field and one Value.")
            name, value = children
            _expect(name, _FIELD)
            _expect(value, _VALUE)
            fields.append(((name.text or "").strip(), (value.text or "").strip()))
    if not fields:
        raise _refused(entity, "EntityKey holds no KeyField; it must name the record.")
    return tuple(fields)


def _expect(element: etree._Element, name: str) -> None:
    if canonical(str(element.tag)) != name:
        raise _refused(element, f"{element.tag} stands where {name} must stand.")


def _refused(element: etree._Element, text: str) -> MalformedMessage:
    problem = Problem(code="key.malformed", text=text, path=path_of(element, _top(element)))
    return MalformedMessage(text, code="key.malformed", problems=(problem,))


def _top(element: etree._Element) -> etree._Element:
    """Return the EntityKeyList around *element*, itself when there is none."""
    for each in (element, *element.iterancestors()):
        if canonical(str(each.tag)) == _KEY_LIST:
            return each
    return element
