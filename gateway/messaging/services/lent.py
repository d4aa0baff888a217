"""What is lent to code of other people for the length of one call."""

import re
from collections.abc import Callable
from typing import Any

from gateway.kernel.errors import GatewayError

_OURS = frozenset({"close", "terminate", "reset", "_con", "_holder"})
_ASKS = frozenset({"execute", "executemany", "fetch", "fetchrow", "fetchval", "prepare", "cursor"})
_ENDS = re.compile(
    r"(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/|;)*(?:commit|end|abort|begin|start|rollback(?!\s+to\b)|prepare\s+transaction)\b",
    re.IGNORECASE | re.DOTALL,
)
"""A statement that ends or begins a transaction."""


class ForbiddenOperation(GatewayError):
    """The code asked for what is not its own, or not any more."""

    code = "operation.misuse"


class RevocableConnection:
    """Stands before an object until the call that it was lent to is over.

    Code that was given up goes on to hold it, but reaches nothing: the transaction behind it is by then another
    message's.
    """

    def __init__(self, thing: Any) -> None:
        self._thing = thing

    def take_back(self) -> None:
        """Let nothing through from now on."""
        self._thing = None

    def __getattr__(self, name: str) -> Any:
        if self._thing is None:
            raise ForbiddenOperation(f"the call is over: its '{name}' cannot be used any more")
        if name in _OURS:
            raise ForbiddenOperation(f"the connection belongs to the gateway: a handler must not use its '{name}'")
        found = getattr(self._thing, name)
        return _guarded(found) if name in _ASKS else found


def _guarded(ask: Callable[..., Any]) -> Callable[..., Any]:
    """Refuse statements that would end the transaction: the effects of other messages are in it."""

    def call(statement: str, *arguments: Any, **options: Any) -> Any:
        if _ENDS.match(statement):
            raise ForbiddenOperation(
                f"the transaction belongs to the gateway: a handler must not say {statement.strip()[:40]!a}"
            )
        return ask(statement, *arguments, **options)

    return call
