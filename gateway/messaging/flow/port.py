"""What the stages know of an open port."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar
from uuid import UUID

from gateway.config.models import InboundPort, OutboundPort, Settings
from gateway.config.models_ports import Mode
from gateway.contracts.adapter import ReceiveAdapter, SendAdapter
from gateway.kernel.ids import PortName
from gateway.messaging.rules.message import Work
from gateway.messaging.rules.states import LoggingMode, Policy
from gateway.xml.limits import ReadRules

NameResponse = Callable[[Work, UUID, bool], str]
"""Make the file name of a response: request, id of the response, whether it is a fault."""
NameSent = Callable[[UUID], str]
"""Make the file name of a document that answers no request, from the id of its message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedInbound:
    """An inbound port as processing knows it: it touches no folder."""

    name: PortName
    settings: InboundPort
    exposed: frozenset[tuple[str, str]]
    rules: ReadRules
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
    def weight(self) -> int:
        """Return the share of the port in what is claimed."""
        return self.settings.process.weight

    @property
    def logging(self) -> LoggingMode:
        """Return what is kept of finished messages."""
        return self.settings.logging

    @property
    def answers_errors(self) -> bool:
        """True when a failed request is answered with a fault."""
        return self.settings.respond is not None and self.settings.respond.errors


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenInbound(ServedInbound):
    """An inbound port with its adapters. `send` is None when the port does not respond."""

    receive: ReceiveAdapter
    send: SendAdapter | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedOutbound:
    """An outbound port as processing knows it: it touches no folder.

    `actions` are the Actions of what may be sent, by service and operation.
    """

    name: PortName
    settings: OutboundPort
    actions: Mapping[tuple[str, str], str]
    name_sent: NameSent

    @property
    def weight(self) -> int:
        """Return the share of the port in what is claimed."""
        return 1

    @property
    def logging(self) -> LoggingMode:
        """Return what is kept of finished messages."""
        return LoggingMode.ORIGINAL


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenOutbound(ServedOutbound):
    """An outbound port with its adapter."""

    send: SendAdapter


OpenPort = OpenInbound | OpenOutbound
P = TypeVar("P", bound=ServedInbound | ServedOutbound)


class Served(Protocol):
    """The ports that are processed now; work in progress keeps what it started with."""

    @property
    def settings(self) -> Settings:
        """Return what all of them have in common."""
        ...

    @property
    def inbound(self) -> Mapping[PortName, ServedInbound]:
        """Return those whose requests are processed."""
        ...

    @property
    def outbound(self) -> Mapping[PortName, ServedOutbound]:
        """Return those whose documents are read."""
        ...


@dataclass(slots=True)
class Ports:
    """The ports that are open now; a reload replaces entries, work in progress keeps what it started with."""

    settings: Settings
    inbound: dict[PortName, OpenInbound] = field(default_factory=dict)
    outbound: dict[PortName, OpenOutbound] = field(default_factory=dict)

    def all(self) -> Mapping[PortName, OpenPort]:
        """Return every open port by name."""
        return {**self.inbound, **self.outbound}

    def add(self, port: OpenPort) -> None:
        """Take a port into use, in place of what was open under its name."""
        self.remove(port.name)
        if isinstance(port, OpenInbound):
            self.inbound[port.name] = port
        else:
            self.outbound[port.name] = port

    def remove(self, name: PortName) -> None:
        """Forget a port."""
        self.inbound.pop(name, None)
        self.outbound.pop(name, None)
