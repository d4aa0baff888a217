"""Remembers what was said of a mistake, so that the same mistake in the next message costs no second explanation.

xmlschema takes a hundred times as long to find words as libxml2 takes to find the mistake, and a partner repeats his
mistakes. Words are used again only where all that they were made of is the same: then they are the same words.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lxml import etree

from gateway.kernel.problem import Problem
from gateway.xml.grammar import TreeEntry
from gateway.xml.libxml2_errors import CONTENT, VALUES, Entries, of_entry
from gateway.xml.xmlschema_errors import Found

if TYPE_CHECKING:
    from xmlschema import XMLSchemaBase

_MOST = 1_000
"""Mistakes remembered; then all are forgotten."""
MOST_IN_FULL = 20
"""How often an element that is missing or misplaced is explained: only xmlschema looks at what stands behind it."""

_Key = tuple[object, ...]


class Remembered:
    """The words for mistakes in one file.

    Rule: a value is explained once. Behind an element that is missing or misplaced libxml2 looks no further, so the
    first messages with one are explained each; later ones are told of that mistake and of none behind it.
    """

    def __init__(self) -> None:
        self._words: dict[_Key, Problem] = {}
        self._often: dict[_Key, int] = {}
        self._plain: dict[_Key, int] = {}
        """Causes of which libxml2 says the same as xmlschema, and by which of its errors: their values may differ."""

    def recall(self, entries: Entries, part: etree._Element, schema: "XMLSchemaBase | None") -> Sequence[Found] | None:
        """Return what is wrong with a document, None when not all of it is known."""
        found: list[Found] = []
        for element, some in entries.items():
            key = _exact(element, some, part)
            problem = self._words.get(key) if self._often.get(key, MOST_IN_FULL) >= MOST_IN_FULL else None
            if problem is None and (number := self._plain.get(_cause(element, some, part))) is not None:
                problem = of_entry(some[number], element, schema)
            if problem is None:
                return None
            found.append((element, problem))
        return found

    def learn(
        self, entries: Entries, found: Sequence[Found], part: etree._Element, schema: "XMLSchemaBase | None"
    ) -> None:
        """Remember what was *found* in a document, when it is one problem for each element that libxml2 names."""
        by_element = dict(found)
        if len(by_element) != len(found) or by_element.keys() != entries.keys():
            return
        for element, some in entries.items():
            if not all(entry.type == CONTENT or entry.type in VALUES for entry in some):
                continue  # their words are made of more than what the key holds
            if len(self._words) + len(self._plain) > _MOST:
                self._words.clear()
                self._often.clear()
                self._plain.clear()
            problem = by_element[element]
            same = [of_entry(entry, element, schema) == problem for entry in some]
            if True in same and all(entry.type in VALUES for entry in some):
                self._plain[_cause(element, some, part)] = same.index(True)
                continue
            key = _exact(element, some, part)
            self._words[key] = problem
            if any(entry.type == CONTENT for entry in some):
                self._often[key] = self._often.get(key, 0) + 1


def _cause(element: etree._Element, some: Sequence[TreeEntry], part: etree._Element) -> _Key:
    """Return which declared element breaks which rules."""
    names = [element.tag]
    while element is not part and (parent := element.getparent()) is not None:
        element = parent
        names.append(element.tag)
    return (*names, *[entry.type for entry in some])


def _exact(element: etree._Element, some: Sequence[TreeEntry], part: etree._Element) -> _Key:
    """Return all that the words of a mistake are made of: also the value, and what stands beside and inside."""
    parent = element.getparent() if element is not part else None
    beside = tuple([each.tag for each in parent]) if parent is not None and some[0].type == CONTENT else ()
    inside = tuple([each.tag for each in element])
    return (*_cause(element, some, part), *[entry.message for entry in some], element.text, beside, inside)
