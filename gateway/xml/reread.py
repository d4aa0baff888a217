"""Reads an answer that we wrote, to write it again."""

from lxml import etree

from gateway.domain.namespaces import Scheme, scheme_of
from gateway.xml.normalise import rewrite_scheme
from gateway.xml.parse import document_parser, parse_checked


def parts_of_answer(content: bytes) -> list[etree._Element]:
    """Return the children of MessageParts of a response file of ours, in canonical (`http://`) namespaces."""
    envelope = parse_checked(content)
    namespace = etree.QName(envelope).namespace or ""
    (parts,) = envelope.iterfind(f"{{{namespace}}}Body/{{{namespace}}}MessageParts")
    return [_canonical(part, scheme_of(namespace)) for part in parts.iterchildren(etree.Element)]


def _canonical(part: etree._Element, scheme: Scheme) -> etree._Element:
    part.tail = None
    if scheme is Scheme.HTTP:
        return part
    text = rewrite_scheme(etree.tostring(part, encoding="unicode"), Scheme.HTTP)
    return etree.fromstring(text, document_parser())
