"""The runnable `print`: prints what its run has posted."""

from collections.abc import Callable, Sequence
from typing import Any

from gateway.config.models_base import Options
from gateway.contracts.task import Runnable, TaskContext
from gateway.kernel.errors import GatewayError
from gateway.queues.posting.scheduling import PRINT
from gateway.queues.posting.service import PostingService, printing_of
from gateway.queues.printing.printing import PrintResult, Sheet, output_of_run, print_each, printing_to
from gateway.queues.printing.process import PrintFailed


class PrintParameters(Options):
    """None: what is printed is what the entry, or the tasks, of its run have posted."""


class PrintTask:
    """Prints documents one after another (`gateway.contracts.task.TaskHandler`).

    One that is printed is noted, so that a second try prints only what is left.
    """

    def __init__(self, service: PostingService) -> None:
        self._service = service

    async def run(self, context: TaskContext) -> None:
        """Print them, each on the printer that is selected for it, or as its entry says; else it is not printed.

        Raises: PostingOff where printing is not set up; PrintFailed when one was not printed; StoreUnavailable.
        """
        store, launcher = self._service.store, self._service.launcher
        assert launcher is not None, "who prints has a launcher"
        output = await output_of_run(store, context.run_id)
        printing = printing_to(output, printing_of(self._service.settings))
        if printing is None:
            context.log.info("Nothing is printed: the output of its entry is none.")
            return
        async with store.reading() as connection:
            entry = await connection.fetchval(store.queries.entry_of_run, context.run_id)
            rows = await connection.fetch(store.queries.posted_to_print, context.run_id)
        sheets = [
            Sheet(
                document=row["document"], partition=row["partition_key"], company=row["company"], number=row["number"]
            )
            for row in rows
        ]
        printed, failed = await print_each(
            store, launcher, printing, sheets, user=context.user, run=context.run_id, keep=context.keep_file
        )
        tell_prints(context, printed, failed)
        if failed:
            again = "print the documents again" if entry is None else f"restart the entry {entry}: it only prints then"
            raise PrintFailed(
                f"Posted, but not printed: {failed[0].message} Mend the cause; then {again}.",
                code=failed[0].code,
            ) from failed[0]


def tell_prints(context: TaskContext, printed: Sequence[PrintResult], failed: Sequence[GatewayError]) -> None:
    """Write into the log of a run what was printed, and what was not."""
    for result in printed:
        context.tally.add("printed")
        context.log.info(f"Printed {result.number}: {result.place}.")
        if result.warning is not None:
            context.log.warning(result.warning)
    for error in failed:
        context.log.error(error.message)


def print_runnable(service: Callable[[], PostingService]) -> Runnable:
    """Describe it; *service* is asked when it runs."""

    def make(_: Any) -> PrintTask:
        return PrintTask(service())

    return Runnable(
        name=PRINT, description="prints what its run has posted", parameters=PrintParameters, make=make,
        idempotent=True,
    )  # fmt: skip
