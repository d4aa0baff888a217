"""Turn what the models refuse into sentences: what is wrong, what is allowed, which name was meant."""

from collections.abc import Iterator, Mapping
from functools import cache
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, Tag, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from gateway.config.document import Document, Finding, Path, Value, starts_with_any, value_at
from gateway.config.models import Settings
from gateway.config.suggest import did_you_mean

Location = tuple[str | int, ...]
"""A path as pydantic names it: with a step such as `<document>` where a kind of section was chosen."""
_NAME, _POSITION = "<name>", "[]"
"""Steps that stand for any name that the operator gives, and for any position of a list."""
_WANTED = {
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "string_type": "must be text, in quotes where it looks like something else",
    "path_type": "must be a path, written as text",
    "mapping_type": "must be a mapping: keys with values, indented below",
    "dict_type": "must be a mapping: keys with values, indented below",
    "model_type": "must be a mapping: keys with values, indented below",
    "tuple_type": "must be a list: entries below one another, each after '- '",
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be more than {gt}",
    "less_than_equal": "must be at most {le}",
    "enum": "must be {expected}",
    "literal_error": "must be {expected}",
}
"""By pydantic's type of error; the names in braces are its context."""

_WITHOUT_VALUE = {"too_short": "must have at least one entry"}
_LONGEST_SHOWN = 60


def explain(error: ValidationError, document: Document, section: type[BaseModel] = Settings) -> Iterator[Finding]:
    """Yield one finding for each error at a path that is not known to be wrong already.

    `section` is the model that refused the document.
    """
    for details in error.errors(include_url=False):
        path = path_of(details)
        if not starts_with_any(path, document.unusable):
            yield Finding(path=path, text=_sentence(details, path, document, section))


def path_of(details: ErrorDetails) -> Path:
    """Return the path in the file that an error of the models is about."""
    path: list[str | int] = []
    for step in details["loc"]:
        if step == "[key]":
            break
        if not _is_kind(step):
            path.append(step)
    return tuple(path)


def _sentence(details: ErrorDetails, path: Path, document: Document, root: type[BaseModel]) -> str:
    kind = details["type"]
    context: dict[str, Any] = details.get("ctx", {})
    if kind == "missing":
        return _missing(details, root)
    if kind == "extra_forbidden":
        return _unknown_key(details, root)
    if kind == "value_error":
        return str(context["error"])
    if kind == "choice":
        return _choice(path, document, context["key"], context["known"])
    if kind in _WITHOUT_VALUE:
        return _WITHOUT_VALUE[kind]
    wanted = _WANTED[kind].format_map(context) if kind in _WANTED else details["msg"]
    if path in document.substituted:
        return f"{wanted}; the value comes from ${{…}}"
    found = value_at(document.value, path)
    hint = did_you_mean(found, _choices(context)) if isinstance(found, str) else ""
    return f"{wanted}, found {_shown(found)}{hint}"


def _choice(path: Path, document: Document, key: str, known: str) -> str:
    section = value_at(document.value, path)
    if not isinstance(section, dict):
        return f"{_WANTED['model_type']}, found {_shown(section)}"
    chosen = section.get(key)
    secret = (*path, key) in document.substituted
    hint = did_you_mean(chosen, known.split(" or ")) if isinstance(chosen, str) and not secret else ""
    return f"needs a {key}: {known}{hint}"


def _choices(context: dict[str, Any]) -> list[str]:
    """Return the allowed values out of a text such as "'a', 'b' or 'c'"."""
    return str(context.get("expected", "")).split("'")[1::2]


def _shown(value: Value) -> str:
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case str():
            return ascii(value if len(value) <= _LONGEST_SHOWN else value[:_LONGEST_SHOWN] + "…")
        case dict():
            return "a mapping"
        case list():
            return "a list"
    return str(value)


def _missing(details: ErrorDetails, root: type[BaseModel]) -> str:
    section = _section_at(details["loc"][:-1], root)
    field = fields(section).get(str(details["loc"][-1])) if section else None
    return f"is missing. {field.description}" if field and field.description else "is missing"


def _unknown_key(details: ErrorDetails, root: type[BaseModel]) -> str:
    """Say what was meant. A section that is neither inside nor around this one may use the name for something else."""
    location = details["loc"][:-1]
    section = _section_at(location, root)
    known = list(fields(section)) if section else []
    name = str(details["loc"][-1])
    if hint := did_you_mean(name, known):
        return f"unknown key{hint}"
    elsewhere = _places(name) if root is Settings else []
    if near := [place for place in elsewhere if _in_line(place, location)]:
        return f"unknown key; it belongs in {near[0]}"
    also = f"; {name} is an option of {elsewhere[0]}" if elsewhere else ""
    return f"unknown key; known are {', '.join(known)}{also}"


def _in_line(place: str, location: tuple[str | int, ...]) -> bool:
    """Tell whether a section such as `ports.<name>.receive` lies inside or around the one at *location*."""
    here = [str(step) for step in location if not _is_kind(step)]
    return all(there in (step, "<name>") for there, step in zip(place.split("."), here, strict=False))


def _is_kind(step: str | int) -> bool:
    """Return whether a step names no key but the chosen kind of a service or a port."""
    return step in _kinds()


@cache
def _kinds() -> frozenset[str]:
    steps = (step for place, _ in _sections(Settings, ()) for step in place)
    return frozenset(step for step in steps if step.startswith("<") and step != _NAME)


def fields(section: type[BaseModel]) -> dict[str, FieldInfo]:
    """Return the options of a section by the key they have in the file."""
    return {field.alias or name: field for name, field in section.model_fields.items()}


def _section_at(location: Location, root: type[BaseModel]) -> type[BaseModel] | None:
    """Return the section that stands at *location* below *root*, None when something else does."""
    for place, section in _sections(root, ()):
        if len(place) == len(location) and all(
            there in (step, _NAME, _POSITION) for there, step in zip(place, location, strict=True)
        ):
            return section
    return None


def _places(key: str) -> list[str]:
    """Return every section that knows *key*, such as `ports.<name>.receive`."""
    shown = {
        ".".join(step for step in place if step != _POSITION and not _is_kind(step)) or "the top level"
        for place, section in _sections(Settings, ())
        if key in fields(section)
    }
    return sorted(shown)


def _sections(annotation: Any, place: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], type[BaseModel]]]:
    """Yield the sections that a value of this type holds, each with its place as pydantic names it."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield place, annotation
        for key, field in fields(annotation).items():
            yield from _sections(field.annotation, (*place, key))
    elif origin is Annotated:
        kinds = tuple(str(one.tag) for one in arguments[1:] if isinstance(one, Tag))
        yield from _sections(arguments[0], (*place, *kinds))
    elif origin in {Union, UnionType}:
        for argument in arguments:
            yield from _sections(argument, place)
    elif origin is tuple:
        yield from _sections(arguments[0], (*place, _POSITION))
    elif isinstance(origin, type) and issubclass(origin, Mapping):
        yield from _sections(arguments[1], (*place, _NAME))
