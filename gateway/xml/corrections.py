"""Where libxml2 leaves the standard, its verdict is put right here; where it is left alone, the docs say so.

It compares the value of an element that the schema fixes as text, takes 24:00:00 for later than 23:59:59, knows years
that no calendar here can hold, and looks at no xs:IDREF. It would look at xs:ID, but over all messages of a file: see
`Grammar`.
Source: XML Schema 1.0, part 1, 3.3.4 and 3.15.4; part 2, 3.2.7 and 3.2.8.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from lxml import etree

from gateway.kernel.problem import MAX_PROBLEMS, Problem
from gateway.kernel.text import clean
from gateway.xml.explain import MAX_PLACES, chosen
from gateway.xml.grammar import Grammar, accepted
from gateway.xml.names import MAX_TEXT, XSI_TYPE, local_name, paths_of, split_name
from gateway.xml.schema_files import IDENTIFYING, XSD, SchemaFile, names_in
from gateway.xml.words import RANGE, beyond_range, problem

if TYPE_CHECKING:
    from xmlschema import XMLSchemaBase
    from xmlschema.validators import XsdSimpleType

_MIDNIGHT = re.compile(r"\s*(?:\d{4}-\d\d-\d\dT)?24:00:00(?:\.0+)?(?:Z|[+-]\d\d:\d\d)?\s*\Z")
_OF_MIDNIGHT = re.compile(r"Element '[^']*'(?:, attribute '[^']*')?: \[facet '\w+'\] The value '(?:[^']*T)?24:00:00")
_FIXED = etree.ErrorTypes.SCHEMAV_CVC_ELT_5_2_2_2_2
_FAR_YEAR = re.compile(r"\s*(?:-?\d{5,}|-\d{4})-\d\d-\d\d")
"""A year outside 0001 to 9999."""
_MAYBE_FAR = re.compile(r"-(?:(?<=\d{5}-)\d\d-\d\d|\d{4}-\d\d-\d\d)")
"""The same anywhere in a text; begins with a plain character because that is ten times as fast."""
_DATES = ("date", "dateTime")
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


def overlooked(grammar: Grammar, part: etree._Element) -> tuple[Problem, ...]:
    """Return the values of a valid document that are wrong all the same: an hour 24 out of range, years too far away.

    Attributes are not looked at: no document of an ERP has times in them. A date by an alternative of XSD 1.1 is
    not found.
    """
    # these are rare: only a document that may hold one pays for the types; all text in one piece is asked first,
    # where a number right before a date looks like a far year
    text = etree.tostring(part, method="text", encoding="unicode")
    found: tuple[Problem, ...] = ()
    if "24:00:00" in text:
        found += _wrong_values(grammar, part, _MIDNIGHT, _is_out_of_range, _misread)
    if _MAYBE_FAR.search(text) is not None and any(_FAR_YEAR.match(str(each)) for each in part.itertext()):
        found += _wrong_values(grammar, part, _FAR_YEAR, _is_date, beyond_range)
    return found


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
        return tuple(
            replace(_of_identity(*place, value, is_id=is_id), path=paths[place[0]]) for place, value, is_id in found
        )

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


class DeclaredTypes:
    """Which types a schema gives the elements and attributes of one document, asked for some of them alone.

    Walking through a whole document with xmlschema takes seconds for each megabyte; following the few paths that
    matter takes microseconds for each step. The document is valid, but for what libxml2 does not look at.
    """

    # Any stands for components of xmlschema: what is asked here is declared on many of their classes, on no common one

    def __init__(self, schema: "XMLSchemaBase", part: etree._Element) -> None:
        self._maps = schema.maps
        self._part = part
        self._known: dict[etree._Element, Any] = {}
        self._children: dict[tuple[int, str], Any] = {}

    def of_text(self, element: etree._Element) -> Any:
        """Return the simple type of an element's text, None when it has none."""
        declared = self._of(element)
        return None if declared is None else declared.simple_type

    def of_attribute(self, element: etree._Element, name: str) -> Any:
        """Return the simple type of an attribute by its `{namespace}local` name, None when nothing declares it."""
        declared = getattr(self._of(element), "attributes", {}).get(name) or self._maps.attributes.get(name)
        return None if declared is None else declared.type

    def _of(self, element: etree._Element) -> Any:
        """Return the type of an element: what `xsi:type` says, else what is declared at its place."""
        if element not in self._known:
            chosen = element.get(XSI_TYPE)
            prefix, _, local = (chosen or "").strip().rpartition(":")
            name = f"{{{element.nsmap.get(prefix or None, '')}}}{local}".removeprefix("{}")
            named = None if chosen is None else self._maps.types.get(name)
            self._known[element] = self._at_place(element) if named is None else named
        return self._known[element]

    def _at_place(self, element: etree._Element) -> Any:
        parent, name = element.getparent(), str(element.tag)
        if element is self._part or parent is None:
            declared = self._maps.elements.get(name)
        else:
            around = self._of(parent)
            key = (id(around), name)
            if key not in self._children:
                self._children[key] = self._child(around, name)
            declared = self._children[key]
        return None if declared is None else declared.type

    def _child(self, around: Any, name: str) -> Any:
        """Return the declaration of a child: a local one, or a global one by substitution or wildcard."""
        iterate = getattr(getattr(around, "content", None), "iter_elements", None)
        local = next((each for each in iterate() if each.name == name), None) if iterate is not None else None
        return self._maps.elements.get(name) if local is None else local


def _wrong_values(
    grammar: Grammar,
    part: etree._Element,
    pattern: re.Pattern[str],
    is_wrong: "Callable[[XsdSimpleType, str], bool]",
    say: Callable[[etree._Element], Problem],
) -> tuple[Problem, ...]:
    """Return the problems of elements with a text that *pattern* matches and their declared type makes wrong."""
    if grammar.explaining is None:
        return ()
    types = DeclaredTypes(grammar.explaining, part)
    like = [(element, element.text or "") for element in part.iter("*") if pattern.match(element.text or "")]
    kinds = [(element, text, types.of_text(element)) for element, text in like]
    found = [element for element, text, kind in kinds if kind is not None and is_wrong(kind, text)]
    first = found[: MAX_PROBLEMS * MAX_PLACES]
    return chosen([(element, say(element)) for element in first], part, more=len(found) > len(first))


def _is_out_of_range(kind: "XsdSimpleType", text: str) -> bool:
    return not kind.is_valid(text)


def _is_date(kind: "XsdSimpleType", _: str) -> bool:
    return getattr(getattr(kind, "root_type", None), "local_name", None) in _DATES


def _misread(element: etree._Element) -> Problem:
    value = clean(element.text or "", MAX_TEXT)
    text = (
        f'{local_name(element)} has the value "{value}", which is not allowed; 24:00:00 is the first moment of the '
        "next day."
    )
    return problem(text, code=RANGE, found=value)


def _of_identity(element: etree._Element, attribute: str | None, value: str, *, is_id: bool) -> Problem:
    holder = local_name(element) if attribute is None else f"{split_name(attribute)[1]} of {local_name(element)}"
    shown = clean(value, MAX_TEXT)
    if is_id:
        text = f'{holder} has the value "{shown}", which identifies another element already. Give each its own value.'
        return problem(text, found=shown, expected="a value that no other element of the document has")
    text = f"{holder} refers to {shown}, but no element of the document is identified by it."
    return problem(text, found=shown, expected="the identifier of an element of the document")


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
