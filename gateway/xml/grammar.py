"""One compiled schema: libxml2's for the verdict, that of xmlschema for telling what is wrong.

Both are built from the same normalised documents, handed over in memory: nothing is ever fetched, and nothing
outside the schema folders is read.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Protocol, cast

from lxml import etree

from gateway.kernel.errors import ConfigError, ConfigProblem
from gateway.kernel.namespaces import Scheme, canonical, in_scheme
from gateway.xml.limits import WorkClock
from gateway.xml.malformed import LogEntry
from gateway.xml.names import line_of
from gateway.xml.normalise import is_costly, rewrite_scheme
from gateway.xml.parse import document_parser
from gateway.xml.schema_files import XML_NAMESPACE, XSD, Local, SchemaFile, SchemaName, declaration, names_in, problem
from gateway.xml.schema_links import LINKS, Reach
from gateway.xml.shapes import Shapes

if TYPE_CHECKING:
    from xmlschema import XMLSchemaBase

LARGE = 5_000
"""Parts with more elements are judged by a parser: the time libxml2 takes to log errors on a tree grows with
the square of their number (40,000 take 15 s)."""
_VERSIONING = "{http://www.w3.org/2007/XMLSchema-versioning}minVersion"
_ONLY_IN_1_1 = [
    XSD + name
    for name in [
        "assert",
        "assertion",
        "alternative",
        "openContent",
        "defaultOpenContent",
        "override",
        "explicitTimezone",
    ]
]


class TreeEntry(LogEntry, Protocol):
    """An error of libxml2 about a tree: also where in it, as `/*/*[2]`."""

    path: str | None


class _Resolver(etree.Resolver):
    """Serves the documents of one schema from memory; refuses everything else."""

    def __init__(self, documents: Mapping[str, str]) -> None:
        super().__init__()
        self._documents = documents

    def resolve(self, system_url: str, public_id: str, context: object) -> object:  # type: ignore[override]
        """Return the document behind an address of ours."""
        if system_url not in self._documents:
            raise OSError("external references are refused")
        return self.resolve_string(self._documents[system_url], context, base_url=system_url)


class Grammar:
    """The compiled schema that a document reaches, in one scheme, made on first use."""

    def __init__(self, reach: Reach, scheme: Scheme, clock: WorkClock) -> None:
        """Take what a document reaches; *clock* stands still while the schema is made."""
        self._reach = reach
        self._scheme = scheme
        self._clock = clock
        self._unusable: ConfigError | None = None
        self._compiled: etree.XMLSchema | None = None
        self._carried: XMLSchemaBase | None = None

    @cached_property
    def shapes(self) -> Shapes:
        """What may stand where, for completing documents."""
        return Shapes(self._reach.files)

    @property
    def files(self) -> tuple[SchemaFile, ...]:
        """All files that the schema is made of."""
        return self._reach.files

    @property
    def file(self) -> SchemaFile:
        """The file that declares the document."""
        return self._reach.files[0]

    @property
    def carried_by_xmlschema(self) -> bool:
        """True when libxml2 cannot compile the schema, because it is written in XSD 1.1."""
        self.compile()
        return self._carried is not None

    def compile(self) -> None:
        """Make the verdict ready.

        Raises: ConfigError with everything that keeps the schema from compiling.
        """
        if self._compiled is not None or self._carried is not None:
            return
        if self._unusable is not None:
            raise ConfigError(self._unusable.problems)  # one message or ten thousand: it is tried once
        try:
            with self._clock.stopped():
                self._compile()
        except ConfigError as error:
            self._unusable = error
            raise

    def _compile(self) -> None:
        documents = self._documents()
        main = next(iter(documents))
        root = etree.fromstring(documents[main], document_parser(resolver=_Resolver(documents)))
        try:
            self._compiled = etree.XMLSchema(root)
        except etree.XMLSchemaParseError as error:
            if not any(_is_1_1(file) for file in self._reach.files):
                raise ConfigError(self._problems(error, documents)) from error
            self._carried = self._build(keep_costly=True)

    def valid(self, part: etree._Element) -> bool:
        """Judge one document; the time is linear in its size, however many errors it has."""
        self.compile()
        if self._compiled is None:
            assert self._carried is not None
            return bool(accepted(self._carried, part))
        if not has_more_than(LARGE, part):
            return self._compiled(part)
        try:
            etree.fromstring(etree.tostring(part), document_parser(schema=self._compiled))
        except etree.XMLSyntaxError:
            return False
        return True

    def errors(self, part: etree._Element) -> Sequence[TreeEntry]:
        """Return what libxml2 has against a document of moderate size, with paths; empty for XSD 1.1."""
        if self._compiled is None or self._compiled(part):
            return ()
        return list(cast(Iterable[TreeEntry], self._compiled.error_log))

    def objections(self, part: etree._Element) -> Sequence[LogEntry]:
        """Return what libxml2 has against a document of any size, without paths; empty for XSD 1.1."""
        if self._compiled is None:
            return ()
        parser = document_parser(schema=self._compiled)
        with suppress(etree.XMLSyntaxError):
            etree.fromstring(etree.tostring(part, with_tail=False), parser)
        return list(cast(Iterable[LogEntry], parser.error_log))

    @cached_property
    def explaining(self) -> "XMLSchemaBase | None":
        """The schema for explanations, None when xmlschema cannot build it. Costly patterns are left out of it."""
        if self.carried_by_xmlschema:
            return self._carried
        try:
            with self._clock.stopped():
                return self._build(keep_costly=False)
        except ConfigError:
            return None

    def _build(self, *, keep_costly: bool) -> "XMLSchemaBase":
        from xmlschema import XMLSchema10, XMLSchema11  # noqa: PLC0415  # only a failed document pays for the import

        make = XMLSchema11 if any(_is_1_1(file) for file in self._reach.files) else XMLSchema10
        sources = [
            (namespace, self._for_xmlschema(copy, keep_costly=keep_costly))
            for namespace, _, copy in self._copies()
            if namespace != XML_NAMESPACE
        ]
        try:
            schema = make(sources[0][1], allow="none", use_fallback=False, build=False)
            for namespace, source in sources[1:]:
                schema.add_schema(source, in_scheme(namespace, self._scheme) or schema.target_namespace)
            schema.build()
        except stumbles() as error:
            first = str(error).strip().splitlines()
            text = f"The schema does not compile: {first[0] if first else type(error).__name__}"
            raise ConfigError([problem(self.file.path, None, text)]) from error
        return schema

    def _for_xmlschema(self, root: etree._Element, *, keep_costly: bool) -> str:
        """Return a copy of a file without addresses: what it imports and includes is handed over beside it."""
        for link in root.iterchildren(XSD + "import"):
            link.attrib.pop("schemaLocation", "")
        if not keep_costly:
            for facet in list(root.iter(XSD + "pattern")):
                parent = facet.getparent()
                if parent is not None and is_costly(facet.get("value", "")):
                    parent.remove(facet)
        return self._text(root)

    def _documents(self) -> dict[str, str]:
        """Return what libxml2 is given, by address: one document for each namespace, the schema's own first.

        It takes only the first import of a namespace into account, so that one has to bring all files of it.
        """
        files: dict[str, str] = {}
        for namespace, file, copy in self._copies():
            if file.identifies:
                _take_out_identities(copy)
            files[self._address(namespace, file)] = self._text(copy)
        documents: dict[str, str] = {}
        for namespace, members in self._reach.namespaces.items():
            addresses = [self._address(namespace, file) for file in members]
            if len(addresses) == 1:
                documents[self._address(namespace)] = files[addresses[0]]
                continue
            root = etree.Element(XSD + "schema", nsmap={"xs": XSD[1:-1]})
            if namespace:
                root.set("targetNamespace", namespace)
            for address in addresses:
                etree.SubElement(root, XSD + "include", schemaLocation=address)
            documents[self._address(namespace)] = self._text(root)
        return documents | files

    def _copies(self) -> Iterator[tuple[str, SchemaFile, etree._Element]]:
        """Yield every file with the namespace it counts in and a copy of its tree that refers to the others.

        What an earlier file of a namespace declares is left out of the later ones: generated sets repeat themselves.
        """
        for namespace, files in self._reach.namespaces.items():
            seen: set[Local] = set()
            for file in files:
                copy = deepcopy(file.root)
                self._link(copy, file, namespace)
                for child in list(copy.iterchildren("*")):
                    local = declaration(child)
                    if local is not None and local in seen:
                        copy.remove(child)
                seen.update(file.declares)
                yield namespace, file, copy
                for redefined in self._reach.redefines.get(file, ()):
                    copy = deepcopy(redefined.root)
                    self._link(copy, redefined, namespace)
                    yield namespace, redefined, copy

    def _link(self, root: etree._Element, file: SchemaFile, namespace: str) -> None:
        """Make imports mean the namespaces here; take out includes, for every file of a namespace counts anyway."""
        redefines = iter(self._reach.redefines.get(file, ()))
        for link in list(root.iterchildren(*LINKS)):
            if link.tag == XSD + "import":
                imported = canonical(link.get("namespace", ""))
                if imported in self._reach.namespaces:
                    link.set("schemaLocation", self._address(imported))
                else:
                    link.attrib.pop("schemaLocation", "")
            elif link.tag == XSD + "include" or (target := next(redefines, None)) is None:
                root.remove(link)
            else:
                link.set("schemaLocation", self._address(namespace, target))

    def _text(self, root: etree._Element) -> str:
        return rewrite_scheme(etree.tostring(root, encoding="unicode"), self._scheme, schema=True)

    def _address(self, namespace: str, file: SchemaFile | None = None) -> str:
        """Return where libxml2 finds a namespace, or one file of it."""
        number = list(self._reach.namespaces).index(namespace)
        return f"schema:{number}" + ("" if file is None else f"+{file.number}")

    def _problems(self, error: etree.XMLSchemaParseError, documents: Mapping[str, str]) -> list[ConfigProblem]:
        """Return what keeps the schema from compiling, at its places in the files."""
        copies = {self._address(namespace, file): (file, copy) for namespace, file, copy in self._copies()}
        for namespace, files in self._reach.namespaces.items():
            if len(files) == 1:
                copies[self._address(namespace)] = copies[self._address(namespace, files[0])]
        main = next(iter(documents))
        problems = []
        for entry in error.error_log:
            address = entry.filename if entry.filename in copies else main
            file, copy = copies.get(address, (self.file, None))
            line = None if copy is None else _line(entry.line, documents[address], copy)
            problems.append(problem(file.path, line, f"The schema does not compile: {entry.message}"))
        return problems or [problem(self.file.path, None, f"The schema does not compile: {error}")]


def _line(served: int, document: str, copy: etree._Element) -> int | None:
    """Return the line in the file of what is on a line of the document that was made of it."""
    elements = zip(etree.fromstring(document, document_parser()).iter("*"), copy.iter("*"), strict=True)
    return next((line_of(own) for each, own in elements if line_of(each) == served), None)


def _take_out_identities(root: etree._Element) -> None:
    """Make names of all xs:ID and xs:IDREF: libxml2 would compare those of all messages of a file.

    `corrections.Identities` judges them, with types that xmlschema knows.
    """

    def as_name(written: str, name: SchemaName) -> str:
        return written.removesuffix(name.local.name) + "NCName" if name in identifying else written

    identifying = {SchemaName(XSD[1:-1], Local("type", name)) for name in ("ID", "IDREF")}
    for element in root.iter("*"):
        for attribute, names in names_in(element).items():
            if not identifying.isdisjoint(names):
                written = zip(element.get(attribute, "").split(), names, strict=True)
                element.set(attribute, " ".join(as_name(*each) for each in written))


def accepted(schema: "XMLSchemaBase", part: etree._Element) -> bool | None:
    """Return the verdict of xmlschema on a document, None when it stumbles over it, as over the year 99999999999."""
    try:
        return schema.is_valid(part, use_location_hints=False)
    except stumbles():
        return None


def stumbles() -> tuple[type[Exception], ...]:
    """Return what xmlschema raises when a document or schema is too much for it: its own errors are many kinds."""
    from elementpath import ElementPathError  # noqa: PLC0415  # only few documents pay for the imports
    from xmlschema import XMLSchemaException  # noqa: PLC0415

    own = (XMLSchemaException, ElementPathError)
    return (*own, ArithmeticError, LookupError, TypeError, ValueError, RecursionError)


def has_more_than(count: int, part: etree._Element) -> bool:
    """Tell whether a document has more than *count* elements, without counting on."""
    return next(islice(part.iter(), count, None), None) is not None


def _is_1_1(file: SchemaFile) -> bool:
    if file.root.get(_VERSIONING, "1.0") > "1.0":
        return True
    return next(file.root.iter(*_ONLY_IN_1_1), None) is not None
