"""Posting as a site has set it up: its kinds of documents, and each posted at once or by an entry of a job queue."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from gateway.batch.rules.job import ReportOutput
from gateway.config.models import Settings
from gateway.config.models_posting import Posting, Printing
from gateway.db.open import Store
from gateway.kernel.errors import GatewayError, TaskRefused, TransientError
from gateway.kernel.faultpoints import reach
from gateway.kernel.ids import EntryId
from gateway.queues.posting.offers import send_posted
from gateway.queues.posting.own import post_own
from gateway.queues.posting.posting import DocumentBusy, DocumentName, DocumentUnknown, PostedAs, Poster, Work
from gateway.queues.posting.scheduling import schedule
from gateway.queues.rules.documents import KINDS, Kind, OwnKind, Wanted
from gateway.workers.launcher import Launcher

FAULT_POINTS: Final = ("posting.before_numbers", "posting.before_commit", "posting.after_commit")
"""Every name that a posting reaches, in the order of its way."""


class PostingOff(TaskRefused):
    """Posting, or printing, is not set up at this site."""

    code = "posting.off"


def posting_of(settings: Settings) -> Posting:
    """Return how documents are posted here. Raises: PostingOff."""
    if settings.posting is None:
        raise PostingOff("Posting is not set up here: there is no section `posting`.")
    return settings.posting


def printing_of(settings: Settings) -> Printing:
    """Return how documents are printed here. Raises: PostingOff."""
    printing = posting_of(settings).print
    if printing is None:
        raise PostingOff("Printing is not set up here: there is no section `posting.print`.")
    return printing


def kinds_of(posting: Posting) -> Mapping[str, Kind | OwnKind]:
    """Return the kinds of documents that can be posted, by name: the eight, and those of the site's handlers."""
    own = {
        name: OwnKind(name, handler.document, handler.handler, handler.category)
        for name, handler in posting.handlers.items()
    }
    return own | KINDS


@dataclass(frozen=True, slots=True, kw_only=True)
class PostingService:
    """Posts documents of a site. `launcher` starts the processes of its handlers."""

    store: Store
    settings: Settings
    launcher: Launcher | None

    @property
    def poster(self) -> Poster:
        """Return what posts one document of the eight kinds. Raises: PostingOff."""
        return Poster(self.store.queries, posting_of(self.settings))

    def kind(self, name: str) -> Kind | OwnKind:
        """Return a kind that a task names. Raises: TaskRefused, PostingOff."""
        kinds = kinds_of(posting_of(self.settings))
        if name not in kinds:
            known = ", ".join(kinds)
            raise TaskRefused(f"No documents of the kind {name!a} can be posted here: it must be one of {known}.")
        return kinds[name]

    async def post_or_schedule(
        self,
        name: DocumentName,
        wanted: Wanted,
        *,
        user: str,
        now: datetime,
        printed: bool = False,
        output: ReportOutput = ReportOutput.PRINT,
    ) -> Sequence[PostedAs] | EntryId:
        """Post a document, or let an entry do so where the set-up says that; one that fails is to be handled then.

        An entry also lets it be *printed*, to *output*. Raises: as `Poster.post` and `schedule`.
        """
        poster, store = self.poster, self.store
        if poster.posting.via_job_queue:
            async with store.transaction() as connection:
                return await schedule(
                    connection, poster, name, wanted, user=user, now=now, printed=printed, output=output
                )
        try:
            return await self.post(name, wanted, user=user, now=now)
        except (DocumentUnknown, DocumentBusy, TransientError):
            raise
        except GatewayError as error:
            async with store.transaction() as connection:
                await connection.execute(store.queries.note_failed_posting, *name.address, error.message)
            raise

    async def post(
        self, name: DocumentName, wanted: Wanted, *, user: str, now: datetime, work: Work | None = None
    ) -> Sequence[PostedAs]:
        """Post a document in a transaction of its own, with what is sent of it.

        Raises: as `Poster.post`, and as `post_own` for a kind of the site.
        """
        store, settings, poster = self.store, self.settings, self.poster
        if isinstance(name.kind, OwnKind):
            assert self.launcher is not None, "who posts documents of the site has a launcher"
            return await post_own(store, settings, self.launcher, name, user=user, now=now, work=work)
        async with store.transaction() as connection:
            made = await poster.post(connection, name, wanted, user=user, now=now, work=work)
            await send_posted(connection, store.queries, settings, name, made, user)
            reach("posting.before_commit")
        reach("posting.after_commit")
        return made
