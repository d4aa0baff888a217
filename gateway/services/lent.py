"""What is lent to code of other people for the length of one call."""

from typing import Any

from gateway.domain.errors import GatewayError

_OURS = frozenset({"close", "terminate", "reset", "_con", "_holder"})


class NotYours(GatewayError):
    """The code asked for what is not its own, or not any more."""

    code = "operation.misuse"


class Lent:
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
            raise NotYours(f"the call is over: its '{name}' cannot be used any more")
        if name in _OURS:
            raise NotYours(f"the connection belongs to the gateway: a handler must not use its '{name}'")
        return getattr(self._thing, name)
