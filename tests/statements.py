"""The statements of the program as the server gets them, by name, and others in their place."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from types import ModuleType

import pytest

from gateway.db.sql import Queries
from gateway.db.statement_files import PACKAGE, read_file, statement_files


@cache
def _texts() -> dict[str, str]:
    by_name = Queries.load()
    return {name: getattr(by_name, name) for name in by_name} | {
        statement.name: statement.text for path in statement_files() for statement in read_file(path).statements
    }


def text_of(name: str) -> str:
    """Return the text of the statement of that name."""
    return _texts()[name]


@contextmanager
def replaced(**texts: str) -> Iterator[None]:
    """Let the program use other texts for statements, by their names."""
    with pytest.MonkeyPatch.context() as patch:
        for name, text in texts.items():
            (module,) = (module for module in _generated() if hasattr(module, name.upper()))
            patch.setattr(module, name.upper(), text)
        yield


def _generated() -> Iterator[ModuleType]:
    for path in statement_files():
        place = path.relative_to(PACKAGE.parent).parent / f"{path.stem}_sql"
        yield import_module(".".join(place.parts))
