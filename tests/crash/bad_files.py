"""Gateways that break a rule about files and folders."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from adapters.file import fsops
from adapters.file.folder import Folder
from adapters.file.fsops import FileOps
from adapters.file.inbound import settle
from adapters.file.inbound.ready import Readiness, ReadyLadder
from adapters.file.outbound.adapter import FileSendAdapter


def skip(*_: object, **__: object) -> None:
    """Stand for a step that is left out."""


async def skip_waiting(*_: object, **__: object) -> None:
    """Stand for a step that is left out and would have taken time."""


def no_readiness(_: Path) -> None:
    """Take every file at the first look."""

    def ready(*_: object, **__: object) -> Readiness:
        return Readiness.READY

    ReadyLadder.judge = ready  # type: ignore[method-assign]


def retry_fsync(_: Path) -> None:
    """Flush the same descriptor again when that failed."""
    fsync = FileOps._fsync

    def fsync_twice(self: FileOps, folder: Folder, name: bytes, fd: int) -> None:
        try:
            fsync(self, folder, name, fd)
        except OSError:
            fsync(self, folder, name, fd)

    FileOps._fsync = fsync_twice  # type: ignore[method-assign]


def no_fsync_of_files(_: Path) -> None:
    """Never flush the content of responses."""
    FileOps._fsync = skip  # type: ignore[method-assign]
    FileOps.sync_staged = skip  # type: ignore[method-assign]


def no_fsync_of_claims(_: Path) -> None:
    """Never flush the work and the inbound folder."""
    _skip_flush("claim.work", "claim.inbound")


def no_fsync_of_outbound(_: Path) -> None:
    """Never flush the outbound folder."""
    _skip_flush("publish.outbound")


def _skip_flush(*steps: str) -> None:
    assert set(steps) <= set(fsops._FLUSH_POINTS)
    flush_folder = FileOps.flush_folder

    def flush(self: FileOps, folder: Folder, step: str) -> None:
        if step not in steps:
            flush_folder(self, folder, step)

    FileOps.flush_folder = flush  # type: ignore[method-assign]


def inbound_flushed_first(_: Path) -> None:
    """Flush the inbound folder before the work folder: a file that has gone from the one may not be in the other."""
    flush_folder = FileOps.flush_folder
    waiting: list[Folder] = []

    def flush(self: FileOps, folder: Folder, step: str) -> None:
        if step == "claim.work":
            waiting.append(folder)
            return
        flush_folder(self, folder, step)
        if step == "claim.inbound":
            flush_folder(self, waiting.pop(), "claim.work")

    FileOps.flush_folder = flush  # type: ignore[method-assign]


def every_write_believed(_: Path) -> None:
    """Go on with a response whose writing failed."""
    write_staged = FileOps.write_staged

    def write(self: FileOps, *arguments: Any, **options: Any) -> None:
        with suppress(OSError):
            write_staged(self, *arguments, **options)

    FileOps.write_staged = write  # type: ignore[method-assign]


def no_cleaning(_: Path) -> None:
    """Leave staged files that nobody needs where they are."""
    FileSendAdapter.discard = skip_waiting  # type: ignore[method-assign]


def no_second_look(_: Path) -> None:
    """Do not look whether a file is still what was read."""
    settle._report_change = skip


OF_FILES = (
    no_readiness, retry_fsync, no_fsync_of_files, no_fsync_of_claims, no_fsync_of_outbound, inbound_flushed_first,
    every_write_believed, no_cleaning, no_second_look,
)  # fmt: skip
