"""The runnable `status_messages`: copies status messages from their stores, and purges both sides."""

import asyncio
from collections.abc import Callable
from typing import Any

import structlog
from pydantic import Field

from gateway.batch.housekeeping.deletes import believed_clock
from gateway.config.models_base import Name, Options
from gateway.config.models_ports import STATUS_MESSAGES
from gateway.contracts.task import Runnable, TaskContext
from gateway.db.open import Store
from gateway.exchange import MessageStores
from gateway.kernel.errors import GatewayError, StoreUnavailable, TaskFailed, TaskRefused, TransientError

log = structlog.get_logger()


class StatusMessagesParameters(Options):
    """Which message stores."""

    stores: tuple[Name, ...] = Field(
        default=(), description="Message stores of `data_exchange.stores`, by name. Default: all."
    )


class StatusMessagesTask:
    """One pass over message stores (`gateway.contracts.task.TaskHandler`), one after another.

    Trouble with one store does not keep others from their turn. Progress is what is copied: an interruption costs
    nothing.
    """

    def __init__(self, store: Store, stores: MessageStores, parameters: StatusMessagesParameters) -> None:
        self._store = store
        self._stores = stores
        self._parameters = parameters

    async def run(self, context: TaskContext) -> None:
        """Make the passes.

        Raises: TaskRefused when a store is not configured; TransientError or TaskFailed naming the stores that could
        not be used, after all others; StoreUnavailable.
        """
        known = self._stores.names()
        names = self._parameters.stores or known
        if missing := [name for name in names if name not in known]:
            raise TaskRefused(
                f"There is no message store {', '.join(missing)} in `data_exchange.stores`.",
                code="status-messages.store",
            )
        began = asyncio.get_running_loop().time()
        _, doubt = await believed_clock(self._store)
        if doubt:
            context.log.warning(f"Nothing is purged: {doubt}")
            log.warning("exchange.purge_postponed", run_id=context.run_id, reason=doubt)
        failed: list[GatewayError] = []
        for name in names:
            if context.stopping.is_set():
                return
            try:
                await self._stores.make_pass(
                    name, tally=context.tally, lines=context.log, stopping=context.stopping, purges=not doubt
                )
            except StoreUnavailable:
                raise
            except GatewayError as error:
                context.log.error(error.message)
                log.warning("exchange.store_failed", run_id=context.run_id, store=name, error=error.message)
                failed.append(error)
        counts = dict(context.tally.counts)
        if counts:
            context.log.info(", ".join(f"{number} {what}" for what, number in sorted(counts.items())) + ".")
            duration_ms = round((asyncio.get_running_loop().time() - began) * 1000)
            log.info("exchange.passed", run_id=context.run_id, counts=counts, duration_ms=duration_ms)
        if failed:
            text = " ".join(error.message for error in failed)
            if all(isinstance(error, TransientError) for error in failed):
                raise TransientError(text, code=failed[0].code)
            raise TaskFailed(text, code=failed[0].code)


def status_messages_runnable(store: Callable[[], Store], stores: Callable[[], MessageStores]) -> Runnable:
    """Describe it; the callables are asked when it runs."""

    def make(parameters: Any) -> StatusMessagesTask:
        return StatusMessagesTask(store(), stores(), parameters)

    return Runnable(
        name=STATUS_MESSAGES,
        description="copies status messages of data exchange from their stores, and purges both sides",
        parameters=StatusMessagesParameters,
        make=make,
        idempotent=True,
        retryable=True,
    )
