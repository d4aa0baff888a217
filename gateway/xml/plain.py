"""The usual frame of an envelope, read from its serialised bytes.

Asking the tree for a dozen names and values costs twice as much as parsing the envelope. The serialised form has
no comments, no CDATA and one way of quoting, so one pattern recognises the frame that nearly all partners send:
one prefix, no attributes, no stray text, one document. Anything else is left to `header.read_frame`, which also
finds words for what is wrong; a test holds the two against one another.
"""

import re
from collections.abc import Mapping

_NAME = rb"[^\s<>=\"/:]+"
_DECLARATIONS = rb"(?: xmlns(?::" + _NAME + rb')?="[^"<>]*")*'
_OPENING = re.compile(
    rb"<((?:" + _NAME + rb":)?)Envelope" + _DECLARATIONS + rb">\s*"
    rb"<\1Header>((?:\s*<\1[A-Za-z]+>[^<&]*</\1[A-Za-z]+>)+)\s*</\1Header>\s*"
    rb"<\1Body>\s*<\1MessageParts>\s*<[^/]"
)
_FIELD = re.compile(r"<[^/<>]*?([A-Za-z]+)>([^<]*)<")
_CLOSING = re.compile(rb">\s*</((?:" + _NAME + rb":)?)MessageParts>\s*</\1Body>\s*</\1Envelope>\Z")
_CLOSING_BYTES = 100


def plain_values(content: bytes, fields: Mapping[str, str], space: str) -> dict[str, str] | None:
    """Return the header values of a usual frame by *fields*' values, None when it is not one.

    Shape: trimmed of *space*, empty ones left out.
    """
    opening = _OPENING.match(content)
    if opening is None:
        return None
    end = content.rfind(b"MessageParts>", opening.end())
    if _CLOSING.search(content, max(opening.end(), end - _CLOSING_BYTES)) is None:
        return None
    values: dict[str, str] = {}
    for element, value in _FIELD.findall(opening[2].decode()):
        field = fields.get(element)
        if field is None or field in values:
            return None
        values[field] = value.strip(space)
    if not values.get("action"):
        return None
    return values if all(values.values()) else {field: value for field, value in values.items() if value}
