"""Says what is wrong with an element or a value, in words for the partner who must mend it.

The validators' own words never reach him: they name their classes and functions and change between releases. What
they know is said here in ours (`xmlschema_errors`, `libxml2_errors`); for the rest there is one plain sentence. Where
the element stands is told later: paths cost a count of siblings, and few problems are told in the end.
"""

from collections.abc import Sequence

from lxml import etree

from gateway.kernel.problem import Problem
from gateway.kernel.text import clean
from gateway.xml.allowed import MAX_NAMES, names, one_of
from gateway.xml.names import MAX_TEXT, XSI_TYPE, likely_names, local_name, meant

SCHEMA = "schema"
RANGE = "value.range"
NOT_NILLABLE = "{} must have a value; xsi:nil is not allowed on it."
NIL_AND_VALUE = '{} has xsi:nil="true" and a value; leave one of the two.'


def problem(text: str, *, code: str = SCHEMA, found: str | None = None, expected: str | None = None) -> Problem:
    """Return a problem without a path; *text* without an end gets its full stop."""
    return Problem(
        code=code,
        text=clean(text if text.endswith((".", "?")) else f"{text}.", 1000),
        found=None if found is None else clean(found, MAX_TEXT),
        expected=expected,
    )


def of_value(element: etree._Element, allowed: str | None, code: str = SCHEMA, choices: Sequence[str] = ()) -> Problem:
    """Return the problem of an element whose value is not *allowed*; *choices* are the values of an enumeration."""
    return _of_value(local_name(element), clean(element.text or "", MAX_TEXT), allowed, code, choices)


def of_attribute_value(
    element: etree._Element, name: str, found: str, allowed: str | None, choices: Sequence[str] = ()
) -> Problem:
    """Return the problem of an attribute whose value is not *allowed*."""
    return _of_value(f"The attribute {name} of {local_name(element)}", found, allowed, SCHEMA, choices)


def beyond_range(element: etree._Element) -> Problem:
    """Return the problem of a date that XML Schema allows and no calendar here can hold."""
    return of_value(element, "a year from 0001 to 9999", RANGE)


def stray_text(element: etree._Element) -> Problem:
    """Return the problem of an element that holds text and may not."""
    texts = (element.text, *(child.tail for child in element))
    found = " ".join(text.strip() for text in texts if text and text.strip())
    return problem(f"Text stands directly in {local_name(element)}, which may hold none; remove it.", found=found)


def holds_elements(element: etree._Element) -> Problem:
    """Return the problem of an element that holds others and may hold only a value."""
    inside = names(dict.fromkeys(local_name(child) for child in element.iterchildren("*")))
    text = f"{local_name(element)} holds elements ({inside}); it may hold only a value."
    return problem(text, found=inside, expected="a value without elements")


def unknown_attribute(element: etree._Element, name: str, known: Sequence[str] = ()) -> Problem:
    """Return the problem of an attribute that an element does not have; *known* are those it has."""
    text = f"{name} is not an attribute of {local_name(element)}{meant(name, known) or '; remove it'}"
    return problem(text, expected=names(known) or None)


def missing_attribute(element: etree._Element, name: str, value: str | None = None) -> Problem:
    """Return the problem of an attribute that is not there; *value* is what it always has."""
    text = f"The attribute {name} is missing on {local_name(element)}"
    if value is None:
        return problem(text, expected=name)
    written = f'{name}="{value}"'
    return problem(f"{text}; write {written}", expected=written)


def wrong_type(element: etree._Element) -> Problem:
    """Return the problem of an xsi:type that names no type, or none for its element."""
    text = f"xsi:type on {local_name(element)} names no type that its schema allows there; correct or remove it."
    return problem(text, found=element.get(XSI_TYPE))


def unknown_element(
    element: etree._Element, part: etree._Element, known: Sequence[str], owners: Sequence[str] = ()
) -> Problem:
    """Return the problem of an element that its parent does not have, in the document *part*.

    Shape: *known* are the names the parent has; *owners* the elements that have one of this name.
    """
    parent = element.getparent()
    assert parent is not None
    name, owner = local_name(element), local_name(parent)
    if name not in known and _stands_inside_namesake(element, part):
        text = f"{name} stands inside another {name}; close that one before this one begins."
        return problem(text, expected=f"</{name}> before <{name}>")
    likely = likely_names(name, known)
    if owners and (not likely or likely[0].casefold() != name.casefold()):
        place = " or ".join(owners[:3])
        return problem(f"{name} is not an element of {owner}; it belongs in {place}.", expected=f"{name} in {place}")
    hint = meant(name, known)
    if not hint and known and len(known) <= MAX_NAMES:
        hint = f", which has {names(known)}"
    return problem(f"{name} is not an element of {owner}{hint}", expected=names(likely or known) or None)


def _of_value(holder: str, found: str, allowed: str | None, code: str, choices: Sequence[str]) -> Problem:
    """Say what is wrong and what to write instead."""
    hint = meant(found, choices)
    if hint.endswith("?"):
        hint = f"{hint} It must be {one_of(choices)}."
    instead = hint or (f"; it must be {allowed}." if allowed else ".")
    value = f'the value "{found}"' if found else "an empty value"
    return problem(f"{holder} has {value}, which is not allowed{instead}", code=code, found=found, expected=allowed)


def _stands_inside_namesake(element: etree._Element, part: etree._Element) -> bool:
    name = local_name(element)
    while element is not part and (parent := element.getparent()) is not None:
        if local_name(parent) == name:
            return True
        element = parent
    return False
