"""docs/configuration.md describes every option, and no other."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from gateway.config.models import Settings

DOCUMENT = Path(__file__).parents[2] / "docs" / "configuration.md"
_OPTION = re.compile(r"^\| `([a-z_.<>]+)` \|", re.MULTILINE)


def options(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield the path of every option that holds a value, such as `ports.<name>.receive.folder`."""
    for name, field in model.model_fields.items():
        path = f"{prefix}{field.alias or name}"
        sections = list(_sections(field.annotation))
        for below, section in sections:
            yield from options(section, f"{path}{below}.")
        if not sections:
            yield path


def _sections(annotation: Any) -> Iterator[tuple[str, type[BaseModel]]]:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield "", annotation
    elif origin is Annotated:
        yield from _sections(arguments[0])
    elif origin in {Union, UnionType}:
        for argument in arguments:
            yield from _sections(argument)
    elif origin is tuple:
        yield from _sections(arguments[0])
    elif isinstance(origin, type) and issubclass(origin, Mapping):
        for _, section in _sections(arguments[1]):
            yield ".<name>", section


def test_every_option_is_described() -> None:
    described = set(_OPTION.findall(DOCUMENT.read_text("utf-8")))
    assert set(options(Settings)) - described == set()


def test_every_described_option_exists() -> None:
    described = set(_OPTION.findall(DOCUMENT.read_text("utf-8")))
    assert described - set(options(Settings)) == set()
