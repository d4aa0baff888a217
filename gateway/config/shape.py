"""Which keys the configuration knows, and where."""

from collections.abc import Iterator, Mapping
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from gateway.config.models import Settings
from gateway.config.models_ports import DIRECTIONS
from gateway.config.models_services import SERVICE_KINDS

Location = tuple[str | int, ...]
"""A path as pydantic names it: with a step such as `<document>` where a kind of section was chosen."""
_KINDS: Mapping[str, type[BaseModel]] = {**SERVICE_KINDS, **DIRECTIONS}


def is_kind(step: str | int) -> bool:
    """Return whether a step names no key but the chosen kind of a service or a port."""
    return isinstance(step, str) and step.startswith("<") and step.strip("<>") in _KINDS


def fields(section: type[BaseModel]) -> dict[str, FieldInfo]:
    """Return the options of a section by the key they have in the file."""
    return {field.alias or name: field for name, field in section.model_fields.items()}


def section_at(location: Location, root: type[BaseModel] = Settings) -> type[BaseModel] | None:
    """Return the section that stands at *location* below *root*, None when something else does."""
    annotation: Any = root
    for step in location:
        annotation = _below(_plain(annotation, step), step)
    annotation = _plain(annotation, "")
    return annotation if _is_section(annotation) else None


def places(key: str) -> list[str]:
    """Return every section that knows *key*, such as `ports.<name>.receive`."""
    return sorted(where or "the top level" for known, where in _all_keys(Settings, "") if known == key)


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _plain(annotation: Any, step: str | int) -> Any:
    """Take wrappers off an annotation: Annotated, and unions that are optional or tell kinds apart."""
    while True:
        origin = get_origin(annotation)
        if origin in {Union, UnionType}:
            if is_kind(step):
                return _KINDS[str(step).strip("<>")]
            annotation = get_args(annotation)[0]
        elif origin is Annotated:
            annotation = get_args(annotation)[0]
        else:
            return annotation


def _below(annotation: Any, step: str | int) -> Any:
    if is_kind(step):
        return annotation
    if _is_section(annotation):
        field = fields(annotation).get(str(step))
        return field.annotation if field else None
    arguments = get_args(annotation)
    if not arguments:
        return None
    return arguments[0] if get_origin(annotation) is tuple else arguments[-1]


def _all_keys(section: type[BaseModel], where: str) -> Iterator[tuple[str, str]]:
    for key, field in fields(section).items():
        yield key, where
        for child, names in _sections(field.annotation):
            yield from _all_keys(child, f"{where}.{key}{names}".removeprefix("."))


def _sections(annotation: Any) -> Iterator[tuple[type[BaseModel], str]]:
    """Yield the sections an option holds, with `.<name>` where they are named by the operator."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if _is_section(annotation):
        yield annotation, ""
    elif origin is Annotated:
        yield from _sections(arguments[0])
    elif origin in {Union, UnionType}:
        for argument in arguments:
            yield from _sections(argument)
    elif origin is tuple:
        yield from _sections(arguments[0])
    elif isinstance(origin, type) and issubclass(origin, Mapping):
        yield from ((section, f".<name>{names}") for section, names in _sections(arguments[1]))
