"""Generate typed functions and rows from the `.sql` files of all rooms: `python -m gateway.db.generate`.

Each statement is prepared on an embedded server of its own with all migrations. The server tells the types of its
parameters, which are compared with the signature, and the names, types and origins of its columns. With `--check`
nothing is started and nothing written: the files are only compared with what the modules were generated from.

Nothing generated is imported here: what is broken or missing can always be generated anew.
"""

import ast
import asyncio
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from keyword import iskeyword
from pathlib import Path
from typing import Final

import asyncpg
from asyncpg import Connection

from gateway.db.embedded import EmbeddedServer
from gateway.db.generated_module import Described, Field, render
from gateway.db.nullability import Catalog, columns, parse_tree
from gateway.db.statement_files import (
    MIGRATIONS,
    PACKAGE,
    SCHEMA_DIGEST,
    BadStatements,
    Cardinality,
    Statement,
    read_file,
    schema_digest,
    stale_modules,
    statement_files,
)

COMMAND: Final = f"python -m {__spec__.name if __spec__ else __name__}"

OUR_TYPES: Final[Mapping[str, Sequence[str]]] = {
    "gateway.kernel.ids": (
        "PortName", "LaneName", "ClaimId", "MessageKey", "SetKey", "Fence", "JobId", "RunId", "RunTaskId", "EntryId",
    ),
    "gateway.batch.rules.job": (
        "JobStatus", "TaskStatus", "Wanted", "ConditionType", "HistoryMode", "Priority", "Location", "JobMode", "Base",
        "Missed", "Cause", "Counts", "Parameters",
    ),
    "gateway.messaging.rules.states": ("Direction", "Stage", "Status", "Reason", "Policy", "LaneRule", "LoggingMode"),
    "gateway.exchange.rules.statuses": ("SessionDirection", "SessionStatus"),
    "gateway.queues.rules.entry": ("EntryStatus",),
}  # fmt: skip
"""The types besides those of Python that signatures and columns may have, by the module that has them."""

COLUMNS: Final[Mapping[str, str]] = {
    "claim_id": "ClaimId",
    "entry_id": "EntryId",
    "fence": "Fence",
    "job_id": "JobId",
    "message_key": "MessageKey",
    "port": "PortName",
    "run_id": "RunId",
    "run_task_id": "RunTaskId",
    "set_id": "SetKey",
    "alert.facts": "Parameters",
    "attempt.counts": "Counts",
    "batch_group.priority": "Priority",
    "document.message_id": "MessageKey",
    "exchange_session.direction": "SessionDirection",
    "exchange_session.message": "MessageKey",
    "exchange_session.status": "SessionStatus",
    "job.base": "Base",
    "job.dependency_type": "ConditionType",
    "job.history": "HistoryMode",
    "job.id": "JobId",
    "job.last_run_id": "RunId",
    "job.missed": "Missed",
    "job.mode": "JobMode",
    "job.priority": "Priority",
    "job.recurrence": "Parameters",
    "job.status": "JobStatus",
    "job_dependency.wanted": "Wanted",
    "lane.blocked_by": "MessageKey",
    "lane.head": "MessageKey",
    "lane.name": "LaneName",
    "lane.parked_by": "MessageKey",
    "message.id": "MessageKey",
    "message.request_id": "MessageKey",
    "message_set.id": "SetKey",
    "queue.lane": "LaneName",
    "queue.message_id": "MessageKey",
    "port_health.trying": "Fence",
    "processed_content.request_id": "MessageKey",
    "processed_id.request_id": "MessageKey",
    "queue_entry.id": "EntryId",
    "queue_entry.status": "EntryStatus",
    "run.counts": "Counts",
    "run.history": "HistoryMode",
    "run.id": "RunId",
    "run.rerun_of": "RunId",
    "run.status": "JobStatus",
    "run_task.condition_type": "ConditionType",
    "run_task.counts": "Counts",
    "run_task.id": "RunTaskId",
    "run_task.parameters": "Parameters",
    "run_task.priority": "Priority",
    "run_task.spawned_by": "RunTaskId",
    "run_task.status": "TaskStatus",
    "send_request.id": "MessageKey",
    "status_message.direction": "SessionDirection",
    "status_message.status": "SessionStatus",
    "task.condition_type": "ConditionType",
    "task.location": "Location",
    "task.parameters": "Parameters",
    "task_condition.wanted": "Wanted",
}
"""What columns hold that is more than their type in the database tells: `table.column`, or `column` in any table."""

OTHER_SCHEMAS: Final = (PACKAGE / "exchange" / "statements" / "message_store" / "tables.sql",)
"""Scripts that make tables of other databases than ours, for the statements that are meant for these."""

_TYPES: Final = {
    "bool": "bool", "int2": "int", "int4": "int", "int8": "int", "oid": "int", "float4": "float", "float8": "float",
    "numeric": "Decimal", "text": "str", "varchar": "str", "bpchar": "str", "name": "str", "json": "str",
    "jsonb": "str", "bytea": "bytes", "uuid": "UUID", "timestamptz": "datetime", "date": "date", "time": "time",
    "interval": "timedelta",
}  # fmt: skip
_PLAIN: Final = frozenset(_TYPES.values())
_OURS: Final = {name: module for module, names in OUR_TYPES.items() for name in names}
_IMPORTS: Final = {
    **dict.fromkeys(("date", "datetime", "time", "timedelta"), "datetime"),
    **{"loads": "json", "Sequence": "collections.abc", "Decimal": "decimal", "UUID": "uuid", "NamedTuple": "typing"},
    **dict.fromkeys(("Connection", "Record"), "asyncpg"),
    **_OURS,
}
_STATE, _JSON = "StrEnum", "Mapping"
_MARKED = re.compile(r"(?P<name>\w+)(?P<sure>!)?(?:: (?P<type>\w+))?")


class Describer:
    """Asks a server with our schema about statements."""

    def __init__(self, connection: Connection, types: Mapping[int, tuple[str, str, bool]], catalog: Catalog) -> None:
        self._connection = connection
        self._types = types
        self._catalog = catalog
        self._names: dict[tuple[int, int], tuple[str, str]] = {}

    @classmethod
    async def make(cls, connection: Connection) -> "Describer":
        """Read the catalog of the database once."""
        described = await connection.fetch(
            "SELECT t.oid, format_type(t.oid, NULL) AS written, coalesce(e.typname, t.typname) AS base, "
            "e.oid IS NOT NULL AS is_list "
            "FROM pg_type t LEFT JOIN pg_type e ON e.oid = t.typelem AND t.typcategory = 'A'"
        )
        attributes = await connection.fetch(
            "SELECT c.oid, c.relname, a.attnum, a.attname, a.attnotnull FROM pg_class c "
            "JOIN pg_attribute a ON a.attrelid = c.oid WHERE a.attnum > 0"
        )
        views = await connection.fetch(
            "SELECT ev_class, ev_action::text FROM pg_rewrite WHERE ev_class >= 16384 AND ev_type = '1'"
        )
        functions = await connection.fetch("SELECT oid, proname FROM pg_proc WHERE oid < 16384")
        catalog = Catalog(
            not_null=frozenset((oid, number) for oid, _, number, _, not_null in attributes if not_null),
            views={view: parse_tree(text) for view, text in views},
            functions=dict(map(tuple, functions)),
            types={oid: base for oid, _, base, is_list in described if not is_list},
        )
        self = cls(connection, {oid: (written, base, is_list) for oid, written, base, is_list in described}, catalog)
        self._names = {(oid, number): (table, name) for oid, table, number, name, _ in attributes}
        return self

    async def describe(self, statement: Statement) -> Described:
        """Compare a statement with its signature and find out what its rows are.

        Raises: BadStatements.
        """
        try:
            prepared = await self._connection.prepare(statement.text)
            parameters = [parameter.oid for parameter in prepared.get_parameters()]
            self._compare(statement, parameters)
            if statement.cardinality is Cardinality.NONE:
                return Described(statement, ())
            types = [column.type.oid for column in prepared.get_attributes()]
            fields = await self._fields(statement, parameters, types)
        except asyncpg.PostgresError as error:
            raise BadStatements(f"{statement.place}: {statement.name}: {error}") from error
        return Described(statement, tuple(fields))

    def _compare(self, statement: Statement, types: Sequence[int]) -> None:
        parameters, place = statement.parameters, f"{statement.place}: {statement.name}"
        if len(parameters) != len(types):
            raise BadStatements(f"{place} has {len(parameters)} parameters, its SQL {len(types)}")
        for number, (parameter, oid) in enumerate(zip(parameters, types, strict=True), start=1):
            written, base, is_list = self._types[oid]
            assert parameter.annotation is not None
            wanted, wants_list, _ = _written(parameter.annotation, place)
            if not _fits(wanted, _TYPES.get(base)) or wants_list != is_list:
                raise BadStatements(
                    f"{place}: {parameter.arg} is {ast.unparse(parameter.annotation)}, but ${number} is {written}"
                )

    async def _fields(self, statement: Statement, parameters: Sequence[int], types: Sequence[int]) -> list[Field]:
        transaction = self._connection.transaction()
        await transaction.start()
        try:
            written = ", ".join(self._types[oid][0] for oid in parameters)
            await self._connection.execute(
                f"CREATE FUNCTION described({written}) RETURNS void BEGIN ATOMIC {statement.text}; END"
            )
            tree = await self._connection.fetchval("SELECT prosqlbody::text FROM pg_proc WHERE proname = 'described'")
        finally:
            await transaction.rollback()
        nullable = [_written(one.annotation, statement.place)[2] for one in statement.parameters if one.annotation]
        found = columns(parse_tree(tree), self._catalog, nullable)
        return [
            self._field(statement, column.name, column.origin, column.nullable, oid)
            for column, oid in zip(found, types, strict=True)
        ]

    def _field(self, statement: Statement, name: str, origin: tuple[int, int], nullable: bool, oid: int) -> Field:
        written, base, is_list = self._types[oid]
        place = f"{statement.place}: {statement.name}"
        if base not in _TYPES:
            raise BadStatements(f"{place}: column {name} is of the type {written}, which has no type here: cast it")
        marked = _MARKED.fullmatch(name if statement.row or name != "?column?" else "value")
        if marked is None or iskeyword(marked["name"]) or (marked["name"] in ("count", "index") and statement.row):
            raise BadStatements(f'{place}: a column needs a name (AS …) that a field may have, not "{name}"')
        table, column = self._names.get(origin, ("", ""))
        known = marked["type"] or COLUMNS.get(f"{table}.{column}") or COLUMNS.get(column) or _TYPES[base]
        if not _fits(_base(known), _TYPES[base]) and not (_base(known) == _JSON and base in ("json", "jsonb")):
            raise BadStatements(f"{place}: column {marked['name']} is {written}, which is no {known}")
        made_by = {_STATE: known, _JSON: "loads"}.get(_base(known))
        return Field(marked["name"], known, is_list, nullable and not marked["sure"], made_by)


def _written(annotation: ast.expr, place: str) -> tuple[str, bool, bool]:
    """Take a type apart: the type of Python that its values have, whether it is a list, whether it may be None.

    Raises: BadStatements.
    """
    match annotation:
        case ast.BinOp(left=inner, op=ast.BitOr(), right=ast.Constant(value=None)):
            return *_written(inner, place)[:2], True
        case ast.Subscript(value=ast.Name(id="Sequence"), slice=inner):
            return _written(inner, place)[0], True, False
        case ast.Name(id=name) if name in _PLAIN or name in _IMPORTS:
            return _base(name), False, False
        case _:
            raise BadStatements(
                f"{place}: {ast.unparse(annotation)} is no type of a parameter: write {', '.join(sorted(_PLAIN))}, "
                f"one of OUR_TYPES in generate.py, Sequence[…] of one, or one with | None"
            )


def _fits(base: str, given: str | None) -> bool:
    return base == given or (base == _STATE and given == "str")


@cache
def _base(name: str) -> str:
    """Return the type of Python that the values of a type have, StrEnum or Mapping for one of those.

    Ours are looked up in the text of their module: to import it may need what is about to be generated.
    """
    if (module := _OURS.get(name)) is None:
        return name
    text = (PACKAGE.parent / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")
    found = re.search(
        rf'^(?:class {name}\((StrEnum)\):|{name} = (Mapping)\[|{name} = NewType\("{name}", (\w+)\))', text, re.MULTILINE
    )
    if found is None:
        raise BadStatements(f"{module} has no {name} that is a StrEnum, a NewType or a Mapping")
    return found[1] or found[2] or found[3]


async def generate(connection: Connection, package: Path = PACKAGE) -> dict[Path, str]:
    """Return the text of every generated module, by its path, from a database with all migrations.

    Raises: BadStatements.
    """
    describer = await Describer.make(connection)
    modules = {}
    for path in statement_files(package):
        file = read_file(path)
        described = [await describer.describe(statement) for statement in file.statements]
        modules[file.module] = render(file, described, COMMAND, _IMPORTS)
    return modules


async def _generate_all() -> None:
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedServer(Path(folder), durable=False)
        await asyncio.to_thread(server.start)
        try:
            connection = await asyncpg.connect(server.url)
            schema = {one.name: one.text for one in read_file(PACKAGE / "db" / "statements" / "schema.sql").statements}
            await connection.execute(schema["create_own_schema"])
            await connection.execute("SET search_path = gateway")
            await connection.execute(schema["create_schema_version"])
            for script in (*sorted(MIGRATIONS.glob("*.sql")), *OTHER_SCHEMAS):
                await connection.execute(script.read_text(encoding="utf-8"))
            modules = await generate(connection)
            await connection.close()
        finally:
            await asyncio.to_thread(server.stop)
    for path, text in modules.items():
        path.write_text(text, encoding="utf-8")
    SCHEMA_DIGEST.write_text(schema_digest(), encoding="utf-8")


def main(arguments: Sequence[str]) -> int:
    """Write the generated modules, or with `--check` say which are out of date; returns the exit code."""
    if list(arguments) == ["--check"]:
        stale = list(stale_modules())
        print("\n".join([*stale, *([f"run {COMMAND}"] if stale else [])]), file=sys.stderr, end="\n" if stale else "")
        return 1 if stale else 0
    try:
        asyncio.run(_generate_all())
    except BadStatements as error:
        print(error.message, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
