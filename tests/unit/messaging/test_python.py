"""Handlers of the people who run the gateway: found, or refused with one line that says why and where."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.messaging.services.python import HandlerNotFound, load_handler

NAME = "handlers_of_a_test"


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Path]]:
    """Writes a module that can be imported under NAME."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(text: str) -> Path:
        path = tmp_path / f"{NAME}.py"
        path.write_text(text)
        return path

    yield write
    sys.modules.pop(NAME, None)


def refusal(reference: str = f"{NAME}:handle") -> str:
    with pytest.raises(HandlerNotFound) as caught:
        load_handler(reference)
    assert "\n" not in caught.value.message
    return caught.value.message


def test_function_is_found(module: Callable[[str], Path]) -> None:
    module("async def handle(request, context): ...")
    assert load_handler(f"{NAME}:handle").__name__ == "handle"


def test_class_is_made_once(module: Callable[[str], Path]) -> None:
    module("class Handler:\n    async def __call__(self, request, context): ...")
    handler: Any = load_handler(f"{NAME}:Handler")
    assert type(handler).__name__ == "Handler"


@pytest.mark.parametrize(
    ("text", "said", "line"),
    [
        ("import decimal\n\nvalue = 1 / 0\n", "ZeroDivisionError: division by zero", 3),
        ("def handle(:\n    pass\n", "SyntaxError: invalid syntax", 1),
        ("import nowhere_to_be_found\n", "ModuleNotFoundError: No module named 'nowhere_to_be_found'", 1),
        ("\nraise SystemExit\n", "SystemExit", 2),
        ("raise ValueError('two\\n  lines')\n", "ValueError: two lines", 1),
    ],
)
def test_trouble_while_importing_is_told_with_its_place(
    module: Callable[[str], Path], text: str, said: str, line: int
) -> None:
    path = module(text)
    expected = f"The handler '{NAME}:handle' cannot be imported: {said} ({path}, line {line})."
    assert refusal() == expected


def test_trouble_while_making_an_instance_is_told_with_its_place(module: Callable[[str], Path]) -> None:
    path = module("class Handler:\n    def __init__(self):\n        raise KeyError('API_KEY')\n")
    expected = f"The handler '{NAME}:Handler' cannot be made: KeyError: 'API_KEY' ({path}, line 3)."
    assert refusal(f"{NAME}:Handler") == expected


def test_missing_module_has_no_place() -> None:
    message = refusal("nowhere_to_be_found:handle")
    assert message == (
        "The handler 'nowhere_to_be_found:handle' cannot be imported: "
        "ModuleNotFoundError: No module named 'nowhere_to_be_found'."
    )


def test_missing_object_is_named(module: Callable[[str], Path]) -> None:
    module("")
    assert refusal() == f"The handler '{NAME}:handle' does not exist: '{NAME}' has no 'handle'."
