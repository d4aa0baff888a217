"""Tasks that a person runs: claimed under the person's name, carried out in this process, with the rules of a server.

Source: batch reference, section 16.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version
from typing import Final
from uuid import uuid4

from gateway.batch.engine.clock import DatabaseClock
from gateway.batch.engine.executor import Execution, Executor, Identity, everybody
from gateway.batch.statements.tasks_sql import OperatorTask
from gateway.batch.store.tasks import ClaimedTask, claim_operator_task, tasks_to_cancel
from gateway.contracts.task import Preparing
from gateway.db.open import Store
from gateway.kernel.errors import StoreUnavailable
from gateway.kernel.ids import RunTaskId
from gateway.messaging.queue.leases import EXTEND_SECONDS, beat, start_incarnation, stop_incarnation

DISTRIBUTION: Final = "aif-gateway"
CANCEL_SECONDS: Final = 1.0
"""Between two looks whether the run of the task in work is being cancelled."""


async def run_operator_task(
    store: Store, runnables: Preparing, user: str, tasks: Sequence[OperatorTask], *, identity: Identity = everybody
) -> AsyncIterator[ClaimedTask]:
    """Carry out these tasks one after another; yields each when it has ended.

    Rule: one that somebody else has taken meanwhile is passed over. A task that ends may make others ready; they are
    not among these.
    """
    clock = DatabaseClock(store)
    await clock.look()
    executor = Executor(store, clock, runnables, identity=identity)
    async with _alive(store) as incarnation:
        for waiting in tasks:
            task = await claim_operator_task(
                store, user=user, incarnation=incarnation, now=clock.now(), task=RunTaskId(waiting.id)
            )
            if task is None:
                continue
            store.held.add(task.fence)
            execution = Execution(task=task)
            looking = asyncio.create_task(_look_for_cancel(store, execution), name="cancel")
            try:
                await executor.carry_out(execution, asyncio.Event())
            finally:
                looking.cancel()
                store.held.discard(task.fence)
            yield task


@asynccontextmanager
async def _alive(store: Store) -> AsyncIterator[int]:
    """Be a process that others see living, for as long as the block runs."""
    incarnation = await start_incarnation(store, f"by-hand-{uuid4()}", version(DISTRIBUTION))
    beating = asyncio.create_task(_beat(store, incarnation), name="beats")
    try:
        yield incarnation
    finally:
        beating.cancel()
        with suppress(StoreUnavailable):
            await stop_incarnation(store, incarnation)


async def _beat(store: Store, incarnation: int) -> None:
    while True:
        await asyncio.sleep(EXTEND_SECONDS)
        with suppress(StoreUnavailable):
            await beat(store, incarnation)


async def _look_for_cancel(store: Store, execution: Execution) -> None:
    while not execution.cancelled.is_set():
        await asyncio.sleep(CANCEL_SECONDS)
        with suppress(StoreUnavailable):
            if await tasks_to_cancel(store, [execution.task.fence]):
                execution.cancelled.set()
