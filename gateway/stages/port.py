"""What the stages know of an open port."""

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from gateway.config.models import Mode, Port, Settings
from gateway.contracts.adapter import ReceiveAdapter, SendAdapter
from gateway.domain.ids import PortName
from gateway.domain.message import Work
from gateway.domain.states import Policy
from gateway.xml.limits import ReadRules

NameResponse = Callable[[Work, UUID, bool], str]
"""Make the file name of a response: request, id of the response, whether it is a fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenPort:
    """A port with its adapters. `send` is None when the port does not respond."""

    name: PortName
    settings: Port
    exposed: frozenset[tuple[str, str]]
    rules: ReadRules
    receive: ReceiveAdapter
    send: SendAdapter | None
    name_response: NameResponse

    @property
    def policy(self) -> Policy:
        """Return what an error in a message set does to the rest."""
        return Policy(self.settings.process.on_error.value)

    @property
    def sequential(self) -> bool:
        """True when the port is one lane."""
        return self.settings.process.mode is Mode.SEQUENTIAL

    @property
    def answers_errors(self) -> bool:
        """True when a failed request is answered with a fault."""
        return self.settings.respond is not None and self.settings.respond.errors


@dataclass(slots=True)
class Ports:
    """The ports that are open now; a reload replaces entries, work in progress keeps what it started with."""

    by_name: dict[PortName, OpenPort]
    settings: Settings

    def names(self) -> list[PortName]:
        """Return the open ports in the order of the configuration."""
        return list(self.by_name)

    def get(self, name: PortName) -> OpenPort | None:
        """Return an open port, None when it was closed meanwhile."""
        return self.by_name.get(name)
