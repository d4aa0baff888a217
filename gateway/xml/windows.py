"""Cuts a large document into small ones that show the same errors.

A large document is large because something repeats in it. Whether a repeated element is valid does not depend on
how many stand before it, so a document with one stretch of the repetition, and one of each elsewhere, is judged as
the whole is at that stretch. Only counts and uniqueness over the whole document are lost.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import cast

from lxml import etree

WIDTH = 200
"""Elements with more children are cut; a window is as wide."""
_MAX_KINDS = 1_000

_MENTIONED = re.compile(rb"""[<"\s>]([A-Za-z_\x80-\xff][\w.\-\x80-\xff]*):""")
"""What may be a prefix: of a name, or of a value."""

_Children = Sequence[etree._Element]
_Declared = dict[str | None, str]


def windows(part: etree._Element) -> Iterator[tuple[etree._Element, dict[etree._Element, etree._Element]]]:
    """Yield small copies of *part*, each with the original of every element in it; together they hold all elements.

    The copies come one heavy element after the other, each from its first to its last child. Nothing is yielded
    for a document in which no element has more than `WIDTH` children, or too many that do not repeat.
    """
    heavy = {each: list(each.iterchildren("*")) for each in part.iter("*") if len(each) > WIDTH}
    firsts = {each: _firsts(children) for each, children in heavy.items()}
    if sum(map(len, firsts.values())) > _MAX_KINDS:
        return
    declared = _declarations(part)
    reduced = {each: [children[index] for index in firsts[each]] for each, children in heavy.items()}
    for each, children in heavy.items():
        for start in range(0, len(children), WIDTH):
            shown = {*firsts[each], *range(start, min(start + WIDTH, len(children)))}
            kept = {**reduced, each: [children[index] for index in sorted(shown)]}
            origins: dict[etree._Element, etree._Element] = {}
            yield _copy(part, None, kept, declared, origins), origins


def _firsts(children: _Children) -> list[int]:
    """Return the index of the first child of every run of namesakes."""
    return [0, *(index for index, (one, two) in enumerate(pairwise(children), start=1) if one.tag != two.tag)]


def _declarations(part: etree._Element) -> dict[etree._Element, _Declared]:
    """Return which elements declare namespaces, and those that the document may need: the root has all around it.

    Whoever reads a copy goes through all that is in scope at each of its elements, so the others are left out.
    """
    mentioned = {name.decode() for name in _MENTIONED.findall(etree.tostring(part, encoding="utf-8"))}
    declared: dict[etree._Element, _Declared] = {part: {}}
    own: _Declared = dict(part.nsmap)
    for event, item in etree.iterwalk(part, events=("start-ns", "start")):
        if event == "start-ns":
            prefix, uri = cast(tuple[str, str], item)
            own[prefix or None] = uri
        else:
            # one with xmlns="" needs nothing: its name says that it has no namespace
            needed = {prefix: uri for prefix, uri in own.items() if uri and (prefix is None or prefix in mentioned)}
            if needed:
                declared[cast(etree._Element, item)] = needed
            own = {}
    return declared


def _copy(
    element: etree._Element,
    parent: etree._Element | None,
    kept: Mapping[etree._Element, _Children],
    declared: Mapping[etree._Element, _Declared],
    origins: dict[etree._Element, etree._Element],
) -> etree._Element:
    """Return a copy with the children that *kept* names for an element, with all where it names none."""
    attributes = {str(name): str(value) for name, value in element.attrib.items()}
    namespaces = declared.get(element)  # not its nsmap: that goes through all declarations around it
    if parent is None:
        copy = etree.Element(element.tag, attributes, namespaces)  # type: ignore[arg-type]  # stubs: no None key
    else:
        copy = etree.SubElement(parent, element.tag, attributes, namespaces)  # type: ignore[arg-type]  # the same
    copy.text = element.text
    origins[copy] = element
    for child in kept.get(element) or element.iterchildren("*"):
        _copy(child, copy, kept, declared, origins).tail = child.tail
    return copy
