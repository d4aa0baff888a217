"""Reads the schema files below some folders: checked, normalised, not yet linked or compiled."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from lxml import etree

from gateway.domain.errors import ConfigError, ConfigProblem
from gateway.domain.namespaces import HTTPS, MICROSOFT, Scheme
from gateway.xml.normalise import is_costly, rewrite_scheme, strip_anchors
from gateway.xml.parse import DoctypeFound, LogEntry, RootFound, document_parser, line_of, refusal, root_parser

XSD = "{http://www.w3.org/2001/XMLSchema}"
MAX_SCHEMA_BYTES = 32_000_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SchemaFile:
    """One schema file.

    Shape: `number` and `folder` count from 0 in reading order; `namespace` is canonical, empty when the file
    has none; `elements` are the local names of its global elements; `root` is its normalised tree.
    """

    number: int
    folder: int
    path: Path
    namespace: str
    elements: tuple[str, ...]
    root: etree._Element


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaFiles:
    """What lies below the folders, and what is wrong or odd with it."""

    files: tuple[SchemaFile, ...]
    problems: tuple[ConfigProblem, ...]
    warnings: tuple[ConfigProblem, ...]


def read_schema_files(folders: Sequence[Path], resolver: etree.Resolver) -> SchemaFiles:
    """Read every `*.xsd` below *folders*, in the order of the folders and of the names in them.

    *resolver* will be asked when a tree is compiled and refers to another one. Links that lead out of the
    folders are not followed. A file that cannot be used becomes a problem and is left out.
    """
    files: list[SchemaFile] = []
    problems: list[ConfigProblem] = []
    warnings: list[ConfigProblem] = []
    seen: set[Path] = set()
    for index, folder in enumerate(folders):
        base = folder.resolve()
        if not base.is_dir():
            problems.append(_problem(folder, None, "This schema folder does not exist."))
            continue
        for found in sorted(base.rglob("*.xsd")):
            path = found.resolve()
            if path in seen or not path.is_file() or not path.is_relative_to(base):
                continue
            seen.add(path)
            try:
                root = _parse(path, resolver)
            except ConfigError as error:
                problems.extend(error.problems)
                continue
            warnings.extend(_normalise_patterns(path, root))
            files.append(
                SchemaFile(
                    number=len(files),
                    folder=index,
                    path=path,
                    namespace=root.get("targetNamespace", ""),
                    elements=tuple(str(each.get("name")) for each in root.iterchildren(XSD + "element")),
                    root=root,
                )
            )
    return SchemaFiles(files=tuple(files), problems=tuple(problems), warnings=tuple(warnings))


def _parse(path: Path, resolver: etree.Resolver) -> etree._Element:
    """Read one file as a schema in canonical namespaces.

    Raises: ConfigError with the one reason why it cannot be used.
    """
    try:
        content = path.read_bytes() if path.stat().st_size <= MAX_SCHEMA_BYTES else None
    except OSError as error:
        raise ConfigError([_problem(path, None, f"Cannot be read: {error.strerror}.")]) from error
    if content is None:
        raise ConfigError([_problem(path, None, f"A schema may have {MAX_SCHEMA_BYTES} bytes at most.")])
    try:
        root_parser().feed(content)
    except RootFound:
        pass
    except DoctypeFound:
        text = "The schema has a DOCTYPE; remove it, it is never accepted."
        raise ConfigError([_problem(path, None, text)]) from None
    except etree.XMLSyntaxError as error:
        raise _syntax(path, error) from error
    try:
        root = etree.fromstring(content, document_parser(resolver=resolver))
    except etree.XMLSyntaxError as error:
        raise _syntax(path, error) from error
    if root.tag != XSD + "schema":
        raise ConfigError([_problem(path, line_of(root), f"The root is {root.tag}, not an XML schema.")])
    if (HTTPS + MICROSOFT.split("/", 1)[0]).encode() in content:
        text = rewrite_scheme(etree.tostring(root, encoding="unicode"), Scheme.HTTP, schema=True)
        root = etree.fromstring(text, document_parser(resolver=resolver))
    return root


def _syntax(path: Path, error: etree.XMLSyntaxError) -> ConfigError:
    told = refusal(error, cast(Iterable[LogEntry], error.error_log))
    return ConfigError([_problem(path, told.line, told.message)])


def _normalise_patterns(path: Path, root: etree._Element) -> list[ConfigProblem]:
    """Take .NET-style anchors out of pattern facets; return a warning for each, and for each costly pattern."""
    warnings: list[ConfigProblem] = []
    for facet in root.iter(XSD + "pattern"):
        written = facet.get("value", "")
        pattern = strip_anchors(written)
        if pattern != written:
            facet.set("value", pattern)
            text = f"The pattern {written} has anchors, which mean themselves in a schema; used without them."
            warnings.append(_problem(path, line_of(facet), text))
        if is_costly(pattern):
            text = f"The pattern {pattern} repeats a repetition and can take very long; simplify it."
            warnings.append(_problem(path, line_of(facet), text))
    return warnings


def _problem(path: Path, line: int | None, text: str) -> ConfigProblem:
    return ConfigProblem(file=str(path), line=line, path="", text=text)
