"""Looks into the folders of ports for those who ask what lies there; takes nothing."""

from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from functools import partial
from typing import TypeVar

from adapters.file.errors import Place
from adapters.file.inspect import (
    archived_digests,
    archived_files,
    claimed_files,
    find_file,
    staged_files,
    waiting_files,
)
from adapters.file.offload import OneAtATime
from gateway.config.models import Settings
from gateway.explanations.facts import Trace
from gateway.explanations.finding import ArchivedFile, Staged, WorkFile
from gateway.kernel.errors import AdapterUnavailable
from gateway.kernel.ids import PortName
from gateway.operations.doctor import Folders
from gateway.operations.explain import FileFinder
from gateway.runtime.addresses import receive_settings, send_settings
from gateway.runtime.ports import SystemClock

T = TypeVar("T")


def finder(settings: Settings) -> FileFinder:
    """Return how the folders of inbound ports are searched for a file."""

    def find(port: PortName, name: bytes, claims: Collection[str]) -> Sequence[Trace]:
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
    turns: dict[Place, OneAtATime] = {}

    async def look(port: PortName, place: Place, seconds: float, work: Callable[[], T]) -> T:
        if place not in turns:
            turns[place] = OneAtATime(executor_of(port), place, seconds)
        return await turns[place].run(work)

    async def claimed(port: PortName) -> Sequence[WorkFile]:
        receiving = receive_settings(port, settings())
        if receiving is None:
            return []
        return await look(port, receiving.work_place, receiving.io_seconds, partial(claimed_files, receiving))

    async def staged(port: PortName) -> Staged | None:
        sending = send_settings(port, settings())
        if sending is None:
            return None
        return await look(port, sending.staging_place, sending.io_seconds, partial(staged_files, sending))

    async def waiting(port: PortName) -> Sequence[str]:
        receiving = receive_settings(port, settings())
        if receiving is None:
            return []
        return await look(port, receiving.inbound_place, receiving.io_seconds, partial(waiting_files, receiving))

    async def archived(port: PortName) -> Sequence[ArchivedFile]:
        receiving = receive_settings(port, settings())
        if receiving is None:
            return []
        return await look(port, receiving.archive_place, receiving.io_seconds, partial(archived_files, receiving))

    async def digests(port: PortName, files: Sequence[ArchivedFile]) -> Sequence[bytes | None]:
        receiving = receive_settings(port, settings())
        assert receiving is not None  # it has listed these files
        work = partial(archived_digests, receiving, files)
        return await look(port, receiving.archive_place, receiving.io_seconds, work)

    return Folders(claimed=claimed, staged=staged, waiting=waiting, archived=archived, digests=digests)
