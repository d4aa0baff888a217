"""Says in our words what xmlschema has against a document: it knows best what was meant, and costs most."""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, cast

from lxml import etree

from gateway.kernel.problem import Problem
from gateway.xml import words
from gateway.xml.allowed import BOUNDS, allowed_by, choices_of, facet_of, names
from gateway.xml.grammar import Grammar, stumbles
from gateway.xml.names import XSI_TYPE, local_name, split_name
from gateway.xml.words import problem

if TYPE_CHECKING:
    from xmlschema.validators import XMLSchemaChildrenValidationError, XMLSchemaValidationError, XsdComponent
    from xmlschema.validators.xsd_globals import XsdGlobals

Found = tuple[etree._Element, Problem]
"""What is wrong, with its element."""

_NAMESPACE = re.compile(r"\{[^}]*\}")
_ATTRIBUTE_VALUE = re.compile(r"attribute (\S+?)='(.*?)': ", re.DOTALL)
_ATTRIBUTE = re.compile(r"attribute '([^']+)'|'([^']+)' attribute")
_FIXED = re.compile(r"fixed value '(.*)'", re.DOTALL)
_ABOUT_IDENTITY = re.compile(r"duplicated xs:ID value|^IDREF ")
_REPEATED = re.compile(r"duplicated value \((.*?),?\) for", re.DOTALL)


def by_xmlschema(grammar: Grammar, part: etree._Element) -> list[Found]:
    """Return what xmlschema has against a document, without paths; nothing when it stumbles over it.

    Not what it says of xs:ID and xs:IDREF: `corrections.Identities` judges them.
    """
    if grammar.explaining is None:
        return []
    try:
        # the method, on a schema of ours, without hints: the functions of the package fetch what a document names
        errors = list(grammar.explaining.iter_errors(part, use_location_hints=False))
    except stumbles():
        return []  # libxml2 has the verdict and finds words as well
    return [_of_error(error, part) for error in errors if not _ABOUT_IDENTITY.search(error.reason or "")]


def _of_error(error: "XMLSchemaValidationError", part: etree._Element) -> Found:
    from xmlschema.validators import XMLSchemaChildrenValidationError  # noqa: PLC0415  # only failures pay

    element = part if error.elem is None else cast("etree._Element", error.elem)
    if isinstance(error, XMLSchemaChildrenValidationError):
        return _of_children(error, element, part)
    reason = _NAMESPACE.sub("", error.reason or "")
    attribute = _ATTRIBUTE_VALUE.match(reason)
    repeated = _REPEATED.search(reason)
    if repeated is not None:
        value = repeated[1].strip("'\"")
        where = local_name(element) if attribute is None else f"the attribute {attribute[1]} of {local_name(element)}"
        text = f'The value "{value}" of {where} stands more than once; it may stand only once.'
        return element, problem(text, found=value)
    if attribute is not None:
        name, value = attribute.groups()
        choices = choices_of(error.validator)
        return element, words.of_attribute_value(element, name, value, allowed_by(error), choices)
    if type(error.validator).__name__.startswith(("XsdAttribute", "XsdAnyAttribute", "Xsd11AnyAttribute")):
        return element, _of_attribute(reason, error.validator, element)
    if "cannot substitute" in reason or "blocked" in reason:
        if element.get(XSI_TYPE) is None:  # xmlschema tells it of the parent as well
            typed = (child for child in element.iterchildren("*") if child.get(XSI_TYPE) is not None)
            element = next(typed, element)
        return element, words.wrong_type(element)
    if "character data" in reason:
        return element, words.stray_text(element)
    if (sentence := _of_reason(reason, element)) is not None:
        return element, problem(sentence)
    if len(element):
        return element, words.holds_elements(element)
    code = words.RANGE if facet_of(error.validator) in BOUNDS else words.SCHEMA
    return element, words.of_value(element, allowed_by(error), code, choices_of(error.validator))


def _of_reason(reason: str, element: etree._Element) -> str | None:
    """Say in our words what xmlschema says of an element, None when it is about a value."""
    name = local_name(element)
    if reason == "element is not nillable":
        return words.NOT_NILLABLE.format(name)
    if "xsi:nil='true' but" in reason:
        return words.NIL_AND_VALUE.format(name)
    if "xsi:nil attribute must" in reason:
        return f"xsi:nil on {name} must be true or false."
    if "abstract" in reason:
        return f"{name} cannot be used itself; write one of the elements or types that stand for it."
    if fixed := _FIXED.search(reason):
        return f'{name} must have the value "{fixed[1]}".'
    if "missing key field" in reason:
        return f"{name} has no value for its key."
    if " not found for " in reason:
        return f"{name} names something that is not in the document."
    if "unavailable namespace" in reason or "not found" in reason or "is not allowed here" in reason:
        return f"{name} is not allowed here: the schemas do not have it."
    if "assertion" in reason or "is not true with test path" in reason:
        return f"{name} does not keep a rule of its schema about what belongs together."
    return None


def _of_attribute(reason: str, declared: object, element: etree._Element) -> Problem:
    names_declared = declared.items() if isinstance(declared, Mapping) else ()
    known = {split_name(str(name))[1]: each for name, each in names_declared if name}
    found = _ATTRIBUTE.search(reason)
    name = "" if found is None else (found[1] or found[2])
    if reason.startswith("missing required"):
        return words.missing_attribute(element, name, getattr(known.get(name), "fixed", None))
    if (fixed := _FIXED.search(reason)) is not None:
        value = next((str(each) for key, each in element.items() if split_name(str(key))[1] == name), "")
        return words.of_attribute_value(element, name, value, f'"{fixed[1]}"')
    if name:
        return words.unknown_attribute(element, name, list(known))
    return problem(f"{local_name(element)} has attributes that its schema does not allow.")


def _of_children(error: "XMLSchemaChildrenValidationError", parent: etree._Element, part: etree._Element) -> Found:
    """Tell the four cases apart: missing, unknown, too often, out of order."""
    wanted = [local for each in error.expected or () if (local := each.local_name)]
    child = cast("etree._Element | None", error.invalid_child)  # what we handed in, an element of lxml
    owner = local_name(parent)
    if child is None:
        text = f"{owner} is not complete: {_one_of(wanted)} is missing."
        return parent, problem(text, expected=names(wanted) or None)
    iterate = getattr(error.validator, "iter_elements", None)
    declared: list[tuple[str, str]] = [
        (each.name, each.local_name) for each in (iterate() if iterate else ()) if each.name is not None
    ]
    tags = [tag for tag, _ in declared]
    name = local_name(child)
    if child.tag not in tags:
        locals_ = [local for _, local in declared]
        if name in locals_:
            namespace, _ = split_name(tags[locals_.index(name)])
            given, _ = split_name(str(child.tag))
            found = f"{name} in the namespace {given}" if given else f"{name} without namespace"
            remedy = "it belongs to" if given else 'remove xmlns="" from it, it belongs to'
            text = f"{name} is in the wrong namespace; {remedy} {namespace}."
            return child, problem(text, found=found, expected=f"{name} in the namespace {namespace}")
        owners = _owners(cast("XsdComponent", error.validator).maps).get(str(child.tag), ())
        return child, words.unknown_element(child, part, locals_, owners)
    before = [each.tag for each in child.itersiblings(preceding=True)]
    after = {each.tag for each in child.itersiblings()}
    missing = [
        each.local_name or "" for each in error.expected or () if each.name not in after and each.name not in before
    ]
    if missing and name not in missing:
        text = f"{_one_of(missing, 'One')} is missing; it must stand in {owner} before {name}."
        return child, problem(text, expected=names(missing))
    if child.tag in before and (error.particle.max_occurs or 0) <= before.count(child.tag):
        most = error.particle.max_occurs or 1
        often = "once" if most == 1 else f"{most} times"
        text = f"{name} stands too often in {owner}; it may stand there {often}."
        return child, problem(text, expected=f"{name} at most {often}")
    place = tags.index(child.tag)
    passed = [tag for tag in reversed(before) if tag in tags and tags.index(tag) > place]
    if passed:
        successor = declared[tags.index(passed[0])][1]
        text = f"{name} is out of order in {owner}: it must stand before {successor}."
        return child, problem(text, expected=f"{name} before {successor}")
    if wanted:
        text = f"{name} is out of order in {owner}: {names(wanted)} must stand before it."
        return child, problem(text, expected=f"{names(wanted)} before {name}")
    return child, problem(f"{name} is not allowed at this place in {owner}.")


def _one_of(listed: Sequence[str], one: str = "one") -> str:
    return f"{one} of {names(listed)}" if len(listed) > 1 else names(listed) or "an element"


@lru_cache(maxsize=8)
def _owners(maps: "XsdGlobals") -> Mapping[str, Sequence[str]]:
    """Return which elements hold a child of which `{namespace}local` name."""
    found: dict[str, dict[str, None]] = {}
    for component in maps.iter_components():
        content = getattr(getattr(component, "type", None), "content", None)
        iterate = getattr(content, "iter_elements", None)
        owner = getattr(component, "local_name", None)
        if iterate is None or not owner:
            continue
        for child in iterate():
            if child.name is not None:
                found.setdefault(child.name, {})[owner] = None
    return {name: list(owners) for name, owners in found.items()}
