"""Find every event that the code writes: its name, its levels and its fields."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("gateway", "adapters", "pipelines", "schemas")
LEVELS = {"debug": "debug", "info": "info", "warning": "warning", "error": "error", "exception": "error"}
_LOGGERS = {"log", "_log"}
TASKS = [ROOT / "gateway" / "batch" / room for room in ("handlers", "housekeeping", "processes")]
"""What tasks say to the log of their run (`context.log`) are lines for people, not events."""
_NOT_FIELDS = {"exc_info"}


@dataclass(slots=True)
class Written:
    """What the code writes under one name; `places` are `file:line`."""

    levels: set[str] = field(default_factory=set)
    fields: set[str] = field(default_factory=set)
    places: list[str] = field(default_factory=list)


@cache
def written_events() -> dict[str, Written]:
    """Return all events of the product by name."""
    found: dict[str, Written] = {}
    for path in sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        for call, level in _calls(ast.parse(path.read_text("utf-8")), of_task=any(map(path.is_relative_to, TASKS))):
            place = f"{path.relative_to(ROOT)}:{call.lineno}"
            name = call.args[0] if call.args else None
            assert isinstance(name, ast.Constant) and isinstance(name.value, str), f"{place}: not a constant event name"
            event = found.setdefault(name.value, Written())
            event.levels.add(level)
            event.fields |= {keyword.arg for keyword in call.keywords if keyword.arg} - _NOT_FIELDS
            event.places.append(place)
    return found


def _calls(tree: ast.AST, *, of_task: bool) -> Iterator[tuple[ast.Call, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LEVELS:
            owner = node.func.value
            name = owner.id if isinstance(owner, ast.Name) else owner.attr if isinstance(owner, ast.Attribute) else ""
            if of_task and isinstance(owner, ast.Attribute):
                continue
            if name in _LOGGERS:
                yield node, LEVELS[node.func.attr]
