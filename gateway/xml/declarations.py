"""Namespace declarations: how many may be in scope, and what a namespace may be.

All that are in scope are gone through, or written out, again and again.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import cast

from lxml import etree

from gateway.kernel.problem import Problem
from gateway.xml.malformed import bad_namespace_in
from gateway.xml.names import clean, path_of
from gateway.xml.parse import document_parser

MAX_CHARACTERS = 16_384
"""Of all declarations around what is cut out of its document, which carries those that it uses."""
MAX_IN_SCOPE = 1_000


def too_many_declarations(envelope: etree._Element, content: bytes, parts: Sequence[etree._Element]) -> Problem | None:
    """Return the problem of an envelope that declares too much around its documents or in them, None for a good one.

    *parts* are its documents, *content* its serialised form: nearly all are too small to declare too much.
    """
    if len(content) <= MAX_CHARACTERS:
        return None
    for part in parts:
        if characters(part.nsmap) > MAX_CHARACTERS:
            return _problem(
                f"The namespaces that are declared around {etree.QName(part).localname}, and on it, have more than "
                f"{MAX_CHARACTERS} characters. Declare them where they are used."
            )
    if content.count(b" xmlns") > MAX_IN_SCOPE and _deepest(envelope) > MAX_IN_SCOPE:
        return _problem(f"More than {MAX_IN_SCOPE} namespace declarations are in scope at one place. Declare fewer.")
    return None


def characters(declared: Mapping[str | None, str]) -> int:
    """Return how many characters prefixes and namespaces have."""
    return sum(len(prefix or "") + len(uri) for prefix, uri in declared.items())


def misnamed(envelope: etree._Element, content: bytes) -> Problem | None:
    """Return the problem of an envelope with a namespace that is no valid URI, None for one without.

    *content* is its serialised form: it is parsed once more, because the parser does not say in which envelope it is.
    """
    parser = document_parser()
    with suppress(etree.XMLSyntaxError):
        etree.fromstring(content, parser)
    found = bad_namespace_in(parser.error_log)
    if found is None:
        return None
    namespace, text = found
    path = path_of(_declaring(envelope, namespace), envelope).split("/")
    return Problem(
        code="xml.namespace",
        text=text,
        path="/".join(["", "Envelope", *path[2:]]),  # its number in the file is no part of the path
        found=clean(namespace),
        expected="an address (URI) such as http://www.example.com/a",
    )


def _declaring(envelope: etree._Element, namespace: str) -> etree._Element:
    """Return the first element that declares a namespace, the Envelope for one that is declared around it."""
    declared = False
    for event, item in etree.iterwalk(envelope, events=("start-ns", "start")):
        if event == "start-ns":
            declared = declared or cast(tuple[str, str], item)[1] == namespace
        elif declared:
            return cast(etree._Element, item)
    return envelope


def _deepest(envelope: etree._Element) -> int:
    """Return how many declarations stand around the place with most of them, those of its own included."""
    deepest = depth = 0
    for event, _ in etree.iterwalk(envelope, events=("start-ns", "end-ns")):
        depth += 1 if event == "start-ns" else -1
        deepest = max(deepest, depth)
    return deepest


def _problem(text: str) -> Problem:
    return Problem(code="xml.limit", text=text, path="/Envelope")
