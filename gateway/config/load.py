"""From `config.yaml` to checked settings, or to everything that is wrong with it."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path as FilePath
from typing import Final

from pydantic import ValidationError

from gateway.config import checks, yaml
from gateway.config.addresses import literal_password
from gateway.config.checks.runnables import check_entries, check_names, check_runnables
from gateway.config.document import Document, Finding, Path, Value, show, starts_with_any, value_at
from gateway.config.environment import REFERENCE, substitute
from gateway.config.models import Settings
from gateway.config.refusals import explain, path_of
from gateway.contracts.task import Runnables
from gateway.kernel.errors import ConfigError, ConfigProblem
from gateway.kernel.remedy import Action, do

_ONLY_GATEWAY: Final = frozenset[Path]({("mail",), ("alerts", "webhook"), ("alerts", "command")})
"""Sections that only a running gateway uses: a command can do without the secrets in them."""
_DATA_LINE = re.compile(rb"""^["']?data["']?[ \t]*:.*$""", re.MULTILINE)


def load(path: FilePath, environ: Mapping[str, str], *, runnables: Runnables | None = None) -> Settings:
    """Read, fill and check a configuration file. Paths in it are taken from the folder of the file.

    With *runnables* what tasks run, and the parameters of each, are checked too.
    Reads the file and the secret files it names: call it from a thread when an event loop runs.
    Raises: ConfigError with every problem, in the order of lines.
    """
    content = read(path)
    return parse(content, file=str(path), base=path.absolute().parent, environ=environ, runnables=runnables)


def read(path: FilePath) -> bytes:
    """Return what stands in a configuration file. Raises: ConfigError."""
    try:
        with path.open("rb") as file:
            return file.read(yaml.MAX_BYTES + 1)
    except OSError as error:
        problem = ConfigProblem(file=str(path), line=None, path="", text=f"cannot be read: {error.strerror}")
        raise ConfigError([problem]).remedied(do(Action.CREATE_SITE, then="It writes a working example.")) from None


def parse(
    content: bytes, *, file: str, base: FilePath, environ: Mapping[str, str], runnables: Runnables | None = None,
    for_gateway: bool = True,
) -> Settings:  # fmt: skip
    """Do what `load` does for content already at hand; `file` is its name in messages.

    Without *for_gateway*: for a command, which needs no secret that only a running gateway uses.
    Raises: ConfigError with every problem, in the order of lines.
    """
    if not is_utf8(base):  # the database would be asked to store it, and to listen in it
        text = "the path of this folder is not UTF-8, and a database cannot hold it: rename the folder"
        raise ConfigError([ConfigProblem(file=str(base), line=None, path="", text=text)])
    raw = read_document(content, file)
    document = substitute(raw, environ, base)
    if not for_gateway:
        needed = tuple(one for one in document.findings if not starts_with_any(one.path, _ONLY_GATEWAY))
        document = replace(document, findings=needed)
    settings, findings = _build(document, base)
    findings = [*document.findings, *_secrets(raw), *findings]
    if settings is not None and runnables is not None:
        findings += check_runnables(settings.jobs, runnables, environ, base)
        findings += check_entries(settings.job_queues.entries, runnables, environ, base)
        findings += check_names(settings.throttling.runnables, ("throttling", "runnables"), runnables)
    if settings is None or findings:
        raise refused(findings, document, file)
    return settings


def read_document(content: bytes, file: str) -> Document:
    """Return what *content* holds as YAML; `file` is its name in messages. Raises: ConfigError."""
    try:
        return yaml.read(content)
    except yaml.Unreadable as error:
        raise ConfigError([ConfigProblem(file=file, line=error.line, path="", text=error.text)]) from None


def refused(findings: Iterable[Finding], document: Document, file: str, below: Path = ()) -> ConfigError:
    """Return everything that was found, in the order of lines; paths are those *below* one that is left out."""
    problems = dict.fromkeys(
        ConfigProblem(
            file=file,
            line=finding.line or document.line_of(finding.path),
            path=show(finding.path[len(below) :]),
            text=finding.text,
        )
        for finding in findings
    )
    return ConfigError(sorted(problems, key=lambda problem: (problem.line or 0, problem.path)))


def is_utf8(path: FilePath) -> bool:
    """Tell whether a path can be written as text."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def data_folder(content: bytes, *, base: FilePath, environ: Mapping[str, str]) -> FilePath:
    """Return the data folder that a configuration names, as far as that can be told of one that is broken."""
    line, nothing = _DATA_LINE.search(content), b"{}"
    try:
        return parse(nothing if line is None else line[0], file="", base=base, environ=environ).data
    except ConfigError:
        return parse(nothing, file="", base=base, environ=environ).data


def _secrets(raw: Document) -> Iterator[Finding]:
    """Passwords are looked for in the file as written: what `${…}` brings in is where they belong."""
    stores = value_at(raw.value, ("data_exchange", "stores"))
    databases: list[Path] = [("store",)]
    databases += [
        ("data_exchange", "stores", name, "database") for name in (stores if isinstance(stores, dict) else ())
    ]
    for path in databases:
        address = value_at(raw.value, path)
        if isinstance(address, str) and literal_password(address):
            yield Finding(
                path=path,
                text="holds a password; take it from outside: "
                "postgresql://user:${PASSWORD}@host/database or ${file:/run/secrets/…}",
            )
    for path in (("mail", "password"), ("alerts", "webhook", "secret")):
        written = value_at(raw.value, path)
        if written is not None and not (isinstance(written, str) and REFERENCE.fullmatch(written)):
            yield Finding(path=path, text="is a secret; take it from outside: ${NAME} or ${file:/run/secrets/…}")


def _build(document: Document, base: FilePath) -> tuple[Settings | None, list[Finding]]:
    """Check every section and, with what is sound, how the sections fit together.

    The settings are only what is sound: they count when there are no findings.
    """
    if document.value is None:
        return None, [] if document.findings else [Finding(path=(), text="holds nothing")]
    value = _without(document.value, document.unusable)
    findings: list[Finding] | None = None
    taken_away = set(document.unusable)
    while True:  # each round takes something away, so there is a last one
        try:
            settings = Settings.model_validate(value, context={"base": base})
            break
        except ValidationError as error:
            findings = list(explain(error, document)) if findings is None else findings
            broken = frozenset(_culprits(error, value))
        if () in broken:
            return None, findings
        taken_away |= broken
        value = _without(value, broken)
    misfits = checks.check(settings, taken_away)
    usable = (finding for finding in misfits if not starts_with_any(finding.path, document.unusable))
    return settings, [*(findings or ()), *usable]


def _culprits(error: ValidationError, value: Value) -> Iterator[Path]:
    """Yield what must go from *value* so that the rest can be checked: what is in error, or what lacks a key.

    An entry of a list takes its list along: without it the positions of the others would be wrong.
    """
    for details in error.errors(include_url=False, include_context=False, include_input=False):
        path = path_of(details)
        while path and not _can_go(value, path):
            path = path[:-1]
        yield path


def _can_go(value: Value, path: Path) -> bool:
    around = value_at(value, path[:-1])
    return isinstance(around, dict) and path[-1] in around


def _without(value: Value, paths: frozenset[Path], at: Path = ()) -> Value:
    """Return a copy of *value* that lacks what stands at *paths*; entries of lists become empty texts."""
    if isinstance(value, dict):
        return {key: _without(item, paths, (*at, key)) for key, item in value.items() if (*at, key) not in paths}
    if isinstance(value, list):
        return [
            "" if (*at, position) in paths else _without(item, paths, (*at, position))
            for position, item in enumerate(value)
        ]
    return value
