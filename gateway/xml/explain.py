"""Tells what is wrong with a document that failed its verdict: what was found, what was expected.

Costs much more than the verdict and runs only after it. xmlschema finds the words; where it cannot (it disagrees
with libxml2, stumbles over the document, or the document is large), libxml2's own are used.
"""

from collections.abc import Sequence
from dataclasses import replace

from lxml import etree

from gateway.kernel.problem import MAX_PROBLEMS, Problem
from gateway.kernel.text import clean
from gateway.xml import words
from gateway.xml.grammar import Grammar, has_more_than
from gateway.xml.libxml2_errors import by_libxml2, entries_by_element
from gateway.xml.names import local_name, names_of, path_of, paths_of
from gateway.xml.remembered import Remembered
from gateway.xml.windows import windows
from gateway.xml.xmlschema_errors import Found, by_xmlschema

MOST_FOUND = 1_000
MOST_WINDOWS = 20
"""Where the search in a large document ends: each window with a mistake takes xmlschema a quarter of a second."""
MAX_PLACES = 5
"""Of one cause: the others are counted."""
EXPLAINED_WHOLE = 1_000
"""Documents with more elements are explained by windows: the time xmlschema takes for wrong children grows with
the square of their number (20,000 take 6 s)."""


class Explainer:
    """Finds words for what is wrong in the documents of one file after another."""

    def __init__(self) -> None:
        self._remembered = Remembered()

    def begin(self) -> None:
        """Forget what was said of mistakes: another file begins."""
        self._remembered = Remembered()

    def describe(self, part: etree._Element, grammar: Grammar, *, brief: bool = False) -> tuple[Problem, ...]:
        """Return what keeps a document from being valid: up to 20 problems in document order, without places.

        *part* has failed the verdict of *grammar*; at least one problem is returned. Of one cause at most five places
        are told, the first with its total. With *brief* xmlschema is not asked.
        """
        if has_more_than(EXPLAINED_WHOLE, part):
            found, more = self._in_windows(grammar, part, brief=brief)
        else:
            found, more = self._whole(grammar, part, brief=brief), False
        found = found or by_libxml2(grammar, part)
        if not found:
            text = f"{local_name(part)} does not follow its schema; where, could not be found out."
            return (Problem(code=words.SCHEMA, text=text, path=path_of(part, part)),)
        wanted = {element for element, _ in found}
        order = {element: index for index, element in enumerate(part.iter("*")) if element in wanted}
        found.sort(key=lambda each: order.get(each[0], 0))
        return chosen(list(dict.fromkeys(found)), part, more=more)

    def _whole(self, grammar: Grammar, part: etree._Element, *, brief: bool) -> list[Found]:
        """Look at a document, or a window of one, whose mistakes may be known from others."""
        entries = entries_by_element(grammar, part)
        known = self._remembered.recall(entries, part, grammar.explaining) if entries else None
        if known is not None:
            return list(known)
        if brief:
            return []
        found = by_xmlschema(grammar, part)
        self._remembered.learn(entries, found, part, grammar.explaining)
        return found

    def _in_windows(self, grammar: Grammar, part: etree._Element, *, brief: bool) -> tuple[list[Found], bool]:
        """Look at a large document window by window; also tells whether it was left before its end."""
        found: dict[etree._Element, Problem] = {}
        explained = 0
        for window, origins in windows(part):
            if grammar.valid(window):
                continue
            if len(found) >= MOST_FOUND or explained >= MOST_WINDOWS:
                return list(found.items()), True
            explained += 1
            for copy, problem in self._whole(grammar, window, brief=brief) or by_libxml2(grammar, window):
                found.setdefault(origins[copy], problem)
        return list(found.items()), False


def chosen(found: Sequence[Found], part: etree._Element, *, more: bool) -> tuple[Problem, ...]:
    """Return what to tell of *found*, in its order: every cause before any is told of a second time.

    The first of a cause says how often it was found; *more* when the search ended before the document did. Only those
    that are told get their paths.
    """
    causes: dict[object, list[int]] = {}
    for number, (element, problem) in enumerate(found):
        causes.setdefault((names_of(element, part), problem.cause), []).append(number)
    rounds = [[numbers[turn] for numbers in causes.values() if turn < len(numbers)] for turn in range(MAX_PLACES)]
    often = {numbers[0]: len(numbers) for numbers in causes.values() if len(numbers) > 1}
    shown = sorted([number for each in rounds for number in each][:MAX_PROBLEMS])
    paths = paths_of([found[number][0] for number in shown], part)
    problems = []
    for number in shown:
        element, problem = found[number]
        text = problem.text
        if number in often:
            text += f" The document has this mistake {'at least ' if more else ''}{often[number]} times."
        problems.append(replace(problem, text=text, path=clean(paths[element], 1000)))
    return tuple(problems)
