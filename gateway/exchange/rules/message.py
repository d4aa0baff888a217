"""One status message: what it must hold, and why one is refused."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from gateway.exchange.rules.statuses import (
    FAILED,
    RANKS,
    SAID,
    SessionDirection,
    SessionStatus,
    parse_direction,
    parse_status,
)
from gateway.kernel.errors import GatewayError
from gateway.kernel.text import clean

LARGEST: Final = 2**63 - 1
_YEARS: Final = range(1970, 3000)
_NAME_CHARACTERS: Final = 80
_PATH_CHARACTERS: Final = 1_000
_TEXT_CHARACTERS: Final = 4_000


class StatusMessageRefused(GatewayError):
    """A status message that can never be taken; the text says what is wrong with it."""

    code = "status-message.refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A status message as a station wrote it; nothing is known of its values yet. `number` is that of the session."""

    message_id: UUID
    station: str
    direction: str
    number: int
    status: str
    at: datetime
    job: str | None = None
    data_group: str | None = None
    rows: int | None = None
    path: str | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusMessage:
    """A status message that is in order.

    Shape: `station` with `direction` and `number` names the session in its message store; `at` is when it became true
    by the station's clock, aware UTC; `rows` is how many rows of data it speaks of.
    """

    message_id: UUID
    station: str
    direction: SessionDirection
    number: int
    status: SessionStatus
    at: datetime
    job: str | None = None
    data_group: str | None = None
    rows: int | None = None
    path: str | None = None
    text: str | None = None

    @property
    def rank(self) -> int:
        """Return how far its session is at least."""
        return RANKS[self.status]

    @property
    def failed(self) -> bool:
        """Tell whether it tells of a failure."""
        return self.status in FAILED


def judge(written: Written) -> StatusMessage:
    """Return the message when it is in order. Raises: StatusMessageRefused."""
    direction = parse_direction(written.direction)
    if direction is None:
        raise StatusMessageRefused(f"The direction is {written.direction!a}; it must be upload or download.")
    status = parse_status(written.status)
    if status is None or status not in SAID[direction]:
        known = ", ".join(sorted(SAID[direction]))
        raise StatusMessageRefused(
            f"The status {written.status!a} does not exist for the {direction} of a session; there are {known}."
        )
    if not 0 < written.number <= LARGEST:
        raise StatusMessageRefused(f"The session number is {written.number}; it must be from 1 to {LARGEST}.")
    if written.rows is not None and not 0 <= written.rows <= LARGEST:
        raise StatusMessageRefused(f"The number of rows is {written.rows}; it must not be negative.")
    if written.at.tzinfo is None or written.at.year not in _YEARS:
        raise StatusMessageRefused("The time needs a zone, and a year from 1970 to 2999.")
    station = _line("station", written.station, _NAME_CHARACTERS)
    if station is None:
        raise StatusMessageRefused("The station is empty.")
    return StatusMessage(
        message_id=written.message_id,
        station=station,
        direction=direction,
        number=written.number,
        status=status,
        at=written.at.astimezone(UTC),
        job=_line("job", written.job, _NAME_CHARACTERS),
        data_group=_line("data group", written.data_group, _NAME_CHARACTERS),
        rows=written.rows,
        path=_line("path", written.path, _PATH_CHARACTERS),
        text=None if not (text := (written.text or "").strip()) else clean(text, limit=_TEXT_CHARACTERS),
    )


def _line(what: str, text: str | None, longest: int) -> str | None:
    """Return one line of printable text, None for nothing. Raises: StatusMessageRefused."""
    text = (text or "").strip()
    if len(text) > longest:
        raise StatusMessageRefused(f"The {what} has {len(text)} characters; at most {longest} are allowed.")
    if not text.isprintable():
        raise StatusMessageRefused(f"The {what} must be one line of printable characters.")
    return text or None
