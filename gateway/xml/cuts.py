"""Cuts root entities out of an envelope as it is kept, without parsing it.

What is kept was written by the reader: it has no comments, no CDATA, one way of quoting, and `<` and `>` nowhere but
around tags. So patterns recognise what nearly all partners send: one document whose namespace is its default one, and
in which no prefix from around it is used. Anything else is left to the parser; a test holds the two ways against one
another. Time is linear in bytes, whatever they are.
"""

import re
from dataclasses import dataclass

_NAME = rb"[^\s<>=\"/:]+"
_DECLARED = rb"(?: xmlns:" + _NAME + rb'="[^"<>]*")*'
_PREFIX = re.compile(rb" xmlns:(" + _NAME + rb')="')
_MOST_PREFIXES = 10
_PARTS = b"MessageParts"
_IS_ENTITY = b' class="entity"'
_ENTITIES = re.compile(rb"<[^<>]*" + _IS_ENTITY)
_LEAF = rb'<([^\s<>/]+)(?: [^<>]*")?(?:/>|>[^<]*</\1>)'
_LEAVES = re.compile(rb"(?:\s*+" + _LEAF + rb")*+\s*+")


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
