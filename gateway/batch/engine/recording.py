"""Recording how tasks ended: those that come back while a recording is under way go into the next one together.

One transaction for many ends costs little more than for one, and it is the commits that very many short tasks wait
for. Nobody waits for company: who comes back alone is recorded alone.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from gateway.batch.engine.clock import Clock
from gateway.batch.store.ending import Ended, TaskEnd, end_tasks
from gateway.batch.store.run_log import MOST_LINES
from gateway.db.open import Store
from gateway.kernel.errors import StoreUnavailable

log = structlog.get_logger()

MOST_ENDS: Final = 200
"""Ends recorded in one transaction."""


@dataclass(slots=True, eq=False)
class _Waiting:
    """An end on its way into the store; `over` as soon as it is known what became of it."""

    end: TaskEnd
    over: bool = False
    ended: Ended | None = None
    given_up: bool = False
    defect: Exception | None = None


class Recorder:
    """Records the ends of one server's tasks, one transaction after another."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._waiting: deque[_Waiting] = deque()
        self._turn = asyncio.Lock()

    async def record(self, end: TaskEnd, stopping: asyncio.Event) -> Ended | None:
        """Record an end, however long the database is away; None when that cannot be, or is somebody else's by now.

        *stopping* ends the wait for the database. Call it shielded from cancellation: whoever has the turn works for
        all that wait.
        """
        mine = _Waiting(end)
        self._waiting.append(mine)
        async with self._turn:
            if not mine.over:
                await asyncio.sleep(0)  # whoever comes back in this very moment comes along
                await self._record(self._next(), stopping)
        fence = end.task.fence
        if mine.defect is not None:
            log.error("task.not_recorded", fence=fence, exc_info=mine.defect)
        elif mine.given_up:
            if end.lines:
                log.warning("run.log_incomplete", lines=len(end.lines))
        elif mine.ended is None:
            text = "its lease ended before it was recorded how the task ended"
            log.warning("lease.lost", stage="task", port="", fence=fence, error=text)
        return mine.ended

    def _next(self) -> list[_Waiting]:
        """Take those that go together, the longest waiting first: many, but no more lines than one task may write."""
        group: list[_Waiting] = []
        lines = 0
        while self._waiting and len(group) < MOST_ENDS and lines < MOST_LINES:
            group.append(self._waiting.popleft())
            lines += len(group[-1].end.lines)
        return group

    async def _record(self, group: Sequence[_Waiting], stopping: asyncio.Event) -> None:
        while True:
            try:
                ended = await end_tasks(self._store, [each.end for each in group], self._clock.now())
            except StoreUnavailable as error:
                log.warning("store.unavailable", stage="task", error=error.message)
                if await self._store.wait_until_available(stopping):
                    continue
                for each in group:
                    each.over = each.given_up = True
            except Exception as error:  # a defect of ours: a task is lost, as with its server, and the others go on
                if len(group) > 1:
                    for each in group:
                        await self._record([each], stopping)
                else:
                    group[0].over, group[0].defect = True, error
            else:
                for each, known in zip(group, ended, strict=True):
                    each.over, each.ended = True, known
            return
