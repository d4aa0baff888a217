"""Ports: how files come in, what happens to them, where the answers go; what is sent without being asked.

And message stores, from which the status messages of data exchange come.
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from string import Formatter
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, Tag, WithJsonSchema, model_validator

from gateway.config.addresses import store_address
from gateway.config.models_base import (
    ByteSize,
    Count,
    Flag,
    Location,
    Name,
    Seconds,
    Section,
    Text,
    chosen_by,
    matching,
    reread,
)
from gateway.messaging.rules.message_set import parse_max_failed
from gateway.messaging.rules.states import LaneRule, LoggingMode, OnDuplicate

STATUS_MESSAGES: Final = "status_messages"
"""What a task runs that copies status messages."""
OVERDUE_SECONDS: Final = 86_400.0
"""A job with such a task is overdue a day after its planned start, unless it says otherwise."""

RetentionDays = Annotated[Count, Field(ge=-1, le=36_500)]
PLACEHOLDERS = ("stem", "position", "response_id", "request_message_id", "port", "date")
NAME_LIMIT = 120
"""Longest name of a file we write, in bytes."""
SEND_PLACEHOLDERS = ("response_id", "port", "date")
"""What is known of a document that answers no request."""
_WIDEST = {"position": 10, "response_id": 38, "request_message_id": 38, "port": 40, "date": 8, "stem": 10}
_FAULT_SUFFIX = len(".fault")


class Order(StrEnum):
    """In which order the files of one look at the folder are taken."""

    NAME = "name"  # by Unicode code point, first without and then with regard to case
    NATURAL = "natural"  # runs of digits count as numbers: 2 before 10


class After(StrEnum):
    """What happens to a file once the store knows it."""

    ARCHIVE = "archive"  # kept in the archive folder, by day
    DELETE = "delete"  # removed


class Mode(StrEnum):
    """How the messages of a port are spread."""

    SEQUENTIAL = "sequential"  # one at a time, in order
    PARALLEL = "parallel"  # side by side; those of one conversation in order


class OnError(StrEnum):
    """What a failing message means for the other messages of its file."""

    CONTINUE = "continue"  # nothing: the others go on
    HALT = "halt"  # those after it are held, those before it stay done
    ROLLBACK = "rollback"  # nothing of the file takes effect, all others are held


class Conversations(StrEnum):
    """How far the ConversationId of a message reaches."""

    SET = "set"  # it orders messages of the same file
    PORT = "port"  # it orders messages across all files of the port


class Encoding(StrEnum):
    """How response files are encoded."""

    UTF_8 = "UTF-8"
    UTF_16 = "UTF-16"  # with byte order mark
    UTF_16BE = "UTF-16BE"
    GB18030 = "GB18030"


def response_fields(pattern: str) -> tuple[tuple[str, str | None, str], ...]:
    """Split a response name pattern into (literal text, placeholder or None, format).

    Raises: ValueError saying what is wrong, when the pattern cannot name files safely.
    """
    try:
        parts = [
            (literal, field, spec or "", conversion) for literal, field, spec, conversion in Formatter().parse(pattern)
        ]
    except ValueError:
        raise ValueError("has a brace without its partner") from None
    for literal, field, spec, conversion in parts:
        if re.search(r"[^A-Za-z0-9._-]", literal):
            raise ValueError("may hold only letters, digits, '.', '_', '-' and placeholders")
        if field is not None and field not in PLACEHOLDERS:
            known = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
            raise ValueError(f"has an unknown placeholder {{{field}}}; known are {known}")
        if conversion or (spec and not (field == "position" and re.fullmatch(r"0[1-9]", spec))):
            raise ValueError("may give a width to the position only, such as {position:06}")
    return tuple((literal, field, spec) for literal, field, spec, _ in parts)


def _response_name(value: str) -> str:
    """Refuse patterns that could give two responses one name, hide a file or make it too long."""
    parts = response_fields(value)
    if "response_id" not in {field for _, field, _ in parts}:
        raise ValueError("must hold {response_id}: without it two responses could get the same name")
    if not value.endswith(".xml"):
        raise ValueError("must end in .xml")
    if value.startswith("."):
        raise ValueError("must not start with a dot: such files are hidden")
    longest = _FAULT_SUFFIX + sum(len(literal) + _WIDEST.get(field or "", 0) for literal, field, _ in parts)
    if longest > NAME_LIMIT:
        raise ValueError(f"can become {longest} characters long; at most {NAME_LIMIT} are allowed")
    return value


def _send_name(value: str) -> str:
    """Refuse what `_response_name` refuses, and placeholders that only a request could fill."""
    for _, field, _ in response_fields(_response_name(value)):
        if field is not None and field not in SEND_PLACEHOLDERS:
            known = ", ".join(f"{{{name}}}" for name in SEND_PLACEHOLDERS)
            raise ValueError(f"has the placeholder {{{field}}}, but there is no request; known are {known}")
    return value


def _max_failed(value: object) -> object:
    """Take a number of messages or a percentage as text."""
    value = reread(value)
    if isinstance(value, str) or type(value) is int:
        parse_max_failed(value)
        return str(value) if isinstance(value, str) else value
    raise ValueError("must be a number of messages, or a percentage such as 10%")


MaxFailed = Annotated[
    int | str,
    BeforeValidator(_max_failed),
    WithJsonSchema(
        {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": r"^[0-9]{1,3}(\.[0-9]+)? ?%$"}]}
    ),
]
"""A number of messages, or a part of a file."""


class Settling(Section):
    """When a file in an inbound folder is taken."""

    settle_seconds: Seconds = Field(
        default=2.0, ge=0, le=86_400, description="Seconds a file must stay unchanged before it is taken."
    )
    grace_seconds: Seconds = Field(
        default=600.0,
        ge=0,
        le=604_800,
        description="Seconds an incomplete file may wait for its end, then it is refused.",
    )

    @model_validator(mode="after")
    def _incomplete_files_wait_longer_than_they_settle(self) -> Self:
        if self.grace_seconds < self.settle_seconds:
            raise ValueError("grace_seconds must not be shorter than settle_seconds")
        return self


class Receive(Settling):
    """The inbound folder of a port and the rules for taking files from it."""

    folder: Location = Field(description="Inbound folder: partners put their files here.")
    pattern: Annotated[Text, matching("[^/]*", "must match names of files, without folders")] = Field(
        default="*.xml",
        description="Names of the files that are taken; '*' and '?' are wild, case is ignored.",
    )
    order: Order = Field(default=Order.NAME, description="Order of files found together: name | natural.")
    done_marker: Flag = Field(
        default=False,
        description="Take a file only when an empty file of the same name plus '.done' lies beside it.",
    )
    force_polling: Flag = Field(
        default=False,
        description="Look every sweep instead of listening for file events; for network shares.",
    )
    sweep_seconds: Seconds = Field(
        default=30.0,
        gt=0,
        le=86_400,
        description="Seconds between two looks at the folder when no event comes.",
    )
    after: After = Field(
        default=After.ARCHIVE, description="What happens to a file when it is in the queue: archive | delete."
    )
    work: Location | None = Field(
        default=None,
        description="Folder for claimed files, on the inbound file system. Default: data/work/<port>.",
    )
    archive: Location | None = Field(
        default=None,
        description="Folder for archived files, on the inbound file system. Default: data/archive/<port>.",
    )
    error: Location | None = Field(
        default=None,
        description="Folder for refused files, on the inbound file system. Default: data/error/<port>.",
    )


def _group(value: int | str | None) -> int | str | None:
    if value == "" or (isinstance(value, int) and (isinstance(value, bool) or value < 0)):
        raise ValueError("must be the name or the number of a group")
    return value


FileMode = Literal["0600", "0640", "0644", "0660", "0664"]


class Send(Section):
    """The outbound folder of a port and how files are written to it."""

    folder: Location = Field(description="Outbound folder: one file per document appears here, complete.")
    name: Annotated[Text, AfterValidator(_send_name)] = Field(
        default="{port}.{response_id}.xml",
        description="Name of a file. Placeholders: " + ", ".join(SEND_PLACEHOLDERS) + "; must hold response_id.",
    )
    staging: Location | None = Field(
        default=None,
        description="Folder where files are prepared, on the file system of the outbound folder. "
        "Default: data/staging/<port>.",
    )
    encoding: Encoding = Field(
        default=Encoding.UTF_8, description="Encoding of the files: UTF-8 | UTF-16 | UTF-16BE | GB18030."
    )
    file_mode: FileMode = Field(default="0640", description="Rights of the files: 0600 | 0640 | 0644 | 0660 | 0664.")
    group: Annotated[int | str | None, AfterValidator(_group)] = Field(
        default=None, description="Group of the files, by name or number. Default: that of the outbound folder."
    )


class Respond(Send):
    """The outbound folder of a port and how responses are written to it."""

    name: Annotated[Text, AfterValidator(_response_name)] = Field(
        default="{stem}.{position:06}.{response_id}.xml",
        description="Name of a response file. Placeholders: " + ", ".join(PLACEHOLDERS) + "; must hold response_id.",
    )
    faults: Location | None = Field(default=None, description="Own folder for faults. Default: the outbound folder.")
    errors: Flag = Field(default=True, description="Answer a failed request with a fault.")
    details: Flag = Field(
        default=False,
        description="Put line, column, path, found and expected values of each violation into faults.",
    )


class OutboundProcess(Section):
    """How the documents of a port that sends are read."""

    retries: Count = Field(default=3, ge=1, le=100, description="Attempts when a service fails for a passing reason.")


class Process(OutboundProcess):
    """How the requests of a port are worked on."""

    mode: Mode = Field(
        default=Mode.SEQUENTIAL, description="One message at a time or side by side: sequential | parallel."
    )
    on_error: OnError = Field(
        default=OnError.CONTINUE,
        description="What happens to the rest of a file when a message fails: continue | halt | rollback.",
    )
    max_failed: MaxFailed | None = Field(
        default=None,
        description="With continue: failures, or part of a file (10%), from which on the rest is held. "
        "Default: no limit.",
    )
    on_lane_error: LaneRule = Field(
        default=LaneRule.CONTINUE,
        description="What happens to the rest of a lane when a message fails: continue | block | park.",
    )
    validate_documents: Flag = Field(
        default=True,
        alias="validate",
        description="Check documents against their schema. Envelopes are always checked.",
    )
    strict_header: Flag = Field(
        default=False, description="Refuse headers whose elements are not in the documented order."
    )
    max_parallel: Count = Field(
        default=1000, ge=1, le=100_000, description="Messages of a parallel port in work at the same time."
    )
    weight: Count = Field(
        default=1, ge=1, le=100, description="Time that the port gets for that of others, when several wait."
    )
    conversations: Conversations = Field(
        default=Conversations.SET, description="How far a ConversationId orders messages: set | port."
    )
    unique_batch_id: Flag = Field(
        default=False, description="Refuse a file whose BatchId was seen before on this port."
    )
    on_duplicate: OnDuplicate = Field(
        default=OnDuplicate.FAULT, description="Answer to a MessageId that was processed before: fault | replay."
    )
    same_content_seconds: Seconds = Field(
        default=0.0,
        ge=0,
        le=90 * 86_400,
        description="Seconds in which a request without MessageId that is the same as one processed is a duplicate. "
        "0: never.",
    )
    pause_after_failures: Count = Field(
        default=20,
        ge=0,
        le=10_000,
        description="Failures of services in a row that stop the port; it tries one request a minute then. 0: never.",
    )

    @model_validator(mode="after")
    def _failures_are_counted_where_others_go_on(self) -> "Process":
        if self.max_failed is not None and self.on_error is not OnError.CONTINUE:
            raise ValueError(f"max_failed goes with on_error: continue; {self.on_error} stops at the first failure")
        return self


class Security(Section):
    """Who may send through a port, and for whom."""

    users: tuple[Text, ...] | None = Field(
        default=None,
        description="Gateway users that may submit, themselves or named by a trusted LogonAsUser. Default: everyone.",
    )
    default_user: Text | None = Field(
        default=None,
        description="Gateway user for files whose owner cannot be named. Default: such files are refused.",
    )
    trusted_intermediaries: tuple[Text, ...] = Field(
        default=(), description="Gateway users whose LogonAsUser counts; anybody else's is ignored."
    )
    company: Text | None = Field(default=None, description="The only company allowed in messages. Default: any.")
    partition: Text | None = Field(default=None, description="The only partition allowed in messages. Default: any.")


class Limits(Section):
    """What a file may cost us. Sizes are bytes, or texts such as 10 MB (powers of 10) or 10 MiB (1024)."""

    max_file_bytes: ByteSize = Field(
        default=2_000_000_000, ge=1, description="Largest file, in bytes; larger ones are refused."
    )
    max_envelope_bytes: ByteSize = Field(
        default=10_000_000,
        ge=1024,
        le=1_000_000_000,
        description="Size from which an envelope is refused, in bytes as received.",
    )
    max_envelopes: Count = Field(default=500_000, ge=1, le=10_000_000, description="Most envelopes in one file.")
    max_attributes: Count = Field(default=100, ge=10, le=10_000, description="Most attributes on one element.")


class InboundPort(Section):
    """A configured point of exchange with a partner who asks."""

    direction: Literal["inbound"] = Field(default="inbound", description="Requests come in: inbound.")
    active: Flag = Field(default=True, description="An inactive port does not touch its folders.")
    receive: Receive = Field(description="Where requests come from.")
    respond: Respond | None = Field(default=None, description="Where responses go. Without it there are none.")
    operations: tuple[Text, ...] = Field(
        min_length=1,
        description="What partners may call: Service.operation, or Service.* for all of a service.",
    )
    process: Process = Field(default_factory=Process, description="How requests are worked on.")
    security: Security = Field(default_factory=Security, description="Who may send, and for whom.")
    limits: Limits = Field(default_factory=Limits, description="What a file may cost.")
    logging: LoggingMode = Field(
        default=LoggingMode.ORIGINAL, description="What history keeps of a finished message: original | header | off."
    )


class OutboundPort(Section):
    """A configured point of exchange with a partner who is sent documents without asking."""

    direction: Literal["outbound"] = Field(description="Documents go out: outbound.")
    active: Flag = Field(
        default=True, description="An inactive port takes no send requests and leaves its folder alone."
    )
    send: Send = Field(description="Where documents go.")
    operations: tuple[Text, ...] = Field(
        min_length=1,
        description="What may be sent: operations that read documents by key, such as Service.read.",
    )
    process: OutboundProcess = Field(default_factory=OutboundProcess, description="How documents are read.")
    sessions: Name | None = Field(
        default=None,
        description="Message store in which each delivery is a session, so that its receiver sees what became of it. "
        "Default: none.",
    )


Port = Annotated[
    Annotated[InboundPort, Tag("<inbound>")] | Annotated[OutboundPort, Tag("<outbound>")],
    chosen_by("direction", "inbound", "outbound", usual="inbound"),
]


class MessageStore(Settling):
    """Where stations write their status messages: a database or a folder, one of the two."""

    database: Annotated[Text, AfterValidator(store_address)] | None = Field(
        default=None,
        repr=False,
        exclude=True,
        description="A PostgreSQL by URL, with a password from ${…}; embedded: a database of its own beside the "
        "gateway's.",
    )
    folder: Location | None = Field(
        default=None, description="Inbound folder for status files, one message each, of `StatusMessage.xsd`."
    )
    work: Location | None = Field(
        default=None,
        description="Folder for claimed files, on the file system of `folder`. Default: data/exchange/<store>/work.",
    )
    uploaded: Location | None = Field(
        default=None,
        description="Folder for uploaded files, likewise, kept by the retention. "
        "Default: data/exchange/<store>/uploaded.",
    )
    refused: Location | None = Field(
        default=None,
        description="Folder for refused files with their reasons, likewise. Default: data/exchange/<store>/refused.",
    )
    sessions: Location | None = Field(
        default=None,
        description="With `folder`: where the station reads how its sessions stand, a file each. Default: nowhere.",
    )

    @model_validator(mode="after")
    def _one_of_two(self) -> "MessageStore":
        if (self.database is None) == (self.folder is None):
            raise ValueError("needs either `database` or `folder`")
        if self.folder is None:
            for name in ("work", "uploaded", "refused", "sessions"):
                if getattr(self, name) is not None:
                    raise ValueError(f"{name} goes with `folder`, and this store is a database")
        return self


class DataExchange(Section):
    """Sessions of data exchange with stations and partners, and their status messages."""

    stores: Mapping[Name, MessageStore] = Field(default_factory=dict, description="Message stores, by name.")
    upload_session_days: RetentionDays = Field(
        default=30,
        description="Days that messages and ended sessions of uploads are kept; 0: for ever; -1: removed at once.",
    )
    download_session_days: RetentionDays = Field(
        default=30,
        description="Days that messages and ended sessions of downloads are kept; 0: for ever; -1: removed at once.",
    )
    try_count: Count = Field(
        default=3,
        ge=0,
        le=10_000,
        description="How often a message that could not be read is tried again, once a pass, before it is refused; "
        "0: without end.",
    )
