"""Where libxml2 leaves the standard, its verdict is put right here; where it is left alone, the docs say so.

It compares the value of an element that the schema fixes as text, takes 24:00:00 for later than 23:59:59, and
looks at no xs:IDREF. It would look at xs:ID, but over all messages of a file: see `Grammar`.
Source: XML Schema 1.0, part 1, 3.3.4 and 3.15.4; part 2, 3.2.7 and 3.2.8.
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from lxml import etree

from gateway.kernel.problem import MAX_PROBLEMS, Problem
from gateway.kernel.text import clean
from gateway.xml.declared import DeclaredTypes
from gateway.xml.grammar import Grammar, accepted
from gateway.xml.paths import local_name, paths_of
from gateway.xml.schema_files import IDENTIFYING, XSD, SchemaFile, names_in

if TYPE_CHECKING:
    from xmlschema import XMLSchemaValidationError
    from xmlschema.validators import XsdSimpleType

MIDNIGHT = "24:00:00"
_MAX_FOUND = 200
_MIDNIGHT = re.compile(r"\s*(?:\d{4}-\d\d-\d\dT)?24:00:00(?:\.0+)?(?:Z|[+-]\d\d:\d\d)?\s*")
_OF_MIDNIGHT = re.compile(r"Element '[^']*'(?:, attribute '[^']*')?: \[facet '\w+'\] The value '(?:[^']*T)?24:00:00")
_FIXED = etree.ErrorTypes.SCHEMAV_CVC_ELT_5_2_2_2_2

_NAME = re.compile(r"[^\s'\"]+")
_CONTENT = f"{XSD}simpleContent/*"

_Place = tuple[etree._Element, str | None]
"""An element, or an attribute of it by its `{namespace}local` name."""


def overruled(grammar: Grammar, part: etree._Element) -> bool:
    """Tell whether a document that libxml2 refuses is valid: all it complains of are values that it misreads."""
    entries = grammar.objections(part)
    if not entries or any(entry.type != _FIXED and not _OF_MIDNIGHT.match(entry.message) for entry in entries):
        return False
    schema = grammar.explaining
    return schema is not None and accepted(schema, part) is True


def midnights(grammar: Grammar, part: etree._Element) -> tuple[Problem, ...]:
    """Return the elements of a valid document with an hour 24 that their type does not allow.

    Attributes are not looked at: no document of an ERP has times in them.
    """
    found = _midnights(grammar, part)[:MAX_PROBLEMS]
    paths = paths_of(found, part)
    return tuple(
        Problem(
            code="value.range",
            text=f'{local_name(element)} has the value "{clean(element.text or "", _MAX_FOUND)}", which is not '
            "allowed; 24:00:00 is the first moment of the next day.",
            path=paths[element],
            found=clean(element.text or "", _MAX_FOUND),
        )
        for element in found
    )


def about_identity(error: "XMLSchemaValidationError") -> bool:
    """Tell whether an error of xmlschema is about xs:ID or xs:IDREF, which `Identities` judges."""
    reason = error.reason or ""
    return "duplicated xs:ID value" in reason or reason.startswith("IDREF ")


class Identities:
    """Judges the xs:ID and xs:IDREF of documents: each ID is unique, each IDREF names one, within its document."""

    def __init__(self, grammar: Grammar) -> None:
        self._grammar = grammar
        names = _names(grammar.files)
        known = " or ".join(f"local-name() = '{name}'" for name in sorted(names))
        path = f"descendant-or-self::*[{known}] | descendant-or-self::*/@*[{known}]"
        self._find = etree.XPath(path) if names else None
        self._roles: dict[object, str | None] = {}

    def check(self, part: etree._Element) -> tuple[Problem, ...]:
        """Return what is wrong, up to 20 problems in document order; nothing where xmlschema has no such schema."""
        if self._find is None or not (places := self._places(part)) or self._grammar.explaining is None:
            return ()
        types = DeclaredTypes(self._grammar.explaining, part)
        ids: set[str] = set()
        wrong: list[tuple[_Place, str, bool]] = []
        for element, attribute in places:
            kind = types.of_text(element) if attribute is None else types.of_attribute(element, attribute)
            role = None if kind is None else self._role(kind)
            text = (element.text if attribute is None else element.get(attribute)) or ""
            for value in text.split() if role is not None else ():
                if role == "IDREF" or value in ids:
                    wrong.append(((element, attribute), value, role == "ID"))
                else:
                    ids.add(value)
        found = [(place, value, is_id) for place, value, is_id in wrong if is_id or value not in ids][:MAX_PROBLEMS]
        paths = paths_of([element for (element, _), _, _ in found], part)
        return tuple(_problem(*place, value, paths[place[0]], is_id=is_id) for place, value, is_id in found)

    def _places(self, part: etree._Element) -> list[_Place]:
        assert self._find is not None
        places: list[_Place] = []
        for node in cast("list[Any]", self._find(part)):  # Any: elements, and strings that know their attribute
            if isinstance(node, etree._Element):
                places.append((node, None))
            else:
                places.append((node.getparent(), str(node.attrname)))
        return places

    def _role(self, kind: "XsdSimpleType") -> str | None:
        """Return what a simple type holds: ID, IDREF, or None for anything else."""
        if kind not in self._roles:
            types = kind.maps.types
            items = [getattr(each, "item_type", None) for each in (kind, getattr(kind, "primitive_type", None))]
            item = next(filter(None, items), kind)
            self._roles[kind] = next((each for each in ("ID", "IDREF") if item.is_derived(types[XSD + each])), None)
        return self._roles[kind]


def _midnights(grammar: Grammar, part: etree._Element) -> list[etree._Element]:
    if grammar.explaining is None:
        return []
    types = DeclaredTypes(grammar.explaining, part)
    found = [element for element in part.iter("*") if _MIDNIGHT.fullmatch(element.text or "")]
    kinds = [(element, types.of_text(element)) for element in found]
    return [element for element, kind in kinds if kind is not None and not kind.is_valid(element.text or "")]


def _names(files: Sequence[SchemaFile]) -> set[str]:
    """Return the local names of all that may be an xs:ID or xs:IDREF: rather too many than too few."""
    if not any(file.identifies for file in files):
        return set()
    roots = [file.root for file in files]
    known = set(IDENTIFYING)
    while True:
        more = {
            str(each.get("name"))
            for root in roots
            for each in root.iterchildren(XSD + "simpleType", XSD + "complexType")
            if _is_one(each, known)
        }
        if more <= known:
            break
        known |= more
    declared = (each for root in roots for each in root.iter(XSD + "element", XSD + "attribute"))
    names = {each.get("name", "") for each in declared if _is_one(each, known)}
    return {name for name in names if _NAME.fullmatch(name)}


def _is_one(declared: etree._Element, known: set[str]) -> bool:
    """Tell whether a declaration is made of one of the types *known*, by their local names."""
    inside = [declared, *declared.iterfind(_CONTENT), *declared.iterfind(f"{XSD}complexType/{_CONTENT}")]
    for simple in [declared] if declared.tag == XSD + "simpleType" else declared.iterchildren(XSD + "simpleType"):
        inside += simple.iter("*")
    names = (name for each in inside for some in names_in(each).values() for name in some)
    return any(name.local.kind == "type" and name.local.name in known for name in names)


def _problem(element: etree._Element, attribute: str | None, value: str, path: str, *, is_id: bool) -> Problem:
    holder = local_name(element) if attribute is None else f"{attribute.rpartition('}')[2]} of {local_name(element)}"
    shown = clean(value, _MAX_FOUND)
    if is_id:
        text = f'{holder} has the value "{shown}", which identifies another element already. Give each its own value.'
        expected = "a value that no other element of the document has"
    else:
        text = f"{holder} refers to {shown}, but no element of the document is identified by it."
        expected = "the identifier of an element of the document"
    return Problem(code="schema", text=text, path=path, found=shown, expected=expected)
