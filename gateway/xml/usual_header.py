"""The usual frame of an envelope, read from its serialised bytes.

Asking the tree for a dozen names and values costs twice as much as parsing the envelope. The serialised form has
no comments, no CDATA and one way of quoting, so one pattern recognises the frame that nearly all partners send:
one prefix, no attributes, no stray text. And a sender repeats itself: what is around the values of one envelope
is tried on the next, byte for byte, before the pattern is. Anything else is left to `header.read_frame`, which
also finds words for what is wrong; a test holds the ways against one another.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from operator import itemgetter

from gateway.xml.names import XML_SPACE

FIELDS = {
    "MessageId": "message_id",
    "LogonAsUser": "logon_as_user",
    "Company": "company",
    "Action": "action",
    "ConversationId": "conversation_id",
    "RequestMessageId": "request_message_id",
    "PartitionKey": "partition_key",
}
"""The header elements in their documented order, and the fields they fill."""
ELEMENT_OF = {field: element for element, field in FIELDS.items()}

_NAME = rb"[^\s<>=\"/:]+"
_DECLARATIONS = rb"(?: xmlns(?::" + _NAME + rb')?="[^"<>]*")*'
_OPENING = re.compile(
    rb"<((?:" + _NAME + rb":)?)Envelope" + _DECLARATIONS + rb">\s*"
    rb"<\1Header>((?:\s*<\1[A-Za-z]+>[^<&]*</\1[A-Za-z]+>)+)\s*</\1Header>\s*"
    rb"<\1Body>\s*<\1MessageParts>\s*(?=<[^/])"
)
_FIELD = re.compile(rb"<(?:" + _NAME + rb":)?([A-Za-z]+)>([^<]*)<")
_CLOSING = re.compile(rb">\s*</((?:" + _NAME + rb":)?)MessageParts>\s*</\1Body>\s*</\1Envelope>\Z")
_CLOSING_BYTES = 100
_VALUES_AT = 3
"""Split at every `<`, the frame is: nothing, Envelope, Header, then each field's two tags, then the rest."""


@dataclass(frozen=True, slots=True)
class _Shape:
    """Everything of a frame but its values: the pieces between them, the tags before them, its end."""

    cuts: int
    fixed: tuple[bytes, ...]
    pick_fixed: Callable[[list[bytes]], tuple[bytes, ...]]
    fields: tuple[tuple[int, bytes, str], ...]
    closing: bytes


class UsualFrames:
    """Reads usual frames of one file."""

    def __init__(self) -> None:
        self._shape: _Shape | None = None

    def values(self, content: bytes) -> dict[str, str] | None:
        """Return the header values of a usual frame by field, empty ones left out; None when it is not one."""
        values = self._by_shape(content) if self._shape is not None else None
        return values if values is not None else self._by_pattern(content)

    def _by_shape(self, content: bytes) -> dict[str, str] | None:
        """Return the values when everything around them is as in the envelope before."""
        shape = self._shape
        assert shape is not None
        pieces = content.split(b"<", shape.cuts)
        if (
            len(pieces) <= shape.cuts
            or shape.pick_fixed(pieces) != shape.fixed
            or pieces[-1].startswith(b"/")
            or not content.endswith(shape.closing)
        ):
            return None
        values: dict[str, str] = {}
        for place, tag, field in shape.fields:
            piece = pieces[place]
            if not piece.startswith(tag) or b"&" in piece:
                return None
            value = piece[len(tag) :].decode().strip(XML_SPACE)
            if value:
                values[field] = value
        return values if "action" in values else None

    def _by_pattern(self, content: bytes) -> dict[str, str] | None:
        """Return the values when the pattern recognises the frame, and remember its shape."""
        opening = _OPENING.match(content)
        if opening is None:
            return None
        end = content.rfind(b"MessageParts>", opening.end())
        closing = _CLOSING.search(content, max(opening.end(), end - _CLOSING_BYTES))
        if closing is None or closing[1] != opening[1]:
            return None
        values: dict[str, str] = {}
        names: list[str] = []
        for element, value in _FIELD.findall(opening[2]):
            field = FIELDS.get(element.decode())
            if field is None or field in values:
                return None
            names.append(field)
            values[field] = value.decode().strip(XML_SPACE)
        if not values.get("action"):
            return None
        self._shape = _shape(content, opening[1], names, closing[0])
        return {field: value for field, value in values.items() if value}


def _shape(content: bytes, prefix: bytes, names: list[str], closing: bytes) -> _Shape:
    """Return what is around the values of a usual frame whose header has the fields *names*."""
    cuts = _VALUES_AT + 2 * len(names) + 3  # and behind the fields: /Header, Body, MessageParts, then the document
    pieces = content.split(b"<", cuts)
    places = range(_VALUES_AT, _VALUES_AT + 2 * len(names), 2)
    fixed = [place for place in range(cuts) if place not in places]
    pick_fixed: Callable[[list[bytes]], tuple[bytes, ...]] = itemgetter(*fixed)
    return _Shape(
        cuts=cuts,
        fixed=pick_fixed(pieces),
        pick_fixed=pick_fixed,
        fields=tuple(
            (place, prefix + ELEMENT_OF[field].encode() + b">", field)
            for place, field in zip(places, names, strict=True)
        ),
        closing=closing,
    )
