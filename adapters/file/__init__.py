"""Files in folders: claims requests from inbound folders, delivers responses to outbound folders.

Read first: `inbound.adapter` and `outbound.adapter`, which do what `gateway.contracts.adapter` asks of an adapter.
They promise that each file is claimed once and each response appears once, whole, whatever breaks off in between; all
that changes a folder is in `fsops`, with the fault points between its steps. `check` says whether the folders of a
port can be used, `inspect` where a file lies among them.
"""

from adapters.file.errors import PortFolder
from adapters.file.identity import FolderIdentities
from adapters.file.inbound.adapter import FileReceiveAdapter, Probe
from adapters.file.names import NameOrder, ResponseNames
from adapters.file.offload import OneAtATime
from adapters.file.outbound.adapter import FileSendAdapter
from adapters.file.settings import FileReceiveSettings, FileSendSettings, LocalClock

__all__ = [
    "FileReceiveAdapter",
    "FileReceiveSettings",
    "FileSendAdapter",
    "FileSendSettings",
    "FolderIdentities",
    "LocalClock",
    "NameOrder",
    "OneAtATime",
    "PortFolder",
    "Probe",
    "ResponseNames",
]
