"""Nothing in the product is there for nobody, or for tests alone: vulture tells what no line of it uses."""

import ast
from collections.abc import Iterator
from pathlib import Path

from vulture import Vulture

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("gateway", "adapters", "pipelines", "schemas")
CALLED_BY_OTHERS = ["@app.*", "@*_app.*", "@field_validator", "@model_validator"]
"""What decorates functions that the command line and pydantic call."""
GENERATED = "_sql.py"
IN_USE = {
    # read by tests, which hold the code against them or drive it by them
    "FAULT_POINTS", "JOB_MOVES", "TASK_MOVES", "MOVES", "pids", "switched_on",
    # fields of records that are compared, kept or shown as a whole
    "ctime_ns", "inode", "mtime_ns", "in_error", "task_id",
    # an example of a handler, which a configuration names
    "ping",
    # names that libraries ask for
    "model_config", "public_id", "StartElementHandler", "EndElementHandler", "StartDoctypeDeclHandler",
    "__annotations__", "__signature__", "no_wrap", "overflow", "str_alias_nb_pages", "handlers",
}  # fmt: skip


def test_whatever_is_there_is_used() -> None:
    """Delete what is told, or name it above with the reason why nobody in the product uses it."""
    vulture = Vulture(ignore_names=sorted(IN_USE), ignore_decorators=CALLED_BY_OTHERS)
    vulture.scavenge([ROOT / package for package in PACKAGES])
    by_name, members = set(_named_in_texts()), set(_members_of_enumerations())
    unused = [
        f"{Path(item.filename).relative_to(ROOT)}:{item.first_lineno} {item.typ} {item.name}"
        for item in vulture.get_unused_code(min_confidence=60)
        if item.typ != "import"  # ruff looks at these, also in annotations
        and not str(item.filename).endswith(GENERATED)
        and item.name not in by_name
        and (Path(item.filename), item.first_lineno) not in members
    ]
    assert not unused, "\n".join(unused)


def _named_in_texts() -> Iterator[str]:
    """Yield what is asked for by its name: settings that become columns, commands that are imported when given."""
    for _, node in _nodes():
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def _members_of_enumerations() -> Iterator[tuple[Path, int]]:
    """Yield where they stand: they are named by what comes from outside."""
    for path, node in _nodes():
        if isinstance(node, ast.ClassDef) and any(ast.unparse(base).endswith("Enum") for base in node.bases):
            yield from ((path, each.lineno) for each in node.body)


def _nodes() -> Iterator[tuple[Path, ast.AST]]:
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            yield from ((path, node) for node in ast.walk(ast.parse(path.read_text())))
