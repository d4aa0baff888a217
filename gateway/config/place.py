"""Where a value stands in the configuration: its path of keys and positions, and its line."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

Path = tuple[str | int, ...]
Value = object
"""What YAML holds here: text, int, float, bool, None, dict with text or int keys, list."""

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+")


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
