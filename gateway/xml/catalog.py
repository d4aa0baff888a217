"""All schemas a port may use: found in folders, linked by namespace, compiled when first needed.

AX writes imports with addresses that nobody outside can reach; here an address only ever chooses among files
that lie in the folders, and the namespace decides. Nothing is fetched.
Source: rulings, "Validation"; AIF reference, sections 4 and 8.
"""

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache, cached_property
from pathlib import Path

from lxml import etree

from gateway.kernel.errors import ConfigError, ConfigProblem
from gateway.kernel.namespaces import (
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
from gateway.xml.grammar import Grammar
from gateway.xml.limits import WorkClock
from gateway.xml.names import split_name
from gateway.xml.schema_files import Local, SchemaFile, SchemaName, problem, read_schema_files
from gateway.xml.schema_links import SchemaLinks, components, meaning

_OURS = frozenset({*ENVELOPE_NAMESPACES, *BATCH_NAMESPACES, ENTITY_KEY, ENTITY_KEY_LIST, FAULT, QUERY_CRITERIA})
"""Namespaces of the exchange itself: the first folder, which is ours, decides what they mean."""
_NO_PARTS = frozenset({*ENVELOPE_NAMESPACES, *BATCH_NAMESPACES})
_MAX_NAMES = 5


class Catalog:
    """The schemas below some folders.

    Rule: *folders* start with our own; a document declared in a later folder hides one of an earlier folder,
    except in the namespaces of the exchange itself. Within a folder the first file counts. The schema of a
    document is what its file reaches (see `SchemaLinks.reach`) and nothing else, so that a schema that cannot be
    used is trouble only for documents that need it.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self.clock = WorkClock()
        """Stands still while a schema is made."""
        read = read_schema_files(folders)
        self._files = read.files
        self._refused = tuple(read.refused.values())
        links, clock = SchemaLinks(read), self.clock
        self._links = links
        self._problems = (*read.problems, *links.problems)
        self._warnings = (*read.warnings, *links.warnings)
        self._declaring = self._declarations()
        self._declared = {name: files[0] for name, files in self._declaring.items()}
        # none of these knows the catalogue: it would be a circle, and stay in memory after schemas have changed
        is_sound = cache(lambda file: _is_sound(file, links, clock))
        reach = self._reach = cache(lambda file: links.reach(file, is_sound))
        self._grammar = cache(lambda file, scheme: Grammar(reach(file), scheme, clock))
        self._components = cache(lambda file: components(reach(file)))
        self.fingerprint: str = self._hash([folder.resolve() for folder in folders])
        """Changes whenever a schema does; the same for the same content wherever the folders lie."""

    def element(self, name: str) -> Grammar | None:
        """Return the schema for a document by the `{namespace}local` name of its root, None when unknown.

        Rule: the name counts exactly; a documented namespace may be in its `http://` or `https://` form. An
        envelope or a batch is no document.
        """
        file = self._declared.get(canonical(name))
        if file is None or file.namespace in _NO_PARTS:
            return None
        return self._grammar(file, scheme_of(name[1:]) if canonical(name) != name else Scheme.HTTP)

    def refused(self, name: str) -> ConfigProblem | None:
        """Return what is wrong with a file that may declare an unknown document, None when there is none."""
        namespace, _ = split_name(canonical(name))
        return next((each.problem for each in self._refused if namespace and each.namespace == namespace), None)

    def names(self) -> tuple[str, ...]:
        """Return the canonical `{namespace}local` names of all documents, sorted."""
        return tuple(sorted(name for name, file in self._declared.items() if file.namespace not in _NO_PARTS))

    def problems(self) -> tuple[ConfigProblem, ...]:
        """Return everything that keeps a schema from being used. Compiles all of them: takes its time."""
        found = dict.fromkeys(self._problems)
        for grammar in self._all:
            try:
                grammar.compile()
            except ConfigError as error:
                found.update(dict.fromkeys(error.problems))
        return tuple(found)

    def warnings(self) -> tuple[ConfigProblem, ...]:
        """Return what works but should be known. Compiles all schemas that can be."""
        found = dict.fromkeys(self._warnings)
        for grammar in self._all:
            try:
                carried = grammar.carried_by_xmlschema
            except ConfigError:
                continue
            if carried:
                found[problem(grammar.file.path, None, "Written in XSD 1.1, which takes a slower validator.")] = None
        return (*found, *self._contradictions(), *self._ambiguities())

    def rivals(self, name: str) -> tuple[Path, ...]:
        """Return the files that declare a document, the one that counts first, when they contradict one another."""
        name = canonical(name)
        files = self._declaring.get(name, ())
        different = [file for file in files[1:] if self._meaning(name, file) != self._meaning(name, files[0])]
        return tuple(file.path for file in (files[0], *different)) if different else ()

    def prepare(self, name: str) -> None:
        """Build now what the first fault of a document (`{namespace}local`) would wait for, which takes its time.

        A document without a schema, or whose schema does not compile, needs nothing here: its verdict says so.
        """
        grammar = self.element(name)
        if grammar is not None:
            with suppress(ConfigError):
                _ = grammar.explaining

    @cached_property
    def _all(self) -> Sequence[Grammar]:
        """The schemas of all files, those left out that are part of another one: its compiler looks at them."""
        reached = sorted((self._reach(file) for file in self._files), key=lambda each: -len(each.files))
        grammars: list[Grammar] = []
        seen: set[SchemaFile] = set()
        for reach in reached:
            if not seen.issuperset(reach.files):
                seen.update(reach.files)
                grammars.append(self._grammar(reach.files[0], Scheme.HTTP))
        return sorted(grammars, key=lambda each: each.file.number)

    def _contradictions(self) -> Iterator[ConfigProblem]:
        """Tell of documents that two files of one folder declare differently; those of generated sets agree."""
        names: dict[tuple[Path, Path], list[str]] = defaultdict(list)
        for name in self._declaring:
            for other in self.rivals(name)[1:]:
                names[self._declared[name].path, other].append(split_name(name)[1])
        for (counts, other), locals_ in names.items():
            text = f"Declares {_listed(locals_)} differently from {counts}, which counts. Remove the one not used."
            yield problem(other, None, text)

    def _ambiguities(self) -> Iterator[ConfigProblem]:
        """Tell of imports whose meaning hangs on which of several neighbours comes first."""
        names: dict[tuple[SchemaFile, str, Path, Path], list[str]] = defaultdict(list)
        for file, name, (counts, *others) in self._links.ambiguous():
            for other in others:
                if self._declared_in(other, name) != self._declared_in(counts, name):
                    names[file, name.namespace, counts.path, other.path].append(name.local.name)
        for (file, namespace, one, two), locals_ in names.items():
            text = (
                f"Imports the namespace {namespace}, of which {one} and {two} declare {_listed(locals_)} differently; "
                "the first counts. Put a copy beside this file, or name the file in schemaLocation."
            )
            yield problem(file.path, None, text)

    def _meaning(self, name: str, file: SchemaFile) -> Mapping[SchemaName, object]:
        namespace, local = split_name(name)
        return self._declared_in(file, SchemaName(namespace, Local("element", local)))

    def _declared_in(self, file: SchemaFile, name: SchemaName) -> Mapping[SchemaName, object]:
        return meaning(self._components(file), name)

    def _declarations(self) -> Mapping[str, Sequence[SchemaFile]]:
        """Return the files of one folder that declare each global element, the one that counts first."""
        declaring: dict[str, list[SchemaFile]] = {}
        for file in self._files:
            if not file.namespace:
                continue  # a document without namespace cannot be told from a forgotten one
            for local in file.declares:
                if local.kind != "element":
                    continue
                name = f"{{{file.namespace}}}{local.name}"
                before = declaring.get(name)
                if before is not None and before[0].folder == file.folder:
                    before.append(file)
                elif before is None or file.namespace not in _OURS:
                    declaring[name] = [file]
        return declaring

    def _hash(self, folders: Sequence[Path]) -> str:
        """Return a digest of every tree and of where it stands in its folder, which decides what it reaches."""
        digest = hashlib.sha256()
        for file in self._files:
            place = os.fsencode(file.path.relative_to(folders[file.folder]))
            for content in (str(file.folder).encode(), place, etree.tostring(file.root)):
                digest.update(len(content).to_bytes(8, "big"))
                digest.update(content)
        return digest.hexdigest()[:16]  # each message carries it; enough to tell the schemas of a site apart


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return ", ".join(names[:_MAX_NAMES]) + more


def _is_sound(file: SchemaFile, links: SchemaLinks, clock: WorkClock) -> bool:
    """Tell whether a file compiles with all that it refers to."""
    try:
        Grammar(links.reach(file, lambda _: False), Scheme.HTTP, clock).compile()
    except ConfigError:
        return False
    return True
