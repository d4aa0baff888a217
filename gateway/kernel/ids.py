"""The kinds of identifiers, each its own type."""

import re
from typing import NewType
from uuid import UUID

PortName = NewType("PortName", str)
LaneName = NewType("LaneName", str)
ClaimId = NewType("ClaimId", UUID)
"""Names one claimed file for ever; chosen by us at the claim, unique in the store."""
MessageKey = NewType("MessageKey", int)
"""Our number of a message; grows in the order of arrival."""
SetKey = NewType("SetKey", int)
Fence = NewType("Fence", int)
"""Grows with every claim; a result that carries an older one is refused."""
JobId = NewType("JobId", int)
RunId = NewType("RunId", int)
"""Our number of one execution of a job."""
RunTaskId = NewType("RunTaskId", int)
"""Our number of a task in one run."""
EntryId = NewType("EntryId", int)
"""Our number of a job queue entry."""

_GUID = re.compile(r"\{?([0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12})\}?")


def parse_message_id(text: str) -> UUID | None:
    """Return the value of a MessageId as partners write it, or None when it is not a GUID.

    Shape: any case; braces optional, but both or none.
    Source: rulings, "MessageId".
    """
    match = _GUID.fullmatch(text)
    if match is None or text.startswith("{") != text.endswith("}"):
        return None
    return UUID(match[1])


def is_message_id(text: str) -> bool:
    """Tell whether `parse_message_id` takes *text*, without making the value."""
    return _GUID.fullmatch(text) is not None and text.startswith("{") == text.endswith("}")


def format_message_id(value: UUID) -> str:
    """Write a MessageId of ours: upper case, in braces."""
    return f"{{{str(value).upper()}}}"
