"""Folders of ports and of the gateway that must not be, or lie in, one another."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path as FilePath

from gateway.config.models import (
    InboundPort,
    OutboundPort,
    Receive,
    ReceiveFolders,
    Respond,
    Send,
    SendFolders,
    Settings,
)
from gateway.config.place import Finding, Path


@dataclass(frozen=True, slots=True, kw_only=True)
class _Folder:
    """A folder in use; `where` names the option it comes from, `owner` is None for the gateway.

    Shape: `path` is what is compared; `written` is the path of the configuration.
    """

    path: FilePath
    written: FilePath
    where: Path
    kind: str
    owner: str | None

    @property
    def rank(self) -> int:
        """Say who was there first, where two use one folder: partners before the gateway."""
        return 0 if self.kind == _INBOUND else 1 if self.kind in _PARTNERS else 2

    @property
    def label(self) -> str:
        return f"{self.kind} of {'the gateway' if self.owner is None else self.owner}"


def _folder(path: FilePath, *, where: Path, kind: str, owner: str | None) -> _Folder:
    return _Folder(path=path, written=path, where=where, kind=kind, owner=owner)


_INBOUND = "inbound folder"
_OUTBOUND = "outbound folder"
_FAULTS = "faults folder"
_SESSIONS = "sessions folder"
_PARTNERS = {_INBOUND, _OUTBOUND, _FAULTS, _SESSIONS}
_DATA = "data folder"
_AT_DATA: Path = ("data",)


def folders_do_not_overlap(settings: Settings) -> Iterator[Finding]:
    """Yield each folder that is, or lies in, another one by its path, and may not."""
    for outer, folder, text in _overlaps(_folders(settings)):
        # Where the whole data folder lies wrong, saying so once is enough.
        part = folder.where == _AT_DATA and folder.kind != _DATA
        if not (part and settings.data.is_relative_to(outer.path)):
            yield Finding(path=folder.where, text=text)


def one_folder_by_two_paths(settings: Settings) -> Iterator[Finding]:
    """Yield each folder that is, or lies in, another one on the disk, by a link or a mount, and not by its path.

    It asks the disk, so it is no part of reading a configuration: what it finds may change without one.
    """
    first: dict[tuple[int, int], FilePath] = {}
    found = []
    for folder in _folders(settings):
        real = folder.path.resolve()
        with suppress(OSError):
            status = real.stat()
            real = first.setdefault((status.st_dev, status.st_ino), real)
        found.append(replace(folder, path=real, written=folder.path))
    told: set[Path] = set()
    for outer, folder, text in _overlaps(found):
        if folder.where not in told and not folder.written.is_relative_to(outer.written):
            told.add(folder.where)
            yield Finding(path=folder.where, text=f"{folder.written} leads there too: {text}")


def _overlaps(folders: Iterable[_Folder]) -> Iterator[tuple[_Folder, _Folder, str]]:
    """Compare each folder with those it equals or lies in: sorted by parts, these are still open."""
    open_folders: list[_Folder] = []
    for folder in sorted(folders, key=lambda folder: (folder.path.parts, folder.rank)):
        while open_folders and not folder.path.is_relative_to(open_folders[-1].path):
            open_folders.pop()
        for outer in open_folders:
            if (text := _overlap(outer, folder)) is not None:
                yield outer, folder, text
        open_folders.append(folder)


def _folders(settings: Settings) -> Iterator[_Folder]:
    yield _folder(settings.data, where=_AT_DATA, kind=_DATA, owner=None)
    if settings.embedded:
        yield _folder(settings.postgres_folder, where=_AT_DATA, kind="database folder", owner=None)
    for name, port in settings.ports.items():
        folders = settings.port_folders(name)
        if isinstance(port, InboundPort) and folders.receive is not None:
            yield from _receive_folders(name, port.receive, folders.receive)
        key, out = ("send", port.send) if isinstance(port, OutboundPort) else ("respond", port.respond)
        if out is not None and folders.send is not None:
            yield from _send_folders(name, key, out, folders.send)
    for name in settings.data_exchange.stores:
        yield from _store_folders(name, settings)


def _store_folders(name: str, settings: Settings) -> Iterator[_Folder]:
    folders, written = settings.store_folders(name), settings.data_exchange.stores[name]
    if folders is None:
        return
    at: Path = ("data_exchange", "stores", name)
    owner = f"store {name}"
    yield _folder(folders.inbound, where=(*at, "folder"), kind=_INBOUND, owner=owner)
    for kind, path, chosen in (
        ("work", folders.work, written.work),
        ("uploaded", folders.uploaded, written.uploaded),
        ("refused", folders.refused, written.refused),
    ):
        yield _folder(path, where=(*at, kind) if chosen else _AT_DATA, kind=f"{kind} folder", owner=owner)
    if folders.sessions is not None:
        yield _folder(folders.sessions, where=(*at, "sessions"), kind=_SESSIONS, owner=owner)


def _receive_folders(name: str, receive: Receive, folders: ReceiveFolders) -> Iterator[_Folder]:
    at: Path = ("ports", name, "receive")
    yield _folder(folders.inbound, where=(*at, "folder"), kind=_INBOUND, owner=f"port {name}")
    for kind, path, chosen in (
        ("work", folders.work, receive.work),
        ("archive", folders.archive, receive.archive),
        ("error", folders.error, receive.error),
    ):
        yield _folder(path, where=(*at, kind) if chosen else _AT_DATA, kind=f"{kind} folder", owner=f"port {name}")


def _send_folders(name: str, key: str, out: Respond | Send, folders: SendFolders) -> Iterator[_Folder]:
    at: Path = ("ports", name, key)
    where = (*at, "staging") if out.staging else _AT_DATA
    yield _folder(folders.staging, where=where, kind="staging folder", owner=f"port {name}")
    yield _folder(folders.outbound, where=(*at, "folder"), kind=_OUTBOUND, owner=f"port {name}")
    if folders.faults != folders.outbound:
        yield _folder(folders.faults, where=(*at, "faults"), kind=_FAULTS, owner=f"port {name}")


def _overlap(outer: _Folder, inner: _Folder) -> str | None:
    """Say why *inner* may not be, or lie in, *outer*; None when it may.

    Rule: outbound folders may be shared and may lie in an inbound folder, because names of responses never
    collide and subfolders are never read; everything else is somebody's own.
    """
    same = outer.path == inner.path
    relation = "is also" if same else "lies in"
    kinds = {outer.kind, inner.kind}
    text = f"the {inner.label} {relation} the {outer.label} ({outer.path})"
    if kinds == {_INBOUND}:
        return f"{text}; each needs an inbound folder of its own"
    if kinds <= _PARTNERS:
        return f"{text}; responses would come in as requests" if same and _INBOUND in kinds else None
    if outer.kind == _DATA and not same:
        return None
    if outer.kind in _PARTNERS:
        return f"{text}; partners must not reach what belongs to the gateway"
    if inner.kind in _PARTNERS:
        return f"{text}; partners cannot reach what belongs to the gateway"
    return f"{text}; each needs a folder of its own"
