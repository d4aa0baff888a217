"""What a file adapter has to know of its port; the runtime fills these from the configuration."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from adapters.file.errors import PortFolder
from adapters.file.names import NameOrder
from gateway.kernel.ids import PortName


class LocalClock(Protocol):
    """Where the adapter gets its time from."""

    def monotonic(self) -> float:
        """Return seconds that never jump; durations are measured with it."""
        ...

    def now(self) -> datetime:
        """Return the time of day, aware, UTC; only for names and records."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FileReceiveSettings:
    """The folders of an inbound port and its rules for taking files; all durations in seconds.

    Shape: absolute folders; `work`, `archive` and `error` lie on the file system of `inbound`, never inside it.
    `io_seconds` is how long one poll or one settling may last before the folder counts as hanging. `section` is the
    part of the configuration that names the folders, None for that of the port; the last two are named in it.
    """

    port: PortName
    inbound: Path
    work: Path
    archive: Path
    error: Path
    pattern: str = "*.xml"
    order: NameOrder = NameOrder.NAME
    settle_seconds: float = 2.0
    grace_seconds: float = 600.0
    done_marker: bool = False
    force_polling: bool = False
    sweep_seconds: float = 30.0
    io_seconds: float = 60.0
    section: str | None = None
    archive_setting: str = "archive"
    error_setting: str = "error"

    @property
    def inbound_place(self) -> PortFolder:
        """Return the inbound folder with the setting that names it."""
        return self._place(self.inbound, "folder")

    @property
    def work_place(self) -> PortFolder:
        """Return the work folder with the setting that names it."""
        return self._place(self.work, "work")

    @property
    def archive_place(self) -> PortFolder:
        """Return the archive folder with the setting that names it."""
        return self._place(self.archive, self.archive_setting)

    @property
    def error_place(self) -> PortFolder:
        """Return the error folder with the setting that names it."""
        return self._place(self.error, self.error_setting)

    def _place(self, path: Path, key: str) -> PortFolder:
        return PortFolder(path=path, setting=f"{self.section or f'ports.{self.port}.receive'}.{key}", port=self.port)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSendSettings:
    """The folders of an outbound address.

    Shape: absolute folders; `staging` lies on the file system of `outbound` (and of `faults`), never inside it;
    faults, whose final names end in `.fault.xml`, go to `faults` when that is set. `section` is the part of the
    port's settings that names them. `file_mode` and `group` are those of the files; group None: that of the folder.
    """

    port: PortName
    outbound: Path
    staging: Path
    faults: Path | None = None
    io_seconds: float = 60.0
    section: str = "respond"
    file_mode: int = 0o640
    group: int | str | None = None

    @property
    def outbound_place(self) -> PortFolder:
        """Return the outbound folder with the setting that names it."""
        return self._place(self.outbound, "folder")

    @property
    def group_setting(self) -> str:
        """Return the setting that names the group."""
        return f"ports.{self.port}.{self.section}.group"

    @property
    def staging_place(self) -> PortFolder:
        """Return the staging folder with the setting that names it."""
        return self._place(self.staging, "staging")

    def target_place(self, final_name: str) -> PortFolder:
        """Return the folder in which a file of that final name appears."""
        if self.faults is not None and final_name.endswith(".fault.xml"):
            return self._place(self.faults, "faults")
        return self.outbound_place

    def _place(self, path: Path, key: str) -> PortFolder:
        return PortFolder(path=path, setting=f"ports.{self.port}.{self.section}.{key}", port=self.port)
