"""The statements of the program as the server gets them, by name, for tests of their plans."""

from functools import cache

from gateway.db.sql import Queries
from gateway.db.statement_files import read_file, statement_files


@cache
def _texts() -> dict[str, str]:
    by_name = Queries.load()
    return {name: getattr(by_name, name) for name in by_name} | {
        statement.name: statement.text for path in statement_files() for statement in read_file(path).statements
    }


def text_of(name: str) -> str:
    """Return the text of the statement of that name."""
    return _texts()[name]
