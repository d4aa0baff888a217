"""docs/operations.md names every command, and documents name only commands that exist."""

import re
from pathlib import Path

from typer.main import get_command

from gateway.cli import main

DOCS = Path(__file__).parents[2] / "docs"
_WORDS = re.compile(r"`gateway ([a-z-]+)(?: ([a-z-]+))?|^gateway ([a-z-]+)(?: ([a-z-]+))?", re.MULTILINE)


def commands() -> dict[str, set[str]]:
    """Return all commands with their subcommands."""
    root = get_command(main.commands())
    found: dict[str, set[str]] = {}
    for name, command in getattr(root, "commands", {}).items():
        found[name] = set(getattr(command, "commands", {}))
    return found


def test_every_command_is_listed() -> None:
    rows = re.findall(r"^\| (`gateway [^|]*) \|", (DOCS / "operations.md").read_text("utf-8"), re.MULTILINE)
    listed: dict[str, set[str]] = {}
    for row in rows:
        words = re.findall(r"[a-z-]+", row.replace("`", " ").removeprefix(" gateway "))
        listed.setdefault(words[0], set()).update(words[1:])
    missing = {name: below - listed.get(name, set()) for name, below in commands().items()}
    assert {name for name in missing if name not in listed} == set()
    assert {name: sorted(below) for name, below in missing.items() if below} == {}


def test_documents_name_only_commands_that_exist() -> None:
    known = commands()
    wrong = []
    for document in sorted(DOCS.rglob("*.md")):
        for found in _WORDS.findall(document.read_text("utf-8")):
            name, below = (found[0], found[1]) if found[0] else (found[2], found[3])
            if name not in known or (known[name] and below and below not in known[name]):
                wrong.append(f"{document.name}: gateway {name} {below}")
    assert wrong == []
