"""The stages that workers carry out, as the scheduler sees them: one run here is a run in every worker."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from itertools import count
from typing import Any, Final, Protocol

from gateway.contracts.task import TaskContext
from gateway.kernel.errors import GatewayError
from gateway.messaging.rules.states import Stage

_CANCEL_SECONDS: Final = 5.0
"""How long workers may take to give back what they have in hand when the time to drain is over."""


class StageFailed(GatewayError):
    """A stage met a defect of ours in a worker; its log has the details."""

    code = "stage.failed"


class Hand(Protocol):
    """A worker that takes part in runs."""

    def tell(self, kind: str, *fields: object) -> None:
        """Say something to it."""
        ...


class Run:
    """A run of a stage, in all workers that serve meanwhile. It goes on while one of them works, or comes to."""

    def __init__(self, number: int, stage: Stage, context: TaskContext) -> None:
        self.number = number
        self.stage = stage
        self._context = context
        self._rests: dict[Hand, bool] = {}
        self._changed = asyncio.Event()
        self._ends = False
        self._error: str | None = None
        self._moved = False

    def open(self, worker: Hand) -> None:
        """Let a worker take part from now on; a run that ends already waits for nobody else."""
        if self._ends:
            return
        self._rests[worker] = False
        worker.tell("run", self.number, self.stage, self._context.task, self._context.job)
        self._changed.set()

    def close(self, worker: Hand) -> None:
        """Let a worker end what it has begun, and begin nothing more."""
        if worker in self._rests:
            worker.tell("stop", self.number)

    def left(self, worker: Hand, error: str | None = None) -> None:
        """Hear that a worker takes part no more: it is done, has failed, or has died."""
        self._rests.pop(worker, None)
        self._error = self._error or error
        self._changed.set()

    def has(self, worker: Hand) -> bool:
        """Tell whether a worker takes part."""
        return worker in self._rests

    def rests(self, worker: Hand) -> None:
        """Hear that a worker has nothing left to do; after something was done, all look once more.

        What it did may have made room for others, in a port that it serves no more.
        """
        if worker in self._rests:
            self._rests[worker] = True
            if self._moved and len(self._rests) > 1:
                self._moved = False
                self.hint()
            self._changed.set()

    def counted(self, what: str, number: int) -> None:
        """Count what was done."""
        self._moved = True
        self._context.tally.add(what, number)

    def produced(self) -> None:
        """Tell those behind this stage that there is input for them."""
        self._context.feed.produced()

    def hint(self) -> None:
        """Let every worker look."""
        for worker in self._rests:
            self._rests[worker] = False
            worker.tell("hint", self.number)

    async def follow(self) -> None:
        """Keep the workers going until nothing is left and nothing comes, or a stop is asked for.

        Raises: StageFailed.
        """
        try:
            while not (self._context.stopping.is_set() or self._error):
                self._changed.clear()
                if self._rests and all(self._rests.values()):
                    if await self._more() is False:
                        break
                else:
                    await self._hinted()
            await self._end("stop" if self._context.stopping.is_set() else "over")
        except asyncio.CancelledError:  # the time to drain is over
            with suppress(TimeoutError):
                async with asyncio.timeout(_CANCEL_SECONDS):
                    await self._end("cancel")
            raise
        if self._error:
            raise StageFailed(f"the stage {self.stage} met a defect: {self._error}")

    async def _more(self) -> bool | None:
        """Wait for input for those that rest; False when none comes, None when the workers have changed before."""
        more = asyncio.ensure_future(self._context.feed.more())
        await self._first_of(more)
        if not more.done():
            more.cancel()
            return None
        if more.result():
            self.hint()
        return more.result()

    async def _hinted(self) -> None:
        """Wait for a hint while workers are at work, or there are none; whoever rests looks again."""
        hinted = asyncio.ensure_future(self._context.feed.hinted())
        stopping = asyncio.ensure_future(self._context.stopping.wait())
        await self._first_of(hinted, stopping)
        if hinted.done():
            self.hint()
        for one in (hinted, stopping):
            one.cancel()

    async def _first_of(self, *waited_for: "asyncio.Future[Any]") -> None:
        changed = asyncio.ensure_future(self._changed.wait())
        try:
            await asyncio.wait({changed, *waited_for}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            for one in waited_for:
                one.cancel()
            raise
        finally:
            changed.cancel()

    async def _end(self, how: str) -> None:
        self._ends = True
        for worker in list(self._rests):
            worker.tell(how, self.number)
        while self._rests:
            self._changed.clear()
            await self._changed.wait()


class Runs:
    """The runs of all stages that are under way."""

    def __init__(self) -> None:
        self._runs: dict[int, Run] = {}
        self._numbers = count(1)

    async def run(self, stage: Stage, context: TaskContext, workers: Iterable[Hand]) -> None:
        """Carry a stage out with these workers, and those that take part later."""
        run = Run(next(self._numbers), stage, context)
        self._runs[run.number] = run
        for worker in workers:
            run.open(worker)
        try:
            await run.follow()
        finally:
            del self._runs[run.number]

    def open(self, worker: Hand) -> None:
        """Let a worker take part in all of them."""
        for run in self._runs.values():
            run.open(worker)

    def close(self, worker: Hand) -> None:
        """Let a worker begin nothing more."""
        for run in self._runs.values():
            run.close(worker)

    def left(self, worker: Hand) -> None:
        """Hear that a worker is no more."""
        for run in self._runs.values():
            run.left(worker)

    def find(self, number: int) -> Run | None:
        """Return a run that is under way."""
        return self._runs.get(number)

    def all(self) -> Iterable[Run]:
        """Return those under way."""
        return self._runs.values()
