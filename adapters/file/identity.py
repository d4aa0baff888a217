"""Which folder each partner's path led to first: it may be made anew, but it never becomes another port's.

Shared by the ports of a process. A folder is told by device, number and time of birth: a number alone is used again.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from adapters.file.errors import PortFolder
from adapters.file.folder import Folder
from adapters.file.linux import Identity, identity_of
from gateway.kernel.errors import AdapterUnavailable


class _Known(NamedTuple):
    identity: Identity
    place: PortFolder
    inbound: bool


class FolderIdentities:
    """Remembers the folders of all open ports."""

    def __init__(self) -> None:
        self._known: dict[Path, _Known] = {}
        self._lock = Lock()

    @contextmanager
    def opened(self, place: PortFolder, *, inbound: bool, other: PortFolder | None = None) -> Iterator[Folder]:
        """Open a folder of a partner for work; errors are told with *other* as the far end of a move.

        Raises: AdapterUnavailable, also when it is the folder of another port.
        """
        with place.opened(other) as folder:
            self._admit(place, identity_of(folder.fd), inbound)
            yield folder

    def forget(self, port: str) -> None:
        """Let the folders of a port be what they are the next time: it was closed, or its settings changed."""
        with self._lock:
            self._known = {path: known for path, known in self._known.items() if known.place.port != port}

    def _admit(self, place: PortFolder, identity: Identity, inbound: bool) -> None:
        with self._lock:
            before = self._known.get(place.path)
            if before is not None and before.identity == identity:
                return
            for path, its in self._known.items():
                # several ports may have one outbound folder; that it became so while we run is no such choice
                chosen = before is None and not inbound and not its.inbound
                if path != place.path and its.identity == identity and not chosen:
                    raise _other_port(place, its.place)
            self._known[place.path] = _Known(identity, place, inbound)


def _other_port(place: PortFolder, its: PortFolder) -> AdapterUnavailable:
    return place.unavailable(
        "address.other-port",
        f"The folder {place.path} ({place.setting}) is the one that port {its.port} has as {its.path} "
        f"({its.setting}): it was moved, mounted or linked there. Nothing is taken from it or put into it for port "
        f"{place.port}. Give each port its own folder again.",
    )
