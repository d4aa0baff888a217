"""The runnable `print`: prints what the entry of its run has posted."""

from collections.abc import Callable, Sequence
from typing import Any

from gateway.config.models import Settings
from gateway.config.models_base import Options
from gateway.contracts.task import Runnable, TaskContext
from gateway.db.open import Store
from gateway.kernel.errors import GatewayError, TaskRefused
from gateway.queues.posting.scheduling import PRINT
from gateway.queues.printing.printing import PrintResult, Sheet, print_each
from gateway.queues.printing.process import PrintFailed
from gateway.workers.launcher import Launcher


class PrintParameters(Options):
    """None: what is printed is what the entry has posted."""


class PrintTask:
    """Prints documents one after another (`gateway.contracts.task.TaskHandler`).

    One that is printed is noted, so that a second try prints only what is left.
    """

    def __init__(self, store: Store, settings: Settings, launcher: Launcher) -> None:
        self._store = store
        self._settings = settings
        self._launcher = launcher

    async def run(self, context: TaskContext) -> None:
        """Print them, each on the printer that is selected for it; one without a printer is not printed.

        Raises: TaskRefused where printing is not set up; PrintFailed when at least one was not
        printed; StoreUnavailable.
        """
        posting = self._settings.posting
        printing = None if posting is None else posting.print
        if printing is None:
            raise TaskRefused("Printing is not set up here: there is no section `posting.print`.", code="posting.off")
        sql = self._store.queries
        async with self._store.reading() as connection:
            entry = await connection.fetchval(sql.entry_of_run, context.run_id)
            rows = await connection.fetch(sql.posted_to_print, f"entry {entry}")
        sheets = [
            Sheet(
                document=row["document"], partition=row["partition_key"], company=row["company"], number=row["number"]
            )
            for row in rows
        ]
        printed, failed = await print_each(
            self._store, self._launcher, printing, sheets, user=context.user, run=context.run_id, keep=context.keep_file
        )
        tell_prints(context, printed, failed)
        if failed:
            raise PrintFailed(
                f"Posted, but not printed: {failed[0].message} Mend the cause; then `gateway entries restart "
                f"{entry}` repeats only the print.",
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


def print_runnable(
    store: Callable[[], Store], settings: Callable[[], Settings], launcher: Callable[[], Launcher | None]
) -> Runnable:
    """Describe it; the callables are asked when it runs."""

    def make(_: Any) -> PrintTask:
        starts = launcher()
        assert starts is not None
        return PrintTask(store(), settings(), starts)

    return Runnable(
        name=PRINT, description="prints what the entry of its run has posted", parameters=PrintParameters, make=make
    )
