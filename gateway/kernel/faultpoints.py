"""Named points at which a test can make the real program fail; almost nothing unless switched on.

Code says `reach("claim.renamed")` between two steps. The environment variable GATEWAY_FAULT says what happens
there, e.g. `claim.renamed:1:kill` or `stage.fsync:3+:eio,publish.renamed:1:kill`: the name, which time counts
(`3` the third only, `3+` from the third on), and the action:

    kill    the gateway ends at once, as after SIGKILL: no cleaning up, no buffers written. Its status is 137, or that
            of the signal where a process it has launched reaches the point
    die     so does this process alone
    enospc  OSError, the disk is full
    eio     OSError, the disk failed
    raise   InjectedFault, a defect in the code

Each package lists the names it reaches in a tuple FAULT_POINTS.
"""

import errno
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

VARIABLE = "GATEWAY_FAULT"
KILLED_STATUS = 137


class FaultAction(StrEnum):
    """What happens at a point that is switched on."""

    KILL = "kill"
    DIE = "die"
    ENOSPC = "enospc"
    EIO = "eio"
    RAISE = "raise"


class InjectedFault(Exception):
    """Stands for a defect: nothing but a test raises it, and nothing catches it on purpose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One point, which time it counts (from 1), whether later times count too, and what happens then."""

    name: str
    nth: int
    onwards: bool
    action: FaultAction


def parse_faults(text: str) -> tuple[Fault, ...]:
    """Read `name:nth:action` or `name:nth+:action`, several separated by commas.

    Raises: ValueError that shows the part which is wrong.
    """
    faults: list[Fault] = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        fields = part.split(":")
        if len(fields) != 3 or not fields[0] or not fields[1].removesuffix("+").isdecimal():
            raise ValueError(f"{VARIABLE}: {part!r} is not name:nth:action, e.g. claim.renamed:1:kill")
        try:
            action = FaultAction(fields[2])
        except ValueError:
            allowed = ", ".join(FaultAction)
            raise ValueError(f"{VARIABLE}: {part!r}: the action is one of {allowed}") from None
        nth = int(fields[1].removesuffix("+"))
        faults.append(Fault(name=fields[0], nth=nth, onwards=fields[1].endswith("+"), action=action))
    return tuple(faults)


class _Plan:
    """The faults switched on and how often each point was reached; safe to use from several threads."""

    def __init__(self, faults: tuple[Fault, ...], observer: Callable[[str], None] | None = None) -> None:
        self._faults = faults
        self._observer = observer
        self._reached: Counter[str] = Counter()
        self._lock = threading.Lock()

    def reach(self, name: str) -> None:
        if self._observer is not None:
            self._observer(name)
        with self._lock:
            self._reached[name] += 1
            count = self._reached[name]
        for fault in self._faults:
            if fault.name == name and (count == fault.nth or (fault.onwards and count > fault.nth)):
                _act(fault)


def _act(fault: Fault) -> None:
    match fault.action:
        case FaultAction.KILL:
            if _switch.gateway:
                os.kill(_switch.gateway, signal.SIGKILL)
            os._exit(KILLED_STATUS)
        case FaultAction.DIE:
            os._exit(KILLED_STATUS)
        case FaultAction.ENOSPC:
            raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)} (injected at {fault.name})")
        case FaultAction.EIO:
            raise OSError(errno.EIO, f"{os.strerror(errno.EIO)} (injected at {fault.name})")
        case FaultAction.RAISE:
            raise InjectedFault(fault.name)


class _Switch:
    """Holds the plan of this process: shared state, because a fault has no owner that could pass it on."""

    __slots__ = ("gateway", "plan")

    def __init__(self, text: str) -> None:
        faults = parse_faults(text)
        self.plan: _Plan | None = _Plan(faults) if faults else None
        self.gateway = 0


_switch = _Switch(os.environ.get(VARIABLE, ""))


def belongs_to(gateway: int) -> None:
    """Say which process launched this one: to kill a gateway is to kill both."""
    _switch.gateway = gateway


def reach(name: str) -> None:
    """Say that the point *name* is reached; does nothing unless a fault is switched on.

    Raises: what the action of a fault for this point says.
    """
    if _switch.plan is not None:
        _switch.plan.reach(name)


@contextmanager
def switched_on(text: str = "", *, observer: Callable[[str], None] | None = None) -> Iterator[None]:
    """Switch faults on in this process, counting from now; *observer* is told every name reached."""
    before, _switch.plan = _switch.plan, _Plan(parse_faults(text), observer)
    try:
        yield
    finally:
        _switch.plan = before
