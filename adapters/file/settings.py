"""What a file adapter has to know of its port; the runtime fills these from the configuration."""

from dataclasses import dataclass
from datetime import datetime
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
    `io_seconds` is how long one poll or one settling may last before the folder counts as hanging.
    """

    port: PortName
    inbound: PortFolder
    work: PortFolder
    archive: PortFolder
    error: PortFolder
    pattern: str = "*.xml"
    order: NameOrder = NameOrder.NAME
    settle_seconds: float = 2.0
    grace_seconds: float = 600.0
    done_marker: bool = False
    force_polling: bool = False
    sweep_seconds: float = 30.0
    io_seconds: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSendSettings:
    """The folders of an outbound address.

    Shape: absolute folders; `staging` lies on the file system of `outbound` (and of `faults`), never inside it;
    faults, whose final names end in `.fault.xml`, go to `faults` when that is set. `file_mode` and `group` are those of
    the files; group None: that of the folder. `group_setting` names the group for people.
    """

    port: PortName
    outbound: PortFolder
    staging: PortFolder
    faults: PortFolder | None = None
    io_seconds: float = 60.0
    file_mode: int = 0o640
    group: int | str | None = None
    group_setting: str

    def target(self, final_name: str) -> PortFolder:
        """Return the folder in which a file of that final name appears."""
        return self.faults if self.faults is not None and final_name.endswith(".fault.xml") else self.outbound
