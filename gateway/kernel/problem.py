"""One thing wrong in a partner's document, told so that the partner can mend it."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ParamSpec

MAX_PROBLEMS = 20
"""Of one message are told; the others are counted."""
_P = ParamSpec("_P")
_NUMBER = re.compile(r"\[\d+\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What is wrong and where.

    Shape: `line` and `column` count from 1 in the partner's file (None: no place can be named);
    `path` names the element from the document root, e.g. `/SalesOrder/SalesTable[1]/SalesLine[2]/SalesQty`;
    `found` is the offending value, cut to 200 characters; `expected` says what is allowed.
    """

    code: str
    text: str
    line: int | None = None
    column: int | None = None
    path: str | None = None
    found: str | None = None
    expected: str | None = None

    @property
    def cause(self) -> tuple[str, str, str]:
        """Return what is alike where the same mistake was made again: in the next line, with another value."""
        return self.code, _NUMBER.sub("", self.path or ""), self.expected or self.text

    def __str__(self) -> str:
        place = "" if self.line is None else f"line {self.line}" + (f", column {self.column}" if self.column else "")
        where = ", ".join(part for part in (place, self.path) if part)
        return f"{where}: {self.text}" if where else self.text


class Problems:
    """Collects what is wrong with one message: the first 20 problems in words, the others by their number.

    So a message with a hundred thousand mistakes costs no more words than one with twenty.
    """

    __slots__ = ("_more", "_told")

    def __init__(self) -> None:
        self._told: list[Problem] = []
        self._more = 0

    def add(self, make: Callable[_P, Problem], *args: _P.args, **kwargs: _P.kwargs) -> None:
        """Add what *make* returns; it is not called for a problem that is only counted."""
        if len(self._told) < MAX_PROBLEMS:
            self._told.append(make(*args, **kwargs))
        else:
            self._more += 1

    def append(self, problem: Problem) -> None:
        """Add a problem that is made already."""
        self.add(lambda: problem)

    def all(self) -> tuple[Problem, ...]:
        """Return the problems in the order they were added; the last one says how many more there are."""
        return _and_more(self._told, self._more)


def first_of(problems: Sequence[Problem]) -> Sequence[Problem]:
    """Return the first 20 of the problems of one message; the last one says how many more there are."""
    more = len(problems) - MAX_PROBLEMS
    return problems if more <= 0 else _and_more(problems[:MAX_PROBLEMS], more)


def _and_more(told: Sequence[Problem], more: int) -> tuple[Problem, ...]:
    if not more:
        return tuple(told)
    *first, last = told
    said = "is 1 more problem" if more == 1 else f"are {more} more problems"
    return (*first, replace(last, text=f"{last.text} There {said} in this message."))
