"""What ports say of themselves: open, degraded, stopped or paused with a reason; stored when it changes, told once."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeVar

import structlog

from gateway.db.open import Store
from gateway.kernel.errors import StoreBusy, StoreUnavailable
from gateway.kernel.ids import PortName
from gateway.messaging.queue.ports import write_port_status
from gateway.messaging.rules.delivery import SkippedFile
from gateway.messaging.rules.states import PortState, Stage

log = structlog.get_logger()
K = TypeVar("K")


OURSELVES: Final = 0

_NOT_WORKING = (PortState.STOPPED, PortState.DEGRADED)
"""States that somebody wants to hear of."""


@dataclass(slots=True)
class _Reported:
    away: dict[str, str] = field(default_factory=dict)  # why nothing is taken (receive), or delivered (respond)
    paused: str | None = None  # why intake waits
    stopped: dict[int, str] = field(default_factory=dict)  # why processes that work for us process nothing now
    busy: dict[tuple[int, Stage], str] = field(default_factory=dict)  # what of the database keeps stages from working
    left: list[dict[str, str]] = field(default_factory=list)
    written: tuple[object, ...] = ()


class Health(Protocol):
    """Hears what processing says of its ports."""

    async def stopped(self, port: PortName, reason: str | None) -> None:
        """Hear that requests of the port are not processed for now (None: they are)."""
        ...

    async def waits_for_store(self, port: PortName, stage: Stage, reason: str | None) -> None:
        """Hear that a stage can do nothing for the port until the database can (None: it does)."""
        ...


class PortHealth:
    """Keeps the state of each port and writes it when it changes. A store that is away is told later."""

    def __init__(self, store: Store, incarnation: int) -> None:
        self._store = store
        self._incarnation = incarnation
        self._said: dict[PortName, _Reported] = {}

    async def degraded(self, port: PortName, reason: str, part: str = "respond") -> None:
        """Say that an address of the port cannot be used; warns once per reason."""
        said = self._said.setdefault(port, _Reported())
        if said.away.get(part) != reason:
            log.warning("port.degraded", port=port, part=part, error=reason)
        said.away[part] = reason
        await self._write(port, said)

    async def paused(self, port: PortName, reason: str | None) -> None:
        """Say that intake of the port waits (None: it goes on)."""
        said = self._said.setdefault(port, _Reported())
        if reason is not None and said.paused is None:
            log.warning("port.paused", port=port, reason=reason)
        elif reason is None and said.paused is not None:
            log.info("port.resumed", port=port)
        said.paused = reason
        await self._write(port, said)

    async def stopped(self, port: PortName, reason: str | None, *, by: int = OURSELVES) -> None:
        """Say that requests of the port are not processed for now (None: they are), as the process *by* knows."""
        said = self._said.setdefault(port, _Reported())
        was = bool(said.stopped)
        _keep(said.stopped, by, reason)
        self._tell_stop(port, was=was, now=bool(said.stopped), reason=reason)
        await self._write(port, said)

    async def waits_for_store(self, port: PortName, stage: Stage, reason: str | None, *, by: int = OURSELVES) -> None:
        """Say that a stage can do nothing for the port until the database can (None: it does)."""
        said = self._said.setdefault(port, _Reported())
        was = bool(said.busy)
        _keep(said.busy, (by, stage), reason)
        self._tell_stop(port, was=was, now=bool(said.busy), reason=reason)
        await self._write(port, said)

    async def forget(self, by: int) -> None:
        """Take back what a process has said that is no more."""
        for port, said in list(self._said.items()):  # others add to it meanwhile
            for stage in [stage for process, stage in said.busy if process == by]:
                await self.waits_for_store(port, stage, None, by=by)
            if by in said.stopped:
                await self.stopped(port, None, by=by)

    def _tell_stop(self, port: PortName, *, was: bool, now: bool, reason: str | None) -> None:
        if now and not was:
            log.error("port.stopped", port=port, reason=reason)
        elif was and not now:
            log.info("port.resumed", port=port)

    async def working(self, port: PortName, part: str) -> None:
        """Say that an address works; a port that was degraded is open again when all of it works."""
        said = self._said.setdefault(port, _Reported())
        if said.away.pop(part, None) is not None:
            log.info("port.recovered", port=port, part=part)
        await self._write(port, said)

    async def left_in_place(self, port: PortName, entries: Sequence[SkippedFile]) -> None:
        """Say which entries of the inbound folder are not taken, and why."""
        said = self._said.setdefault(port, _Reported())
        said.left = [{"name": e.display, "code": e.code, "text": e.text, "since": e.since.isoformat()} for e in entries]
        await self._write(port, said)

    async def _write(self, port: PortName, said: _Reported) -> None:
        known = (*said.stopped.values(), *said.busy.values(), *(said.away[part] for part in sorted(said.away)))
        state = _state(said)
        reason = " ".join(dict.fromkeys(known)) or said.paused
        now = (state, reason, json.dumps(said.left))
        if now == said.written:
            return
        begins = state in _NOT_WORKING and said.written[:1] != (state,)
        try:
            await write_port_status(self._store, port, state, reason, now[2], self._incarnation, tell=begins)
        except StoreUnavailable:
            return  # written with the next change or look
        said.written = now


def _keep(reasons: dict[K, str], who: K, reason: str | None) -> None:
    if reason is None:
        reasons.pop(who, None)
    else:
        reasons[who] = reason


def why_busy(error: StoreBusy) -> str:
    """Say why nothing can be done for now, to an operator."""
    text = f"{error.message[:1].upper()}{error.message[1:]}"
    return f"{text}. No message fails by that; work goes on by itself afterwards."


def _state(said: _Reported) -> PortState:
    """Return the worst that is said."""
    if said.stopped or said.busy:
        return PortState.STOPPED
    if said.away:
        return PortState.DEGRADED
    return PortState.PAUSED if said.paused else PortState.OPEN
