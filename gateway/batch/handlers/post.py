"""The runnable `post`: posts one document."""

from collections.abc import Callable
from typing import Any

from pydantic import Field

from gateway.config.models_base import Date, Flag, Options, Text
from gateway.contracts.task import Runnable, SpawnedTask, TaskContext
from gateway.db.clock import database_clock
from gateway.queues.posting.posting import DocumentName, PostedBefore, Work
from gateway.queues.posting.scheduling import POST, PRINT
from gateway.queues.posting.service import PostingService, posting_of, printing_of
from gateway.queues.rules.documents import Wanted


class PostParameters(Options):
    """Which document, of the company and partition of the task, and what of an order."""

    kind: Text = Field(description="The kind of document, such as SalesOrder.")
    number: Text = Field(description="Its number.")
    move: Flag = Field(default=True, description="Orders: post what is shipped or received.")
    invoice: Flag = Field(default=True, description="Orders: post what is invoiced.")
    posting_date: Date | None = Field(default=None, description="Replaces its posting date. null: it keeps its own.")
    document_date: Date | None = Field(default=None, description="The same for its document date.")
    print: Flag | None = Field(
        default=None, description="A second task prints what was made. null: as `posting.print.after_posting` says."
    )


class PostTask:
    """Posts one document (`gateway.contracts.task.TaskHandler`)."""

    def __init__(self, service: PostingService, parameters: PostParameters) -> None:
        self._service = service
        self._parameters = parameters

    async def run(self, context: TaskContext) -> None:
        """Post it in one transaction, as the user of the task; then let a second task of the run print.

        Raises: PostingRefused and the other errors of `PostingService.post`; PostingOff.
        """
        wanted, service = self._parameters, self._service
        prints = self._prints()
        name = DocumentName(
            kind=service.kind(wanted.kind), partition=context.partition, company=context.company, number=wanted.number
        )
        try:
            made = await service.post(
                name,
                Wanted(
                    move=wanted.move, invoice=wanted.invoice, posting_date=wanted.posting_date,
                    document_date=wanted.document_date,
                ),
                user=context.user, now=await database_clock(service.store),
                work=Work(run=context.run_id, task=context.run_task_id),
            )  # fmt: skip
        except PostedBefore as before:
            context.log.info(before.message)
        else:
            context.tally.add("documents")
            context.log.info(f"Posted {name.title}: {', '.join(f'{one.title} {one.number}' for one in made)}.")
        if prints:
            await context.spawn([SpawnedTask(name=f"print {name.title}", run=PRINT)])

    def _prints(self) -> bool:
        """Tell whether what is made is printed too. Raises: PostingOff where that is wanted and not set up."""
        settings = self._service.settings
        if self._parameters.print:
            printing_of(settings)
        printing = posting_of(settings).print
        usual = printing is not None and printing.after_posting
        return usual if self._parameters.print is None else self._parameters.print


def post_runnable(service: Callable[[], PostingService]) -> Runnable:
    """Describe it; *service* is asked when it runs."""

    def make(parameters: Any) -> PostTask:
        return PostTask(service(), parameters)

    return Runnable(
        name=POST, description="posts one document", parameters=PostParameters, make=make, idempotent=True,
        retryable=False,
    )  # fmt: skip
