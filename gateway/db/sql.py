"""Named SQL statements, read once from `statements/*.sql` of each room.

A statement starts at `-- name: claim_messages` and ends at the next name or the end of the file. Comments
say why, for the reader of the file; they do not travel to the server.
"""

import difflib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import LiteralString, Self

from gateway.db.statement_files import BadStatements, is_signed

FOLDERS = sorted(Path(__file__).parents[1].glob("*/statements"))

_NAME = re.compile(r"^--[ \t]*name:[ \t]*(.*?)[ \t]*$", re.MULTILINE)
_IDENTIFIER = re.compile(r"[a-z][a-z0-9_]*")
_COMMENT_OR_QUOTED = re.compile(
    r"""(?P<quoted> '(?:[^']|'')*' | "(?:[^"]|"")*" | \$(?P<tag>\w*)\$ .*? \$(?P=tag)\$ )
      | --[^\n]* | /\* .*? \*/""",
    re.DOTALL | re.VERBOSE,
)


class Queries:
    """Immutable statements by name: `queries.claim_messages` is the text of that statement.

    Raises: AttributeError for a name that no file has.
    """

    __slots__ = ("_statements",)
    _statements: Mapping[str, LiteralString]

    def __init__(self, statements: Mapping[str, LiteralString]) -> None:
        object.__setattr__(self, "_statements", MappingProxyType(dict(statements)))

    @classmethod
    def load(cls, *folders: Path) -> Self:
        """Read every `.sql` file of *folders*, or else of the program; a name may be used once in all of them.

        Raises: BadStatements when a name is missing, malformed or used twice, or a statement is empty.
        """
        statements: dict[str, LiteralString] = {}
        places: dict[str, str] = {}
        for path in (path for folder in folders or FOLDERS for path in sorted(folder.glob("*.sql"))):
            for name, statement in _statements(path):
                if name in places:
                    raise BadStatements(f"{path.name}: the statement {name} is already in {places[name]}")
                places[name] = path.name
                statements[name] = statement
        return cls(statements)

    def __getattr__(self, name: str) -> LiteralString:
        try:
            return self._statements[name]
        except KeyError:
            near = difflib.get_close_matches(name, self._statements, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise AttributeError(f"no SQL statement is named {name}{hint}") from None

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("statements are read-only")

    def __iter__(self) -> Iterator[str]:
        return iter(self._statements)

    def __len__(self) -> int:
        return len(self._statements)

    def __contains__(self, name: str) -> bool:
        return name in self._statements


def _statements(path: Path) -> Iterator[tuple[str, LiteralString]]:
    text = path.read_text(encoding="utf-8")
    if is_signed(text):
        return  # functions are generated from it
    starts = list(_NAME.finditer(text))
    before = text[: starts[0].start()] if starts else text
    if _without_comments(before):
        raise BadStatements(f"{path.name}: there is SQL before the first `-- name:` line")
    ends = [start.start() for start in starts[1:]] + [len(text)]
    for start, end in zip(starts, ends, strict=True):
        line = text.count("\n", 0, start.start()) + 1
        name = start[1]
        if not _IDENTIFIER.fullmatch(name):
            raise BadStatements(f"{path.name}:{line}: {name!r} cannot be the name of a statement: use a_b_c")
        statement = _without_comments(text[start.end() : end])
        if not statement:
            raise BadStatements(f"{path.name}:{line}: the statement {name} is empty")
        yield name, statement


def _without_comments(text: str) -> LiteralString:
    """Return *text* without comments, blank lines and the closing semicolon; quoted text is left alone."""
    bare = _COMMENT_OR_QUOTED.sub(lambda match: match["quoted"] or "", text)
    lines = (line.rstrip() for line in bare.splitlines())
    return "\n".join(line for line in lines if line).strip().removesuffix(";").rstrip()
