"""Tells what is wrong with a failed envelope: what was found, what was expected, where in the partner's file.

Costs much more than the verdict and runs only after it. xmlschema finds the words; where it cannot (it disagrees
with libxml2, stumbles over the document, or the document is large), libxml2's own are used.
"""

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from lxml import etree

from gateway.kernel.errors import ConfigError
from gateway.kernel.problem import MAX_PROBLEMS, Problem
from gateway.kernel.text import clean
from gateway.xml import words
from gateway.xml.catalog import Catalog
from gateway.xml.declared import DeclaredTypes
from gateway.xml.grammar import LARGE, Grammar, TreeEntry, has_more_than
from gateway.xml.locate import Locator
from gateway.xml.paths import find, local_name, path_of, paths_of
from gateway.xml.remembered import Entries, Remembered, Told
from gateway.xml.second_look import about_identity
from gateway.xml.terse import of_entry
from gateway.xml.windows import windows

if TYPE_CHECKING:
    from xmlschema import XMLSchemaValidationError

MOST_FOUND = 1_000
MOST_WINDOWS = 20
"""Where the search in a large document ends: each window with a mistake takes xmlschema a quarter of a second."""
MAX_PLACES = 5
"""Of one cause: the others are counted."""
EXPLAINED_WHOLE = 1_000
"""Documents with more elements are explained by windows: the time xmlschema takes for wrong children grows with
the square of their number (20,000 take 6 s)."""
_LIBXML2_STEP = re.compile(r"/([^/\[]+)(?:\[(\d+)\])?")
FAR_YEAR = re.compile(r"\s*(?:-?\d{5,}|-\d{4})-\d\d-\d\d")
"""A year outside 0001 to 9999."""
_DATES = ("date", "dateTime")

MOST_RECALLED = 50
"""A document with more mistakes is explained anew: each of them has to be found by its path."""


class Explainer:
    """Finds words and places for what is wrong. One per process; remembers how far it read the last file."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._locator: Locator | None = None
        self._file: tuple[int, ...] = ()
        self._position = 0
        self._remembered = Remembered()

    def explain(
        self, fd: int, encoding: str, position: int, envelope: etree._Element, problems: Sequence[Problem]
    ) -> tuple[Problem, ...]:
        """Return *problems* with line and column in the file behind *fd*, in document order.

        Shape: `position` counts envelopes from 1; *envelope* is its tree; the path of a problem starts at the
        Envelope or at a child of MessageParts. A problem whose element is missing gets the place of the nearest
        element around it.
        """
        elements = [find(envelope, problem.path or "") for problem in problems]
        wanted = set(elements)
        numbers = {element: index for index, element in enumerate(envelope.iter("*")) if element in wanted}
        places = self._walk(fd, encoding, position).places(position)
        told: list[tuple[int, Problem]] = []
        for problem, element in zip(problems, elements, strict=True):
            number = numbers[element]
            line, column = places[number] if number < len(places) else (None, None)
            told.append((number, replace(problem, line=line, column=column)))
        return tuple(problem for _, problem in sorted(told, key=lambda each: each[0]))

    def begin(self) -> None:
        """Forget what was said of mistakes: another file begins."""
        self._remembered = Remembered()

    def prepare(self, name: str) -> None:
        """Build now what the first fault of a document (`{namespace}local`) would wait for, which takes its time.

        A document without a schema, or whose schema does not compile, needs nothing here: its verdict says so.
        """
        grammar = self._catalog.element(name)
        if grammar is not None:
            with suppress(ConfigError):
                _ = grammar.explaining

    def describe(
        self, part: etree._Element, grammar: Grammar | None = None, *, brief: bool = False
    ) -> tuple[Problem, ...]:
        """Return what keeps a document from being valid: up to 20 problems in document order, without places.

        *part* has failed the verdict of *grammar* (looked up when None); at least one problem is returned. Of one
        cause at most five places are told, the first with its total. With *brief* xmlschema is not asked.
        """
        grammar = grammar or self._catalog.element(str(part.tag))
        found: list[Told] = []
        more = False
        if grammar is not None:
            if has_more_than(EXPLAINED_WHOLE, part):
                found, more = self._large(grammar, part, brief=brief)
            else:
                found = self._whole(grammar, part, brief=brief)
            found = found or _by_libxml2(grammar, part)
        if not found:
            text = f"{local_name(part)} does not follow its schema; where, could not be found out."
            return (Problem(code=words.SCHEMA, text=text, path=path_of(part, part)),)
        wanted = {element for element, _ in found}
        order = {element: index for index, element in enumerate(part.iter("*")) if element in wanted}
        found.sort(key=lambda each: order.get(each[0], 0))
        return _with_paths(_grouped(list(dict.fromkeys(found)), more=more), part)

    def _whole(self, grammar: Grammar, part: etree._Element, *, brief: bool) -> list[Told]:
        """Look at a document, or a window of one, whose mistakes may be known from others."""
        entries = _entries(grammar, part)
        known = self._remembered.recall(entries, part, grammar.explaining) if entries else None
        if known is not None:
            return list(known)
        if brief:
            return []
        found = _by_xmlschema(grammar, part)
        self._remembered.learn(entries, found, part, grammar.explaining)
        return found

    def _large(self, grammar: Grammar, part: etree._Element, *, brief: bool) -> tuple[list[Told], bool]:
        """Look at a large document window by window; also tells whether it was left before its end."""
        told: dict[etree._Element, Problem] = {}
        explained = 0
        for window, origins in windows(part):
            if grammar.valid(window):
                continue
            if len(told) >= MOST_FOUND or explained >= MOST_WINDOWS:
                return list(told.items()), True
            explained += 1
            for copy, problem in self._whole(grammar, window, brief=brief) or _by_libxml2(grammar, window):
                told.setdefault(origins[copy], problem)
        return list(told.items()), False

    def _walk(self, fd: int, encoding: str, position: int) -> Locator:
        """Return the locator of this file: the last one unless it has gone beyond *position*."""
        status = os.fstat(fd)
        file = (fd, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        if self._locator is None or self._file != file or position < self._position:
            self._locator = Locator(fd, encoding)
        self._file, self._position = file, position
        return self._locator


def _grouped(found: Sequence[Told], *, more: bool) -> list[Told]:
    """Return what to tell of *found*, in its order: every cause before any is told of a second time.

    The first of a cause says how often it was found; *more* when the search ended before the document did.
    """
    causes: dict[object, list[int]] = {}
    for number, (_, problem) in enumerate(found):
        causes.setdefault(problem.cause, []).append(number)
    rounds = [[numbers[turn] for numbers in causes.values() if turn < len(numbers)] for turn in range(MAX_PLACES)]
    often = {numbers[0]: len(numbers) for numbers in causes.values() if len(numbers) > 1}
    told = []
    for number in sorted([number for each in rounds for number in each][:MAX_PROBLEMS]):
        element, problem = found[number]
        if number in often:
            problem = replace(problem, text=f"{problem.text} {_times(often[number], more=more)}")
        told.append((element, problem))
    return told


def _with_paths(told: Sequence[Told], part: etree._Element) -> tuple[Problem, ...]:
    """Return the problems with their whole paths: only now, when it is known which are told."""
    paths = paths_of([element for element, _ in told], part)
    return tuple(replace(problem, path=clean(paths[element], 1000)) for element, problem in told)


def _times(count: int, *, more: bool) -> str:
    return f"The document has this mistake {'at least ' if more else ''}{count} times."


def far_dates(grammar: Grammar, part: etree._Element) -> tuple[Problem, ...]:
    """Return the dates of a valid document whose year no calendar here can hold, such as 99999999-01-01.

    Any text may look like one: what is declared at its place is asked. A date by an alternative of XSD 1.1 is
    not found.
    """
    if grammar.explaining is None:
        return ()
    types = DeclaredTypes(grammar.explaining, part)
    like = (element for element in part.iter("*") if FAR_YEAR.match(element.text or ""))
    found = [element for element in like if _is_date(types.of_text(element))]
    first = found[: MAX_PROBLEMS * MAX_PLACES]
    told = _grouped([(element, words.beyond_range(element, part)) for element in first], more=len(found) > len(first))
    return _with_paths(told, part)


def _is_date(kind: object) -> bool:
    return getattr(getattr(kind, "root_type", None), "local_name", None) in _DATES


def _by_xmlschema(grammar: Grammar, part: etree._Element) -> list[Told]:
    return [words.of_error(error, part) for error in _errors(grammar, part)]


def _errors(grammar: Grammar, part: etree._Element) -> Sequence["XMLSchemaValidationError"]:
    """Return what xmlschema has against a document, nothing when it stumbles over it."""
    schema = grammar.explaining
    if schema is None:
        return ()
    from elementpath import ElementPathError  # noqa: PLC0415  # only a failed document pays for the imports
    from xmlschema import XMLSchemaException  # noqa: PLC0415

    try:
        # the method, on a schema of ours, without hints: the functions of the package fetch what a document names
        found = schema.iter_errors(part, use_location_hints=False)
        return [error for error in found if not about_identity(error)]
    except (XMLSchemaException, ElementPathError, ArithmeticError, LookupError, TypeError, ValueError, RecursionError):
        return ()  # its own errors are many kinds; libxml2 has the verdict and finds words as well


def _entries(grammar: Grammar, part: etree._Element) -> Entries:
    """Return what libxml2 has against each element of a document; nothing when that is much."""
    if has_more_than(LARGE, part) or len(found := grammar.errors(part)) > MOST_RECALLED:
        return {}
    entries: dict[etree._Element, list[TreeEntry]] = {}
    for entry in found:
        entries.setdefault(_at(part, entry.path or ""), []).append(entry)
    return entries


def _by_libxml2(grammar: Grammar, part: etree._Element) -> list[Told]:
    told = []
    for entry in grammar.errors(part):
        element = _at(part, entry.path or "")
        told.append((element, of_entry(entry, element, part, grammar.explaining)))
    return told


def _at(part: etree._Element, path: str) -> etree._Element:
    """Return the element that libxml2 calls by `/*/*[2]/p:Name`, as far as it can be followed."""
    current = part
    for step in list(_LIBXML2_STEP.finditer(path))[1:]:
        name, number = step[1], int(step[2] or 1)
        children = (
            child
            for child in current.iterchildren("*")
            if name == "*" or name == (f"{child.prefix}:" if child.prefix else "") + local_name(child)
        )
        child = next(islice(children, number - 1, None), None)
        if child is None:
            break
        current = child
    return current
