"""Names, paths and lines of elements, as a partner reads them: split, told, found again, likely meant.

Shape of a path: `/SalesOrder/SalesTable[1]/SalesLine[2]/SalesQty` from a document's root, or
`/Envelope/Header/Action`; local names only; an entity (it holds others, or is marked with a class) and an element with
a namesake beside it carry their number from 1.
"""

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from lxml import etree

from gateway.kernel.namespaces import XSI
from gateway.kernel.text import clean as fit_to_show

MAX_TEXT = 200
XML_SPACE = " \t\r\n"
XSI_TYPE = f"{{{XSI}}}type"

_STEP = re.compile(r"([^/\[\]]+)(?:\[(\d+)\])?")


def clean(text: str) -> str:
    """Make text of a partner or a library fit for one line: 200 characters, none that XML forbids."""
    return fit_to_show(" ".join(text[: 4 * MAX_TEXT].split()), MAX_TEXT)


def line_of(element: etree._Element) -> int | None:
    """Return the line of an element as the parser counted it."""
    return cast(int | None, element.sourceline)


def split_name(tag: str) -> tuple[str, str]:
    """Return the namespace (empty: none) and the local name of a `{namespace}local` name."""
    namespace, brace, local = tag.rpartition("}")
    return (namespace[1:], local) if brace else ("", tag)


def local_name(element: etree._Element) -> str:
    """Return the name of an element without its namespace."""
    return str(element.tag).rpartition("}")[2]


def path_of(element: etree._Element, root: etree._Element) -> str:
    """Return the path of *element* from *root*, which is one of its ancestors or itself; `paths_of` for several."""
    return paths_of([element], root)[element]


def paths_of(elements: Iterable[etree._Element], root: etree._Element) -> Mapping[etree._Element, str]:
    """Return the paths of elements from *root*, which is an ancestor of each or itself.

    Rule: siblings are counted once, however many elements there are among them.
    """
    ways = {element: _way(element, root) for element in elements}
    wanted = {each for way in ways.values() for each in way}
    numbers: dict[etree._Element, int | None] = {}
    for parent in {each.getparent() for each in wanted}:
        numbers.update(_numbers([root] if parent is None else parent.iterchildren("*"), wanted))
    steps = {each: _step(each, numbers[each], is_root=each is root) for each in wanted}
    return {element: "/" + "/".join([steps[each] for each in way]) for element, way in ways.items()}


def names_of(element: etree._Element, root: etree._Element) -> str:
    """Return the path of *element* without numbers: what is alike of all that are alike."""
    return "/" + "/".join(local_name(each) for each in _way(element, root))


def _way(element: etree._Element, root: etree._Element) -> list[etree._Element]:
    """Return what has to be passed from *root* to *element*, both included."""
    way = [element]
    while way[-1] is not root and (parent := way[-1].getparent()) is not None:
        way.append(parent)
    return way[::-1]


def _numbers(
    siblings: Iterable[etree._Element], wanted: set[etree._Element]
) -> Iterable[tuple[etree._Element, int | None]]:
    """Yield those *wanted* with their number among their namesakes, None for one without."""
    counts: Counter[str] = Counter()
    found: list[tuple[etree._Element, int]] = []
    for sibling in siblings:
        counts[sibling.tag] += 1
        if sibling in wanted:
            found.append((sibling, counts[sibling.tag]))
    for element, number in found:
        yield element, number if counts[element.tag] > 1 else None


def _step(element: etree._Element, number: int | None, *, is_root: bool) -> str:
    entity = element.get("class") is not None or next(element.iterchildren("*"), None) is not None
    if number is None and entity and not is_root:
        number = 1
    return local_name(element) if number is None else f"{local_name(element)}[{number}]"


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


def likely_names(name: str, known: Sequence[str]) -> Sequence[str]:
    """Return the names that *name* may have been meant for, the likeliest first."""
    same = [each for each in known if each.casefold() == name.casefold()]
    return same or difflib.get_close_matches(name, known, n=2, cutoff=0.75)


def meant(name: str, known: Sequence[str]) -> str:
    """Return the rest of a sentence: a question what was meant, or that only upper and lower case differ."""
    likely = likely_names(name, known)
    if not likely:
        return ""
    if likely[0].casefold() == name.casefold():
        return f"; upper and lower case count, write {likely[0]}."
    return f"; did you mean {' or '.join(likely)}?"
