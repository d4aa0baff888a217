"""One compiled schema: libxml2's for the verdict, that of xmlschema for telling what is wrong.

Both are built from the same normalised documents, handed over in memory: nothing is ever fetched, and nothing
outside the schema folders is read.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Protocol, cast

from lxml import etree

from gateway.domain.errors import ConfigError, ConfigProblem
from gateway.domain.namespaces import Scheme, in_scheme
from gateway.xml.normalise import is_costly, rewrite_scheme
from gateway.xml.parse import LogEntry, document_parser
from gateway.xml.schema_files import XSD, SchemaFile
from gateway.xml.shapes import Shapes

if TYPE_CHECKING:
    from xmlschema import XMLSchemaBase

XML_NAMESPACE = "http://www.w3.org/XML/1998/namespace"
LARGE = 5_000
"""Parts with more elements are judged by a parser: the time libxml2 takes to log errors on a tree grows with
the square of their number (40,000 take 15 s)."""
_LOCATION = "schema:"
_VERSIONING = "{http://www.w3.org/2007/XMLSchema-versioning}minVersion"
_ONLY_IN_1_1 = tuple(
    XSD + name
    for name in (
        "assert",
        "assertion",
        "alternative",
        "openContent",
        "defaultOpenContent",
        "override",
        "explicitTimezone",
    )
)


class TreeEntry(LogEntry, Protocol):
    """An error of libxml2 about a tree: also where in it, as `/*/*[2]`."""

    path: str | None


def location_of(files: Sequence[SchemaFile]) -> str:
    """Return the address under which other schemas import or include *files* as one."""
    return _LOCATION + "+".join(str(file.number) for file in files)


class SchemaResolver(etree.Resolver):
    """Serves the addresses that `location_of` makes, from memory; refuses everything else."""

    def __init__(self, scheme: Scheme) -> None:
        super().__init__()
        self._scheme = scheme
        self.files: Sequence[SchemaFile] = ()

    def resolve(self, system_url: str, public_id: str, context: object) -> object:  # type: ignore[override]
        """Return the schema behind an address of ours."""
        if not system_url.startswith(_LOCATION):
            raise OSError("external references are refused")
        numbers = [int(number) for number in system_url.removeprefix(_LOCATION).split("+")]
        text = entry_document([self.files[number] for number in numbers], self._scheme)
        return self.resolve_string(text, context, base_url=system_url)


def entry_document(files: Sequence[SchemaFile], scheme: Scheme) -> str:
    """Return one schema document for *files*, which share a namespace: the file itself, or one that includes all."""
    if len(files) == 1:
        return rewrite_scheme(etree.tostring(files[0].root, encoding="unicode"), scheme, schema=True)
    root = etree.Element(XSD + "schema", nsmap={"xs": XSD[1:-1]})
    if files[0].namespace:
        root.set("targetNamespace", files[0].namespace)
    for file in files:
        etree.SubElement(root, XSD + "include", schemaLocation=location_of([file]))
    return rewrite_scheme(etree.tostring(root, encoding="unicode"), scheme, schema=True)


class Grammar:
    """The compiled schema of one namespace in one scheme, made on first use.

    `files` declare the namespace; `closure` are those and all they import and include.
    """

    def __init__(
        self, files: Sequence[SchemaFile], closure: Sequence[SchemaFile], resolver: SchemaResolver, scheme: Scheme
    ) -> None:
        self._files = tuple(files)
        self._closure = tuple(closure)
        self._resolver = resolver
        self._scheme = scheme
        self._compiled: etree.XMLSchema | None = None
        self._carried: XMLSchemaBase | None = None

    @cached_property
    def shapes(self) -> Shapes:
        """What may stand where, for completing documents."""
        return Shapes(self._closure)

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
        if len(self._files) == 1 and self._scheme is Scheme.HTTP:
            root = self._files[0].root  # the tree as read: errors carry the lines of the file
        else:
            root = etree.fromstring(entry_document(self._files, self._scheme), document_parser(resolver=self._resolver))
        try:
            self._compiled = etree.XMLSchema(root)
        except etree.XMLSchemaParseError as error:
            if not any(_is_1_1(file) for file in self._closure):
                raise ConfigError(self._problems(error)) from error
            self._carried = self._build(keep_costly=True)

    def valid(self, part: etree._Element) -> bool:
        """Judge one document; the time is linear in its size, however many errors it has."""
        self.compile()
        if self._compiled is None:
            assert self._carried is not None
            return self._carried.is_valid(part, use_location_hints=False)
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

    @cached_property
    def explaining(self) -> "XMLSchemaBase | None":
        """The schema for explanations, None when xmlschema cannot build it. Costly patterns are left out of it."""
        if self.carried_by_xmlschema:
            return self._carried
        try:
            return self._build(keep_costly=False)
        except ConfigError:
            return None

    def _build(self, *, keep_costly: bool) -> "XMLSchemaBase":
        from elementpath import ElementPathError  # noqa: PLC0415  # only a failed document pays for the import
        from xmlschema import XMLSchema10, XMLSchema11, XMLSchemaException  # noqa: PLC0415

        make = XMLSchema11 if any(_is_1_1(file) for file in self._closure) else XMLSchema10
        sources = [
            (file.namespace, self._for_xmlschema(file, keep_costly=keep_costly))
            for file in self._closure
            if file.namespace != XML_NAMESPACE
        ]
        try:
            schema = make(sources[0][1], allow="none", use_fallback=False, build=False)
            for namespace, source in sources[1:]:
                schema.add_schema(source, in_scheme(namespace, self._scheme) or schema.target_namespace)
            schema.build()
        except (XMLSchemaException, ElementPathError, ArithmeticError, ValueError, TypeError, RecursionError) as error:
            first = str(error).strip().splitlines()
            text = f"The schema does not compile: {first[0] if first else type(error).__name__}"
            raise ConfigError([ConfigProblem(file=str(self._files[0].path), line=None, path="", text=text)]) from error
        return schema

    def _for_xmlschema(self, file: SchemaFile, *, keep_costly: bool) -> str:
        """Return a file without addresses: what it imports and includes is handed over beside it."""
        root = etree.fromstring(etree.tostring(file.root), document_parser())
        for link in list(root.iterchildren(XSD + "import", XSD + "include")):
            if link.tag == XSD + "include":
                root.remove(link)
            else:
                link.attrib.pop("schemaLocation", "")
        if not keep_costly:
            for facet in list(root.iter(XSD + "pattern")):
                parent = facet.getparent()
                if parent is not None and is_costly(facet.get("value", "")):
                    parent.remove(facet)
        return rewrite_scheme(etree.tostring(root, encoding="unicode"), self._scheme, schema=True)

    def _problems(self, error: etree.XMLSchemaParseError) -> list[ConfigProblem]:
        names: Mapping[str, SchemaFile] = {location_of([file]): file for file in self._closure}
        problems = []
        for entry in error.error_log:
            file = names.get(entry.filename, self._files[0])
            text = f"The schema does not compile: {entry.message}"
            problems.append(ConfigProblem(file=str(file.path), line=entry.line or None, path="", text=text))
        return problems or [
            ConfigProblem(
                file=str(self._files[0].path), line=None, path="", text=f"The schema does not compile: {error}"
            )
        ]


def has_more_than(count: int, part: etree._Element) -> bool:
    """Tell whether a document has more than *count* elements, without counting on."""
    return next(islice(part.iter(), count, None), None) is not None


def _is_1_1(file: SchemaFile) -> bool:
    if file.root.get(_VERSIONING, "1.0") > "1.0":
        return True
    return next(file.root.iter(*_ONLY_IN_1_1), None) is not None
