"""Reads the schema files below some folders: checked, normalised, not yet linked or compiled."""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, cast

from lxml import etree

from gateway.kernel.errors import ConfigError, ConfigProblem
from gateway.kernel.namespaces import HTTPS, MICROSOFT, Scheme, canonical
from gateway.xml.malformed import LogEntry, refusal
from gateway.xml.names import line_of
from gateway.xml.normalise import is_costly, rewrite_scheme, strip_anchors
from gateway.xml.parse import DoctypeFound, RootFound, document_parser, root_parser

XSD = "{http://www.w3.org/2001/XMLSchema}"
XML_NAMESPACE = "http://www.w3.org/XML/1998/namespace"
IDENTIFYING = ("ID", "IDREF", "IDREFS")
MAX_SCHEMA_BYTES = 32_000_000
ENDING = ".xsd"
_START_BYTES = 100_000
_TARGET = re.compile(rb"""targetNamespace\s*=\s*["']([^"'<]+)["']""")
_DECLARATIONS = {
    XSD + "element": "element",
    XSD + "attribute": "attribute",
    XSD + "simpleType": "type",
    XSD + "complexType": "type",
    XSD + "group": "group",
    XSD + "attributeGroup": "attributeGroup",
}
_NAMES = {
    "type": "type",
    "base": "type",
    "itemType": "type",
    "memberTypes": "type",
    "substitutionGroup": "element",
    "ref": "",  # of the kind that the element itself declares elsewhere
}
"""The attributes that use names, and of what."""


class Local(NamedTuple):
    """What a schema declares for others: an element, attribute, type, group or attributeGroup, and its name."""

    kind: str
    name: str


class SchemaName(NamedTuple):
    """A name that a schema uses: its canonical namespace (empty: that of whoever includes the file), and what it is."""

    namespace: str
    local: Local


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SchemaFile:
    """One schema file.

    Shape: `number` and `folder` count from 0 in reading order; `namespace` is canonical, empty when the file
    has none; `declares` are its global names, `refers` all that it uses, `extends` those it derives types or
    substitutes elements from; `identifies` tells whether it uses xs:ID, xs:IDREF or xs:IDREFS; `root` is its
    normalised tree.
    """

    number: int
    folder: int
    path: Path
    namespace: str
    declares: tuple[Local, ...]
    refers: frozenset[SchemaName]
    extends: frozenset[SchemaName]
    identifies: bool
    root: etree._Element


class UnusableSchema(NamedTuple):
    """Why a file cannot be used, and the namespace its documents would have."""

    problem: ConfigProblem
    namespace: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaFiles:
    """What lies below the folders, and what is wrong or odd with it.

    Shape: `by_path` has each file under its absolute path, and under that of every link to it; `refused` has the
    reason and the namespace, as far as it can be seen, of files that cannot be used, by path.
    """

    files: tuple[SchemaFile, ...]
    by_path: Mapping[str, SchemaFile]
    refused: Mapping[str, UnusableSchema]
    problems: tuple[ConfigProblem, ...]
    warnings: tuple[ConfigProblem, ...]


def read_schema_files(folders: Sequence[Path]) -> SchemaFiles:
    """Read every schema below *folders*, in the order of the folders and of the names in them.

    A schema ends in `.xsd`, in any case, or has no ending and the root of one. Links that lead out of the
    folders, and names that begin with a dot, are passed over. A file that cannot be used becomes a problem.
    """
    files: list[SchemaFile] = []
    by_path: dict[str, SchemaFile] = {}
    refused: dict[str, UnusableSchema] = {}
    problems: list[ConfigProblem] = []
    warnings: list[ConfigProblem] = []
    seen: dict[Path, SchemaFile | None] = {}
    for index, folder in enumerate(folders):
        base = folder.resolve()
        if not base.is_dir():
            problems.append(problem(folder, None, "This schema folder does not exist."))
            continue
        for found in find_schemas(base, problems):
            path = Path(os.path.realpath(found))
            if not path.is_file() or not path.is_relative_to(base):
                continue
            if path not in seen:
                seen[path] = None
                try:
                    root = _parse(path)
                except ConfigError as error:
                    refused[str(path)] = UnusableSchema(error.problems[0], _namespace_in(path))
                    problems.extend(error.problems)
                    continue
                if root is None:
                    continue
                warnings.extend(_normalise_patterns(path, root))
                seen[path] = _schema_file(len(files), index, path, root)
                files.append(cast(SchemaFile, seen[path]))
            if (file := seen[path]) is not None:
                by_path[str(found)] = by_path[str(path)] = file
    return SchemaFiles(
        files=tuple(files),
        by_path=by_path,
        refused=refused,
        problems=tuple(problems),
        warnings=tuple(warnings),
    )


def names_in(element: etree._Element) -> Mapping[str, tuple[SchemaName, ...]]:
    """Return the names of a schema that an element of it uses, by attribute."""
    tag = _DECLARATIONS.get(str(element.tag), "")
    used = {attribute: value.split() for attribute in _NAMES if (value := element.get(attribute)) is not None}
    prefixes = {**element.nsmap, "xml": XML_NAMESPACE} if used else {}
    return {
        attribute: tuple(
            SchemaName(canonical(prefixes.get(prefix or None, "")), Local(_NAMES[attribute] or tag, local))
            for prefix, _, local in (name.rpartition(":") for name in names)
        )
        for attribute, names in used.items()
    }


def declaration(element: etree._Element) -> Local | None:
    """Return what a child of a schema's root declares, None for a link or an annotation."""
    kind, name = _DECLARATIONS.get(str(element.tag)), element.get("name")
    return None if kind is None or name is None else Local(kind, name)


def find_schemas(base: Path, problems: list[ConfigProblem]) -> list[Path]:
    """Return what may be a schema below a folder, sorted; a folder that cannot be read becomes a problem."""

    def unreadable(error: OSError) -> None:
        text = f"This folder cannot be read: {error.strerror}. No schema in it is used."
        problems.append(problem(Path(error.filename), None, text))

    found: list[Path] = []
    for parent, folders, names in os.walk(base, onerror=unreadable):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith(".") and Path(name).suffix.lower() in (ENDING, ""):
                found.append(Path(parent, name))
    return sorted(found)


def _schema_file(number: int, folder: int, path: Path, root: etree._Element) -> SchemaFile:
    refers: set[SchemaName] = set()
    extends: set[SchemaName] = set()
    for element in root.iter("*"):
        for attribute, names in names_in(element).items():
            refers.update(names)
            if attribute in ("base", "substitutionGroup"):
                extends.update(names)
    own = {name for name in refers if name.namespace == XSD[1:-1]}
    refers -= own
    return SchemaFile(
        number=number,
        folder=folder,
        path=path,
        namespace=root.get("targetNamespace", ""),
        declares=tuple(filter(None, map(declaration, root.iterchildren("*")))),
        refers=frozenset(refers),
        extends=frozenset(extends),
        identifies=any(name.local.name in IDENTIFYING for name in own),
        root=root,
    )


def _parse(path: Path) -> etree._Element | None:
    """Read one file as a schema in canonical namespaces; None for a file without ending that is none.

    Raises: ConfigError with the one reason why it cannot be used.
    """
    named = path.suffix.lower() == ENDING
    try:
        content = path.read_bytes() if path.stat().st_size <= MAX_SCHEMA_BYTES else None
    except OSError as error:
        raise ConfigError([problem(path, None, f"Cannot be read: {error.strerror}.")]) from error
    if content is None:
        if not named:
            return None
        raise ConfigError([problem(path, None, f"A schema may have {MAX_SCHEMA_BYTES} bytes at most.")])
    tag = None
    start = root_parser()
    try:
        start.feed(content)
    except RootFound as found:
        tag = found.tag
    except DoctypeFound:
        if named:
            text = "The schema has a DOCTYPE; remove it, it is never accepted."
            raise ConfigError([problem(path, None, text)]) from None
    except etree.XMLSyntaxError as error:
        if named:
            raise _syntax(path, error, start.feed_error_log) from error
    if not named and tag != XSD + "schema":
        return None
    parser = document_parser()
    try:
        root = etree.fromstring(content, parser)
    except etree.XMLSyntaxError as error:
        raise _syntax(path, error, parser.error_log) from error
    if root.tag != XSD + "schema":
        raise ConfigError([problem(path, line_of(root), f"The root is {root.tag}, not an XML schema.")])
    if (HTTPS + MICROSOFT.split("/", 1)[0]).encode() in content:
        text = rewrite_scheme(etree.tostring(root, encoding="unicode"), Scheme.HTTP, schema=True)
        root = etree.fromstring(text, document_parser())
    return root


def _namespace_in(path: Path) -> str | None:
    """Return the namespace that a file which is no schema seems to have."""
    try:
        with path.open("rb") as file:
            start = file.read(_START_BYTES).replace(b"\0", b"")  # of UTF-16
    except OSError:
        return None
    found = _TARGET.search(start)
    return None if found is None else canonical(found[1].decode(errors="replace"))


def _syntax(path: Path, error: etree.XMLSyntaxError, log: object) -> ConfigError:
    refused = refusal(error, cast(Iterable[LogEntry], log))
    return ConfigError([problem(path, refused.line, refused.message)])


def _normalise_patterns(path: Path, root: etree._Element) -> list[ConfigProblem]:
    """Take .NET-style anchors out of pattern facets; return a warning for all, and one for each costly pattern."""
    warnings: list[ConfigProblem] = []
    anchored: list[tuple[int | None, str]] = []
    for facet in root.iter(XSD + "pattern"):
        written = facet.get("value", "")
        pattern = strip_anchors(written)
        if pattern != written:
            facet.set("value", pattern)
            anchored.append((line_of(facet), written))
        if is_costly(pattern):
            text = f"The pattern {pattern} repeats a repetition and can take very long; simplify it."
            warnings.append(problem(path, line_of(facet), text))
    if anchored:  # generated sets have hundreds
        line, written = anchored[0]
        more = f", as {len(anchored) - 1} more have" if len(anchored) > 1 else ""
        text = f"The pattern {written} has anchors{more}, which mean themselves in a schema; used without them."
        warnings.insert(0, problem(path, line, text))
    return warnings


def problem(path: Path, line: int | None, text: str) -> ConfigProblem:
    """Return something wrong in a schema file."""
    return ConfigProblem(file=str(path), line=line, path="", text=text)
