"""The statuses of a data-exchange session, and which of two messages says more about it.

A session moves only forwards. Every status has a rank; of all messages about a session the one of the highest rank
counts, among those of one rank the latest by its own time, among those of one moment the greater id. So the order in
which messages arrive, and how often, changes nothing.
Source: batch reference, section 22.3.
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class SessionDirection(StrEnum):
    """Which way the data of a session go, seen from the station."""

    UPLOAD = "upload"  # from the station to head office
    DOWNLOAD = "download"  # from head office to the station


class SessionStatus(StrEnum):
    """How far a session is."""

    STARTED = "started"  # data are being gathered
    AVAILABLE = "available"  # a package lies ready to be fetched
    REQUESTED = "requested"  # download: the station has asked for the package
    DOWNLOADED = "downloaded"  # download: the station has the package
    UPLOADED = "uploaded"  # upload: head office has the package
    APPLIED = "applied"  # the data are in the database they are for
    NO_DATA = "no_data"  # download: there was nothing to send
    CREATE_FAILED = "create_failed"  # download: the package could not be made
    DOWNLOAD_FAILED = "download_failed"  # the station tries again by itself
    UPLOAD_FAILED = "upload_failed"  # the station tries again by itself
    APPLY_FAILED = "apply_failed"  # the data could not be written; tried again, or canceled when the data are bad
    CANCELED = "canceled"  # by a person here; no message says so


_BOTH: Final = frozenset(
    {SessionStatus.STARTED, SessionStatus.AVAILABLE, SessionStatus.APPLIED, SessionStatus.APPLY_FAILED}
)
SAID: Final[Mapping[SessionDirection, frozenset[SessionStatus]]] = {
    SessionDirection.UPLOAD: _BOTH | {SessionStatus.UPLOADED, SessionStatus.UPLOAD_FAILED},
    SessionDirection.DOWNLOAD: _BOTH
    | {
        SessionStatus.REQUESTED,
        SessionStatus.DOWNLOADED,
        SessionStatus.NO_DATA,
        SessionStatus.CREATE_FAILED,
        SessionStatus.DOWNLOAD_FAILED,
    },
}
"""What a message may say about a session of each direction."""

FAILED: Final = frozenset(
    {
        SessionStatus.CREATE_FAILED,
        SessionStatus.DOWNLOAD_FAILED,
        SessionStatus.UPLOAD_FAILED,
        SessionStatus.APPLY_FAILED,
    }
)
FINAL: Final = frozenset({SessionStatus.APPLIED, SessionStatus.NO_DATA, SessionStatus.CANCELED})
"""Statuses that no message changes."""

RANKS: Final[Mapping[SessionStatus, int]] = {
    SessionStatus.STARTED: 1,
    SessionStatus.CREATE_FAILED: 1,
    SessionStatus.AVAILABLE: 2,
    SessionStatus.UPLOAD_FAILED: 2,
    SessionStatus.REQUESTED: 3,
    SessionStatus.DOWNLOAD_FAILED: 3,
    SessionStatus.DOWNLOADED: 4,
    SessionStatus.UPLOADED: 4,
    SessionStatus.APPLY_FAILED: 4,
    SessionStatus.NO_DATA: 5,
    SessionStatus.APPLIED: 6,
    SessionStatus.CANCELED: 9,
}
"""A failure has the rank of the stage in which it happens: the next try of the stage, and its success, come after."""

_NOT_LETTERS = re.compile(r"[^a-z]")
_BY_LETTERS: Final = {_NOT_LETTERS.sub("", status.value): status for status in SessionStatus}


def parse_direction(text: str) -> SessionDirection | None:
    """Read a direction in any case; None when it is none."""
    try:
        return SessionDirection(text.strip().lower())
    except ValueError:
        return None


def parse_status(text: str) -> SessionStatus | None:
    """Read a status as people write it: `Download failed`, `download_failed`, `DownloadFailed`; None: it is none."""
    return _BY_LETTERS.get(_NOT_LETTERS.sub("", text.strip().lower()))
