"""A processing worker as the gateway holds it, and those that have the same configuration."""

import asyncio
import signal
from dataclasses import dataclass, field

from gateway.config.models import Settings
from gateway.domain.ids import PortName
from gateway.services.in_flight import InFlightJournal
from gateway.workers.launcher import Child
from gateway.workers.link import Link


@dataclass(eq=False, slots=True, kw_only=True)
class Generation:
    """Workers with the same configuration. `confined`: ports that have a worker of their own."""

    settings: Settings
    confined: set[PortName] = field(default_factory=set)
    workers: list["WorkerHandle"] = field(default_factory=list)


@dataclass(eq=False, slots=True, kw_only=True)
class WorkerHandle:
    """One worker. `only`: the port it was made for, None when it serves all others."""

    child: Child
    link: Link
    journal: InFlightJournal
    generation: Generation
    only: PortName | None
    began: float
    ready: asyncio.Future[None]
    incarnation: int | None = None
    leaves: bool = False
    superseded: bool = False  # another one is about to take its place
    killed_for: str | None = None  # why we ended it
    turns: int = 0
    still: int = 0

    def tell(self, kind: str, *fields: object) -> None:
        """Say something to it."""
        self.link.tell(kind, *fields)

    def kill(self, why: str) -> None:
        """End it now."""
        self.killed_for = why
        self.child.send_signal(signal.SIGKILL)
