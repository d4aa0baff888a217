"""Names an element by a path that a person can follow, and finds it again.

Shape: `/SalesOrder/SalesTable[1]/SalesLine[2]/SalesQty` from a document's root, or `/Envelope/Header/Action`;
local names only; an entity (it holds others, or is marked with a class) and an
element with a namesake beside it carry their number from 1.
"""

import re

from lxml import etree

_STEP = re.compile(r"([^/\[\]]+)(?:\[(\d+)\])?")


def local_name(element: etree._Element) -> str:
    """Return the name of an element without its namespace."""
    return str(element.tag).rpartition("}")[2]


def path_of(element: etree._Element, root: etree._Element) -> str:
    """Return the path of *element* from *root*, which is one of its ancestors or itself."""
    steps: list[str] = []
    current: etree._Element | None = element
    while current is not None:
        before = sum(1 for _ in current.itersiblings(current.tag, preceding=True))
        twins = before or next(current.itersiblings(current.tag), None) is not None
        entity = current.get("class") is not None or next(current.iterchildren("*"), None) is not None
        numbered = twins or (entity and current is not root)
        steps.append(f"{local_name(current)}[{before + 1}]" if numbered else local_name(current))
        if current is root:
            break
        current = current.getparent()
    return "/" + "/".join(reversed(steps))


def find(envelope: etree._Element, path: str) -> etree._Element:
    """Return the element that a path means: from the Envelope, or from a document in its MessageParts.

    Rule: where the path leads to something that is not there, the last element on the way counts.
    """
    steps = [(match[1], int(match[2] or 1)) for match in _STEP.finditer(path)]
    current = envelope
    if steps and steps[0][0] == local_name(envelope):
        steps = steps[1:]
    else:
        for frame in ("Body", "MessageParts"):
            inner = _child(current, frame, 1)
            current = current if inner is None else inner
    for name, number in steps:
        child = _child(current, name, number)
        if child is None:
            break
        current = child
    return current


def _child(parent: etree._Element, name: str, number: int) -> etree._Element | None:
    for child in parent.iterchildren("{*}" + name):
        number -= 1
        if number == 0:
            return child
    return None
