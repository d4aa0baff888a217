"""Records of what is sent without being asked: from a send request to a message in the queue."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from gateway.kernel.ids import MessageKey, PortName
from gateway.kernel.problem import Problem

RecordKey = Sequence[tuple[str, str]]
"""The natural key of one record: pairs of field and value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSendRequest:
    """Somebody asks for the documents with these keys to be sent through a port, all in one message.

    Shape: company and partition are None when nobody named one: then the gateway's default counts.
    """

    port: PortName
    message_id: UUID
    service: str
    operation: str
    keys: Sequence[RecordKey]
    company: str | None
    partition_key: str | None
    conversation_id: str | None
    submitter: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SendRequest(NewSendRequest):
    """A claimed send request. `key` and `message_id` are also those of the message that it becomes."""

    key: MessageKey
    attempts: int
    crashes: int = 0
    held_loop: bool = False  # the code held the event loop in its last try, which is not judged yet
    store_waits: int = 0  # how often in a row it waits for the database
    requested_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSending:
    """A message about to be put into the queue in place of its send request."""

    request: SendRequest
    action: str
    entity_keys: Sequence[RecordKey]
    file_name: str
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFailure:
    """Why a send request goes to Error, for the exception log and the operator."""

    request: SendRequest
    code: str
    text: str
    problems: tuple[Problem, ...] = ()
    traceback: str | None = None
