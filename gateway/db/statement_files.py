"""The `.sql` files of the rooms: named statements, each with the signature of the function that is generated from it.

    -- name: claim_lanes(port: PortName, fence: Fence, most: int) -> many LaneRow
    -- Why it is as it is: the docstring of the function.
    SELECT …

The parameters are $1, $2, … in order, written as in Python, with defaults and `*` where that reads better. The
signature may go on in further comment lines. After the arrow stands how many rows come, and how a row of several
columns is called: `many`, `one`, `maybe` (one or none) or `none` (nothing is read). A row of one column without a name
is the bare value. The comment before the first statement is the docstring of the module. Other comments do not travel.
"""

import ast
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from gateway.kernel.errors import GatewayError

PACKAGE: Final = Path(__file__).parents[1]
MIGRATIONS: Final = Path(__file__).parent / "migrations"
SCHEMA_DIGEST: Final = MIGRATIONS / "digest"
"""The migrations that the generated modules were made for."""

_NAME = re.compile(r"^--[ \t]*name:[ \t]*", re.MULTILINE)
_SIGNATURE = re.compile(r"(?P<head>[a-z]\w*\(.*\)) -> (?P<shape>many|one|maybe|none)(?: (?P<row>[A-Z]\w*))?")
_COMMENT_OR_QUOTED = re.compile(
    r"""(?P<quoted> '(?:[^']|'')*' | "(?:[^"]|"")*" | \$(?P<tag>\w*)\$ .*? \$(?P=tag)\$ )
      | --[^\n]* | /\* .*? \*/""",
    re.DOTALL | re.VERBOSE,
)


class BadStatements(GatewayError):
    """A `.sql` file of the program itself is not in order."""

    code = "sql.invalid"


class Cardinality(StrEnum):
    """How many rows a statement gives."""

    MANY = "many"  # any number
    ONE = "one"  # exactly one
    MAYBE = "maybe"  # one or none
    NONE = "none"  # nothing is read


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A named statement. `row` names the type of its rows; `text` goes to the server; `why` is told to the reader."""

    name: str
    arguments: ast.arguments
    cardinality: Cardinality
    row: str | None
    why: str
    text: str
    place: str

    @property
    def parameters(self) -> list[ast.arg]:
        """The parameters in the order of their numbers."""
        return [*self.arguments.args, *self.arguments.kwonlyargs]


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementFile:
    """A `.sql` file and the module that is generated from it: `jobs.sql` becomes `jobs_sql.py` beside it."""

    path: Path
    about: str
    statements: tuple[Statement, ...]

    @property
    def module(self) -> Path:
        """Where the generated module lies."""
        return self.path.with_name(f"{self.path.stem}_sql.py")


def statement_files(package: Path = PACKAGE) -> list[Path]:
    """Return the statement files of all rooms, in order."""
    return sorted(path for path in package.glob("**/statements/*.sql") if is_signed(path.read_text(encoding="utf-8")))


def is_signed(text: str) -> bool:
    """Tell whether a file has signatures; those without are still read by name."""
    return re.search(r"^-- name: \w+\(", text, re.MULTILINE) is not None


def read_file(path: Path) -> StatementFile:
    """Read the statements of a file.

    Raises: BadStatements with the place of what is not in order.
    """
    text = path.read_text(encoding="utf-8")
    starts = list(_NAME.finditer(text))
    about = text[: starts[0].start()] if starts else text
    if _bare(about):
        raise BadStatements(f"{path.name}: there is SQL before the first `-- name:` line")
    ends = [start.start() for start in starts[1:]] + [len(text)]
    statements: dict[str, Statement] = {}
    for start, end in zip(starts, ends, strict=True):
        place = f"{path.name}:{text.count(chr(10), 0, start.start()) + 1}"
        statement = _statement(text[start.end() : end], place)
        if statement.name in statements:
            raise BadStatements(f"{place}: the statement {statement.name} stands in this file already")
        statements[statement.name] = statement
    return StatementFile(path=path, about=_comment(about.splitlines()), statements=tuple(statements.values()))


def stale_modules(package: Path = PACKAGE) -> Iterator[str]:
    """Yield what no longer fits the `.sql` files and migrations, in words; reads files only."""
    for path in statement_files(package):
        module = read_file(path).module
        if not module.exists() or source_line(path) not in module.read_text(encoding="utf-8").splitlines()[:3]:
            yield f"{module.name} was not generated from {path.name} as it is now"
    for module in package.glob("**/statements/*_sql.py"):
        if not module.with_name(module.name.removesuffix("_sql.py") + ".sql").exists():
            yield f"{module.name} is left over from a file that is gone"
    if not SCHEMA_DIGEST.exists() or SCHEMA_DIGEST.read_text(encoding="utf-8") != schema_digest():
        yield "the migrations have changed since the statements were generated"


def source_line(path: Path) -> str:
    """Return the line in a generated module that says what it was made from."""
    return f"# Source: {path.name}, sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}"


def schema_digest() -> str:
    """Return what `SCHEMA_DIGEST` holds when the generated modules know all migrations."""
    digest = hashlib.sha256()
    for path in sorted(MIGRATIONS.glob("*.sql")):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return f"sha256 {digest.hexdigest()}\n"


def _statement(block: str, place: str) -> Statement:
    """Read what follows `-- name:`."""
    lines = block.splitlines()
    signature, taken = lines[0].strip(), 1
    while not (match := _SIGNATURE.fullmatch(signature)):
        if taken == len(lines) or not lines[taken].startswith("--"):
            raise BadStatements(
                f"{place}: {lines[0].strip()!r} is not the signature of a statement; write it like this: "
                "claim_lanes(port: PortName, most: int) -> many LaneRow"
            )
        signature, taken = f"{signature} {lines[taken].lstrip('-').strip()}", taken + 1
    try:
        (function,) = ast.parse(f"def {match['head']}: ...").body
    except SyntaxError as error:
        raise BadStatements(f"{place}: the signature cannot be read: {error.msg}") from error
    assert isinstance(function, ast.FunctionDef)
    arguments = function.args
    if arguments.vararg or arguments.kwarg or arguments.posonlyargs:
        raise BadStatements(f"{place}: a statement takes plain parameters and `*` only")
    if missing := [one.arg for one in (*arguments.args, *arguments.kwonlyargs) if one.annotation is None]:
        raise BadStatements(f"{place}: parameter {missing[0]} has no type")
    text = _bare("\n".join(lines[taken:]))
    if not text:
        raise BadStatements(f"{place}: the statement {function.name} is empty")
    return Statement(
        name=function.name,
        arguments=arguments,
        cardinality=Cardinality(match["shape"]),
        row=match["row"],
        why=_comment(lines[taken:]),
        text=text,
        place=place,
    )


def _comment(lines: list[str]) -> str:
    """Return the comment that *lines* begin with."""
    said = []
    for line in lines:
        if not line.startswith("--"):
            break
        said.append(line.removeprefix("--").strip())
    return "\n".join(said).strip()


def _bare(text: str) -> str:
    """Return *text* without comments, blank lines and the closing semicolon; quoted text is left alone."""
    bare = _COMMENT_OR_QUOTED.sub(lambda match: match["quoted"] or "", text)
    lines = (line.rstrip() for line in bare.splitlines())
    return "\n".join(line for line in lines if line).strip().removesuffix(";").rstrip()
