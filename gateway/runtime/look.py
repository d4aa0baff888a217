"""Looks into the folders of ports for those who ask what lies there; takes nothing."""

from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import TypeVar

from adapters.file.errors import Place
from adapters.file.inspect import claimed_files, find_file, staged_files
from adapters.file.offload import OneAtATime
from gateway.config.models import Settings
from gateway.domain.explanation import Trace
from gateway.domain.finding import Staged, WorkFile
from gateway.domain.ids import PortName
from gateway.operations.doctor import Folders
from gateway.operations.explain import FindFile
from gateway.runtime.addresses import receive_settings, send_settings
from gateway.runtime.ports import SystemClock

T = TypeVar("T")


def finder(settings: Settings) -> FindFile:
    """Return the question where a file of a given name and claims lies in the folders of an inbound port; it blocks."""

    def find(port: PortName, name: bytes, claims: Collection[str]) -> Sequence[Trace]:
        receiving = receive_settings(port, settings)
        return [] if receiving is None else find_file(receiving, SystemClock(), name, claims)

    return find


def folders_of(settings: Callable[[], Settings], executor_of: Callable[[PortName], Executor]) -> Folders:
    """Return how the work and staging folders of ports are listed, each in the threads of its port.

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

    return Folders(claimed=claimed, staged=staged)
