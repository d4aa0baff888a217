"""Says in our words what libxml2 has against a document, by its error numbers.

For documents over which xmlschema stumbles, or where the two disagree: less is known of what was meant.
"""

import re
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from lxml import etree

from gateway.kernel.problem import Problem
from gateway.xml import words
from gateway.xml.allowed import BOUNDS, form, names, of_facet, of_type, one_of
from gateway.xml.grammar import LARGE, Grammar, TreeEntry, has_more_than
from gateway.xml.malformed import LogEntry
from gateway.xml.names import XSI_TYPE, local_name, meant
from gateway.xml.normalise import is_costly

if TYPE_CHECKING:
    from xmlschema import XMLSchemaBase

MOST_ENTRIES = 50
"""A document with more mistakes is not gone through element by element: each of them has to be found by its path."""

Entries = Mapping[etree._Element, Sequence[TreeEntry]]
"""What libxml2 has against the elements of a document."""

_STEP = re.compile(r"/([^/\[]+)(?:\[(\d+)\])?")
_T = etree.ErrorTypes
CONTENT: int = _T.SCHEMAV_ELEMENT_CONTENT
"""An element that stands where it may not, or one that is missing."""
_FACETS = {
    _T.SCHEMAV_CVC_LENGTH_VALID: "length",
    _T.SCHEMAV_CVC_MINLENGTH_VALID: "minLength",
    _T.SCHEMAV_CVC_MAXLENGTH_VALID: "maxLength",
    _T.SCHEMAV_CVC_MININCLUSIVE_VALID: "minInclusive",
    _T.SCHEMAV_CVC_MAXINCLUSIVE_VALID: "maxInclusive",
    _T.SCHEMAV_CVC_MINEXCLUSIVE_VALID: "minExclusive",
    _T.SCHEMAV_CVC_MAXEXCLUSIVE_VALID: "maxExclusive",
    _T.SCHEMAV_CVC_TOTALDIGITS_VALID: "totalDigits",
    _T.SCHEMAV_CVC_FRACTIONDIGITS_VALID: "fractionDigits",
}
_DATATYPE = {
    _T.SCHEMAV_CVC_DATATYPE_VALID_1_2_1,
    _T.SCHEMAV_CVC_DATATYPE_VALID_1_2_2,
    _T.SCHEMAV_CVC_DATATYPE_VALID_1_2_3,
}
VALUES = frozenset({*_FACETS, *_DATATYPE, _T.SCHEMAV_CVC_ENUMERATION_VALID, _T.SCHEMAV_CVC_PATTERN_VALID})
"""A value that its type does not allow."""
_TEXT = {_T.SCHEMAV_CVC_COMPLEX_TYPE_2_1, _T.SCHEMAV_CVC_COMPLEX_TYPE_2_3}
_UNKNOWN_ATTRIBUTE = {
    _T.SCHEMAV_CVC_TYPE_3_1_1,
    _T.SCHEMAV_CVC_COMPLEX_TYPE_3_2_1,
    _T.SCHEMAV_CVC_COMPLEX_TYPE_3_2_2,
}
_WRONG_TYPE = {_T.SCHEMAV_CVC_ELT_4_1, _T.SCHEMAV_CVC_ELT_4_2, _T.SCHEMAV_CVC_ELT_4_3}
_ABOUT_TYPE = f"attribute '{XSI_TYPE}'"
_TYPE = re.compile(r" is not a valid value of the (?:local )?(?:atomic|union|list) type '([^']+)'")
_ATTRIBUTE = re.compile(r"attribute '(?:\{[^}]*\})?([^']+)'")
_VALUE = re.compile(r": (?:\[facet '\w+'\] )?(?:The value )?'(.*?)' (?:is|has|does)", re.DOTALL)
_QUOTED = re.compile(r"'([^']*)'")
_EXPECTED = re.compile(r"Expected is (?:one of )?\(([^)]*)\)")


def entries_by_element(grammar: Grammar, part: etree._Element) -> Entries:
    """Return what libxml2 has against each element of a document; nothing when that is much."""
    if has_more_than(LARGE, part) or len(found := grammar.errors(part)) > MOST_ENTRIES:
        return {}
    entries: dict[etree._Element, list[TreeEntry]] = {}
    for entry in found:
        entries.setdefault(_at(part, entry.path or ""), []).append(entry)
    return entries


def by_libxml2(grammar: Grammar, part: etree._Element) -> list[tuple[etree._Element, Problem]]:
    """Return what libxml2 has against a document, without paths."""
    found = [(_at(part, entry.path or ""), entry) for entry in grammar.errors(part)]
    return [(element, of_entry(entry, element, grammar.explaining)) for element, entry in found]


def of_entry(entry: LogEntry, element: etree._Element, schema: "XMLSchemaBase | None" = None) -> Problem:
    """Return an error of libxml2 as a problem of *element*. *schema* tells what the type allows that it names."""
    number, message = entry.type, entry.message
    name = local_name(element)
    if number == CONTENT:
        return _of_content(message, element)
    if number in _TEXT | {_T.SCHEMAV_CVC_TYPE_3_1_2}:
        return (words.holds_elements if "Element content" in message else words.stray_text)(element)
    if number in _WRONG_TYPE or _ABOUT_TYPE in message:
        return words.wrong_type(element)
    if number in (_T.SCHEMAV_CVC_ELT_3_1, _T.SCHEMAV_CVC_ELT_3_2_1, _T.SCHEMAV_CVC_ELT_3_2_2):
        text = words.NOT_NILLABLE if number == _T.SCHEMAV_CVC_ELT_3_1 else words.NIL_AND_VALUE
        return words.problem(text.format(name))
    attribute = _ATTRIBUTE.search(message.partition("': ")[0] + "'") or _ATTRIBUTE.search(message)
    if number in _UNKNOWN_ATTRIBUTE and attribute is not None:
        return words.unknown_attribute(element, attribute[1])
    if number == _T.SCHEMAV_CVC_COMPLEX_TYPE_4 and attribute is not None:
        return words.missing_attribute(element, attribute[1])
    allowed = _allowed(number, message, schema)
    if allowed is not None or number in _DATATYPE:
        found = _VALUE.search(message)
        choices = _choices(message) if number == _T.SCHEMAV_CVC_ENUMERATION_VALID else ()
        if attribute is not None and message.startswith("Element ") and ", attribute " in message.partition("': ")[0]:
            return words.of_attribute_value(element, attribute[1], found[1] if found else "", allowed, choices)
        if len(element):
            return words.holds_elements(element)
        code = words.RANGE if _FACETS.get(number) in BOUNDS else words.SCHEMA
        return words.of_value(element, allowed, code, choices)
    return words.problem(f"{name} does not follow its schema.")


def _allowed(number: int, message: str, schema: "XMLSchemaBase | None") -> str | None:
    """Say what the type or facet allows that an error is about, None when it is about something else."""
    quoted = _QUOTED.findall(message)
    if number in _FACETS and quoted:
        return of_facet(_FACETS[number], quoted[-1])
    if number == _T.SCHEMAV_CVC_ENUMERATION_VALID:
        return one_of(_choices(message))
    if number == _T.SCHEMAV_CVC_PATTERN_VALID:
        pattern = message.rpartition("pattern '")[2].rstrip("'.")
        return form([pattern], _compiled(pattern))
    if number in (_T.SCHEMAV_CVC_AU, _T.SCHEMAV_CVC_ELT_5_2_2_2_1, _T.SCHEMAV_CVC_ELT_5_2_2_2_2) and quoted:
        return f'"{quoted[-1]}"'
    named = _TYPE.search(message)
    if named is not None and schema is not None:
        return of_type(named[1], schema)
    return None


def _choices(message: str) -> list[str]:
    return _QUOTED.findall(message.rpartition("set {")[2])


def _of_content(message: str, element: etree._Element) -> Problem:
    expected = _EXPECTED.search(message)
    listed = [] if expected is None else expected[1].split(",")
    known = [each.rpartition("}")[2].strip(" *") for each in listed if "##" not in each]
    name = local_name(element)
    if "Missing child" in message:
        text = f"{name} is not complete: an element is missing" + (f", perhaps {names(known)}." if known else ".")
        return words.problem(text, expected=names(known) or None)
    parent = element.getparent()
    owner = "its document" if parent is None else local_name(parent)
    text = f"{name} is not allowed at this place in {owner}{'' if name in known else meant(name, known)}"
    return words.problem(text, expected=names(known) or None)


def _compiled(pattern: str) -> list["re.Pattern[str]"]:
    """Return a pattern of a schema as one of Python's, nothing when it is none or may take too long."""
    try:
        return [] if is_costly(pattern) else [re.compile(f"(?:{pattern})\\Z")]
    except re.error:
        return []


def _at(part: etree._Element, path: str) -> etree._Element:
    """Return the element that libxml2 calls by `/*/*[2]/p:Name`, as far as it can be followed."""
    current = part
    for step in list(_STEP.finditer(path))[1:]:
        name, number = step[1], int(step[2] or 1)
        children = (
            child
            for child in current.iterchildren("*")
            if name == "*" or name == (f"{child.prefix}:" if child.prefix else "") + local_name(child)
        )
        child = next(islice(children, number - 1, None), None)
        if child is None:
            break
        current = child
    return current
