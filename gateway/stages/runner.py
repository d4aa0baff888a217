"""The loop of a stage: claim a chunk, work on it beside others, go on until the input is empty."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Generic, TypeVar

import structlog

from gateway.contracts.task import TaskContext
from gateway.domain.errors import LeaseLost, StoreBusy, StoreUnavailable
from gateway.domain.ids import Fence, PortName
from gateway.domain.message import Claimed
from gateway.domain.shares import one_round
from gateway.domain.states import Stage
from gateway.stages.port import P
from gateway.stages.trouble import Trouble
from gateway.store.leases import give_back, ports_with_work
from gateway.store.open import Store
from gateway.store.waiting import uninterrupted

log = structlog.get_logger()
T = TypeVar("T")

Claim = Callable[[PortName], Awaitable[Claimed[T] | None]]
Work = Callable[[P, Claimed[T], TaskContext], Awaitable[None]]


class ChunkRunner(Generic[P, T]):
    """Claims chunks port by port, in turn, and works on a few of them at the same time.

    The outcome of a chunk is recorded even when the stage is cancelled meanwhile; a chunk whose outcome could not
    be recorded is given back, which does nothing when it was recorded after all.
    """

    def __init__(
        self,
        *,
        stage: Stage,
        store: Store,
        ports: Callable[[], Mapping[PortName, P]],
        claim: Claim[T],
        work: Work[P, T],
        side_by_side: int,
        trouble: Trouble,
    ) -> None:
        self._stage = stage
        self._store = store
        self._ports = ports
        self._claim = claim
        self._work = work
        self._side_by_side = side_by_side
        self._trouble = trouble
        self._turn: list[PortName] = []

    async def run(self, context: TaskContext) -> None:
        """Work until nothing is left and nothing can come, or a stop is asked for; then wait for what runs."""
        running: set[asyncio.Task[None]] = set()
        try:
            while not context.stopping.is_set():
                try:
                    await self._fill(running, context)
                except StoreUnavailable as error:
                    log.warning("store.unavailable", stage=self._stage, error=error.message)
                    await self._store.wait_until_available(context.stopping)
                    continue
                if running:
                    await self._wait(running, context)
                elif not await context.feed.more():
                    return
        except asyncio.CancelledError:  # the time to drain is over
            for task in running:
                task.cancel()
            raise
        finally:
            if running:
                await asyncio.wait(running)
            for task in running:
                if not task.cancelled():
                    task.result()

    async def _fill(self, running: set[asyncio.Task[None]], context: TaskContext) -> None:
        while len(running) < self._side_by_side and not context.stopping.is_set():
            claimed = await self._claim_next()
            if claimed is None:
                return
            port, chunk = claimed
            self._store.held.add(chunk.fence)
            task = asyncio.create_task(self._guarded(port, chunk, context), name=f"{self._stage}:{port.name}")
            task.add_done_callback(partial(self._done, chunk.fence))
            running.add(task)

    def _done(self, fence: Fence, _: asyncio.Task[None]) -> None:
        self._store.held.discard(fence)

    async def _claim_next(self) -> tuple[P, Claimed[T]] | None:
        """Claim from the next port in turn that has work, so that a busy port does not starve the others.

        Rule: in a round every port gets as many chunks as its weight says, and is asked anew in the next one.
        """
        if not self._turn:
            found = await ports_with_work(self._store, self._stage, list(self._ports()))
            self._turn = one_round({name: port.weight for name, port in self._ports().items() if name in found})
        while self._turn:
            name = self._turn.pop(0)
            port = self._ports().get(name)
            if port is not None and (chunk := await self._claim(name)) is not None:
                return port, chunk
            self._turn = [other for other in self._turn if other != name]  # nothing is left of it in this round
        return None

    async def _wait(self, running: set[asyncio.Task[None]], context: TaskContext) -> None:
        hint = asyncio.create_task(context.feed.hinted(), name=f"{self._stage}:hint")
        try:
            done, _ = await asyncio.wait({*running, hint}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            hint.cancel()
        for task in done & running:
            running.discard(task)
            task.result()

    async def _guarded(self, port: P, chunk: Claimed[T], context: TaskContext) -> None:
        """Work on one chunk; whatever happens, its claim ends."""
        try:
            await self._work(port, chunk, context)
            await self._trouble.waits_for_store(port.name, self._stage, None)
        except LeaseLost as error:
            log.warning("lease.lost", stage=self._stage, port=port.name, fence=chunk.fence, error=error.message)
        except StoreUnavailable as error:
            log.warning("store.unavailable", stage=self._stage, port=port.name, error=error.message)
            if isinstance(error, StoreBusy) and error.everywhere:
                await self._trouble.waits_for_store(port.name, self._stage, error)
            await self._give_back(chunk.fence, context)
        except asyncio.CancelledError:
            with suppress(StoreUnavailable):  # then the lease ends by itself
                await uninterrupted(give_back(self._store, chunk.fence))
            raise

    async def _give_back(self, fence: Fence, context: TaskContext) -> None:
        """Return a chunk whose outcome is unknown; when a stop is asked for first, its lease runs out instead."""
        while await self._store.wait_until_available(context.stopping):
            try:
                await give_back(self._store, fence)
            except StoreUnavailable:
                continue
            return
