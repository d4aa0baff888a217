"""Says what a schema expects and what a document did instead, in words for the partner who must mend it."""

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, cast

from lxml import etree

from gateway.domain.problem import Problem
from gateway.domain.text import clean
from gateway.xml.paths import local_name, path_of

if TYPE_CHECKING:
    from xmlschema import XMLSchemaBase
    from xmlschema.validators import XMLSchemaChildrenValidationError, XMLSchemaValidationError

SCHEMA = "schema"
RANGE = "value.range"
MAX_FOUND = 200
_MAX_NAMES = 12

_BUILTIN = {
    "decimal": "a decimal number such as 12.50, with a point and without thousands separators",
    "integer": "a whole number such as 12",
    "int": "a whole number from -2147483648 to 2147483647",
    "long": "a whole number from -9223372036854775808 to 9223372036854775807",
    "short": "a whole number from -32768 to 32767",
    "positiveInteger": "a whole number from 1",
    "nonNegativeInteger": "a whole number from 0",
    "double": "a number such as 12.5 or 1.25E1",
    "float": "a number such as 12.5 or 1.25E1",
    "date": "a date such as 2011-05-31 that exists in the calendar",
    "dateTime": "a date and time such as 2011-05-31T12:00:00Z",
    "time": "a time of day such as 13:20:00",
    "duration": "a duration such as P1DT12H",
    "boolean": "true or false",
    "base64Binary": "Base64",
    "hexBinary": "hexadecimal digits",
    "language": "a language tag such as en-us",
}
_BOUNDS = {
    "minInclusive": "not less than",
    "maxInclusive": "not more than",
    "minExclusive": "more than",
    "maxExclusive": "less than",
}
_NAME = re.compile(r"\{[^}]*\}")
_XSD = "{http://www.w3.org/2001/XMLSchema}"
_NOT_VALID = re.compile(r"value is not a valid xs:(\w+)")
_NOT_NILLABLE = "element is not nillable"
_LIBXML2_TYPE = re.compile(r" is not a valid value of the (?:local )?(?:atomic|union|list) type '([^']+)'")
_LIBXML2_VALUE = re.compile(r"\[facet '\w+'\] ")


def of_error(error: "XMLSchemaValidationError", part: etree._Element) -> tuple[etree._Element, Problem]:
    """Return what an error of xmlschema is about, and the same as a problem with its path from *part*."""
    from xmlschema.validators import XMLSchemaChildrenValidationError  # noqa: PLC0415  # only failures pay

    element = part if error.elem is None else cast("etree._Element", error.elem)
    if isinstance(error, XMLSchemaChildrenValidationError):
        return _of_children(error, element, part)
    kind = type(error.validator).__name__
    name = local_name(element)
    if kind in ("XsdAttributeGroup", "XsdAttribute") or (error.reason or "").startswith("attribute "):
        reason = _plain(error.reason or "wrong attribute")
        expected = 'class="entity"' if "'class'" in reason else _expected(error.validator)
        return element, _problem(element, part, f"{name}: {reason}.", expected=expected)
    if error.reason == _NOT_NILLABLE:
        return element, _problem(element, part, f"{name} must have a value; xsi:nil is not allowed on it.")
    if kind == "XsdElement" or len(element):
        return element, _problem(element, part, f"{name}: {_plain(error.reason or 'not allowed here')}.")
    expected = _expected(error.validator) or _from_value(error)
    code = RANGE if _facet(error.validator) in _BOUNDS else SCHEMA
    return element, _value(element, part, expected, code)


def of_libxml2(
    message: str, element: etree._Element, part: etree._Element, schema: "XMLSchemaBase | None" = None
) -> Problem:
    """Return an error of libxml2 as a problem: its own words, without namespaces, and the value found.

    *schema* tells what the type that libxml2 names allows.
    """
    named = _LIBXML2_TYPE.search(message)
    if named is not None and schema is not None:
        return _value(element, part, _of_type(named[1], schema), SCHEMA)
    text = _LIBXML2_VALUE.sub("", _NAME.sub("", message)).strip()
    found = None if len(element) else _found(element)
    expected = None
    about, mark, rest = text.partition("Expected is ")
    if mark:
        text, expected = about.strip(), rest.removeprefix("one of ").strip(" .()")
    return _problem(element, part, text, found=found, expected=expected)


def beyond_range(element: etree._Element, part: etree._Element) -> Problem:
    """Return the problem of a date that XML Schema allows and no calendar here can hold."""
    return _value(element, part, "a year from 0001 to 9999", RANGE)


def _of_children(
    error: "XMLSchemaChildrenValidationError", parent: etree._Element, part: etree._Element
) -> tuple[etree._Element, Problem]:
    """Tell the four cases apart: missing, unknown, too often, out of order."""
    wanted = [local for each in error.expected or () if (local := each.local_name)]
    child = cast("etree._Element | None", error.invalid_child)  # what we handed in, an element of lxml
    owner = local_name(parent)
    if child is None:
        text = f"{owner} is not complete: {_names(wanted) or 'an element'} is missing."
        return parent, _problem(parent, part, text, expected=_names(wanted))
    iterate = getattr(error.validator, "iter_elements", None)
    declared: list[tuple[str, str]] = [
        (each.name, each.local_name) for each in (iterate() if iterate else ()) if each.name is not None
    ]
    tags = [tag for tag, _ in declared]
    name = local_name(child)
    if child.tag not in tags:
        locals_ = [local for _, local in declared]
        if name in locals_:
            namespace = tags[locals_.index(name)][1:].partition("}")[0]
            text = f"{name} is in the wrong namespace; it belongs to {namespace}."
            return child, _problem(child, part, text, found=str(child.tag), expected=tags[locals_.index(name)])
        text = f"{name} is not an element of {owner}."
        return child, _problem(child, part, text, expected=_names(_likely(name, locals_)))
    before = [each.tag for each in child.itersiblings(preceding=True)]
    after = {each.tag for each in child.itersiblings()}
    missing = [
        each.local_name or "" for each in error.expected or () if each.name not in after and each.name not in before
    ]
    if missing and name not in missing:
        text = f"{_names(missing)} is missing; it must stand in {owner} before {name}."
        return child, _problem(child, part, text, expected=_names(missing))
    if child.tag in before and (error.particle.max_occurs or 0) <= before.count(child.tag):
        text = f"{name} stands too often in {owner}."
        return child, _problem(child, part, text, expected=f"{name} at most {error.particle.max_occurs or 1} times")
    place = tags.index(child.tag)
    passed = [tag for tag in reversed(before) if tag in tags and tags.index(tag) > place]
    if passed:
        successor = declared[tags.index(passed[0])][1]
        text = f"{name} is out of order in {owner}: it must stand before {successor}."
        return child, _problem(child, part, text, expected=f"{name} before {successor}")
    if wanted:
        text = f"{name} is out of order in {owner}: {_names(wanted)} must stand before it."
        return child, _problem(child, part, text, expected=f"{_names(wanted)} before {name}")
    return child, _problem(child, part, f"{name} is not allowed at this place in {owner}.")


def _value(element: etree._Element, part: etree._Element, expected: str | None, code: str) -> Problem:
    found = _found(element)
    name = local_name(element)
    what = f"the value {found}" if found else "an empty value"
    text = f"{name} has {what}, which is not allowed" + (f"; it must be {expected}." if expected else ".")
    return _problem(element, part, text, code=code, found=found, expected=expected)


def _problem(
    element: etree._Element,
    part: etree._Element,
    text: str,
    *,
    code: str = SCHEMA,
    found: str | None = None,
    expected: str | None = None,
) -> Problem:
    return Problem(
        code=code,
        text=clean(text, 1000),
        path=clean(path_of(element, part), 1000),
        found=None if found is None else clean(found, MAX_FOUND),
        expected=expected,
    )


def _found(element: etree._Element) -> str:
    return clean(element.text or "", MAX_FOUND)


def _plain(reason: str) -> str:
    """Return a reason of xmlschema without namespaces and its full stop."""
    return _NAME.sub("", reason).strip().rstrip(".")


def _names(names: Iterable[str]) -> str:
    listed = list(names)
    text = ", ".join(listed[:_MAX_NAMES])
    return f"{text} …" if len(listed) > _MAX_NAMES else text


def _likely(name: str, declared: Sequence[str]) -> Sequence[str]:
    """Return the names the partner may have meant, or all there are."""
    if len(declared) <= _MAX_NAMES:
        return declared
    return difflib.get_close_matches(name, declared, n=3, cutoff=0.7) or declared


def _facet(validator: object) -> str:
    """Return the local name of the facet that failed, empty for anything else."""
    name = getattr(getattr(validator, "elem", None), "tag", "")
    return name.removeprefix(_XSD) if isinstance(name, str) else ""


def _from_value(error: "XMLSchemaValidationError") -> str | None:
    """Name what a range check of a built-in type wanted; it says so only in its reason."""
    reason = error.reason or ""
    for exponent, name in (("2^63", "long"), ("2^31", "int"), ("2^15", "short")):
        if exponent in reason:
            return _BUILTIN[name]
    builtin = _NOT_VALID.match(reason)
    if builtin is not None:
        return _BUILTIN.get(builtin[1], f"a value of the type xs:{builtin[1]}")
    return _plain(reason) or None


def _expected(validator: object) -> str | None:
    """Say in words what a facet or a built-in type allows."""
    kind = type(validator).__name__
    if kind == "XsdAtomicBuiltin":
        local = getattr(validator, "local_name", None) or ""
        return _BUILTIN.get(local, f"a value of the type xs:{local}")
    if kind == "XsdUnion":
        return " or ".join(filter(None, (_expected(each) for each in getattr(validator, "member_types", ())))) or None
    if kind == "XsdEnumerationFacets":
        values = [str(value) for value in getattr(validator, "enumeration", ())]
        return f"one of: {_names(values)}" if len(values) > 1 else _names(values)
    if kind == "XsdPatternFacets":
        patterns = [str(each) for each in getattr(validator, "regexps", ())]
        return f"in the form {' or '.join(patterns)}"
    value = getattr(validator, "value", None)
    return _of_facet(_facet(validator), value)


def _of_type(name: str, schema: "XMLSchemaBase") -> str | None:
    """Say in words what a simple type allows at least, by its `{namespace}local` or `xs:local` name."""
    declared = schema.maps.types.get(name.replace("xs:", _XSD, 1) if name.startswith("xs:") else name)
    for each in (declared, getattr(declared, "root_type", None)):
        local = getattr(each, "local_name", None)
        if local in _BUILTIN:
            return _BUILTIN[local]
    return None


def _of_facet(facet: str, value: object) -> str | None:
    match facet:
        case "maxLength":
            return f"at most {value} characters long"
        case "minLength":
            return f"at least {value} characters long"
        case "length":
            return f"exactly {value} characters long"
        case "totalDigits":
            return f"a number with at most {value} digits"
        case "fractionDigits":
            return f"a number with at most {value} digits after the point"
        case _ if facet in _BOUNDS:
            return f"{_BOUNDS[facet]} {value}"
    return None
