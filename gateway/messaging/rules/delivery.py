"""One file that an adapter moved: claimed on the way in, staged and published on the way out."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from gateway.kernel.ids import ClaimId, Fence, MessageKey, PortName


class Settlement(StrEnum):
    """What becomes of a claimed file once the store knows it."""

    ARCHIVE = "archive"  # kept in the archive folder, by day
    DELETE = "delete"  # removed
    QUARANTINE = "quarantine"  # kept in the error folder with its reason beside it


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A file that is ours, for good, under its claim id.

    Shape: `name` is what its sender called it, as bytes, `display` its printable form; `handle` is how the adapter
    finds it again, and nothing to anybody else; `size` in bytes; `modified_at`, aware UTC, is when its sender changed
    it last, or when it came. `owner` is how the address knows its sender: an account, an AS2 identifier; `owner_uid`
    the number of the account, None where an address knows no accounts.
    """

    id: ClaimId
    port: PortName
    name: bytes
    display: str
    handle: bytes
    size: int
    modified_at: datetime
    owner_uid: int | None = None
    owner: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """A claimed file and what to do with it now; `reason` is the text that lies beside a quarantined file."""

    claim: Claim
    settlement: Settlement
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SkippedFile:
    """What is at an inbound address and is not claimed, and why: no file, unreadable, still being written."""

    name: bytes
    display: str
    code: str
    text: str
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingFile:
    """A file to be written: final name (made by us, `[A-Za-z0-9._{}-]`, at most 120 bytes) and its bytes.

    `staged_name` is unique per attempt: a late attempt of somebody else can never publish over ours.
    """

    staged_name: str
    final_name: str
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """A staged file that the store has promised: it is in staging exactly until the one rename that publishes it.

    `staging` is the identity of the place it was staged in; None when it was promised before places had one.
    """

    staged_name: str
    final_name: str
    staging: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StagingPlace:
    """Where an address prepares its files: an identity that no other place has, and where it is, in words."""

    id: UUID
    where: str


def prepared_where(folder: str | None, host: str | None) -> str:
    """Say to people in which staging folder something is prepared; None for both when nobody knows it any more."""
    if folder is None:
        return "in a staging folder that no gateway of this database has used"
    return f"in {folder} on {host}"


def staged_name(key: MessageKey, fence: Fence) -> str:
    """Name the file of a message to be staged under a claim."""
    return f"{key}.{fence}.tmp"


def fence_of(staged: str) -> Fence | None:
    """Return the claim under which a staged file was made, None when its name tells of none."""
    number = staged.removesuffix(".tmp").rpartition(".")[2]
    return Fence(int(number)) if staged.endswith(".tmp") and number.isdecimal() and len(number) <= 18 else None
