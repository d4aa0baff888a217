"""Looks into the folders of ports for those who ask about single files; takes nothing."""

from collections.abc import Callable, Sequence

from adapters.file.inspect import find_file
from gateway.config.models import Settings
from gateway.domain.explanation import Trace
from gateway.domain.ids import PortName
from gateway.runtime.addresses import receive_settings
from gateway.runtime.ports import SystemClock


def finder(settings: Settings) -> Callable[[PortName, bytes], Sequence[Trace]]:
    """Return the question where a file of a given name lies in the folders of an inbound port; it blocks."""

    def find(port: PortName, name: bytes) -> Sequence[Trace]:
        receiving = receive_settings(port, settings)
        return [] if receiving is None else find_file(receiving, SystemClock(), name)

    return find
