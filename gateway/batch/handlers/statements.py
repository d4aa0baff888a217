"""Take a file of SQL statements apart: where each begins, and which named parameters it has.

    SELECT count(*) FROM orders WHERE day = :day AND note = 'not :this';   -- not :this either

Strings, quoted names, dollar quotes, comments and casts (`::date`) are left alone.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_PIECE = re.compile(
    r"""(?P<kept> '(?:[^']|'')*' | [eE]'(?:\\.|''|[^'\\])*' | "(?:[^"]|"")*"
        | (?<![A-Za-z0-9_$]) \$(?P<tag>[A-Za-z_]?[A-Za-z0-9_]*)\$ .*? \$(?P=tag)\$ | --[^\n]* | :: )
      | (?P<comment>/\*)
      | (?<![:A-Za-z0-9_]) : (?P<name>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<end>;)""",
    re.DOTALL | re.VERBOSE,
)
_COMMENT_MARK = re.compile(r"/\*|\*/")
_NOTHING = re.compile(r"(?:\s|--[^\n]*(?:\n|$))*")
_CONTROL = re.compile(
    r"(?:begin|commit|rollback|abort|end|savepoint|release|start\s+transaction|prepare\s+transaction)\b", re.IGNORECASE
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One statement: with `$1`, `$2` … in place of its parameters, their names in that order, and its first line."""

    text: str
    names: tuple[str, ...]
    line: int

    @property
    def controls_transaction(self) -> bool:
        """Tell whether it would begin or end a transaction."""
        return _CONTROL.match(self.text) is not None


def split_statements(text: str) -> list[Statement]:
    """Return the statements of a file in order; what is empty or only comments is none."""
    return [statement for piece, line in _pieces(text) if (statement := _statement(piece, line)) is not None]


def _pieces(text: str) -> Iterator[tuple[str, int]]:
    begin = place = 0
    while (match := _PIECE.search(text, place)) is not None:
        place = match.end()
        if match["comment"]:
            place = _end_of_comment(text, place)
        elif match["end"]:
            yield text[begin : match.start()], text.count("\n", 0, begin) + 1
            begin = place
    yield text[begin:], text.count("\n", 0, begin) + 1


def _end_of_comment(text: str, place: int) -> int:
    """Return where a comment ends that begins before *place*; comments may stand in comments."""
    depth = 1
    for mark in _COMMENT_MARK.finditer(text, place):
        depth += 1 if mark[0] == "/*" else -1
        if depth == 0:
            return mark.end()
    return len(text)


def _statement(piece: str, line: int) -> Statement | None:
    bare, names, place = "", [], 0
    while (match := _PIECE.search(piece, place)) is not None:
        bare += piece[place : match.start()]
        place = match.end()
        if match["comment"]:
            place = _end_of_comment(piece, place)
            bare += " " + "\n" * piece.count("\n", match.start(), place)
        elif match["name"]:
            if match["name"] not in names:
                names.append(match["name"])
            bare += f"${names.index(match['name']) + 1}"
        else:
            bare += match[0]
    bare += piece[place:]
    start = _NOTHING.match(bare)
    assert start is not None
    if not bare[start.end() :].strip():
        return None
    return Statement(text=bare[start.end() :].strip(), names=tuple(names), line=line + bare.count("\n", 0, start.end()))
