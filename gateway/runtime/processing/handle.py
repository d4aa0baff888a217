"""A processing worker as the gateway holds it, and those that have the same configuration."""

import asyncio
import signal
from dataclasses import dataclass, field

from gateway.config.models import Settings
from gateway.kernel.ids import MessageKey, PortName
from gateway.messaging.services.in_flight import NOBODY, InFlightJournal
from gateway.runtime.code_files import Signature
from gateway.workers.launcher import Child
from gateway.workers.link import Link


@dataclass(eq=False, slots=True, kw_only=True)
class Generation:
    """Workers with the same configuration. `apart`: the ports of each worker that does not serve all of them.
    `loaded`: the files of the users' code as they were when the first of them loaded it.
    """

    settings: Settings
    apart: list[set[PortName]] = field(default_factory=list)
    workers: list["WorkerHandle"] = field(default_factory=list)
    loaded: dict[str, Signature] = field(default_factory=dict)

    @property
    def confined(self) -> frozenset[PortName]:
        """Return the ports that other workers leave alone."""
        return frozenset().union(*self.apart)


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
    """One worker. `only`: the ports it was made for, of `Generation.apart`; None when it serves all others."""

    child: Child
    link: Link
    journal: InFlightJournal
    generation: Generation
    only: set[PortName] | None
    began: float
    ready: asyncio.Future[None]
    incarnation: int | None = None
    leaves: bool = False
    superseded: bool = False  # another one is about to take its place
    killed_for: str | None = None  # why we ended it
    held_by: MessageKey = NOBODY  # whose code held its loop then
    seen: Seen = field(default_factory=Seen)

    @property
    def port(self) -> str | None:
        """Return what it was made for, in words."""
        return None if self.only is None else ", ".join(sorted(self.only))

    def tell(self, kind: str, *fields: object) -> None:
        """Say something to it."""
        self.link.tell(kind, *fields)

    def kill(self, why: str, by: int = signal.SIGKILL) -> None:
        """End it now; by SIGABRT it writes its stacks before."""
        self.killed_for = why
        self.child.send_signal(by)
