"""Which columns of a statement may be null, read from the query tree that the server makes of it.

The server keeps the tree of a function `BEGIN ATOMIC … END` as text. Where nothing proves that a value is there it may
be null: a column NOT NULL of a table that no outer join may leave out, a count, a comparison of such values and a few
more are proof. What the tree cannot know is said in SQL: `AS "total!"`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

_TOKEN = re.compile(r"[(){}]|(?:\\.|[^\s(){}\\])+", re.DOTALL)
_SURE_FUNCTIONS: Final = frozenset(
    {
        "clock_timestamp", "now", "statement_timestamp", "transaction_timestamp", "count", "row_number", "concat",
        "concat_ws", "nextval",
    }
)  # fmt: skip
_TOTAL_FUNCTIONS: Final = frozenset({"left", "lower", "upper", "length", "octet_length", "extract"})
"""They give a value for values, as operators do."""
_TOTAL_TYPES: Final = frozenset(
    {"bool", "int2", "int4", "int8", "float4", "float8", "numeric", "interval", "date", "timestamptz"}
)
"""Operators with such a result give a value for values; others, as those that look into JSON, may find nothing."""

_SELECT: Final = "1"
_SUBQUERY: Final = "1"
_CASTS: Final = ("1", "2")
_EXISTS, _SINGLE, _ARRAY = "0", "4", "6"

Node = Mapping[str, Any]
"""A node of the tree: its fields, and under `""` its type. A field is a word, a node, a list, or a list of words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """What the database says of columns, views, functions and types, by their numbers."""

    not_null: frozenset[tuple[int, int]]
    views: Mapping[int, Node]
    functions: Mapping[int, str]
    types: Mapping[int, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of an answer: `origin` is the table and the number of the column that it shows, or (0, 0)."""

    name: str
    origin: tuple[int, int]
    nullable: bool


def columns(tree: Node, catalog: Catalog, nullable_parameters: Sequence[bool]) -> list[Column]:
    """Return the columns of the answer to a statement, in order."""
    prover = _Prover(catalog, nullable_parameters)
    return [
        Column(
            name=entry["resname"] if isinstance(entry["resname"], str) else "",
            origin=(int(entry["resorigtbl"]), int(entry["resorigcol"])),
            nullable=not prover.column((tree,), number),
        )
        for number, entry in enumerate(_answer(tree), start=1)
    ]


def parse_tree(text: str) -> Node:
    """Read the text of a query tree; that of one statement in one or two lists."""
    tokens = iter(_TOKEN.findall(text))
    tree = _item(next(tokens), tokens)
    while isinstance(tree, list):
        (tree,) = tree
    assert isinstance(tree, Mapping)
    return tree


class _Prover:
    """Proves that an expression is never null. A query stands at the end of a path of the queries around it."""

    def __init__(self, catalog: Catalog, nullable_parameters: Sequence[bool]) -> None:
        self._catalog = catalog
        self._nullable_parameters = nullable_parameters
        self._underway: set[tuple[int, int]] = set()

    def column(self, path: tuple[Node, ...], number: int) -> bool:
        """Tell whether column *number* of the query at the end of *path* is never null."""
        query = path[-1]
        this = (id(query), number)
        if this in self._underway:
            return True  # a recursive query adds nothing to what its first rows are
        self._underway.add(this)
        try:
            if query.get("setOperations"):
                arms = [entry["subquery"] for entry in query["rtable"] if entry["rtekind"] == _SUBQUERY]
                return all(self.column((*path, arm), number) for arm in arms)
            return self._sure(_answer(query)[number - 1]["expr"], path)
        finally:
            self._underway.discard(this)

    def _sure(self, expression: Node, path: tuple[Node, ...]) -> bool:
        arguments = expression.get("args") or []
        match expression[""]:
            case "VAR":
                return self._sure_variable(expression, path)
            case "CONST":
                return bool(expression["constisnull"] == "false")
            case "PARAM":
                number = int(expression["paramid"])
                return expression["paramkind"] == "0" and not self._nullable_parameters[number - 1]
            case "COALESCEEXPR" | "COALESCE" | "MINMAXEXPR" | "MINMAX":
                return any(self._sure(one, path) for one in arguments)
            case "AGGREF":
                return self._catalog.functions.get(int(expression["aggfnoid"])) in _SURE_FUNCTIONS
            case "WINDOWFUNC":
                return self._catalog.functions.get(int(expression["winfnoid"])) in _SURE_FUNCTIONS
            case "FUNCEXPR":
                name = self._catalog.functions.get(int(expression["funcid"]))
                is_total = name in _TOTAL_FUNCTIONS or expression["funcformat"] in _CASTS
                return name in _SURE_FUNCTIONS or (is_total and all(self._sure(one, path) for one in arguments))
            case "OPEXPR":
                is_total = self._catalog.types.get(int(expression["opresulttype"])) in _TOTAL_TYPES
                return is_total and all(self._sure(one, path) for one in arguments)
            case "BOOLEXPR":
                return all(self._sure(one, path) for one in arguments)
            case "NULLTEST" | "BOOLEANTEST" | "DISTINCTEXPR" | "ARRAYEXPR" | "ARRAY" | "ROWEXPR" | "ROW":
                return True
            case "RELABELTYPE" | "COERCEVIAIO" | "ARRAYCOERCEEXPR" | "COERCETODOMAIN":
                return self._sure(expression["arg"], path)
            case "CASEEXPR" | "CASE":
                results = [*(branch["result"] for branch in arguments), expression["defresult"]]
                return all(isinstance(one, Mapping) and self._sure(one, path) for one in results)
            case "SUBLINK":
                return self._sure_query(expression["subLinkType"], expression["subselect"], path)
            case _:
                return False

    def _sure_query(self, kind: str, query: Node, path: tuple[Node, ...]) -> bool:
        """Tell whether a query in an expression is never null: a total without GROUP BY has its row in any case."""
        has_row = query["hasAggs"] == "true" and not any(
            query[part] for part in ("groupClause", "groupingSets", "havingQual", "limitCount", "limitOffset")
        )
        return kind in (_EXISTS, _ARRAY) or (kind == _SINGLE and has_row and self.column((*path, query), 1))

    def _sure_variable(self, variable: Node, path: tuple[Node, ...]) -> bool:
        if variable["varnullingrels"] != ["b"]:
            return False
        path = path[: len(path) - int(variable["varlevelsup"])]
        source = path[-1]["rtable"][int(variable["varno"]) - 1]
        number = int(variable["varattno"])
        if number < 1:
            return number < 0  # a system column is never null; a whole row is not looked into
        match source["rtekind"]:
            case "0":  # a table or a view
                table = int(source["relid"])
                if table in self._catalog.views:
                    return self.column((self._catalog.views[table],), number)
                return (table, number) in self._catalog.not_null
            case "1":  # a query
                return self.column((*path, source["subquery"]), number)
            case "2":  # a join
                return self._sure(source["joinaliasvars"][number - 1], path)
            case "6":  # a query of WITH
                around = path[: len(path) - int(source["ctelevelsup"])]
                for common in around[-1]["cteList"]:
                    if common["ctename"] == source["ctename"]:
                        return self.column((*around, common["ctequery"]), number)
                return False
            case "9":  # what rows are grouped by
                return self._sure(source["groupexprs"][number - 1], path)
            case _:
                return False


def _answer(query: Node) -> list[Node]:
    entries = query["targetList"] if query["commandType"] == _SELECT else query["returningList"]
    return [entry for entry in entries or [] if entry["resjunk"] == "false"]


def _item(token: str, tokens: Iterator[str]) -> Any:
    """Return the node, list or word that *token* begins; None for nothing there."""
    match token:
        case "{":
            return _node(tokens)
        case "(":
            return [_item(inner, tokens) for inner in iter(tokens.__next__, ")")]
        case "<>":
            return None
        case _:
            return re.sub(r"\\(.)", r"\1", token, flags=re.DOTALL)


def _node(tokens: Iterator[str]) -> Node:
    node: dict[str, Any] = {"": next(tokens)}
    field = ""
    for token in iter(tokens.__next__, "}"):
        if token.startswith(":"):
            field = token[1:]
        else:
            node.setdefault(field, _item(token, tokens))  # of a constant the first word of its bytes is enough
    return node
