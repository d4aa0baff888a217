"""Which configuration counts: the one that a running gateway uses, kept in its data folder, else the file itself.

What is kept is the text as it was taken into use: secrets stand in it as references, never as values.
"""

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

import structlog

from gateway.config.changes import RESTART
from gateway.config.load import data_folder, parse, read
from gateway.config.models import Settings
from gateway.db.data_folder import running_gateway
from gateway.kernel.errors import ConfigError

log = structlog.get_logger()

FILE_NAME: Final = "configuration.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class InUse:
    """What a gateway uses: the text it started with, which still rules what needs a restart, and the current one.

    `refused` says what is wrong with the file on disk, empty while it is what is in use.
    """

    pid: int
    file: str
    started: str
    current: str
    refused: Sequence[str] = ()


class KeptConfig:
    """Keeps in the data folder which configuration this gateway uses. Before: it holds the folder."""

    def __init__(self, data: Path, config: Path, content: bytes) -> None:
        self._path = data / FILE_NAME
        text = content.decode("utf-8-sig")
        self._now = InUse(pid=os.getpid(), file=str(config), started=text, current=text)
        self._write()

    def used(self, content: bytes) -> None:
        """Keep that a changed configuration is in use, or that the file says again what is; blocks."""
        self._keep(replace(self._now, current=content.decode("utf-8-sig"), refused=()))

    def refused(self, problems: Sequence[str]) -> None:
        """Keep that the file on disk cannot be used, and why; blocks."""
        self._keep(replace(self._now, refused=tuple(problems)))

    def _keep(self, now: InUse) -> None:
        if now != self._now:
            self._now = now
            self._write()

    def _write(self) -> None:
        fresh = self._path.with_suffix(".new")
        try:
            fresh.unlink(missing_ok=True)
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(asdict(self._now), file)
            fresh.replace(self._path)
        except OSError as error:  # commands then go by the file on disk, as they do while no gateway runs
            with suppress(OSError):
                self._path.unlink(missing_ok=True)
            log.warning("config.not_kept", path=str(self._path), error=error.strerror)


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteConfig:
    """The configuration for a command. `problems` are those of the file on disk when a running gateway uses another."""

    settings: Settings
    problems: Sequence[str] = ()


def read_site_config(path: Path) -> SiteConfig:
    """Return what the gateway that runs on this configuration uses, else what stands in the file; blocks.

    Secrets that only a gateway needs may be missing.
    Raises: ConfigError.
    """
    base = path.absolute().parent
    content = b""
    try:
        content = read(path)
        on_disk = parse(content, file=str(path), base=base, environ=os.environ, for_gateway=False)
    except ConfigError as error:
        in_use = _read(data_folder(content, base=base, environ=os.environ))
        if in_use is None:
            raise
        problems = [str(problem) for problem in error.problems]
        return SiteConfig(settings=_settings(in_use), problems=problems)
    in_use = _read(on_disk.data)
    if in_use is None:
        return SiteConfig(settings=on_disk)
    return SiteConfig(settings=_settings(in_use), problems=in_use.refused)


def _read(data: Path) -> InUse | None:
    """Return what the gateway that holds the data folder keeps there, None while none does."""
    pid = running_gateway(data)
    if pid is None:
        return None
    try:
        in_use = InUse(**json.loads((data / FILE_NAME).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return in_use if in_use.pid == pid else None  # else of one before it: this one has only just begun


def _settings(in_use: InUse) -> Settings:
    def parsed(text: str) -> Settings:
        base = Path(in_use.file).parent
        return parse(text.encode(), file=in_use.file, base=base, environ=os.environ, for_gateway=False)

    current = parsed(in_use.current)
    if in_use.started == in_use.current:
        return current
    started = parsed(in_use.started)
    return current.model_copy(update={name: getattr(started, name) for name in RESTART})
