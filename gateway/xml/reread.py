"""Reads envelopes that we wrote: requests as they are kept, and answers."""

from lxml import etree

from gateway.kernel.namespaces import Scheme, scheme_of
from gateway.xml.normalise import rewrite_scheme
from gateway.xml.parse import document_parser, parse_checked


def parts_of(content: bytes, parser: etree.XMLParser | None = None) -> list[etree._Element]:
    """Return the children of MessageParts of an envelope; whoever reads many gives a *parser* of `document_parser`.

    Raises: as `parse_checked`.
    """
    return list(_message_parts(content, parser).iterchildren(etree.Element))


def parts_of_answer(content: bytes) -> list[etree._Element]:
    """Return the children of MessageParts of a response file of ours, in canonical (`http://`) namespaces."""
    parts = _message_parts(content)
    scheme = scheme_of(etree.QName(parts).namespace or "")
    return [_canonical(part, scheme) for part in parts.iterchildren(etree.Element)]


def _message_parts(content: bytes, parser: etree.XMLParser | None = None) -> etree._Element:
    envelope = parse_checked(content, parser)
    namespace = etree.QName(envelope).namespace
    (body,) = envelope.iterchildren(f"{{{namespace}}}Body")
    (parts,) = body.iterchildren(f"{{{namespace}}}MessageParts")
    return parts


def _canonical(part: etree._Element, scheme: Scheme) -> etree._Element:
    part.tail = None
    if scheme is Scheme.HTTP:
        return part
    text = rewrite_scheme(etree.tostring(part, encoding="unicode"), Scheme.HTTP)
    return etree.fromstring(text, document_parser())
