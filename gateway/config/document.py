"""A YAML document as read: what its values are, and where each stands, by path and line.

Single values are read by the core rules of YAML 1.2, so that `no`, `010` and `12:30` stay text.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

Path = tuple[str | int, ...]
Value = object
"""What YAML holds here: text, int, float, bool, None, dict with text or int keys, list."""

Scalar = str | int | float | bool | None

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+")
_WORDS: dict[str, bool | None] = {"": None, "~": None, "null": None, "true": True, "false": False}
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]{0,17})\.[0-9]{1,18}")


def show(path: Path) -> str:
    """Write a path for people, such as `ports.orders.operations[1]`; unusual keys are quoted and escaped."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif _PLAIN_KEY.fullmatch(step):
            text += f".{step}" if text else step
        else:
            text += f"[{step!a}]"
    return text


def starts_with_any(path: Path, prefixes: frozenset[Path]) -> bool:
    """Return whether *path* is one of *prefixes* or stands below one."""
    return any(path[:length] in prefixes for length in range(len(path) + 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing wrong, by path; `line` is given where the path does not say it exactly."""

    path: Path
    text: str
    line: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A YAML file as read.

    Shape: `lines` gives the line of each key and list entry, counting from 1; values at and below `unusable`
    are known to be wrong and already have a finding; values at `substituted` came from outside the file and
    are never shown.
    """

    value: Value
    lines: Mapping[Path, int]
    findings: tuple[Finding, ...] = ()
    unusable: frozenset[Path] = frozenset()
    substituted: frozenset[Path] = field(default_factory=frozenset)

    def line_of(self, path: Path) -> int | None:
        """Return the line of *path*, or of the nearest thing around it that stands in the file."""
        for length in range(len(path), -1, -1):
            line = self.lines.get(path[:length])
            if line is not None:
                return line
        return None


def value_at(value: Value, path: Path) -> Value:
    """Return what stands at *path*, None when nothing does."""
    for step in path:
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            value = value[step]
        else:
            return None
    return value


class Substituted(str):
    """A text made only of one `${…}`: an option that wants a number or a switch reads it as one."""

    __slots__ = ()


def read_scalar(text: str) -> Scalar:
    """Return the value that *text* has when written without quotes.

    Shape: `true` and `false` are the only switches; whole numbers have no leading zero, so that they can be
    turned back into exactly the same text; everything else is text.
    """
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return 0 if text == "-0" else int(text)
    if _DECIMAL.fullmatch(text):
        return float(text)
    return text
