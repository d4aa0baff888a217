"""What one schema file needs of the others: by address where it leads to a file, else by namespace and folder.

A generated schema imports by addresses that nobody outside can reach, and includes nothing: what it refers to is
looked for in its own folder first. Nothing is taken for belonging together that no name links: a broken or foreign
neighbour changes nothing for a document that does not refer to it.
"""

import os
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from lxml import etree

from gateway.kernel.errors import ConfigProblem
from gateway.kernel.namespaces import canonical
from gateway.xml.names import line_of
from gateway.xml.schema_files import (
    XML_NAMESPACE,
    XSD,
    Local,
    SchemaFile,
    SchemaFiles,
    SchemaName,
    declaration,
    names_in,
    problem,
)

LINKS = tuple(XSD + name for name in ("import", "include", "redefine", "override"))
_ELSEWHERE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
"""Begins an address, or a path with the letter of a drive."""
_SLASHES = re.compile(r"[/\\]")

_Members = dict[tuple[str, SchemaFile], bool]
"""Files by the namespace they count in; False for one that is only there to be redefined."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """What a file names itself: files it includes, redefines and imports by address, and namespaces it imports."""

    includes: tuple[SchemaFile, ...]
    redefines: tuple[SchemaFile, ...]
    located: Mapping[str, tuple[SchemaFile, ...]]
    imports: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """Everything one schema is made of.

    Shape: `namespaces` starts with the schema's own; the files of each in the order in which they were needed.
    A file without namespace stands under that of whoever includes it. `redefines` are the files that a file
    redefines, in the order of its links.
    """

    namespaces: Mapping[str, tuple[SchemaFile, ...]]
    redefines: Mapping[SchemaFile, tuple[SchemaFile, ...]]

    @property
    def files(self) -> tuple[SchemaFile, ...]:
        """Return all files, those of the schema's own namespace first."""
        some = (*self.namespaces.values(), *self.redefines.values())
        return tuple(dict.fromkeys(file for files in some for file in files))


class SchemaLinks:
    """Finds what schemas reach. `problems` and `warnings` tell of links that lead nowhere."""

    def __init__(self, read: SchemaFiles) -> None:
        self._read = read
        self._by_folded_path = {path.casefold(): file for path, file in reversed(list(read.by_path.items()))}
        self._by_namespace: dict[str, list[SchemaFile]] = defaultdict(list)
        for file in read.files:
            self._by_namespace[file.namespace].append(file)
        self.problems: list[ConfigProblem] = []
        self.warnings: list[ConfigProblem] = []
        self._links = [self._link(file) for file in read.files]

    def reach(self, start: SchemaFile, sound: Callable[[SchemaFile], bool]) -> Reach:
        """Return everything that *start* refers to, directly or not.

        Rule: what a file includes or imports by an address that leads to a file; then, for names not found so, the
        file's own folder when it declares any of them, else the first of `folders` that declares them all; then
        files of the same namespace and folder that extend what was reached, for documents may name them by xsi:type,
        as far as they are *sound*: nothing asks for them.
        """
        members: _Members = {}
        known: dict[str, set[Local]] = defaultdict(set)
        waiting = [(start.namespace, start)]
        while waiting:
            for namespace, file in waiting:
                self._add(namespace, file, members, known)
            waiting = next(filter(None, (self._wanted(*each, known) for each in members)), [])
            waiting = waiting or [each for each in self._extending(members, known) if sound(each[1])]
        namespaces: dict[str, list[SchemaFile]] = defaultdict(list)
        for (namespace, file), counts in members.items():
            if counts:
                namespaces[namespace].append(file)
        return Reach(
            namespaces={each: tuple(files) for each, files in namespaces.items()},
            redefines={
                file: self._links[file.number].redefines for _, file in members if self._links[file.number].redefines
            },
        )

    def _add(self, namespace: str, file: SchemaFile, members: _Members, known: dict[str, set[Local]]) -> None:
        """Add a file with all that it names by address."""
        waiting = [(namespace, file, True)]
        while waiting:
            each, file, counts = waiting.pop(0)
            if members.get((each, file), False) or ((each, file) in members and not counts):
                continue
            members[each, file] = counts
            known[each].update(file.declares)
            links = self._links[file.number]
            waiting += [(each, other, True) for other in links.includes]
            waiting += [(each, other, False) for other in links.redefines]
            waiting += [(name, other, True) for name, some in links.located.items() for other in some]

    def _wanted(
        self, namespace: str, file: SchemaFile, known: Mapping[str, Collection[Local]]
    ) -> list[tuple[str, SchemaFile]]:
        """Return files with the names that *file* uses and nobody declares yet."""
        links = self._links[file.number]
        found: list[tuple[str, SchemaFile]] = []
        for name in sorted({namespace, *links.imports}):
            used = self._used(file, namespace, name)
            missing = used.difference(known.get(name, ()))
            if missing or (not used and name not in known):
                folder = self._folder(file, name, used, own=name == namespace)
                found += [(name, other) for other in (_fewest(folder, missing) if used else folder)]
        return found

    def _used(self, file: SchemaFile, counts_in: str, namespace: str) -> set[Local]:
        """Return what *file*, which counts in one namespace, uses of another one or of that."""
        names = {namespace, ""} if namespace == counts_in and not file.namespace else {namespace}
        return {each.local for each in file.refers if each.namespace in names}

    def _folder(self, file: SchemaFile, namespace: str, used: Set[Local], *, own: bool) -> list[SchemaFile]:
        """Return the files of a namespace in the one folder that is to declare what *file* uses of it.

        Rule: *file*'s own folder when it declares any of it, for what a set lacks must not come from another set
        (and for its *own* namespace no other folder counts); else the first that declares all; else the first that
        declares any. Where nothing is used by name, the first one.
        """
        offers = [
            (files, {local for each in files for local in each.declares if local in used})
            for files in self.folders(file, namespace)
            if not own or files[0].path.parent == file.path.parent
        ]
        offers = [each for each in offers if each[1]] if used else offers
        offers.sort(key=lambda each: (each[0][0].path.parent != file.path.parent, len(each[1]) < len(used)))
        return offers[0][0] if offers else []

    def folders(self, file: SchemaFile, namespace: str) -> list[list[SchemaFile]]:
        """Return the files of a namespace by directory, nearest to *file* first.

        Rule: its own directory; then those of the same schema folder by how much of the path they share, one
        above before one beside; then the other schema folders in their order, which starts with ours.
        """
        by_parent: dict[Path, list[SchemaFile]] = {}
        for other in self._by_namespace.get(namespace, ()):
            by_parent.setdefault(other.path.parent, []).append(other)

        def distance(files: list[SchemaFile]) -> tuple[bool, int, int, int, int]:
            parent = files[0].path.parent
            shared = len(Path(os.path.commonpath([parent, file.path.parent])).parts)
            foreign = files[0].folder != file.folder
            return foreign, files[0].folder, -shared, len(parent.parts), files[0].number

        return sorted(by_parent.values(), key=distance)

    def ambiguous(self) -> Iterator[tuple[SchemaFile, SchemaName, Sequence[SchemaFile]]]:
        """Yield names that a file imports and that several files declare, none of them nearer than the others.

        Shape: the file, the name, the files, the one that counts first.
        """
        for file in self._read.files:
            links = self._links[file.number]
            for namespace in sorted(links.imports - links.located.keys()):
                used = sorted(each for each in file.refers if each.namespace == namespace)
                folders = self.folders(file, namespace)
                locals_ = {each.local for each in used}
                nearest = _fewest(self._folder(file, namespace, locals_, own=False), locals_)
                if not nearest or nearest[0].folder != file.folder:
                    continue
                parent = nearest[0].path.parent
                near = [parent] if parent in file.path.parents else [files[0].path.parent for files in folders]
                for each in used:
                    others = [
                        other
                        for files in folders
                        for other in files
                        if other.path.parent in near and other.folder == file.folder and each.local in other.declares
                    ]
                    if len(others) > 1:
                        counts = next((one for one in nearest if one in others), others[0])
                        yield file, each, [counts, *(other for other in others if other is not counts)]

    def _extending(self, members: _Members, known: Mapping[str, Collection[Local]]) -> Iterator[tuple[str, SchemaFile]]:
        """Yield files beside the members that extend what is known."""
        parents = dict.fromkeys((namespace, file.path.parent) for namespace, file in members if file.namespace)
        for namespace, parent in parents:
            for other in self._by_namespace[namespace]:
                if other.path.parent != parent or (namespace, other) in members:
                    continue
                if any(each.local in known.get(each.namespace, ()) for each in other.extends):
                    yield namespace, other

    def _link(self, file: SchemaFile) -> Links:
        includes: list[SchemaFile] = []
        redefines: list[SchemaFile] = []
        located: dict[str, tuple[SchemaFile, ...]] = {}
        imports: set[str] = set()
        for link in file.root.iterchildren(*LINKS):
            location = link.get("schemaLocation")
            if link.tag == XSD + "import":
                namespace = canonical(link.get("namespace", ""))
                imports.add(namespace)
                target = self._located(file, location, {namespace})
                if target is not None:
                    located[namespace] = (*located.get(namespace, ()), target)
                elif namespace != XML_NAMESPACE and not self._by_namespace.get(namespace):
                    text = f"Imports the namespace {namespace or '(none)'}, which no schema here declares."
                    self.warnings.append(problem(file.path, line_of(link), text))
                continue
            if link.tag == XSD + "override":
                text = "xs:override is not supported; copy the file and change the copy."
                self.problems.append(problem(file.path, line_of(link), text))
                continue
            target = self._located(file, location, {file.namespace, ""}) or self._namesake(file, location)
            if target is not None and target is not file:
                (includes if link.tag == XSD + "include" else redefines).append(target)
            elif target is None and not self._beside(file, location):
                self.problems.append(problem(file.path, line_of(link), self._missing(file, location)))
        return Links(includes=tuple(includes), redefines=tuple(redefines), located=located, imports=frozenset(imports))

    def _located(self, file: SchemaFile, location: str | None, allowed: Collection[str]) -> SchemaFile | None:
        """Return the file behind a relative address, written with any slashes and in any case."""
        if not location or _ELSEWHERE.match(location):
            return None
        path = self._path(file, location)
        found = self._read.by_path.get(path) or self._by_folded_path.get(path.casefold())
        return found if found is not None and found.namespace in allowed else None

    def _namesake(self, file: SchemaFile, location: str | None) -> SchemaFile | None:
        """Return the file beside *file* that has the name an address ends in."""
        name = _SLASHES.split(location or "")[-1]
        return self._located(file, name, {file.namespace, ""}) if name != location else None

    def _beside(self, file: SchemaFile, location: str | None) -> bool:
        """Tell whether an address out of reach may mean files beside *file*, which are found by their names."""
        same = self._by_namespace[file.namespace]
        return _ELSEWHERE.match(location or "") is not None and any(
            other is not file and other.path.parent == file.path.parent for other in same
        )

    def _missing(self, file: SchemaFile, location: str | None) -> str:
        if location and self._path(file, location) in self._read.refused:
            return f"Includes {location}, which cannot be used: see what is said about it."
        return f"Includes {location}, which is not in the schema folders. Put it there, or correct schemaLocation."

    def _path(self, file: SchemaFile, location: str) -> str:
        return os.path.normpath(Path(file.path.parent, *_SLASHES.split(unquote(location))))


def _fewest(files: Sequence[SchemaFile], wanted: Set[Local]) -> list[SchemaFile]:
    """Return as few files as declare what is wanted, as far as they do."""
    chosen: list[SchemaFile] = []
    missing = set(wanted)
    while missing:
        best = max(files, key=lambda each: len(missing.intersection(each.declares)), default=None)
        if best is None or missing.isdisjoint(best.declares):
            break
        chosen.append(best)
        missing.difference_update(best.declares)
    return chosen


def components(reach: Reach) -> Mapping[SchemaName, etree._Element]:
    """Return everything that a schema declares."""
    found: dict[SchemaName, etree._Element] = {}
    for namespace, files in reach.namespaces.items():
        for file in files:
            for child in file.root.iterchildren("*"):
                if (local := declaration(child)) is not None:
                    found.setdefault(SchemaName(namespace, local), child)
    return found


def meaning(declared: Mapping[SchemaName, etree._Element], reference: SchemaName) -> Mapping[SchemaName, object]:
    """Return what a name and all that it uses are declared as, whatever the prefixes and the order."""
    found: dict[SchemaName, object] = {}
    waiting = [reference]
    while waiting:
        each = waiting.pop()
        if each in found:
            continue
        element = declared.get(each)
        found[each] = None if element is None else _content(element)
        for inner in element.iter("*") if element is not None else ():
            for name in (name for names in names_in(inner).values() for name in names):
                waiting.append(name if name.namespace else SchemaName(each.namespace, name.local))
    return found


def _content(element: etree._Element) -> object:
    """Return an element of a schema as something that is equal when it means the same."""
    attributes = {**{str(name): value for name, value in element.attrib.items()}, **names_in(element)}
    children = tuple(_content(child) for child in element.iterchildren("*") if child.tag != XSD + "annotation")
    return element.tag, tuple(sorted(attributes.items(), key=lambda each: each[0])), children
