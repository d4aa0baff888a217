"""All schemas a port may use: found in folders, linked by namespace, compiled when first needed.

AX writes imports with addresses that nobody outside can reach; here an address only ever chooses among files
that lie in the folders, and the namespace decides. Nothing is fetched.
Source: rulings, "Validation"; AIF reference, sections 4 and 8.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote

from lxml import etree

from gateway.domain.errors import ConfigError, ConfigProblem
from gateway.domain.namespaces import (
    BATCH_NAMESPACES,
    ENTITY_KEY,
    ENTITY_KEY_LIST,
    ENVELOPE_NAMESPACES,
    FAULT,
    QUERY_CRITERIA,
    Scheme,
    canonical,
    scheme_of,
)
from gateway.xml.grammar import XML_NAMESPACE, Grammar, SchemaResolver, location_of
from gateway.xml.parse import line_of
from gateway.xml.schema_files import XSD, SchemaFile, read_schema_files

_OURS = frozenset({*ENVELOPE_NAMESPACES, *BATCH_NAMESPACES, ENTITY_KEY, ENTITY_KEY_LIST, FAULT, QUERY_CRITERIA})
"""Namespaces of the exchange itself: the first folder, which is ours, decides what they mean."""
_NO_PARTS = frozenset({*ENVELOPE_NAMESPACES, *BATCH_NAMESPACES})
_LINKS = tuple(XSD + name for name in ("import", "include", "redefine", "override"))

_Unit = tuple[SchemaFile, ...]


class Catalog:
    """The schemas below some folders.

    Rule: *folders* start with our own; a document declared in a later folder hides one of an earlier folder,
    except in the namespaces of the exchange itself. An import means the nearest file of its namespace: same
    directory, then same folder, then any other.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self._resolvers = {scheme: SchemaResolver(scheme) for scheme in Scheme}
        read = read_schema_files(folders, self._resolvers[Scheme.HTTP])
        self._files = read.files
        for resolver in self._resolvers.values():
            resolver.files = self._files
        self._problems = list(read.problems)
        self._warnings = list(read.warnings)
        self._by_namespace: dict[str, list[SchemaFile]] = {}
        for file in self._files:
            self._by_namespace.setdefault(file.namespace, []).append(file)
        self._needs = {file.number: self._link(file) for file in self._files}
        self._declared = self._declarations()
        self._grammars: dict[tuple[_Unit, Scheme], Grammar] = {}
        self.fingerprint: str = self._hash()
        """Changes whenever a schema does; the same for the same content wherever the folders lie."""

    def element(self, name: str) -> Grammar | None:
        """Return the schema for a document by the `{namespace}local` name of its root, None when unknown.

        Rule: the name counts exactly; a documented namespace may be in its `http://` or `https://` form. An
        envelope or a batch is no document.
        """
        unit = self._declared.get(canonical(name))
        if unit is None or unit[0].namespace in _NO_PARTS:
            return None
        return self._grammar(unit, scheme_of(name[1:]) if canonical(name) != name else Scheme.HTTP)

    def grammar_of(self, namespace: str) -> Grammar | None:
        """Return the schema of a whole namespace, also of envelope and batch; None when unknown."""
        files = self._by_namespace.get(canonical(namespace))
        if not files:
            return None
        scheme = scheme_of(namespace) if canonical(namespace) != namespace else Scheme.HTTP
        return self._grammar(self._unit(files[0]), scheme)

    def names(self) -> tuple[str, ...]:
        """Return the canonical `{namespace}local` names of all documents, sorted."""
        return tuple(sorted(name for name, unit in self._declared.items() if unit[0].namespace not in _NO_PARTS))

    def problems(self) -> tuple[ConfigProblem, ...]:
        """Return everything that keeps a schema from being used. Compiles all of them: takes its time."""
        found = dict.fromkeys(self._problems)
        for unit in dict.fromkeys(self._unit(file) for file in self._files):
            try:
                self._grammar(unit, Scheme.HTTP).compile()
            except ConfigError as error:
                found.update(dict.fromkeys(error.problems))
        return tuple(found)

    def warnings(self) -> tuple[ConfigProblem, ...]:
        """Return what works but should be known. Compiles all schemas that can be."""
        found = dict.fromkeys(self._warnings)
        for unit in dict.fromkeys(self._unit(file) for file in self._files):
            try:
                carried = self._grammar(unit, Scheme.HTTP).carried_by_xmlschema
            except ConfigError:
                continue
            if carried:
                text = "Written in XSD 1.1, which takes a slower validator."
                found[_problem(unit[0], None, text)] = None
        return tuple(found)

    def _grammar(self, unit: _Unit, scheme: Scheme) -> Grammar:
        key = (unit, scheme)
        if key not in self._grammars:
            self._grammars[key] = Grammar(unit, self._closure(unit), self._resolvers[scheme], scheme)
        return self._grammars[key]

    def _unit(self, file: SchemaFile) -> _Unit:
        """Return the files that make up one schema: the same namespace in the same directory."""
        if not file.namespace:
            return (file,)
        same = self._by_namespace[file.namespace]
        return tuple(other for other in same if other.path.parent == file.path.parent)

    def _closure(self, unit: _Unit) -> _Unit:
        """Return *unit* and everything it needs, itself first."""
        found = dict.fromkeys(unit)
        waiting = list(unit)
        while waiting:
            for needed in self._needs[waiting.pop().number]:
                if needed not in found:
                    found[needed] = None
                    waiting.append(needed)
        return tuple(found)

    def _declarations(self) -> Mapping[str, _Unit]:
        """Return the unit behind every global element; note elements that are declared twice in one folder."""
        declared: dict[str, SchemaFile] = {}
        for file in self._files:
            if not file.namespace:
                continue  # a document without namespace cannot be told from a forgotten one
            for local in file.elements:
                name = f"{{{file.namespace}}}{local}"
                before = declared.get(name)
                if before is not None and before.folder == file.folder:
                    if before.path.parent != file.path.parent:
                        text = f"{local} is declared in {before.path} too; that one counts. Remove one of them."
                        self._problems.append(_problem(file, None, text))
                    continue
                if before is None or file.namespace not in _OURS:
                    declared[name] = file
        return {name: self._unit(file) for name, file in declared.items()}

    def _link(self, file: SchemaFile) -> _Unit:
        """Point every import and include of a file to what is here; return the files it needs."""
        needs: list[SchemaFile] = []
        for link in list(file.root.iterchildren(*_LINKS)):
            is_import = link.tag == XSD + "import"
            namespace = canonical(link.get("namespace", "")) if is_import else file.namespace
            target = self._target(file, link.get("schemaLocation"), namespace, is_import=is_import)
            if target:
                link.set("schemaLocation", location_of(target))
                needs.extend(target)
            elif is_import:
                link.attrib.pop("schemaLocation", "")
                if namespace != XML_NAMESPACE:
                    text = f"Imports the namespace {namespace or '(none)'}, which no schema here declares."
                    self._warnings.append(_problem(file, line_of(link), text))
            else:
                text = f"Includes {link.get('schemaLocation')}, which is not in the schema folders."
                self._problems.append(_problem(file, line_of(link), text))
                file.root.remove(link)
        return tuple(dict.fromkeys(needs))

    def _target(self, file: SchemaFile, location: str | None, namespace: str, *, is_import: bool) -> _Unit:
        """Return the files an import or include means, empty when there are none."""
        if location is not None and ":" not in location:
            path = Path(file.path.parent, *unquote(location).split("/")).resolve()
            allowed = {namespace} if is_import else {namespace, ""}
            for other in self._files:
                if other.path == path and other.namespace in allowed:
                    return (other,)
        if not is_import:
            return ()
        candidates = [other for other in self._by_namespace.get(namespace, ()) if other is not file]
        if not candidates:
            return ()
        return self._unit(max(candidates, key=lambda other: (*_nearness(file, other), -other.number)))

    def _hash(self) -> str:
        digest = hashlib.sha256()
        for content in self._contents():
            digest.update(len(content).to_bytes(8, "big"))
            digest.update(content)
        return digest.hexdigest()

    def _contents(self) -> Iterator[bytes]:
        for file in self._files:
            yield str(file.folder).encode()
            yield etree.tostring(file.root, method="c14n")


def _nearness(file: SchemaFile, other: SchemaFile) -> tuple[int, int]:
    if file.folder != other.folder:
        return (0, -other.folder)
    shared = sum(1 for one, two in zip(file.path.parts, other.path.parts, strict=False) if one == two)
    return (1, shared)


def _problem(file: SchemaFile, line: int | None, text: str) -> ConfigProblem:
    return ConfigProblem(file=str(file.path), line=line, path="", text=text)
