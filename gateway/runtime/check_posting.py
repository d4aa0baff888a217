"""What can be known of posting without posting: its handlers, the kinds that tasks name, how many documents match."""

import os
from collections.abc import Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from asyncpg import PostgresError
from pydantic import ValidationError

from gateway.batch.handlers.batch_post import BATCH_POST, BatchPostParameters
from gateway.config.definitions import entry_definition, job_definition
from gateway.config.environment import fill
from gateway.config.models import Settings
from gateway.config.suggest import did_you_mean
from gateway.db.clock import database_clock
from gateway.db.open import Store
from gateway.kernel.errors import GatewayError
from gateway.messaging.services.python import load_handler
from gateway.queues.posting.bulk import open_documents
from gateway.queues.posting.scheduling import POST
from gateway.queues.posting.service import kinds_of
from gateway.queues.rules.documents import KINDS
from gateway.runtime.checked import Finding, Verdict

_MOST: Final = 10_000
"""More documents are not counted: each is read for that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _PostingTask:
    """A task of a job, or an entry, that posts."""

    subject: str
    name: str
    run: str
    parameters: Mapping[str, object]
    partition: str
    company: str
    path: tuple[str, ...]

    def told(self, verdict: Verdict, text: str) -> Finding:
        return Finding(subject=self.subject, verdict=verdict, text=f"{self.name}{text}", path=self.path)


def check_posting(settings: Settings) -> Iterator[Finding]:
    """Yield what is wrong with handlers of posting, and tasks that post what nobody can."""
    posting = settings.posting
    if posting is None:
        return
    for name, handler in posting.handlers.items():
        path = ("posting", "handlers", name)
        subject = f"posting of {name}"
        if name in KINDS:
            text = f"the gateway posts documents of the kind {name} itself: give this one another name"
            yield Finding(subject=subject, verdict=Verdict.ERROR, text=text, path=path)
        try:
            load_handler(handler.handler)
        except GatewayError as error:
            yield Finding(subject=subject, verdict=Verdict.ERROR, text=error.message, path=(*path, "handler"))
        else:
            yield Finding(subject=subject, verdict=Verdict.OK, text=handler.handler, path=(*path, "handler"))
    kinds = kinds_of(posting)
    for task in _tasks(settings):
        kind = str(task.parameters.get("kind"))
        if kind not in kinds and "${" not in kind:
            hint = did_you_mean(kind, kinds) or f"; known are {', '.join(kinds)}"
            yield task.told(Verdict.ERROR, f"no documents of the kind {kind!a} can be posted{hint}")


async def count_documents(settings: Settings, store: Store | None, site: Path) -> list[Finding]:
    """Return how many documents each task that posts many would post now; *store* None: there is none yet."""
    if settings.posting is None:
        return []
    kinds = kinds_of(settings.posting)
    found = []
    for task in _tasks(settings):
        try:
            parameters = BatchPostParameters.model_validate(fill(task.parameters, os.environ, site).value)
        except (ValueError, ValidationError):  # told where tasks are checked
            continue
        if task.run != BATCH_POST or parameters.kind not in kinds:
            continue
        if store is None:
            text = "how many documents it matches is not known before there is a database"
        else:
            text = await _matches(store, task, parameters, settings)
        found.append(task.told(Verdict.OK, text))
    return found


async def _matches(store: Store, task: _PostingTask, parameters: BatchPostParameters, settings: Settings) -> str:
    assert settings.posting is not None
    kind, count = kinds_of(settings.posting)[parameters.kind], 0
    filters = parameters.filters_on((await database_clock(store)).date())
    try:
        async with aclosing(open_documents(store, kind, task.partition, task.company, filters)) as documents:
            async for _ in documents:
                if count == _MOST:
                    return f"matches more than {_MOST:,} documents now"
                count += 1
    except PostgresError:
        return "how many documents it matches is not known before the database is of this version"
    return f"matches {count:,} document{'s' if count != 1 else ''} now"


def _tasks(settings: Settings) -> Iterator[_PostingTask]:
    for name, job in settings.jobs.items():
        definition = job_definition(settings, name, job) if job.active else None
        for task in () if definition is None else definition.tasks:
            if definition is not None and task.handler in {POST, BATCH_POST}:
                yield _PostingTask(
                    subject=f"job {name}", name=f"task {task.name}: ", run=task.handler, parameters=task.parameters,
                    partition=definition.partition, company=task.company or definition.company,
                    path=("jobs", name, "tasks", task.name, "with"),
                )  # fmt: skip
    for name, entry in settings.job_queues.entries.items():
        if entry.run in {POST, BATCH_POST}:
            one = entry_definition(settings, entry, name=name, user=entry.user or "")
            yield _PostingTask(
                subject=f"entry {name}", name="", run=one.run, parameters=one.parameters, partition=one.partition,
                company=one.company, path=("job_queues", "entries", name, "with"),
            )  # fmt: skip
