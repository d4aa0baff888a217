"""Records of messages on their way through the stages."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar
from uuid import UUID

from gateway.kernel.errors import StoreBusy
from gateway.kernel.ids import Fence, LaneName, MessageKey, PortName, SetKey
from gateway.kernel.problem import Problem
from gateway.messaging.rules.delivery import Claim, Settlement
from gateway.messaging.rules.envelope import FileEnd, FileHead, Header
from gateway.messaging.rules.states import LaneRule, Policy

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMessage:
    """An inbound message about to be put into the queue; everything but its number is decided."""

    position: int
    message_id: UUID
    message_id_sent: str | None
    namespace: str
    header: Header
    service: str | None
    operation: str | None
    conversation_id: str | None
    lane: LaneName | None
    parts: tuple[str, ...]
    checked: str | None
    problems: tuple[Problem, ...]
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFile:
    """A whole file that was read and found good."""

    claim: Claim
    head: FileHead
    end: FileEnd
    submitter: str | None
    settlement: Settlement
    batch_id: str | None  # None: a single envelope, no set
    policy: Policy
    max_failed: int | None = None  # failures of a set from which on its rest is held; None: no limit


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedFile:
    """A file that nothing was taken from; it goes to the error folder."""

    claim: Claim
    submitter: str | None
    code: str
    text: str
    line: int | None = None
    column: int | None = None
    size: int | None = None
    sha256: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A claimed inbound message: what the inbound stage needs to decide and to act."""

    key: MessageKey
    port: PortName
    set_key: SetKey | None
    policy: Policy | None
    lane: LaneName | None
    lane_rule: LaneRule
    failures_left: int | None  # of its set, until the rest is held; None: no limit
    position: int
    attempts: int
    crashes: int = 0
    held_loop: bool = False  # the code held the event loop in its last try, which is not judged yet
    store_waits: int = 0  # how often in a row it waits for the database
    version: int
    message_id: UUID
    message_id_sent: str | None
    namespace: str
    action: str | None
    service: str | None
    operation: str | None
    company: str | None
    partition_key: str | None
    conversation_id: str | None
    logon_as_user: str | None
    submitter: str | None
    parts: tuple[str, ...]
    checked: str | None
    problems: tuple[Problem, ...]
    content: bytes
    file_display: str
    received_at: datetime
    judge_anew: bool = False  # released, and not judged since
    faults: tuple[bytes, ...] = ()  # the causes that its sender was told of


@dataclass(frozen=True, slots=True)
class Retry(Generic[T]):
    """Work that waits so many seconds and is tried again, with the reason in words.

    `is_free`: the trouble was none of its own, so that this was no try of it; `busy`: it was this one of the database.
    """

    item: T
    delay_seconds: float
    text: str
    is_free: bool = False
    busy: StoreBusy | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed(Generic[T]):
    """Work leased under one fence: it is ours until the lease ends, unless extended."""

    fence: Fence
    items: Sequence[T]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewResponse:
    """A response about to be put into the queue together with its request's outcome."""

    key: MessageKey
    request: Work
    port: PortName
    message_id: UUID
    file_name: str
    content: bytes
    is_fault: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a message goes to Error, for the queue, the exception log and the operator."""

    work: Work
    code: str
    text: str
    problems: tuple[Problem, ...] = ()
    traceback: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """A claimed outbound message; `staged_name` is set when its file is already promised, in the folder `staged_in`."""

    key: MessageKey
    port: PortName
    file_name: str
    is_fault: bool
    attempts: int
    staged_name: str | None
    content: bytes
    staged_in: UUID | None = None
