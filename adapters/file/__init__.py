"""Files in folders: takes requests from inbound folders, delivers responses to outbound folders."""

from adapters.file.check import Finding, Severity, check_receive, check_send
from adapters.file.identity import Identities
from adapters.file.names import NameOrder, response_name
from adapters.file.receive import FileReceiveAdapter, Probe
from adapters.file.send import FileSendAdapter
from adapters.file.settings import Clock, FileReceiveSettings, FileSendSettings

__all__ = [
    "Clock",
    "FileReceiveAdapter",
    "FileReceiveSettings",
    "FileSendAdapter",
    "FileSendSettings",
    "Finding",
    "Identities",
    "NameOrder",
    "Probe",
    "Severity",
    "check_receive",
    "check_send",
    "response_name",
]
