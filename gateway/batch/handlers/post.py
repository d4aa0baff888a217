"""The runnable `post`: posts one document."""

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator

from gateway.config.models import Settings
from gateway.config.models_base import Flag, Options, Text
from gateway.contracts.task import Runnable, TaskContext
from gateway.db.clock import database_clock
from gateway.db.open import Store
from gateway.kernel.errors import TaskRefused
from gateway.queues.posting.bulk import post_now
from gateway.queues.posting.posting import DocumentName, PostedBefore, Poster, Work
from gateway.queues.posting.scheduling import POST
from gateway.queues.rules.documents import KINDS


def _kind(value: str) -> str:
    if value not in KINDS:
        raise ValueError(f"must be one of {', '.join(KINDS)}")
    return value


KindName = Annotated[Text, AfterValidator(_kind)]


class PostParameters(Options):
    """Which document, of the company and partition of the task, and what of an order."""

    kind: KindName
    number: Text
    move: Flag = True
    invoice: Flag = True


class PostTask:
    """Posts one document (`gateway.contracts.task.TaskHandler`)."""

    def __init__(self, store: Store, settings: Settings, parameters: PostParameters) -> None:
        self._store = store
        self._settings = settings
        self._parameters = parameters

    async def run(self, context: TaskContext) -> None:
        """Post it in one transaction, as the user of the task.

        Raises: PostingRefused and the other errors of `Poster.post`; TaskRefused where posting is not set up.
        """
        posting = self._settings.posting
        if posting is None:
            raise TaskRefused("Posting is not set up here: there is no section `posting`.", code="posting.off")
        wanted, kind = self._parameters, KINDS[self._parameters.kind]
        poster = Poster(self._store.queries, posting)
        name = DocumentName(kind=kind, partition=context.partition, company=context.company, number=wanted.number)
        try:
            made = await post_now(
                self._store, self._settings, poster, name, move=wanted.move, invoice=wanted.invoice,
                user=context.user, now=await database_clock(self._store),
                work=Work(run=context.run_id, task=context.run_task_id),
            )  # fmt: skip
        except PostedBefore as before:
            context.log.info(before.message)
            return
        context.tally.add("documents")
        context.log.info(f"Posted {name.title}: {', '.join(f'{one.title} {one.number}' for one in made)}.")


def post_runnable(store: Callable[[], Store], settings: Callable[[], Settings]) -> Runnable:
    """Describe it; the callables are asked when it runs."""

    def make(parameters: Any) -> PostTask:
        return PostTask(store(), settings(), parameters)

    return Runnable(
        name=POST, description="posts one document", parameters=PostParameters, make=make, idempotent=True,
        retryable=False,
    )  # fmt: skip
