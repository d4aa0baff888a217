"""Says what a schema expects and what a document did instead, in words for the partner who must mend it.

The validators' own words never reach him: they name their classes and functions and change between releases. What
is known is said in our words; for the rest there is one plain sentence.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, cast

from lxml import etree

from gateway.kernel.namespaces import XSI
from gateway.kernel.problem import Problem
from gateway.kernel.text import clean
from gateway.xml.allowed import BOUNDS, MAX_NAMES, allowed_by, choices_of, facet_of, names, one_of
from gateway.xml.likely import likely_names, meant
from gateway.xml.paths import local_name, names_of

if TYPE_CHECKING:
    from xmlschema.validators import XMLSchemaChildrenValidationError, XMLSchemaValidationError, XsdComponent
    from xmlschema.validators.xsd_globals import XsdGlobals

SCHEMA = "schema"
RANGE = "value.range"
MAX_FOUND = 200

_XSI_TYPE = f"{{{XSI}}}type"
_NAMESPACE = re.compile(r"\{[^}]*\}")
_ATTRIBUTE_VALUE = re.compile(r"attribute (\S+?)='(.*?)': ", re.DOTALL)
_ATTRIBUTE = re.compile(r"attribute '([^']+)'|'([^']+)' attribute")
_FIXED = re.compile(r"fixed value '(.*)'", re.DOTALL)
_REPEATED = re.compile(r"duplicated (?:value \((.*?),?\) for|xs:ID value '(.*)')", re.DOTALL)


def of_error(error: "XMLSchemaValidationError", part: etree._Element) -> tuple[etree._Element, Problem]:
    """Return what an error of xmlschema is about, and the same as a problem."""
    from xmlschema.validators import XMLSchemaChildrenValidationError  # noqa: PLC0415  # only failures pay

    element = part if error.elem is None else cast("etree._Element", error.elem)
    if isinstance(error, XMLSchemaChildrenValidationError):
        return _of_children(error, element, part)
    reason = _NAMESPACE.sub("", error.reason or "")
    kind = type(error.validator).__name__
    attribute = _ATTRIBUTE_VALUE.match(reason)
    repeated = _REPEATED.search(reason)
    if repeated is not None:
        value = (repeated[1] or repeated[2] or "").strip("'\"")
        where = local_name(element) if attribute is None else f"the attribute {attribute[1]} of {local_name(element)}"
        return element, problem(
            element, part, f'The value "{value}" of {where} stands more than once; it may stand only once.', found=value
        )
    if attribute is not None:
        allowed = allowed_by(error)
        return element, of_attribute_value(
            element, part, attribute[1], attribute[2], allowed, choices_of(error.validator)
        )
    if kind.startswith(("XsdAttribute", "XsdAnyAttribute", "Xsd11AnyAttribute")):
        return element, _of_attribute(reason, error.validator, element, part)
    if "cannot substitute" in reason or "blocked" in reason:
        return _wrong_type(element, part)
    if "character data" in reason:
        return element, stray_text(element, part)
    text = _of_reason(reason, element)
    if text is not None:
        return element, problem(element, part, text)
    if len(element):
        return element, holds_elements(element, part)
    code = RANGE if facet_of(error.validator) in BOUNDS else SCHEMA
    return element, of_value(element, part, allowed_by(error), code, choices_of(error.validator))


def beyond_range(element: etree._Element, part: etree._Element) -> Problem:
    """Return the problem of a date that XML Schema allows and no calendar here can hold."""
    return of_value(element, part, "a year from 0001 to 9999", RANGE)


def of_value(
    element: etree._Element,
    part: etree._Element,
    allowed: str | None,
    code: str = SCHEMA,
    choices: Sequence[str] = (),
) -> Problem:
    """Return the problem of an element whose value is not *allowed*; *choices* are the values of an enumeration."""
    found = clean(element.text or "", MAX_FOUND)
    text = f"{local_name(element)} has {_value(found)}, which is not allowed{_instead(found, allowed, choices)}"
    return problem(element, part, text, code=code, found=found, expected=allowed)


def of_attribute_value(
    element: etree._Element,
    part: etree._Element,
    name: str,
    found: str,
    allowed: str | None,
    choices: Sequence[str] = (),
) -> Problem:
    """Return the problem of an attribute whose value is not *allowed*."""
    text = (
        f"The attribute {name} of {local_name(element)} has {_value(found)}, "
        f"which is not allowed{_instead(found, allowed, choices)}"
    )
    return problem(element, part, text, found=found, expected=allowed)


def stray_text(element: etree._Element, part: etree._Element) -> Problem:
    """Return the problem of an element that holds text and may not."""
    texts = (element.text, *(child.tail for child in element))
    found = " ".join(text.strip() for text in texts if text and text.strip())
    text = f"Text stands directly in {local_name(element)}, which may hold none; remove it."
    return problem(element, part, text, found=found)


def holds_elements(element: etree._Element, part: etree._Element) -> Problem:
    """Return the problem of an element that holds others and may hold only a value."""
    inside = names(dict.fromkeys(local_name(child) for child in element.iterchildren("*")))
    text = f"{local_name(element)} holds elements ({inside}); it may hold only a value."
    return problem(element, part, text, found=inside, expected="a value without elements")


def unknown_attribute(element: etree._Element, part: etree._Element, name: str, known: Sequence[str] = ()) -> Problem:
    """Return the problem of an attribute that an element does not have; *known* are those it has."""
    text = f"{name} is not an attribute of {local_name(element)}{meant(name, known) or '; remove it'}"
    return problem(element, part, text, expected=names(known) or None)


def missing_attribute(element: etree._Element, part: etree._Element, name: str, value: str | None = None) -> Problem:
    """Return the problem of an attribute that is not there; *value* is what it always has."""
    text, written = f"The attribute {name} is missing on {local_name(element)}", None
    if value is not None:
        written = f'{name}="{value}"'
        text += f"; write {written}"
    return problem(element, part, text, expected=written or name)


def unknown_element(
    element: etree._Element, part: etree._Element, known: Sequence[str], owners: Sequence[str] = ()
) -> Problem:
    """Return the problem of an element that its parent does not have.

    Shape: *known* are the names the parent has; *owners* the elements that have one of this name.
    """
    parent = element.getparent()
    assert parent is not None
    name, owner = local_name(element), local_name(parent)
    if element is not part and name not in known and any(local_name(each) == name for each in _outer(element, part)):
        text = f"{name} stands inside another {name}; close that one before this one begins."
        return problem(element, part, text, expected=f"</{name}> before <{name}>")
    likely = likely_names(name, known)
    if owners and (not likely or likely[0].casefold() != name.casefold()):
        place = " or ".join(owners[:3])
        return problem(
            element, part, f"{name} is not an element of {owner}; it belongs in {place}.", expected=f"{name} in {place}"
        )
    hint = meant(name, known)
    if not hint and known and len(known) <= MAX_NAMES:
        hint = f", which has {names(known)}"
    text = f"{name} is not an element of {owner}{hint}"
    return problem(element, part, text, expected=names(likely or known) or None)


def problem(
    element: etree._Element,
    part: etree._Element,
    text: str,
    *,
    code: str = SCHEMA,
    found: str | None = None,
    expected: str | None = None,
) -> Problem:
    """Return a problem of an element; *text* without an end gets its full stop.

    Its path from *part* is without numbers: those cost a count of siblings, and few problems are told in the end.
    """
    return Problem(
        code=code,
        text=clean(text if text.endswith((".", "?")) else f"{text}.", 1000),
        path=clean(names_of(element, part), 1000),
        found=None if found is None else clean(found, MAX_FOUND),
        expected=expected,
    )


def _value(found: str) -> str:
    return f'the value "{found}"' if found else "an empty value"


def _instead(found: str, allowed: str | None, choices: Sequence[str]) -> str:
    """Say what to write instead of a value."""
    hint = meant(found, choices)
    if hint.endswith("?"):
        return f"{hint} It must be {one_of(choices)}."
    return hint or (f"; it must be {allowed}." if allowed else ".")


def _outer(element: etree._Element, part: etree._Element) -> Iterator[etree._Element]:
    """Yield what stands around an element, within its document."""
    current = element.getparent()
    while current is not None:
        yield current
        current = None if current is part else current.getparent()


def _of_reason(reason: str, element: etree._Element) -> str | None:
    """Say in our words what xmlschema says of an element, None when it is about a value."""
    name = local_name(element)
    if reason == "element is not nillable":
        return f"{name} must have a value; xsi:nil is not allowed on it."
    if "xsi:nil='true' but" in reason:
        return f'{name} has xsi:nil="true" and a value; leave one of the two.'
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


def _of_attribute(reason: str, declared: object, element: etree._Element, part: etree._Element) -> Problem:
    known = {str(name).rpartition("}")[2]: each for name, each in _attributes(declared).items() if name}
    found = _ATTRIBUTE.search(reason)
    name = "" if found is None else (found[1] or found[2])
    if reason.startswith("missing required"):
        return missing_attribute(element, part, name, getattr(known.get(name), "fixed", None))
    fixed = _FIXED.search(reason)
    if fixed is not None:
        value = next((str(each) for key, each in element.items() if str(key).rpartition("}")[2] == name), "")
        return of_attribute_value(element, part, name, value, f'"{fixed[1]}"')
    if name:
        return unknown_attribute(element, part, name, list(known))
    return problem(element, part, f"{local_name(element)} has attributes that its schema does not allow.")


def _attributes(declared: object) -> Mapping[str | None, object]:
    return declared if isinstance(declared, Mapping) else {}


def _wrong_type(element: etree._Element, part: etree._Element) -> tuple[etree._Element, Problem]:
    """Return the problem of an xsi:type; xmlschema tells it of the parent as well."""
    typed = element if element.get(_XSI_TYPE) is not None else None
    if typed is None:
        typed = next((child for child in element.iterchildren("*") if child.get(_XSI_TYPE) is not None), element)
    return typed, wrong_type(typed, part)


def wrong_type(element: etree._Element, part: etree._Element) -> Problem:
    """Return the problem of an xsi:type that names no type, or none for its element."""
    found = element.get(_XSI_TYPE)
    text = f"xsi:type on {local_name(element)} names no type that its schema allows there; correct or remove it."
    return problem(element, part, text, found=found)


def _of_children(
    error: "XMLSchemaChildrenValidationError", parent: etree._Element, part: etree._Element
) -> tuple[etree._Element, Problem]:
    """Tell the four cases apart: missing, unknown, too often, out of order."""
    wanted = [local for each in error.expected or () if (local := each.local_name)]
    child = cast("etree._Element | None", error.invalid_child)  # what we handed in, an element of lxml
    owner = local_name(parent)
    if child is None:
        text = f"{owner} is not complete: {_one_of(wanted)} is missing."
        return parent, problem(parent, part, text, expected=names(wanted) or None)
    iterate = getattr(error.validator, "iter_elements", None)
    declared: list[tuple[str, str]] = [
        (each.name, each.local_name) for each in (iterate() if iterate else ()) if each.name is not None
    ]
    tags = [tag for tag, _ in declared]
    name = local_name(child)
    if child.tag not in tags:
        locals_ = [local for _, local in declared]
        if name in locals_:
            namespace = tags[locals_.index(name)][1:].rpartition("}")[0]
            given = str(child.tag)[1:].rpartition("}")[0]
            found = f"{name} in the namespace {given}" if given else f"{name} without namespace"
            remedy = "it belongs to" if given else 'remove xmlns="" from it, it belongs to'
            text = f"{name} is in the wrong namespace; {remedy} {namespace}."
            return child, problem(child, part, text, found=found, expected=f"{name} in the namespace {namespace}")
        owners = _owners(cast("XsdComponent", error.validator).maps).get(str(child.tag), ())
        return child, unknown_element(child, part, locals_, owners)
    before = [each.tag for each in child.itersiblings(preceding=True)]
    after = {each.tag for each in child.itersiblings()}
    missing = [
        each.local_name or "" for each in error.expected or () if each.name not in after and each.name not in before
    ]
    if missing and name not in missing:
        text = f"{_one_of(missing, 'One')} is missing; it must stand in {owner} before {name}."
        return child, problem(child, part, text, expected=names(missing))
    if child.tag in before and (error.particle.max_occurs or 0) <= before.count(child.tag):
        most = error.particle.max_occurs or 1
        often = "once" if most == 1 else f"{most} times"
        text = f"{name} stands too often in {owner}; it may stand there {often}."
        return child, problem(child, part, text, expected=f"{name} at most {often}")
    place = tags.index(child.tag)
    passed = [tag for tag in reversed(before) if tag in tags and tags.index(tag) > place]
    if passed:
        successor = declared[tags.index(passed[0])][1]
        text = f"{name} is out of order in {owner}: it must stand before {successor}."
        return child, problem(child, part, text, expected=f"{name} before {successor}")
    if wanted:
        text = f"{name} is out of order in {owner}: {names(wanted)} must stand before it."
        return child, problem(child, part, text, expected=f"{names(wanted)} before {name}")
    return child, problem(child, part, f"{name} is not allowed at this place in {owner}.")


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
