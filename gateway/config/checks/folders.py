"""Folders of ports and of the gateway that must not be, or lie in, one another."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path as FilePath

from gateway.config.checks.whole import Whole
from gateway.config.document import Finding, Path
from gateway.config.models import ReceiveFolders, SendFolders, Settings, StoreFolders
from gateway.config.models_base import Section
from gateway.config.models_ports import InboundPort, OutboundPort


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


def folders_do_not_overlap(whole: Whole) -> Iterator[Finding]:
    """Yield each folder that is, or lies in, another one by its path, and may not."""
    for outer, folder, text in _overlaps(_folders(whole.settings)):
        # Where the whole data folder lies wrong, saying so once is enough.
        part = folder.where == _AT_DATA and folder.kind != _DATA
        if not (part and whole.settings.data.is_relative_to(outer.path)):
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
        if isinstance(port, InboundPort):
            yield from _of(("ports", name, "receive"), f"port {name}", port.receive, folders.receive)
        key, out = ("send", port.send) if isinstance(port, OutboundPort) else ("respond", port.respond)
        yield from _of(("ports", name, key), f"port {name}", out, folders.send)
    for name, store in settings.data_exchange.stores.items():
        yield from _of(("data_exchange", "stores", name), f"store {name}", store, settings.store_folders(name))


def _of(
    at: Path, owner: str, section: Section | None, folders: ReceiveFolders | SendFolders | StoreFolders | None
) -> Iterator[_Folder]:
    """Yield all folders of a section: those it names by their options, the others as a part of the data folder."""
    for one in () if folders is None else fields(folders):
        path = getattr(folders, one.name)
        if path is None or (one.name == "faults" and path == getattr(folders, "outbound", None)):
            continue  # none, or not one of its own
        option = "folder" if one.name in {"inbound", "outbound"} else one.name
        where = (*at, option) if getattr(section, option, None) else _AT_DATA
        yield _folder(path, where=where, kind=f"{one.name} folder", owner=owner)


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
