"""Only the command line speaks of its commands: other front ends word what is to be done in their own way."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.main import get_command

from gateway.cli import main

ROOT = Path(__file__).parents[2]
COMMANDS = "|".join(getattr(get_command(main.commands()), "commands", {}))
SPOKEN = re.compile(rf"(?:`|See: )gateway (?:{{|(?:{COMMANDS})\b)")
MODULES = sorted(
    path
    for room in ("gateway", "adapters", "pipelines", "schemas")
    for path in (ROOT / room).rglob("*.py")
    if "cli" not in path.relative_to(ROOT).parts
    and not (path.parent.name == "config" and path.name.startswith("models"))  # what settings mean is documentation
)


def sentences(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield the texts of a module, each with its line; those that document something are for developers."""
    documents = {
        id(child.value)
        for node in ast.walk(tree)
        for child in ast.iter_child_nodes(node)
        if isinstance(child, ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield (
                node.lineno,
                "".join(str(part.value) if isinstance(part, ast.Constant) else "{" for part in node.values),
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documents:
            yield node.lineno, node.value


@pytest.mark.parametrize("room", sorted({path.relative_to(ROOT).parts[:2] for path in MODULES}), ids="/".join)
def test_no_sentence_speaks_of_a_command(room: tuple[str, ...]) -> None:
    spoken = [
        f"{path.relative_to(ROOT)}:{line}: {text}"
        for path in MODULES
        if path.relative_to(ROOT).parts[:2] == room
        for line, text in sentences(ast.parse(path.read_text("utf-8")))
        if SPOKEN.search(text)
    ]
    assert spoken == []
