"""The runnable `sql`: statements in one transaction, against the gateway's database or another one."""

import asyncio
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Annotated, Final, Self
from uuid import UUID

import asyncpg
from asyncpg import Connection
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from gateway.config.addresses import database_address
from gateway.config.environment import read_file
from gateway.config.models_base import Location, Options, Text, reread
from gateway.contracts.task import Runnable, TaskContext
from gateway.db.connect import connect
from gateway.db.errors import DRIVER_ERRORS, StoreRefused, database_errors, is_transient
from gateway.db.open import Store
from gateway.db.statements import session_sql
from gateway.db.waiting import uninterrupted
from gateway.kernel.errors import GatewayError, TaskFailed, TaskRefused

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


MOST_BYTES: Final = 10_000_000
_CLOSE_SECONDS: Final = 10.0
_MAKES: Final = re.compile(r"(?:create|alter|drop|set|do|call)\b|select\b.*\binto\b", re.IGNORECASE | re.DOTALL)
_SETTINGS: Final = {"application_name": "gateway task", "timezone": "UTC", "synchronous_commit": "on"}

Scalar = Annotated[str | int | float | bool | None, BeforeValidator(reread)]


class SqlParameters(Options):
    """Which statements, with which values, against which database."""

    file: Location | None = Field(default=None, description="File with the statements, in UTF-8.")
    statements: str | None = Field(default=None, description="The statements themselves, instead of a file.")
    values: Mapping[Text, Scalar] = Field(
        default_factory=dict, description="Values of the parameters that the statements name as :name."
    )
    url: Annotated[Text, AfterValidator(database_address)] | None = Field(
        default=None, repr=False, description="Address of another PostgreSQL, from ${…}. Default: the gateway's own."
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.file is None) == (self.statements is None):
            raise ValueError("needs either file or statements")
        return self


class SqlTask:
    """One execution of statements (`gateway.contracts.task.TaskHandler`).

    All of them take effect or none. A crash just after the commit may run them again: write them so that this does no
    harm, e.g. INSERT … ON CONFLICT.
    """

    def __init__(self, parameters: SqlParameters, own: Callable[[], Store]) -> None:
        self._parameters = parameters
        self._own = own

    async def run(self, context: TaskContext) -> None:
        """Run the statements; the log has the number of rows of each.

        Raises: TaskRefused when the statements or their values are not in order; TaskFailed with line and reason when
        a statement fails; StoreUnavailable when the database is away.
        """
        statements = await self._read()
        store = self._own()
        url = self._parameters.url or store.url
        try:
            connection = await connect(url, _SETTINGS)
        except StoreRefused as error:
            raise TaskFailed(error.message, code="sql.connect") from error
        try:
            with database_errors(connection):
                if self._parameters.url is None:
                    await session_sql.put_our_schema_last(connection)
                async with connection.transaction():
                    for statement in statements:
                        await self._execute(connection, statement, context)
        except asyncpg.PostgresError as error:  # a constraint that is checked at the end
            raise TaskFailed(f"The statements cannot be committed: {error}.", code="sql.commit") from error
        finally:
            await uninterrupted(_close(connection))
        context.log.info(f"{len(statements)} statements committed.")
        context.tally.add("statements", len(statements))

    async def examine(self) -> list[str]:
        """Say which statements the database does not understand; nothing is executed.

        Rule: what a statement names is looked for only where none before it may have made it.
        """
        try:
            statements = await self._read()
            connection = await connect(self._parameters.url or self._own().url, _SETTINGS)
        except GatewayError as error:
            return [error.message]
        found: list[str] = []
        try:
            if self._parameters.url is None:
                await session_sql.put_our_schema_last(connection)
            made = False
            for statement in statements:
                try:
                    await connection.prepare(statement.text)
                except asyncpg.PostgresError as error:
                    if isinstance(error, asyncpg.PostgresSyntaxError) or not made:
                        found.append(f"line {statement.line}: {error}")
                made = made or _MAKES.match(statement.text) is not None
        except (*DRIVER_ERRORS, OSError) as error:
            found.append(f"the database does not answer: {error}")
        finally:
            await uninterrupted(_close(connection))
        return found

    async def _read(self) -> list[Statement]:
        wanted = self._parameters
        text = wanted.statements
        if wanted.file is not None:
            try:
                text = await asyncio.to_thread(_text_of, wanted.file)
            except UnicodeDecodeError as error:
                raise TaskRefused(f"{wanted.file} is not in UTF-8: {error}.", code="sql.file") from error
            except OSError as error:
                raise TaskRefused(
                    f"{wanted.file} cannot be read: {error.strerror or error}.", code="sql.file"
                ) from error
        statements = split_statements(text or "")
        if not statements:
            raise TaskRefused("There are no statements.", code="sql.file")
        for statement in statements:
            if statement.controls_transaction:
                raise TaskRefused(
                    f"Line {statement.line} begins or ends a transaction; all statements run in one already. Take it "
                    "out.",
                    code="sql.file",
                )
            for name in statement.names:
                if name not in wanted.values:
                    raise TaskRefused(
                        f"Line {statement.line} needs the value :{name}; add it to `values`.", code="sql.values"
                    )
        return statements

    async def _execute(self, connection: Connection, statement: Statement, context: TaskContext) -> None:
        try:
            prepared = await connection.prepare(statement.text)
            types = [parameter.name for parameter in prepared.get_parameters()]
            values = [
                _converted(name, self._parameters.values[name], kind)
                for name, kind in zip(statement.names, types, strict=True)
            ]
            if prepared.get_attributes():  # rows come back, perhaps more than there is memory for
                rows = 0
                async for _ in prepared.cursor(*values, prefetch=1000):
                    rows += 1
                done = f"{rows} rows"
            else:
                await prepared.fetch(*values)
                done = str(prepared.get_statusmsg())
        except asyncpg.PostgresError as error:
            if is_transient(error):
                raise
            raise TaskFailed(f"Line {statement.line}: {error}.", code="sql.statement") from error
        context.log.info(f"Line {statement.line}: {done}")


_CONVERSIONS: Final[Mapping[str, Callable[[str], object]]] = {
    "int2": int,
    "int4": int,
    "int8": int,
    "float4": float,
    "float8": float,
    "numeric": Decimal,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "timestamp": datetime.fromisoformat,
    "timestamptz": datetime.fromisoformat,
    "uuid": UUID,
    "text": str,
    "varchar": str,
    "bpchar": str,
    "name": str,
    "unknown": str,
}


def _converted(name: str, value: str | int | float | bool | None, kind: str) -> object:
    """Return a value of the configuration as the driver wants it for a parameter of the database type *kind*."""
    if value is None:
        return None
    if kind in {"json", "jsonb"}:
        return json.dumps(value)
    if kind == "bool" and isinstance(value, bool):
        return value
    conversion = _CONVERSIONS.get(kind)
    if conversion is None or isinstance(value, bool):
        raise TaskRefused(
            f"The value :{name} is wanted as {kind}, which cannot be given; write :{name}::text::{kind}.",
            code="sql.values",
        )
    try:
        return conversion(str(value))
    except (ValueError, InvalidOperation):
        raise TaskRefused(f"The value :{name} is wanted as {kind}, and is none.", code="sql.values") from None


def _text_of(path: Location) -> str:
    content = read_file(path, MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise OSError(f"it has more than {MOST_BYTES:,} bytes")
    return content.decode("utf-8-sig")


async def _close(connection: Connection) -> None:
    try:
        await connection.close(timeout=_CLOSE_SECONDS)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        connection.terminate()


def sql_runnable(own: Callable[[], Store]) -> Runnable:
    """Describe it; *own* returns the gateway's store."""
    return Runnable(
        name="sql",
        description="runs SQL statements in one transaction",
        parameters=SqlParameters,
        make=lambda parameters: SqlTask(parameters, own),
        examine=lambda parameters: SqlTask(parameters, own).examine(),
        retryable=True,
    )
