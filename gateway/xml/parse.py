"""The one module that makes XML parsers, and the one place that maps the errors of lxml to ours.

Every setting stops a measured attack:

    resolve_entities, load_dtd, dtd_validation, attribute_defaults off   files read, values cut, names moved
    no_network, refusing resolver                                        anything fetched, two locks
    huge_tree off                                                        depth over 256, values over 10 MB
    recover off                                                          a cut batch taken for a whole one
    remove_comments, remove_pis                                          nothing but content reaches a handler
    collect_ids off                                                      an xml:id of one message refusing its file

No setting makes a document type harmless, so a DOCTYPE is refused before its first declaration is read. (With
collect_ids off libxml2 even asks for an external subset, which the resolver refuses.)
lxml is never given a path: it would unzip what lies there.
Source: reliability reference, sections 4.1 and 4.2.
"""

from collections.abc import Iterable, Mapping, Sequence
from inspect import signature
from typing import Literal, Protocol, TypedDict, cast

from lxml import etree

from gateway.kernel.errors import FileRefused, MalformedMessage
from gateway.kernel.problem import Problem
from gateway.kernel.text import clean as fit_to_show
from gateway.xml import mistakes
from gateway.xml.encoding import SUPPORTED

MAX_TEXT = 200

_NO_MEMORY = {2}
_TOO_LONG_NAMES = {110}
_RESOURCE_LIMIT = {114}
_UNFINISHED = {45, 47, 63}  # comment, processing instruction, CDATA: while bytes come, only a limit ends them
_BAD_BYTES = {81}
_UNKNOWN_ENCODING = {31, 32}


class LogEntry(Protocol):
    """One line of libxml2's error log."""

    type: int
    level: int
    line: int
    column: int
    message: str


class _Settings(TypedDict):
    resolve_entities: bool
    no_network: bool
    load_dtd: bool
    dtd_validation: bool
    attribute_defaults: bool
    huge_tree: bool
    recover: bool
    remove_comments: bool
    remove_pis: bool
    collect_ids: bool


_HARDENED: _Settings = {
    "resolve_entities": False,
    "no_network": True,
    "load_dtd": False,
    "dtd_validation": False,
    "attribute_defaults": False,
    "huge_tree": False,
    "recover": False,
    "remove_comments": True,
    "remove_pis": True,
    "collect_ids": False,
}


class _RefuseAll(etree.Resolver):
    """Refuses every external reference, should one ever be asked for."""

    def resolve(self, system_url: str, public_id: str, context: object) -> None:  # type: ignore[override]
        raise OSError("external references are refused")


class DoctypeFound(Exception):
    """A DOCTYPE begins; nothing of it has been read."""


class RootFound(Exception):
    """The start tag of the root element was read.

    Shape: `attributes` by `{namespace}local` name; `namespaces` are the declarations of this tag alone.
    """

    def __init__(self, tag: str, attributes: Mapping[str, str], namespaces: Mapping[str | None, str]) -> None:
        super().__init__(tag)
        self.tag = tag
        self.attributes = attributes
        self.namespaces = namespaces


class _RootTarget:
    """Stops the parser at the first thing that decides what a file is: a DOCTYPE or the root's start tag."""

    def doctype(self, name: str | None, public_id: str | None, system_url: str | None) -> None:
        raise DoctypeFound

    def start(self, tag: str, attributes: Mapping[str, str], namespaces: Mapping[str | None, str]) -> None:
        raise RootFound(tag, attributes, namespaces)

    def close(self) -> None:
        """End of the file before any root."""


# lxml asks every parser anew which arguments its target takes, and working that out takes as long as reading a root
_RootTarget.start.__signature__ = signature(_RootTarget.start)  # type: ignore[attr-defined]  # where inspect looks first


def root_parser() -> etree.XMLParser:
    """Return a parser whose `feed` raises DoctypeFound or RootFound as soon as it meets one."""
    parser = etree.XMLParser(target=_RootTarget(), **_HARDENED)  # type: ignore[arg-type]  # stubs know one target
    parser.resolvers.add(_RefuseAll())
    return parser


def pull_parser(events: Sequence[Literal["start", "end"]], tags: Sequence[str]) -> etree.XMLPullParser:
    """Return a parser to be fed piece by piece that reports *events* of elements named in *tags* alone."""
    parser = etree.XMLPullParser(events=events, tag=tuple(tags), **_HARDENED)
    parser.resolvers.add(_RefuseAll())
    return parser


def document_parser(
    *, resolver: etree.Resolver | None = None, schema: etree.XMLSchema | None = None
) -> etree.XMLParser:
    """Return a parser for whole small documents.

    A *resolver* of the caller's (for shipped schemas) replaces the refusing one: it must raise OSError
    for everything it does not know. With a *schema* the parser refuses what the schema refuses, in linear time.
    """
    parser = etree.XMLParser(schema=schema, **_HARDENED)
    parser.resolvers.add(resolver if resolver is not None else _RefuseAll())
    return parser


def parse_checked(content: bytes, parser: etree.XMLParser | None = None) -> etree._Element:
    """Parse bytes of our own store, in this process; whoever parses many gives a *parser* of `document_parser`.

    Raises: MalformedMessage when they are not well-formed or carry a DOCTYPE.
    """
    parser = document_parser() if parser is None else parser
    try:
        root = etree.fromstring(content, parser)
    except etree.XMLSyntaxError as error:
        raise _malformed(error, parser.error_log) from error
    except OSError as error:  # a resolver refused what a DOCTYPE names
        raise _doctype() from error
    if root.getroottree().docinfo.internalDTD is not None:
        raise _doctype()
    return root


def _doctype() -> MalformedMessage:
    return MalformedMessage("The document has a DOCTYPE; remove it, it is never accepted.", code="dtd.forbidden")


def _malformed(error: etree.XMLSyntaxError, log: Iterable[LogEntry]) -> MalformedMessage:
    """Return the error for stored bytes that are no document."""
    refused = refusal(error, log)
    problem = Problem(code=refused.code, text=refused.message, line=refused.line, column=refused.column)
    return MalformedMessage(refused.message, code=refused.code, problems=(problem,))


def clean(text: str) -> str:
    """Make text of a partner or a library fit for one line: 200 characters, none that XML forbids."""
    return fit_to_show(" ".join(text[: 4 * MAX_TEXT].split()), MAX_TEXT)


def line_of(element: etree._Element) -> int | None:
    """Return the line of an element as the parser counted it."""
    return cast(int | None, element.sourceline)


def refusal(error: etree.XMLSyntaxError, log: Iterable[LogEntry], *, root_seen: bool = True) -> FileRefused:
    """Return our error for what the parser says; *log* is its own error log, whose first error counts.

    *root_seen* is False for what comes before the start tag of the root.
    Not the log that the exception carries: that one also holds errors of earlier files.
    Raises: MemoryError when the parser ran out of memory: that is the worker's end, not the file's fault.
    """
    first = next((entry for entry in log if entry.level >= etree.ErrorLevels.ERROR), None)
    number = first.type if first is not None else 0
    text = first.message if first is not None else (error.msg or "")
    line, column = (first.line, first.column) if first is not None else (error.lineno, error.offset)
    if number in _NO_MEMORY:
        raise MemoryError(text)
    code, sentence = _classify(number, clean(text), root_seen=root_seen)
    return FileRefused(sentence, code=code, line=line or None, column=column or None)


def unfinished(log: Iterable[LogEntry]) -> bool:
    """Tell whether the parser stopped inside a comment, an instruction or CDATA: at the end of a file, it was cut."""
    first = next((entry for entry in log if entry.level >= etree.ErrorLevels.ERROR), None)
    return first is not None and first.type in _UNFINISHED


def only_misnamed(log: Iterable[LogEntry]) -> bool:
    """Tell whether all that the parser complains of are namespaces that are no valid URI.

    XML itself allows them, so libxml2 reads on to the end and refuses the document only then.
    """
    numbers = {entry.type for entry in log if entry.level >= etree.ErrorLevels.ERROR}
    return numbers == {mistakes.BAD_NAMESPACE}


def _classify(number: int, text: str, *, root_seen: bool) -> tuple[str, str]:
    """Return our code and a sentence for an error number of libxml2."""
    if number in _RESOURCE_LIMIT and "depth" in text:  # libxml2 has one number for all its limits
        return "xml.too-deep", "Elements are nested more than 256 deep; no business document needs that."
    if number in _TOO_LONG_NAMES:
        return "xml.limit", "A name has more than 50,000 characters; no business document needs that."
    if number in _RESOURCE_LIMIT | _UNFINISHED:
        return "xml.limit", "A single text, attribute, comment or instruction is over its limit of 10 MB; send less."
    if number in _BAD_BYTES:
        return "encoding.mismatch", "The bytes are not in the encoding that the file declares."
    if number in _UNKNOWN_ENCODING:
        return (
            "encoding.unsupported",
            f"The encoding that the file declares is not supported; supported are {SUPPORTED}.",
        )
    return "xml.not-wellformed", mistakes.say(number, text, root_seen=root_seen)
