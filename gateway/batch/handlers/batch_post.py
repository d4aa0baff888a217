"""The runnable `batch_post`: posts all documents of a kind that pass its filters, as the batch post reports do."""

from collections.abc import Callable, Mapping
from datetime import date
from typing import Any, Final

from pydantic import Field, model_validator

from gateway.batch.handlers.post import KindName
from gateway.batch.handlers.print import tell_prints
from gateway.config.models import Settings
from gateway.config.models_base import Flag, Options, Text
from gateway.contracts.task import Runnable, TaskContext
from gateway.db.clock import database_clock
from gateway.db.open import Store
from gateway.kernel.errors import GatewayError, StoreUnavailable, TaskRefused
from gateway.queues.posting.bulk import FIELDS, open_documents, post_or_schedule
from gateway.queues.posting.posting import Poster
from gateway.queues.printing.printing import print_each, sheets_of
from gateway.queues.rules.documents import KINDS
from gateway.queues.rules.filters import BadFilter, read_filter
from gateway.workers.launcher import Launcher

BATCH_POST: Final = "batch_post"


class BatchPostParameters(Options):
    """Which documents, of the company and partition of the task, and what of orders.

    Without a filter everything would be posted; who wants that says so.
    """

    kind: KindName = Field(description="The kind of documents, such as SalesOrder.")
    filters: Mapping[Text, Text] = Field(
        default_factory=dict, description="Conditions by field: No, Status, PostingDate, Party, Location, Currency."
    )
    all: Flag = Field(default=False, description="true: every document, without a filter.")
    move: Flag = Field(default=True, description="Orders: post what is shipped or received.")
    invoice: Flag = Field(default=True, description="Orders: post what is invoiced.")

    @model_validator(mode="after")
    def _is_meant(self) -> "BatchPostParameters":
        if not self.filters and not self.all:
            raise ValueError("needs filters, or all: true to post every document")
        for name, text in self.filters.items():
            if name not in FIELDS:
                raise ValueError(f"there is no field {name} to filter by; there are {', '.join(FIELDS)}")
            try:
                read_filter(text, today=date.min)
            except BadFilter as error:
                raise ValueError(f"filters.{name}: {error}") from None
        return self


class BatchPostTask:
    """Posts documents one after another (`gateway.contracts.task.TaskHandler`); one that fails keeps no other.

    Progress is what is posted: an interruption costs nothing.
    """

    def __init__(
        self, store: Store, settings: Settings, launcher: Launcher | None, parameters: BatchPostParameters
    ) -> None:
        self._store = store
        self._settings = settings
        self._launcher = launcher
        self._parameters = parameters

    async def run(self, context: TaskContext) -> None:
        """Post them, or make an entry for each where documents are posted via job queues.

        Raises: TaskRefused where posting is not set up; StoreUnavailable.
        """
        posting, wanted = self._settings.posting, self._parameters
        if posting is None:
            raise TaskRefused("Posting is not set up here: there is no section `posting`.", code="posting.off")
        poster, kind = Poster(self._store.queries, posting), KINDS[wanted.kind]
        now = await database_clock(self._store)
        printing = posting.print if posting.print is not None and posting.print.after_posting else None
        filters = {name: read_filter(text, today=now.date()) for name, text in wanted.filters.items()}
        async for name in open_documents(
            self._store, kind, context.partition, context.company, filters, context.run_id
        ):
            if context.stopping.is_set():
                break
            try:
                made = await post_or_schedule(
                    self._store, self._settings, poster, name, move=wanted.move, invoice=wanted.invoice,
                    user=context.user, now=now, printed=printing is not None,
                )  # fmt: skip
            except StoreUnavailable:
                raise
            except GatewayError as error:
                context.tally.add("failed")
                context.log.warning(error.message)
            else:
                context.tally.add("documents")
                if printing is not None and self._launcher is not None and not isinstance(made, int):
                    prints = await print_each(
                        self._store, self._launcher, printing, sheets_of(name, made), user=context.user
                    )
                    tell_prints(context, *prints)
        done, failed = (context.tally.counts.get(what, 0) for what in ("documents", "failed"))
        verb = "scheduled" if posting.via_job_queue else "posted"
        context.log.info(f"{done} {verb}, {failed} to handle.")


def batch_post_runnable(
    store: Callable[[], Store], settings: Callable[[], Settings], launcher: Callable[[], Launcher | None]
) -> Runnable:
    """Describe it; the callables are asked when it runs."""

    def make(parameters: Any) -> BatchPostTask:
        return BatchPostTask(store(), settings(), launcher(), parameters)

    return Runnable(
        name=BATCH_POST, description="posts the documents of a kind that pass its filters",
        parameters=BatchPostParameters, make=make, idempotent=True, retryable=True,
    )  # fmt: skip
