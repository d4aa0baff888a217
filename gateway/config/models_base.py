"""What every section of the configuration has in common, and the kinds of values options hold."""

import os
import re
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    GetJsonSchemaHandler,
    PrivateAttr,
    Strict,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from gateway.config.document import Substituted, read_scalar

_UNITS = {
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}
_NAME = "[A-Za-z][A-Za-z0-9_-]{0,39}"
_WORD = "[A-Za-z][A-Za-z0-9_]{0,79}"
_SIZE = re.compile(r"(?P<number>[0-9]{1,15}(?:\.[0-9]{1,6})?) ?(?P<unit>[A-Za-z]{1,3})")


_WINDOWS = re.compile(r"[A-Za-z]:[\\/]|\\\\|[^/]*\\[^/]*\\")


class Options(BaseModel):
    """Options by name: frozen; refuses those it does not know; checks its defaults too."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _empty_means_default(cls, value: object) -> object:
        """Let `users:` with nothing (or only comments) below it mean an absent section, list or mapping."""
        if not isinstance(value, dict):
            return value
        empty = {
            field.alias or name
            for name, field in cls.model_fields.items()
            if field.default_factory is not None or field.default == ()
        }
        return {key: item for key, item in value.items() if item is not None or key not in empty}


class Section(Options):
    """A part of the configuration."""


def reread(value: object) -> object:
    """Read a text that came wholly from outside as the number or switch it may be."""
    return read_scalar(value) if isinstance(value, Substituted) else value


def _as_text(value: object) -> object:
    """Take a whole number as the text it was written as; numbers are read so that this loses nothing."""
    if isinstance(value, str):
        return str(value)
    return str(value) if type(value) is int else value


def _as_bytes(value: object) -> object:
    """Turn `10 MB` (powers of 10) or `10 MiB` (powers of 1024) into a number of bytes."""
    value = reread(value)
    if not isinstance(value, str):
        return value
    match = _SIZE.fullmatch(value)
    factor = _UNITS.get(match["unit"].lower()) if match else None
    if match is None or factor is None:
        raise ValueError("must be a number of bytes, or a number and a unit such as 10 MB or 512 MiB")
    return round(float(match["number"]) * factor)


def _absolute(value: Path, info: ValidationInfo) -> Path:
    """Resolve a path against the folder of the configuration file, without looking at the disk."""
    if str(value) in {"", "."} or str(value).startswith("~"):
        raise ValueError("must be a path; '~' is not expanded, write ${HOME}/…")
    if not str(value).isprintable():
        raise ValueError("must be a path of printable characters")
    if _WINDOWS.match(str(value)):
        raise ValueError(
            "is a path of Windows; write the path that the folder has on this machine, such as /mnt/orders"
        )
    context: dict[str, object] = info.context or {}
    base = context.get("base")
    start = base if isinstance(base, Path) else Path.cwd()
    return Path(os.path.normpath(start / value))


def as_date(value: object, *, also: str = "") -> object:
    """Take a day as it is written; *also* is what else an option takes, for the text of its error."""
    try:
        found = date.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        found = None
    if type(found) is not date:  # a moment is a date, too
        raise ValueError(f"must be a date such as 2026-12-31{f', or {also}' if also else ''}")
    return found


def _one_line(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be empty")
    if not value.isprintable():
        raise ValueError("must be one line of printable text")
    return value


def _without_nul(value: str) -> str:
    if "\0" in value:
        raise ValueError("must not hold the character NUL")
    return value


def matching(pattern: str, otherwise: str) -> AfterValidator:
    """Refuse a text that *pattern* does not match as a whole, and say *otherwise*."""
    compiled = re.compile(pattern)

    def check(value: str) -> str:
        if compiled.fullmatch(value) is None:
            raise ValueError(otherwise)
        return value

    return AfterValidator(check)


def chosen_by(key: str, *kinds: str, usual: str | None = None) -> Discriminator:
    """Tell sections of several kinds apart by what stands at *key*, *usual* where nothing does; tags are `<kind>`."""

    def tag(value: object) -> str | None:
        kind = value.get(key, usual) if isinstance(value, Mapping) else getattr(value, key, None)
        return f"<{kind}>" if kind in kinds else None

    known = " or ".join(kinds)
    return Discriminator(
        tag,
        custom_error_type="choice",
        custom_error_message=f"needs a {key}: {known}",
        custom_error_context={"key": key, "known": known},
    )


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


class _OrOne:
    """Describes a list that may also be written as a single entry of it."""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        listed = handler(core)
        return {"anyOf": [listed["items"], listed]}


Item = TypeVar("Item")
Listed = Annotated[tuple[Item, ...], BeforeValidator(_as_list), _OrOne()]
"""A list; a single word stands for a list of it."""
Name = Annotated[
    str,
    matching(_NAME, "a name is a letter, then up to 39 letters, digits, '-' and '_'"),
    WithJsonSchema({"type": "string", "pattern": f"^{_NAME}$"}),
]
"""Name of a port: also the name of its folders."""
Word = Annotated[
    str,
    matching(_WORD, "a name is a letter, then up to 79 letters, digits and '_'"),
    WithJsonSchema({"type": "string", "pattern": f"^{_WORD}$"}),
]
"""Name of a service or an operation: also a part of an action."""
Text = Annotated[str, BeforeValidator(_as_text), AfterValidator(_one_line)]
AnyText = Annotated[str, BeforeValidator(_as_text), AfterValidator(_without_nul)]
"""Text that may be empty or have several lines, such as an argument of a command."""
Flag = Annotated[bool, Strict(), BeforeValidator(reread)]
Count = Annotated[int, Strict(), BeforeValidator(reread)]
Seconds = Annotated[float, Strict(), BeforeValidator(reread)]
ByteSize = Annotated[
    int,
    Strict(),
    BeforeValidator(_as_bytes),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 0},
                {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)? ?([kKmMgGtT][iI]?)?[bB]$"},
            ]
        }
    ),
]
Date = Annotated[date, BeforeValidator(as_date), WithJsonSchema({"type": "string", "pattern": r"^\d{4}-\d\d-\d\d$"})]
Location = Annotated[Path, AfterValidator(_absolute), WithJsonSchema({"type": "string", "minLength": 1})]


class RunsSomething(Section):
    """A section that says what runs; it may know for which version of that its parameters were written."""

    run: Text = Field(
        description="What it runs: receive | inbound | outbound | send | python | command | sql | … or module:object."
    )
    parameters: Annotated[Mapping[str, object], WithJsonSchema({"type": "object"})] = Field(
        default_factory=dict, alias="with", description="Parameters of what it runs."
    )
    description: Text | None = Field(default=None, description="What it is for. Default: its name.")
    _version: int | None = PrivateAttr(default=None)

    @property
    def parameters_version(self) -> int | None:
        """Return the version, None: whichever is there when it runs, as the file is checked again with each."""
        return self._version

    def written_for(self, version: int) -> Self:
        """Return the same section, with the version that its parameters were checked with."""
        section = self.model_copy()
        section._version = version
        return section
