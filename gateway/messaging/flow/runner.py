"""The loop of a stage: every port by itself, chunk after chunk, beside the others, until the input is empty."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Generic, TypeVar

import structlog

from gateway.contracts.task import TaskContext
from gateway.db.open import Store
from gateway.db.waiting import uninterrupted, wait_for_all
from gateway.kernel.errors import LeaseLost, StoreBusy, StoreUnavailable
from gateway.kernel.ids import Fence, PortName
from gateway.messaging.flow.port import P
from gateway.messaging.flow.port_state import Health, why_busy
from gateway.messaging.queue.leases import give_back, ports_with_work
from gateway.messaging.rules.message import Claimed
from gateway.messaging.rules.shares import Places, Turns
from gateway.messaging.rules.states import Stage

log = structlog.get_logger()
T = TypeVar("T")

Claim = Callable[[PortName], Awaitable[Claimed[T] | None]]
Work = Callable[[P, Claimed[T], TaskContext], Awaitable[None]]


class ClaimKeeper:
    """Sees to it that every claim of a stage ends, whatever becomes of the work under it.

    The outcome is recorded even when the stage is cancelled meanwhile; what could not be recorded is returned, which
    does nothing when it was recorded after all.
    """

    def __init__(self, stage: Stage, store: Store, health: Health) -> None:
        self._stage = stage
        self._store = store
        self._health = health
        self._returning = asyncio.Lock()
        self._returned_at = 0.0

    async def keep(self, port: PortName, fence: Fence, work: Awaitable[T], context: TaskContext) -> T | None:
        """Wait for work under a claim; None when it came to no outcome."""
        self._store.held.add(fence)
        try:
            outcome = await work
            await self._health.waits_for_store(port, self._stage, None)
            return outcome
        except LeaseLost as error:
            log.warning("lease.lost", stage=self._stage, port=port, fence=fence, error=error.message)
        except StoreUnavailable as error:
            log.warning("store.unavailable", stage=self._stage, port=port, error=error.message)
            if isinstance(error, StoreBusy) and error.everywhere:
                await self._health.waits_for_store(port, self._stage, why_busy(error))
            await self._return_when_possible(fence, context)
        except asyncio.CancelledError:
            await uninterrupted(self.return_now(fence))
            raise
        finally:
            self._store.held.discard(fence)
        return None

    async def return_now(self, fence: Fence) -> None:
        """Return a claim unworked; when the database is away its lease runs out instead."""
        with suppress(StoreUnavailable):
            async with self._returning:
                await give_back(self._store, fence)

    async def _return_when_possible(self, fence: Fence, context: TaskContext) -> None:
        """Return a claim whose outcome is unknown; when a stop is asked for first, its lease runs out instead.

        Rule: however many are in trouble, one waits for the database, and those behind it need not.
        """
        loop = asyncio.get_running_loop()
        since = loop.time()
        async with self._returning:
            while self._returned_at > since or await self._store.wait_until_available(context.stopping):
                try:
                    await give_back(self._store, fence)
                except StoreUnavailable:
                    since = loop.time()
                    continue
                self._returned_at = loop.time()
                return


class PortRunner(Generic[P, T]):
    """Claims and works on one chunk of each port at a time, in *places* ports at the same time.

    What a port waits for, a folder, a handler or a claim, holds up nobody but itself: it holds one place, and where
    *patience_seconds* are given, no longer than that. When more ports have work than there are places, the one comes
    next that has had least time for its weight. Within a port chunks are in order, whichever runs of the stage claim
    them.
    """

    def __init__(
        self,
        *,
        stage: Stage,
        store: Store,
        ports: Callable[[], Mapping[PortName, P]],
        claim: Claim[T],
        work: Work[P, T],
        places: int,
        trouble: Health,
        patience_seconds: float | None = None,
    ) -> None:
        self._stage = stage
        self._store = store
        self._ports = ports
        self._claim = claim
        self._work = work
        self._claims = ClaimKeeper(stage, store, trouble)
        self._patience_seconds = patience_seconds
        self._places = Places(places)
        self._turns = Turns()
        self._at_work: dict[PortName, float] = {}  # since when, by a clock that never jumps

    async def run(self, context: TaskContext, *, first: Sequence[PortName] = ()) -> None:
        """Work until nothing is left and nothing can come, or a stop is asked for; then wait for what runs.

        The ports in *first* are claimed from once even if they seem to have nothing.
        """
        running: set[asyncio.Task[bool]] = set()
        waiting: set[PortName] = set()
        look = True
        try:
            while not context.stopping.is_set():
                if look:
                    try:
                        # also those that are at work: what came after their claim is theirs to claim next
                        found = await ports_with_work(self._store, self._stage, list(self._ports()))
                    except StoreUnavailable as error:
                        log.warning("store.unavailable", stage=self._stage, error=error.message)
                        await self._store.wait_until_available(context.stopping)
                        continue
                    waiting, first = {*found, *first}, ()
                waiting = self._begin(waiting, running, context)
                if running:
                    look = await self._wait(running, context)
                elif not (look := await context.feed.more()):
                    return
        except asyncio.CancelledError:  # the time to drain is over
            for task in running:
                task.cancel()
            raise
        finally:
            await wait_for_all(running)
            for task in running:
                if not task.cancelled():
                    task.result()

    def _begin(self, waiting: set[PortName], running: set[asyncio.Task[bool]], context: TaskContext) -> set[PortName]:
        """Let the ports whose turn it is work, as far as there are places; returns those that go on waiting."""
        left: set[PortName] = set()
        self._turns.forget(self._ports())
        self._take_back_places()
        for name in self._turns.order(waiting):
            port = self._ports().get(name)
            if port is None:
                continue
            if name in self._at_work or not self._places.room(name):
                left.add(name)
                continue
            self._at_work[name] = time.monotonic()
            self._places.take(name)
            self._turns.served(name)
            task = asyncio.create_task(self._serve(port, context), name=f"{self._stage}:{name}")
            task.add_done_callback(partial(self._done, port))
            running.add(task)
        return left

    def _take_back_places(self) -> None:
        """Take the places of those that have stood still for so long that they use nothing but memory."""
        now = time.monotonic()
        for name, began in self._at_work.items():
            if self._patience_seconds is not None and now - began >= self._patience_seconds:
                self._free_place(name)

    def _free_place(self, name: PortName) -> None:
        if self._places.held(name):
            self._places.back(name)

    def _done(self, port: P, _: asyncio.Task[bool]) -> None:
        began = self._at_work.pop(port.name)
        self._turns.charge(port.name, time.monotonic() - began, port.weight)
        self._free_place(port.name)

    async def _serve(self, port: P, context: TaskContext) -> bool:
        """Claim a chunk of a port and work on it; returns whether to look for more."""
        try:
            chunk = await self._claim(port.name)
        except StoreUnavailable as error:
            log.warning("store.unavailable", stage=self._stage, port=port.name, error=error.message)
            return await self._store.wait_until_available(context.stopping)
        if chunk is None:  # what there is somebody else claims just now, or it must wait
            return False
        await self._claims.keep(port.name, chunk.fence, self._work(port, chunk, context), context)
        return True

    async def _wait(self, running: set[asyncio.Task[bool]], context: TaskContext) -> bool:
        """Wait for a chunk to end, a hint or a place; returns whether there may be more work than is known."""
        hint = asyncio.create_task(context.feed.hinted(), name=f"{self._stage}:hint")
        try:
            done, _ = await asyncio.wait(
                {*running, hint}, timeout=self._patience_seconds, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            hint.cancel()
        ended = done & running
        running -= ended
        worked = [task.result() for task in ended]  # all of them: one may have met a bug
        return any(worked) or hint in done
