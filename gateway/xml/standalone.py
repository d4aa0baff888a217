"""Cuts an element out of its document, so that it means the same on its own."""

import re
from collections.abc import Mapping
from copy import deepcopy

from lxml import etree

from gateway.kernel.namespaces import ENVELOPE_NAMESPACES, canonical

_MENTIONED = re.compile(rb"""[>"\s]([A-Za-z_\x80-\xff][\w.\-\x80-\xff]*):""")
"""What may be the prefix of a value such as `xsi:type="t:Bill"`: a name and a colon, where a word begins."""


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
