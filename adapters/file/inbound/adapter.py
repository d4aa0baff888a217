"""The receive adapter for folders: partners drop files, we claim each exactly once.

Source: rulings, "Files"; reliability reference 5.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Sequence, Set
from concurrent.futures import Executor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import date
from functools import partial

import structlog

from adapters.file.errors import folder_errors
from adapters.file.folder import Folder, NotRegular, open_checked, opened
from adapters.file.fsops import FileOps
from adapters.file.identity import FolderIdentities
from adapters.file.inbound.claim import Claimer, CompletenessCheck
from adapters.file.inbound.settle import archived_days, archived_names, claimed_ids, remove_archived, settle_files
from adapters.file.inbound.watch import watch_folder
from adapters.file.names import reason_name
from adapters.file.offload import OneAtATime
from adapters.file.settings import FileReceiveSettings, LocalClock
from gateway.kernel.errors import FileRefused, LeaseLost, TransientError
from gateway.kernel.ids import ClaimId
from gateway.messaging.rules.delivery import Claim, Settled, Settlement, SkippedFile

log = structlog.get_logger()

_REMOVED_AT_ONCE = 500
"""Files removed per visit to a thread: other folders wait meanwhile."""

Probe = Callable[[int], Awaitable[bool | None]]
"""Reads a file to its end: True when waiting cannot help (it is whole, or broken), False when it is cut off or that
takes too long, None when nobody has time for it now."""


class FileReceiveAdapter:
    """Takes files from one inbound folder (`gateway.contracts.adapter.ReceiveAdapter`).

    All disk work runs in *executor*, at most one poll and one settling at a time. *probe* judges files whose
    end looks wrong; without it they wait for the grace time. *identities* are shared by all ports of the process.
    """

    def __init__(
        self,
        settings: FileReceiveSettings,
        *,
        executor: Executor,
        clock: LocalClock,
        probe: Probe | None = None,
        ops: FileOps | None = None,
        identities: FolderIdentities | None = None,
    ) -> None:
        self._settings = settings
        self._executor = executor
        self._clock = clock
        self._probe = probe
        self._ops = ops or FileOps()
        self._claimer = Claimer(settings, clock, self._ops, has_parser=probe is not None, identities=identities)
        self._polling = OneAtATime(executor, settings.inbound, settings.io_seconds)
        self._settling = OneAtATime(executor, settings.work, settings.io_seconds)
        self._tidying = OneAtATime(executor, settings.archive, settings.io_seconds)

    async def poll(self, limit: int) -> Sequence[Claim]:
        """Claim up to *limit* ready files in name order; fewer than *limit* means that no more were ready.

        Raises: AdapterUnavailable. Claims made by a call that was cancelled or timed out come with the next.
        """
        fresh = self._claimer.fresh
        if not fresh:
            first = True
            while (check := await self._polling.run(partial(self._claimer.poll, limit, first=first))) is not None:
                broken = await self._check(check)
                await self._polling.run(partial(self._claimer.checked, check, broken))
                first = False
        claims = fresh[:limit]
        del fresh[: len(claims)]
        return claims

    async def _check(self, check: CompletenessCheck) -> bool | None:
        """Return what the probe found, None when it could not say; the file may have changed or gone meanwhile."""
        if self._probe is None:
            return None
        try:
            fd = await self._polling.run(partial(self._claimer.open_for_check, check))
            return None if fd is None else await self._probe(fd)
        except TransientError as error:
            log.warning("file.probe_failed", port=self._settings.port, reason=error.message)
            return None
        finally:
            self._claimer.close_checked()

    async def recover(self) -> Sequence[Claim]:
        """Return what lies claimed in the work folder, in claim order, made durable."""
        return await self._polling.run(self._claimer.recover)

    @contextmanager
    def open(self) -> Iterator[Callable[[Claim], AbstractContextManager[int]]]:
        """Open the work folder for the opening of claimed files; all of it blocks for as long as the disk does.

        Raises: LeaseLost when a file is gone (another node settled it), FileRefused when it is no regular file or has
        a second name, AdapterUnavailable when the work folder cannot be used.
        """
        with ExitStack() as stack:
            with folder_errors(self._settings.work):  # not what goes wrong in the block
                work = stack.enter_context(opened(self._settings.work.path))
            yield partial(self._opened, work)

    @contextmanager
    def _opened(self, work: Folder, claim: Claim) -> Iterator[int]:
        with ExitStack() as stack:
            with folder_errors(self._settings.work):
                try:
                    fd, status = stack.enter_context(open_checked(work, claim.handle))
                except FileNotFoundError as error:
                    raise LeaseLost(
                        f"{claim.display} is no longer in {self._settings.work.path}: somebody else settled it.",
                        code="claim.gone",
                        claim_id=claim.id,
                    ) from error
                except NotRegular as error:
                    raise FileRefused(f"{claim.display}: {error}.", code="entry.not-regular") from error
            if status.st_nlink > 1:
                raise FileRefused(
                    "The file has a second name (hard link), so its owner need not be its sender. Copy it instead.",
                    code="entry.hardlink",
                )
            yield fd

    async def settle(self, settled: Sequence[Settled]) -> None:
        """Archive by day, delete or quarantine; durable when it returns; may be called again for the same files.

        Raises: AdapterUnavailable.
        """
        if not settled:
            return
        for item in settled:
            if item.settlement is Settlement.QUARANTINE:
                await self._write_reason(item)  # first: no file ever lies in the error folder without one
        day = self._clock.now().date().isoformat()
        await self._settling.run(partial(settle_files, self._ops, self._settings, settled, day))

    async def _write_reason(self, item: Settled) -> None:
        place = self._settings.error
        text = f"{item.claim.display}\n\n{item.reason or 'No reason was given.'}\n"
        with folder_errors(place):
            async with asyncio.timeout(self._settings.io_seconds):
                await self._ops.write_reason(place.path, reason_name(item.claim.handle), text, self._executor)

    async def may_find(self) -> bool:
        """Tell whether the inbound folder holds anything, or did at the last poll. Raises: AdapterUnavailable."""
        remembered = self._claimer.next_poll_seconds() is not None or bool(self._claimer.skipped())
        return remembered or await self._polling.run(self._claimer.may_find)

    async def claimed(self) -> Set[ClaimId]:
        """Return the ids of the files in the work folder; nothing is touched. Raises: AdapterUnavailable."""
        return await self._tidying.run(partial(claimed_ids, self._settings))

    async def purge(self, before: date, keep: Set[ClaimId]) -> int:
        """Remove what was archived before that day (UTC), but none of *keep*; returns how many files went.

        Raises: AdapterUnavailable.
        """
        removed = 0
        for day in await self._tidying.run(partial(archived_days, self._settings, before)):
            names = await self._tidying.run(partial(archived_names, self._settings, day, keep))
            for start in range(0, len(names) or 1, _REMOVED_AT_ONCE):  # once for none: an empty day goes too
                removed += await self.remove_archived(day, names[start : start + _REMOVED_AT_ONCE])
        return removed

    async def remove_archived(self, day: str, handles: Collection[bytes]) -> int:
        """Remove files that were archived on that day under these handles; returns how many were there.

        Raises: AdapterUnavailable.
        """
        return await self._tidying.run(partial(remove_archived, self._ops, self._settings, day, handles))

    def skipped(self) -> Sequence[SkippedFile]:
        """Return what the last poll saw and did not claim, with the reason and since when."""
        return self._claimer.skipped()

    def next_poll_seconds(self) -> float | None:
        """Return in how many seconds a waiting file may have become ready, None when nothing waits."""
        return self._claimer.next_poll_seconds()

    def hints(self) -> AsyncIterator[None]:
        """Yield at once, and whenever something appears or changes in the folder."""
        settings = self._settings
        return watch_folder(
            settings.inbound.path,
            executor=self._executor,
            renamed=self._claimer.renamed,
            force_polling=settings.force_polling,
            poll_seconds=min(1.0, settings.sweep_seconds),
        )
