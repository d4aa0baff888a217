"""The one module that makes XML parsers.

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

from collections.abc import Mapping, Sequence
from inspect import signature
from typing import Any, Literal

from lxml import etree

from gateway.kernel.errors import MalformedMessage
from gateway.kernel.problem import Problem
from gateway.xml.malformed import refusal

_HARDENED: Mapping[str, Any] = {  # Any: keywords of several constructors
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
        refused = refusal(error, parser.error_log)
        problem = Problem(code=refused.code, text=refused.message, line=refused.line, column=refused.column)
        raise MalformedMessage(refused.message, code=refused.code, problems=(problem,)) from error
    except OSError as error:  # a resolver refused what a DOCTYPE names
        raise _doctype() from error
    if root.getroottree().docinfo.internalDTD is not None:
        raise _doctype()
    return root


def _doctype() -> MalformedMessage:
    return MalformedMessage("The document has a DOCTYPE; remove it, it is never accepted.", code="dtd.forbidden")
