"""The runnable `batch_post`: posts all documents of a kind that pass its filters, as the batch post reports do."""

from collections.abc import Callable, Mapping
from datetime import date
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, model_validator

from gateway.batch.handlers.print import tell_prints
from gateway.config.models_base import Flag, Options, Text, as_date
from gateway.contracts.task import Runnable, TaskContext
from gateway.db.clock import database_clock
from gateway.kernel.errors import GatewayError, StoreUnavailable
from gateway.queues.posting.bulk import FIELDS, batch_began, open_documents
from gateway.queues.posting.service import PostingService, posting_of
from gateway.queues.printing.printing import output_of_run, print_each, printing_to, sheets_of
from gateway.queues.rules.documents import KINDS, Wanted
from gateway.queues.rules.filters import TODAY, BadFilter, Filter, read_filter

BATCH_POST: Final = "batch_post"


def _day(value: object) -> object:
    return value if value == TODAY else as_date(value, also=TODAY)


Day = Annotated[date | Literal["today"], BeforeValidator(_day)]
"""A day, or the one on which the batch runs."""


class BatchPostParameters(Options):
    """Which documents, of the company and partition of the task, and what of orders.

    Without a filter everything would be posted; who wants that says so.
    """

    kind: Text = Field(description="The kind of documents, such as SalesOrder.")
    filters: Mapping[Text, Text] = Field(
        default_factory=dict, description="Conditions by field: No, Status, PostingDate, Party, Location, Currency."
    )
    all: Flag = Field(default=False, description="true: every document, without a filter.")
    move: Flag = Field(default=True, description="Orders: post what is shipped or received.")
    invoice: Flag = Field(default=True, description="Orders: post what is invoiced.")
    replace_posting_date: Day | None = Field(
        default=None, description="Posting date of all of them: a day, or today. null: each keeps its own."
    )
    replace_document_date: Flag = Field(
        default=False, description="The document date becomes the same, with `replace_posting_date`."
    )

    @model_validator(mode="after")
    def _is_meant(self) -> "BatchPostParameters":
        if not self.filters and not self.all:
            raise ValueError("needs filters, or all: true to post every document")
        if self.replace_document_date and self.replace_posting_date is None:
            raise ValueError("replace_document_date needs a day: name it in replace_posting_date")
        for name, text in self.filters.items():
            if name not in FIELDS and self.kind in KINDS:
                raise ValueError(f"there is no field {name} to filter by; there are {', '.join(FIELDS)}")
            try:
                read_filter(text, today=date.min)
            except BadFilter as error:
                raise ValueError(f"filters.{name}: {error}") from None
        return self

    def filters_on(self, today: date) -> Mapping[str, Filter]:
        """Return the filters as they count on a day."""
        return {name: read_filter(text, today=today) for name, text in self.filters.items()}

    def wanted_on(self, today: date) -> Wanted:
        """Return what is posted of a document, as of a day."""
        day = today if self.replace_posting_date == TODAY else self.replace_posting_date
        return Wanted(
            move=self.move, invoice=self.invoice, posting_date=day,
            document_date=day if self.replace_document_date else None,
        )  # fmt: skip


class BatchPostTask:
    """Posts documents one after another (`gateway.contracts.task.TaskHandler`); one that fails keeps no other.

    Progress is what is posted: an interruption costs nothing.
    """

    def __init__(self, service: PostingService, parameters: BatchPostParameters) -> None:
        self._service = service
        self._parameters = parameters

    async def run(self, context: TaskContext) -> None:
        """Post them, or make an entry for each where documents are posted via job queues.

        Raises: PostingOff where posting is not set up; TaskRefused for an unknown kind; StoreUnavailable.
        """
        service, parameters = self._service, self._parameters
        posting, kind = posting_of(service.settings), service.kind(parameters.kind)
        now = await database_clock(service.store)
        began = await batch_began(service.store, context.run_id)
        filters, wanted = parameters.filters_on(now.date()), parameters.wanted_on(now.date())
        output = await output_of_run(service.store, context.run_id)
        printing = posting.print
        if printing is not None:
            printing = printing_to(output, printing) if printing.after_posting else None
        async for name in open_documents(service.store, kind, context.partition, context.company, filters, began=began):
            if context.stopping.is_set():
                break
            try:
                made = await service.post_or_schedule(
                    name, wanted, user=context.user, now=now, printed=printing is not None, output=output
                )
            except StoreUnavailable:
                raise
            except GatewayError as error:
                context.tally.add("failed")
                context.log.warning(error.message)
            else:
                context.tally.add("documents")
                if printing is not None and service.launcher is not None and not isinstance(made, int):
                    prints = await print_each(
                        service.store, service.launcher, printing, sheets_of(name, made), user=context.user
                    )
                    tell_prints(context, *prints)
        done, failed = (context.tally.counts.get(what, 0) for what in ("documents", "failed"))
        verb = "scheduled" if posting.via_job_queue else "posted"
        context.log.info(f"{done} {verb}, {failed} to handle.")


def batch_post_runnable(service: Callable[[], PostingService]) -> Runnable:
    """Describe it; *service* is asked when it runs."""

    def make(parameters: Any) -> BatchPostTask:
        return BatchPostTask(service(), parameters)

    return Runnable(
        name=BATCH_POST, description="posts the documents of a kind that pass its filters",
        parameters=BatchPostParameters, make=make, idempotent=True, retryable=True,
    )  # fmt: skip
