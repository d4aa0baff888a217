"""docs/operations.md names every command, and documents name only commands that exist."""

import re
from pathlib import Path

from typer.main import get_command

from gateway.cli import main

DOCS = Path(__file__).parents[2] / "docs"
_WORDS = re.compile(r"`gateway ([a-z-]+)(?: ([a-z-]+))?|^gateway ([a-z-]+)(?: ([a-z-]+))?", re.MULTILINE)


ASKS_OR_STARTS = {
    "check", "demo", "doctor", "explain", "init", "nodes", "run", "schema", "status", "submit", "version",
    "watch", "audit", "alerts inbox", "alerts list", "alerts read", "alerts sent", "db info", "db migrate",
    "entries list", "entries log", "entries mine", "entries show", "queues list", "queues show",
    "exceptions list", "exceptions show", "groups list", "history files", "history list", "history show", "jobs list",
    "jobs next", "jobs show", "lanes list", "lanes show", "queue list", "queue show", "runs files", "runs list",
    "runs log", "runs save", "runs search", "runs show", "servers list", "tasks kinds", "tasks list", "tasks show",
    "documents list", "documents show", "documents to-handle",
    "inbox list", "inbox open", "inbox save",
    "sessions list", "sessions show", "status-messages list", "status-messages refused", "status-messages retention",
    "status-messages stores",
}  # fmt: skip
"""Commands that change nothing an operator answers for: they ask, begin, or are on record elsewhere."""


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


def test_every_command_that_changes_something_takes_a_reason() -> None:
    """It is written down with the action: see gateway/operations/audit.py."""
    root = get_command(main.commands())
    options: dict[str, set[str]] = {}
    for name, command in getattr(root, "commands", {}).items():
        for below, one in (getattr(command, "commands", None) or {"": command}).items():
            options[f"{name} {below}".strip()] = {str(parameter.name) for parameter in one.params}
    assert options.keys() >= ASKS_OR_STARTS
    assert {name for name, known in options.items() if "reason" not in known} == ASKS_OR_STARTS


def test_documents_name_only_commands_that_exist() -> None:
    known = commands()
    wrong = []
    for document in sorted(DOCS.rglob("*.md")):
        for found in _WORDS.findall(document.read_text("utf-8")):
            name, below = (found[0], found[1]) if found[0] else (found[2], found[3])
            if name not in known or (known[name] and below and below not in known[name]):
                wrong.append(f"{document.name}: gateway {name} {below}")
    assert wrong == []
