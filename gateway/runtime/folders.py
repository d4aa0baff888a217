"""Looks into the folders of ports for those who ask what lies there; takes nothing."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from functools import partial
from typing import TypeVar

from adapters.file import FileReceiveSettings, OneAtATime, PortFolder
from adapters.file.inspect import (
    archived_digests,
    archived_files,
    claimed_files,
    find_file,
    staged_files,
    waiting_files,
)
from gateway.config.models import Settings
from gateway.explanations.facts import FileSighting
from gateway.explanations.finding import ArchivedFile, Staged
from gateway.kernel.errors import AdapterUnavailable
from gateway.kernel.ids import PortName
from gateway.operations.doctor import Folders
from gateway.operations.explain import FileFinder
from gateway.runtime.addresses import receive_settings, send_settings
from gateway.runtime.ports import SystemClock

T = TypeVar("T")


def finder(settings: Settings) -> FileFinder:
    """Return how the folders of inbound ports are searched for a file."""

    def find(port: PortName, name: bytes, claims: Collection[str]) -> Sequence[FileSighting]:
        receiving = receive_settings(port, settings)
        return [] if receiving is None else find_file(receiving, SystemClock(), name, claims)

    def names(port: PortName) -> Sequence[str]:
        receiving = receive_settings(port, settings)
        with suppress(AdapterUnavailable):  # the port says what is wrong with its folder
            return [] if receiving is None else waiting_files(receiving)
        return []

    return FileFinder(find=find, names=names)


def folders_of(settings: Callable[[], Settings], executor_of: Callable[[PortName], Executor]) -> Folders:
    """Return how the folders of ports are looked into, each in the threads of its port.

    A folder that hangs costs one thread and is told of, like any other that cannot be used.
    """
    turns: dict[PortFolder, OneAtATime] = {}

    async def ask(port: PortName, place: PortFolder, seconds: float, work: Callable[[], T]) -> T:
        if place not in turns:
            turns[place] = OneAtATime(executor_of(port), place, seconds)
        return await turns[place].run(work)

    def received(
        place: Callable[[FileReceiveSettings], PortFolder], work: Callable[[FileReceiveSettings], Sequence[T]]
    ) -> Callable[[PortName], Awaitable[Sequence[T]]]:
        """Return how a folder of a port that receives is listed; one that sends only has nothing in it."""

        async def listed(port: PortName) -> Sequence[T]:
            its = receive_settings(port, settings())
            return [] if its is None else await ask(port, place(its), its.io_seconds, partial(work, its))

        return listed

    async def staged(port: PortName) -> Staged | None:
        its = send_settings(port, settings())
        return None if its is None else await ask(port, its.staging, its.io_seconds, partial(staged_files, its))

    async def digests(port: PortName, files: Sequence[ArchivedFile]) -> Sequence[bytes | None]:
        its = receive_settings(port, settings())
        assert its is not None  # it has listed these files
        return await ask(port, its.archive, its.io_seconds, partial(archived_digests, its, files))

    return Folders(
        claimed=received(lambda its: its.work, claimed_files),
        staged=staged,
        waiting=received(lambda its: its.inbound, waiting_files),
        archived=received(lambda its: its.archive, archived_files),
        digests=digests,
    )
