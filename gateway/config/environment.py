"""Fill `${NAME}`, `${NAME:-default}` and `${file:/path}` in texts, from the environment and secret files."""

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path as FilePath
from typing import cast

from gateway.config.document import Document, Finding, Path, Substituted, Value, read_scalar, show
from gateway.config.suggest import did_you_mean

MAX_SECRET_BYTES = 65_536

REFERENCE = re.compile(r"\$\{([^{}]*)\}")
_PART = re.compile(r"\$\$\{|\$\{([^{}]*)\}|\$\{")
_VARIABLE = re.compile(r"(?:env:)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>.*))?", re.DOTALL)


class _Missing(Exception):
    """A reference that has no value; the text says why."""


def substitute(document: Document, environ: Mapping[str, str], base: FilePath) -> Document:
    """Return the document with every reference in its texts replaced; keys are left alone.

    Rule: a text that is one reference and nothing else may become a number or a switch, and nothing when its
    value is empty; `$${` stands for `${`. Values that come in are not searched for further references.
    Secret files are read once, relative to *base*; white space at their end is dropped. Parameters of tasks stay as
    they are written: they are filled when the task runs, so that no secret is stored.
    """
    work = _Substitution(environ, base)
    value = work.replace(document.value, ())
    return replace(
        document,
        value=value,
        findings=(*document.findings, *work.findings),
        unusable=document.unusable | frozenset(work.unusable),
        substituted=frozenset(work.substituted),
    )


def _filled_later(path: Path) -> bool:
    """Tell whether something stands below `jobs.<name>.tasks.<name>.with` or `job_queues.entries.<name>.with`."""
    if len(path) == 4:
        return (path[0], path[1], path[3]) == ("job_queues", "entries", "with")
    return len(path) == 5 and (path[0], path[2], path[4]) == ("jobs", "tasks", "with")


class _Substitution:
    def __init__(self, environ: Mapping[str, str], base: FilePath) -> None:
        self._environ = environ
        self._base = base
        self.findings: list[Finding] = []
        self.unusable: set[Path] = set()
        self.substituted: set[Path] = set()
        self.brought_in: dict[str, None] = {}

    def replace(self, value: Value, path: Path) -> Value:
        if _filled_later(path):
            return value
        if isinstance(value, dict):
            return {key: self.replace(item, (*path, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [self.replace(item, (*path, position)) for position, item in enumerate(value)]
        return self._text(value, path) if isinstance(value, str) and "${" in value else value

    def _text(self, text: str, path: Path) -> Value:
        problems: list[str] = []

        def fill(match: re.Match[str]) -> str:
            if match[0] == "$${":
                return "${"
            try:
                value = self._resolve(match[1])
                self.brought_in[value] = None
                return value
            except _Missing as missing:
                problems.append(str(missing))
                return ""

        result = _PART.sub(fill, text)
        if problems:
            self.findings.extend(Finding(path=path, text=problem) for problem in problems)
            self.unusable.add(path)
            return ""
        if not REFERENCE.search(text.replace("$${", "")):
            return result
        self.substituted.add(path)
        if not REFERENCE.fullmatch(text):
            return result
        return None if read_scalar(result) is None else Substituted(result)

    def _resolve(self, body: str | None) -> str:
        if body is None:
            raise _Missing("'${' is not closed by '}'; write '$${' for the characters themselves")
        if body.startswith("file:"):
            return self._secret(body.removeprefix("file:"))
        match = _VARIABLE.fullmatch(body)
        if match is None:
            raise _Missing(f"{'${' + body + '}'!a} must be ${{NAME}}, ${{NAME:-default}} or ${{file:/path}}")
        value = self._environ.get(match["name"])
        if match["default"] is not None:
            return value or match["default"]
        if value is None:
            near = did_you_mean(match["name"], self._environ)
            raise _Missing(f"the environment variable {match['name']} is not set{near}")
        return value

    def _secret(self, name: str) -> str:
        if not name or "\0" in name:
            raise _Missing("${file:…} names no file")
        try:
            content = read_file(self._base / name, MAX_SECRET_BYTES + 1)
        except OSError as error:
            raise _Missing(f"the file {name!a} cannot be read: {error.strerror or error}") from None
        except UnicodeEncodeError:
            raise _Missing(f"{name!a} cannot be the name of a file") from None
        if len(content) > MAX_SECRET_BYTES:
            raise _Missing(f"the file {name!a} is longer than {MAX_SECRET_BYTES} bytes")
        try:
            return content.decode("utf-8").rstrip()
        except UnicodeDecodeError:
            raise _Missing(f"the file {name!a} is not UTF-8 text") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """Parameters with every reference filled in, and what came in that way: it is not to be shown."""

    value: Mapping[str, object]
    secrets: tuple[str, ...]


def fill(value: Mapping[str, object], environ: Mapping[str, str], base: FilePath) -> Filled:
    """Fill the references in the parameters of a task, as `substitute` does for a configuration.

    Raises: ValueError naming every reference that has no value.
    """
    work = _Substitution(environ, base)
    filled = work.replace(cast("Value", dict(value)), ())
    if work.findings:
        raise ValueError("; ".join(f"{show(finding.path)}: {finding.text}" for finding in work.findings))
    assert isinstance(filled, dict)
    return Filled(value=filled, secrets=tuple(work.brought_in))


def read_file(path: FilePath, most_bytes: int) -> bytes:
    """Return at most the first *most_bytes* bytes of a regular file.

    Raises: OSError, also for a pipe, a device or a socket: one might wait for ever for what they have to say.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError("it is not a regular file")
        return file.read(most_bytes)
