"""The documents in envelopes that we wrote ourselves, as they are kept or sent: taken out, cut up, cut out.

What is kept was written by the reader: it has no comments, no CDATA, one way of quoting, and `<` and `>` nowhere but
around tags. So patterns recognise what nearly all partners send, and cut it without parsing: one document whose
namespace is its default one, and in which no prefix from around it is used. Anything else is left to the parser; a test
holds the two ways against one another. Time is linear in bytes, whatever they are.
"""

import re
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass

from lxml import etree

from gateway.kernel.namespaces import ENVELOPE_NAMESPACES, Scheme, canonical, scheme_of
from gateway.xml.names import split_name
from gateway.xml.normalise import rewrite_scheme
from gateway.xml.parse import document_parser, parse_checked

_NAME = rb"[^\s<>=\"/:]+"
_DECLARED = rb"(?: xmlns:" + _NAME + rb'="[^"<>]*")*'
_PREFIX = re.compile(rb" xmlns:(" + _NAME + rb')="')
_MOST_PREFIXES = 10
_PARTS = b"MessageParts"
_IS_ENTITY = b' class="entity"'
_ENTITIES = re.compile(rb"<[^<>]*" + _IS_ENTITY)
_LEAF = rb'<([^\s<>/]+)(?: [^<>]*")?(?:/>|>[^<]*</\1>)'
_LEAVES = re.compile(rb"(?:\s*+" + _LEAF + rb")*+\s*+")
_MENTIONED = re.compile(rb"""[>"\s]([A-Za-z_\x80-\xff][\w.\-\x80-\xff]*):""")
"""What may be the prefix of a value such as `xsi:type="t:Bill"`: a name and a colon, where a word begins."""


def parts_of(content: bytes, parser: etree.XMLParser | None = None) -> list[etree._Element]:
    """Return the children of MessageParts of an envelope; whoever reads many gives a *parser* of `document_parser`.

    Raises: as `parse_checked`.
    """
    return list(_message_parts(content, parser).iterchildren(etree.Element))


def parts_of_answer(content: bytes) -> list[etree._Element]:
    """Return the children of MessageParts of a response file of ours, in canonical (`http://`) namespaces."""
    message_parts = _message_parts(content)
    parts = list(message_parts.iterchildren(etree.Element))
    for part in parts:
        part.tail = None
    if scheme_of(split_name(message_parts.tag)[0]) is Scheme.HTTP:
        return parts
    texts = [rewrite_scheme(etree.tostring(part, encoding="unicode"), Scheme.HTTP) for part in parts]
    return [etree.fromstring(text, document_parser()) for text in texts]


def _message_parts(content: bytes, parser: etree.XMLParser | None = None) -> etree._Element:
    envelope = parse_checked(content, parser)
    namespace, _ = split_name(envelope.tag)
    (body,) = envelope.iterchildren(f"{{{namespace}}}Body")
    (parts,) = body.iterchildren(f"{{{namespace}}}MessageParts")
    return parts


def standalone(element: etree._Element, around: Mapping[str | None, str]) -> bytes:
    """Return an element in UTF-8 with the namespaces that it uses, and no others.

    Shape: *around* are the declarations in scope where the element stands (`nsmap` of its parent). A prefix that a
    value may need (`xsi:type`, QName) counts as used, and so does a default namespace that is not the envelope's.
    Rule: time and size do not grow with the number of declarations around: an entity among a thousand, below a
    thousand declarations, must not be written with all of them.
    """
    copy = deepcopy(element)  # takes the namespaces of elements and attributes along, not those of values
    copy.tail = None
    content = etree.tostring(copy, encoding="utf-8")
    if not around:
        return content
    names: set[str | None] = {name.decode() for name in _MENTIONED.findall(content)}
    if canonical(around.get(None, "")) not in ENVELOPE_NAMESPACES:
        names.add(None)
    missing = {name: around[name] for name in names if around.get(name) and name not in copy.nsmap}
    if not missing:
        return content
    attributes = {str(name): str(value) for name, value in copy.attrib.items()}
    shell = etree.Element(copy.tag, attributes, {**copy.nsmap, **missing})  # type: ignore[dict-item]  # the stubs forget the default namespace
    shell.text = copy.text
    shell.extend(list(copy))
    return etree.tostring(shell, encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Cut:
    """A root entity: the element in UTF-8 with the namespaces it uses, how many entities there are, its key as sent.

    It counts itself. The key is empty when none was sent.
    """

    content: bytes
    entities: int
    key: str


class Cutter:
    """Cuts the root entities out of documents of one kind; it is given their local names, and that of the key."""

    def __init__(self, document: str, entity: str, key: str) -> None:
        self._start, self._end = f"<{entity}".encode(), f"</{entity}>".encode()
        self._prefixed = f":{entity}".encode()
        self._key, self._prefixed_key = f"<{key}".encode(), f":{key}".encode()
        self._opening = re.compile(
            rb'MessageParts(?: xmlns(?::%b)?="[^"<>]*")*>\s*<%b%b( xmlns="[^"<>&]+")%b>'
            % (_NAME, re.escape(document.encode()), _DECLARED, _DECLARED)
        )
        self._tag = re.compile(rb'%b((?: (?!xmlns=)%b="[^"<>]*")*)>' % (re.escape(self._start), _NAME))
        field = re.escape(self._key)
        self._keyed = re.compile(rb"(?:\s*+(?!%b[ />])%b)*+\s*+%b>([^<&]*)<" % (field, _LEAF, field))

    def cut(self, content: bytes) -> list[Cut] | None:
        """Return the root entities of the document in an envelope, in order; None when it must be parsed.

        Rule: the first place that names MessageParts counts, so that none in a document is taken for the envelope's.
        """
        opening = self._opening.match(content, content.find(_PARTS))
        if opening is None or self._prefixed in content:
            return None
        cuts: list[Cut] = []
        at = begin = opening.end()
        while (start := content.find(self._start, at)) >= 0:
            tag = self._tag.match(content, start)
            end = content.find(self._end, start)
            if tag is None or end < 0 or not _LEAVES.fullmatch(content, at, start):
                return None
            at = end + len(self._end)
            text = content[start + len(self._start) : at]
            key = self._key_of(content, tag.end(), text)
            if key is None or self._start in text:
                return None
            entities = text.count(_IS_ENTITY + b">")
            if entities != text.count(_IS_ENTITY):  # has other attributes, too, or a text is as odd as that
                entities = len(_ENTITIES.findall(content, start, at))
            cuts.append(Cut(b"".join((self._start, opening[1], text)), entities + (_IS_ENTITY not in tag[1]), key))
            if len(cuts) * len(opening[1]) > len(content):  # one by one it can be seen when they grow too much
                return None
        prefixes = _PREFIX.findall(content, 0, begin)
        if len(prefixes) > _MOST_PREFIXES or any(content.find(each + b":", begin, at) >= 0 for each in prefixes):
            return None
        return cuts or None

    def _key_of(self, content: bytes, fields: int, text: bytes) -> str | None:
        """Return the key of an entity whose *fields* begin there; None when it is not plain to see."""
        if self._prefixed_key in text:
            return None
        if self._key not in text:
            return ""
        keyed = self._keyed.match(content, fields)
        return None if keyed is None else keyed[2].decode().strip()
