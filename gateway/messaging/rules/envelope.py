"""What the reader of a file hands on: its head, its envelopes, its end."""

from dataclasses import dataclass
from enum import StrEnum

from gateway.kernel.problem import Problem


class Root(StrEnum):
    """What a file holds."""

    BATCH = "batch"  # a message set: one or more envelopes
    ENVELOPE = "envelope"  # a single message, no set


@dataclass(frozen=True, slots=True, kw_only=True)
class FileHead:
    """The root of a file: its form and the attributes of the batch.

    Shape: `namespace` as written by the partner; empty attributes are None.
    """

    root: Root
    namespace: str
    encoding: str
    batch_id: str | None = None
    conversation_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The header of an envelope as sent: white space trimmed, empty means absent (None).

    Source: AIF reference, section 6; rulings, "Header order".
    """

    message_id: str | None = None
    logon_as_user: str | None = None
    company: str | None = None
    action: str | None = None
    conversation_id: str | None = None
    request_message_id: str | None = None
    partition_key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadEnvelope:
    """One envelope of a file, checked.

    Shape: `position` counts from 1 in document order; `content` is the whole Envelope in UTF-8 without
    declaration, comments and processing instructions, namespaces as the partner wrote them (empty when
    the envelope is over the size limit); `parts` are the `{namespace}local` names of the children of
    MessageParts, as written.
    `header_problems` and `body_problems` are empty for a good envelope; `schema` is the fingerprint of
    the catalogue that the documents passed, None when nothing was validated.
    """

    position: int
    namespace: str
    header: Header
    parts: tuple[str, ...]
    content: bytes
    header_problems: tuple[Problem, ...] = ()
    body_problems: tuple[Problem, ...] = ()
    schema: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEnd:
    """The whole file was read to its last byte and is well-formed.

    Units: `size` in bytes; `sha256` over the bytes as received.
    """

    envelopes: int
    size: int
    sha256: bytes
