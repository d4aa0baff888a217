"""Reading one status file: small, checked against our schema, in this process."""

from collections.abc import Iterable
from datetime import datetime
from functools import cache
from typing import Final, cast

from lxml import etree

import schemas
from gateway.exchange.rules.message import StatusMessage, StatusMessageRefused, Written, judge
from gateway.kernel.errors import GatewayError
from gateway.kernel.ids import parse_message_id
from gateway.xml.malformed import LogEntry
from gateway.xml.names import clean, line_of
from gateway.xml.parse import document_parser, parse_checked

NAMESPACE: Final = "urn:gateway:exchange:status-message"
MOST_BYTES: Final = 65_536
"""Ten times what the longest message takes; reading so little stops nobody else."""


def read_status_message(content: bytes) -> StatusMessage:
    """Return the message of a file. Raises: StatusMessageRefused with line and reason."""
    if len(content) > MOST_BYTES:
        raise StatusMessageRefused(f"It has more than {MOST_BYTES:,} bytes: it is no status message.")
    if not content.strip():
        raise StatusMessageRefused("The file is empty.")
    try:
        root = parse_checked(content, document_parser())
    except GatewayError as error:
        raise StatusMessageRefused(error.message) from error
    schema = _schema()
    if not schema.validate(root):
        first = next(iter(cast(Iterable[LogEntry], schema.error_log)))
        raise StatusMessageRefused(f"Line {first.line}: {_plain(first.message)}")
    values = {etree.QName(child).localname: (child.text or "").strip() for child in root}
    message_id = parse_message_id(values["MessageId"])
    assert message_id is not None, "the schema lets only GUIDs pass"
    try:
        at = datetime.fromisoformat(values["At"])
    except ValueError:  # what the schema allows and a clock does not: 24:00:00
        (element,) = root.iterfind(f"{{{NAMESPACE}}}At")
        raise StatusMessageRefused(f"Line {line_of(element)}: there is no such time as {values['At']}.") from None
    return judge(
        Written(
            message_id=message_id,
            station=values["Station"],
            direction=values["Direction"],
            number=int(values["Session"]),
            status=values["Status"],
            at=at,
            job=values.get("Job"),
            data_group=values.get("DataGroup"),
            rows=None if (rows := values.get("Rows")) is None else int(rows),
            path=values.get("Path"),
            text=values.get("Text"),
        )
    )


@cache
def _schema() -> etree.XMLSchema:
    content = (schemas.FOLDER / "exchange" / "StatusMessage.xsd").read_bytes()
    return etree.XMLSchema(parse_checked(content))


def _plain(text: str) -> str:
    """Leave out what every complaint has in common: the namespace."""
    return clean(text.replace(f"{{{NAMESPACE}}}", ""))
