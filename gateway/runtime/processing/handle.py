"""A processing worker as the gateway holds it, and those that have the same configuration."""

import asyncio
import signal
from dataclasses import dataclass, field

from gateway.config.models import Settings
from gateway.domain.ids import MessageKey, PortName
from gateway.services.in_flight import NOBODY, InFlightJournal
from gateway.workers.launcher import Child
from gateway.workers.link import Link


@dataclass(eq=False, slots=True, kw_only=True)
class Generation:
    """Workers with the same configuration. `confined`: ports that have a worker of their own."""

    settings: Settings
    confined: set[PortName] = field(default_factory=set)
    workers: list["WorkerHandle"] = field(default_factory=list)


@dataclass(slots=True)
class Seen:
    """What the last look at a worker saw of its loop, and in how many looks in a row it stood still, the code of one
    message was on it, or the process was frozen."""

    turns: int = 0
    on_loop: MessageKey = NOBODY
    still: int = 0
    held: int = 0
    frozen: int = 0


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
    held_by: MessageKey = NOBODY  # whose code held its loop then
    seen: Seen = field(default_factory=Seen)

    def tell(self, kind: str, *fields: object) -> None:
        """Say something to it."""
        self.link.tell(kind, *fields)

    def kill(self, why: str, by: int = signal.SIGKILL) -> None:
        """End it now; by SIGABRT it writes its stacks before."""
        self.killed_for = why
        self.child.send_signal(by)
