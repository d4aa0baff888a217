"""What a type of a schema allows, in words for the partner: its values, its form, its length, its bounds."""

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from gateway.xml.schema_files import XSD

if TYPE_CHECKING:
    from xmlschema import XMLSchemaBase
    from xmlschema.validators import XMLSchemaValidationError

MAX_NAMES = 12

_NAME_FORM = "a name: a letter or _ first, then letters, digits, dots, - and _"
_BUILTIN = {
    "decimal": "a decimal number such as 12.50, with a point and without thousands separators",
    "integer": "a whole number such as 12",
    "positiveInteger": "a whole number from 1",
    "nonNegativeInteger": "a whole number from 0",
    "negativeInteger": "a whole number up to -1",
    "nonPositiveInteger": "a whole number up to 0",
    "double": "a number such as 12.5 or 1.25E1",
    "float": "a number such as 12.5 or 1.25E1",
    "date": "a date such as 2011-05-31 that exists in the calendar",
    "dateTime": "a date and time such as 2011-05-31T12:00:00Z",
    "time": "a time of day such as 13:20:00",
    "duration": "a duration such as P1DT12H",
    "gYear": "a year such as 2011",
    "gYearMonth": "a month such as 2011-05",
    "gMonthDay": "a day of the year such as --05-31",
    "gMonth": "a month such as --05",
    "gDay": "a day of the month such as ---31",
    "boolean": "true or false",
    "base64Binary": "Base64",
    "hexBinary": "hexadecimal digits, two for each byte",
    "language": "a language tag such as en-us",
    "anyURI": "an address (URI) such as http://www.example.com/a",
    "NMTOKEN": "one word of letters, digits, dots, colons, - and _",
    "NMTOKENS": "words of letters, digits, dots, colons, - and _",
    "Name": _NAME_FORM,
    "NCName": _NAME_FORM,
    "ID": _NAME_FORM,
    "IDREF": _NAME_FORM,
    "QName": "the name of something with the prefix of its namespace",
}
_BITS = {"byte": 8, "short": 16, "int": 32, "long": 64}
for _name, _bits in _BITS.items():
    _BUILTIN[_name] = f"a whole number from {-(2 ** (_bits - 1))} to {2 ** (_bits - 1) - 1}"
    _BUILTIN[f"unsigned{_name.capitalize()}"] = f"a whole number from 0 to {2**_bits - 1}"

BOUNDS = ("minInclusive", "maxInclusive", "minExclusive", "maxExclusive")
_FACETS = {
    "maxLength": ("at most {} {} long", "character"),
    "minLength": ("at least {} {} long", "character"),
    "length": ("exactly {} {} long", "character"),
    "totalDigits": ("a number with at most {} {}", "digit"),
    "fractionDigits": ("a number with at most {} {} after the point", "digit"),
    "minInclusive": ("at least {}", ""),
    "maxInclusive": ("at most {}", ""),
    "minExclusive": ("more than {}", ""),
    "maxExclusive": ("less than {}", ""),
}
_RANGE = re.compile(r"value must be (-?\d+(?:\^\d+)?) <= x < (-?\d+(?:\^\d+)?)")
_SIGNS = {
    "value must be negative": "negativeInteger",
    "value must be positive": "positiveInteger",
    "value must be non positive": "nonPositiveInteger",
    "value must be non negative": "nonNegativeInteger",
    "not an hexadecimal number": "hexBinary",
    "not a base64 encoding": "base64Binary",
    "value is not an xs:QName": "QName",
}
_NOT_VALID = re.compile(r"value is not a valid xs:(\w+)")

_SAMPLES = (
    ("a time of day such as", "13:20:00"),
    ("a GUID in braces such as", "{722B196B-4ACB-4048-8ED3-36915A7DD269}"),
    ("a GUID such as", "722B196B-4ACB-4048-8ED3-36915A7DD269"),
    ("a duration such as", "P1DT12H"),
    ("a date such as", "2011-05-31"),
)
_OF_NO_FORM = ("A", "1", "x1", "1-1", "0" * 36)
"""A pattern that takes one of these says too little to be called by a sample."""
_ATOM = re.compile(
    r"(?:\[(?P<class>[^\]\[^\\]+)\]|(?P<digit>\\d)|\\(?P<escaped>[^A-Za-z0-9])|(?P<plain>[^\\()\[\]{}|?*+.^$]))"
    r"(?:\{(?P<low>\d+)(?P<more>,(?P<high>\d*))?\}|(?P<often>[?*+]))?"
)
_CLASSES = {
    frozenset({"A-Z"}): "capital letter",
    frozenset({"a-z"}): "small letter",
    frozenset({"A-Z", "a-z"}): "letter",
    frozenset({"0-9"}): "digit",
    frozenset({"A-Z", "0-9"}): "capital letter or digit",
    frozenset({"a-z", "0-9"}): "small letter or digit",
    frozenset({"A-Z", "a-z", "0-9"}): "letter or digit",
    frozenset({"A-F", "0-9"}): "hexadecimal digit",
    frozenset({"A-F", "a-f", "0-9"}): "hexadecimal digit",
}


def names(listed: Iterable[str]) -> str:
    """Return names in a row, twelve at most."""
    known = list(listed)
    text = ", ".join(known[:MAX_NAMES])
    return f"{text} …" if len(known) > MAX_NAMES else text


def facet_of(validator: object) -> str:
    """Return the local name of the facet that failed, empty for anything else."""
    name = getattr(getattr(validator, "elem", None), "tag", "")
    return name.removeprefix(XSD) if isinstance(name, str) else ""


def allowed_by(error: "XMLSchemaValidationError") -> str | None:
    """Say what the type allows that *error* is about, None when it cannot be said."""
    return _allowed(error.validator) or _by_reason(error.reason or "")


def choices_of(validator: object) -> Sequence[str]:
    """Return the values of an enumeration, nothing for any other facet."""
    if type(validator).__name__ != "XsdEnumerationFacets":
        return ()
    return [str(value) for value in getattr(validator, "enumeration", ())]


def one_of(values: Sequence[str]) -> str:
    """Say that one of these values is allowed."""
    return f"one of: {names(values)}" if len(values) > 1 else names(values)


def of_type(name: str, schema: "XMLSchemaBase") -> str | None:
    """Say in words what a simple type allows at least, by its `{namespace}local` or `xs:local` name."""
    base = schema.maps.types.get(name.replace("xs:", XSD, 1) if name.startswith("xs:") else name)
    while base is not None:
        known = _BUILTIN.get(base.local_name or "") if _is_builtin(base) else None
        if known is not None:
            return known
        base = getattr(base, "base_type", None)
    return None


def of_facet(facet: str, value: object) -> str | None:
    """Say what one facet allows."""
    if facet not in _FACETS:
        return None
    said, unit = _FACETS[facet]
    return said.format(value, unit if str(value) == "1" else f"{unit}s")


def form(patterns: Sequence[str], compiled: Sequence["re.Pattern[str]"] = ()) -> str:
    """Say which form patterns ask for: by its name with a sample, character by character, or as they stand."""
    for name, sample in _SAMPLES:
        if _takes(compiled, sample) and not any(_takes(compiled, each) for each in _OF_NO_FORM):
            return f"{name} {sample}"
    spelt = [_spelt_out(each) for each in patterns]
    return f"in the form {' or '.join(said or each for said, each in zip(spelt, patterns, strict=True))}"


def _allowed(validator: object) -> str | None:
    kind = type(validator).__name__
    if kind == "XsdAtomicBuiltin":
        local = getattr(validator, "local_name", None) or ""
        return _BUILTIN.get(local) or f"a value of the type {local}"
    if kind == "XsdUnion":
        return " or ".join(filter(None, (_allowed(each) for each in getattr(validator, "member_types", ())))) or None
    if kind == "XsdAtomicRestriction":
        return _allowed(getattr(validator, "primitive_type", None))
    if choices := choices_of(validator):
        return one_of(choices)
    if kind == "XsdPatternFacets":
        if _is_builtin(validator):
            return _allowed(getattr(validator, "parent", None) or getattr(validator, "base_type", None))
        return form([str(each) for each in getattr(validator, "regexps", ())], getattr(validator, "patterns", ()))
    return of_facet(facet_of(validator), getattr(validator, "value", None))


def _by_reason(reason: str) -> str | None:
    """Name what a check of a built-in type wanted; it says so only in its reason."""
    bounds = _RANGE.search(reason)
    if bounds is not None:
        return f"a whole number from {_number(bounds[1])} to {_number(bounds[2]) - 1}"
    known = _NOT_VALID.search(reason)
    if known is not None:
        return _BUILTIN.get(known[1]) or f"a value of the type {known[1]}"
    return next((_BUILTIN[name] for sign, name in _SIGNS.items() if sign in reason), None)


def _number(text: str) -> int:
    """Return a number that may be written as a power, as -2^63."""
    base, _, exponent = text.removeprefix("-").partition("^")
    value: int = int(base) ** int(exponent or 1)
    return -value if text.startswith("-") else value


def _is_builtin(component: object) -> bool:
    """Tell whether a type or facet is of XML Schema itself."""
    return getattr(getattr(component, "schema", None), "target_namespace", None) == XSD[1:-1]


def _takes(compiled: Sequence["re.Pattern[str]"], value: str) -> bool:
    return any(pattern.match(value) is not None for pattern in compiled)


def _spelt_out(pattern: str) -> str | None:
    """Say a simple pattern character by character, None when it is not simple."""
    parts: list[str] = []
    place, literal = 0, ""
    while place < len(pattern):
        atom = _ATOM.match(pattern, place)
        if atom is None:
            return None
        place = atom.end()
        fixed = atom["escaped"] or atom["plain"]
        if fixed and not atom["low"] and not atom["often"]:
            literal += fixed
            continue
        if literal:
            parts.append(f'"{literal}"')
            literal = ""
        kind = f'"{fixed}"' if fixed else "digit" if atom["digit"] else _class(atom["class"])
        if kind is None:
            return None
        parts.append(_counted(kind, atom))
    if literal:
        parts.append(f'"{literal}"')
    return ", ".join(parts) or None


def _class(content: str) -> str | None:
    ranges = [content[place : place + 3] for place in range(0, len(content), 3)]
    return _CLASSES.get(frozenset(ranges))


def _counted(kind: str, atom: "re.Match[str]") -> str:
    many = kind if kind.startswith('"') else " or ".join(f"{each}s" for each in kind.split(" or "))
    if atom["often"]:
        return {"?": f"perhaps one {kind}", "*": f"any number of {many}", "+": f"one or more {many}"}[atom["often"]]
    if atom["low"] is None:
        return f"1 {kind}"
    low = atom["low"]
    if atom["more"]:
        return f"{low} to {atom['high']} {many}" if atom["high"] else f"{low} or more {many}"
    return f"1 {kind}" if low == "1" else f"{low} {many}"
