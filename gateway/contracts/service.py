"""The business functions behind actions."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol, runtime_checkable
from uuid import UUID

from lxml import etree

from gateway.batch.rules.definition import EntryDefinition
from gateway.kernel.ids import EntryId, MessageKey, PortName
from gateway.kernel.namespaces import Scheme


class NumberSequences(Protocol):
    """Running numbers, taken inside the open transaction: a rollback gives them back, so there are no gaps."""

    async def take(
        self, name: str, count: int = 1, *, first: int = 1, step: int = 1, continuous: bool = True
    ) -> Sequence[int]:
        """Return the next *count* numbers of the sequence, in order; a new sequence starts at *first*.

        Rule: take numbers last. From here to the end of your function everybody who needs this sequence waits. Who
        then asks the database nothing for 10 seconds has failed. To wait here costs no try, whoever makes you wait.
        With `continuous=False` nobody waits: numbers are drawn ahead in blocks, outside of the transaction, and those
        that are not used are gaps. Say the same wherever a sequence is used.
        """
        ...


class JobQueue(Protocol):
    """The job queue, inside the open transaction: an entry is there exactly when that is committed."""

    async def enqueue(self, entry: EntryDefinition, *, user: str) -> EntryId:
        """Add an entry that runs as *user*, as soon as it may; returns its number.

        Rule: what it runs, and its parameters, are looked at when it starts, with the version that is there then unless
        the entry names one.
        Raises: EntryRefused when its category is not there, or there is an entry about the same record already.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request as a service sees it.

    Shape: `parts` are the children of MessageParts, already validated when the port validates; `scheme` is the
    form of the documented namespaces that the request used and the answer will use; `idempotency_key` stays
    the same however often the request is tried. A `ContentOperation` gets `content` in place of `parts`.
    """

    key: MessageKey
    port: PortName
    message_id: UUID
    service: str
    operation: str
    parts: Sequence[etree._Element]
    scheme: Scheme
    company: str
    partition: str
    user: str
    received_at: datetime
    content: bytes = b""

    @property
    def idempotency_key(self) -> str:
        """Name this request for systems outside the database."""
        return f"{self.port}/{self.key}"


EntityKey = Sequence[tuple[str, str]]
"""The natural key of one record: pairs of field and value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The answer of a service.

    Shape: `parts` are the children of the response's MessageParts, in canonical (`http://`) namespaces; with
    `keys_only` the response is an EntityKeyList of `entity_keys` instead. `entity_keys` name the records
    touched, for correlation in history.
    """

    parts: Sequence[etree._Element] = ()
    entity_keys: Sequence[EntityKey] = ()
    keys_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceContext:
    """What a service may use: a database transaction, number sequences, the job queue, a log with the request's ids.

    Rule: everything done through `connection` commits together with the request's outcome, or not at all. The
    transaction begins with what is first awaited of it.
    """

    connection: Any  # has what an asyncpg connection has, in a transaction; Any because its stubs differ by class
    numbers: NumberSequences
    job_queue: JobQueue
    now: datetime
    log: Any


class ServiceOperation(Protocol):
    """One operation of a service.

    `expects` are the canonical `{namespace}local` names of the request's parts, in order (None: anything).
    `undoable`: every effect goes through the context's transaction. `idempotent`: a MessageId sent again is a
    duplicate. `timeout_seconds` is the longest that one call may take
    without asking the database anything. Before: the request is authorised and
    valid. A crash leaves no effect unless the outcome was committed.
    """

    expects: tuple[str, ...] | None
    undoable: bool
    idempotent: bool
    timeout_seconds: float

    async def call(self, request: Request, context: ServiceContext) -> Reply:
        """Do the operation for one request.

        Raises: OperationRejected with a text for the partner; TransientError when trying again may help.
        """
        ...


@runtime_checkable
class CompensatedOperation(Protocol):
    """An operation whose effects outside the database can be taken back afterwards.

    Rule: the request has the idempotency key that the call had. It comes at least once, also for a call that failed
    half-way, or that never began because an earlier one failed; then there is nothing to take back.
    """

    async def compensate(self, request: Request, context: ServiceContext) -> None:
        """Take back what a call for this request left outside the database.

        Raises: TransientError when trying again may help.
        """
        ...


@runtime_checkable
class ContentOperation(Protocol):
    """An operation that reads the envelope by itself, as it is kept: in UTF-8, as the reader wrote it.

    Nothing is parsed for it: that takes most of the time of a message that is only kept.
    """

    takes_content: Literal[True]


@runtime_checkable
class SetOperation(Protocol):
    """An operation that can do many requests at once, faster than one by one.

    Rule: all or nothing; when it raises, the caller undoes it and goes through the requests one by one.
    """

    async def call_many(self, requests: Sequence[Request], context: ServiceContext) -> Sequence[Reply]:
        """Do the operation for all requests; one reply per request, in order."""
        ...
