"""Data exchange as it is written: where status messages of sessions come from, and how long they are kept."""

import re
from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import AfterValidator, Field, model_validator

from gateway.config.addresses import database_address
from gateway.config.models_base import Count, Location, Name, Seconds, Section, Text

EMBEDDED: Final = "embedded"
STATUS_MESSAGES: Final = "status_messages"
"""What a task runs that copies status messages."""
OVERDUE_SECONDS: Final = 86_400.0
"""A job with such a task is overdue a day after its planned start, unless it says otherwise."""
_URL: Final = re.compile(r"(?i:postgres(?:ql)?)://.")

RetentionDays = Annotated[Count, Field(ge=-1, le=36_500)]


def _database(value: str) -> str:
    if value == EMBEDDED:
        return value
    if _URL.match(value) is None:
        raise ValueError("must be embedded, or a URL such as postgresql://user:${PASSWORD}@host/database")
    return database_address(value)


class MessageStore(Section):
    """Where stations write their status messages: a database or a folder, one of the two."""

    database: Annotated[Text, AfterValidator(_database)] | None = Field(
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
    settle_seconds: Seconds = Field(
        default=2.0, ge=0, le=60, description="With `folder`: seconds a file must stay unchanged before it is taken."
    )
    grace_seconds: Seconds = Field(
        default=600.0,
        ge=0,
        le=604_800,
        description="With `folder`: seconds an incomplete file may wait for its end, then it is refused.",
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
