"""What a message store must be able to do, whatever it is: two kinds, `database` and `folder`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol
from uuid import UUID

from gateway.exchange.rules.message import StatusMessage
from gateway.kernel.errors import GatewayError, TransientError


class MessageStoreAway(TransientError):
    """A message store cannot be used now; nothing of it is lost, the next pass goes on."""

    code = "message-store.away"


class MessageStoreUnusable(GatewayError):
    """A message store cannot be used as it is; somebody has to change something."""

    code = "message-store.unusable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """One message as it lies in its store: what it says, or why that cannot be told.

    Shape: `copy` names the row or file in its store, `name` does so for people. Exactly one of the others is set:
    `trouble` may pass by itself, `refusal` never does.
    """

    copy: bytes
    name: str
    message: StatusMessage | None = None
    trouble: str | None = None
    refusal: str | None = None


class Kept(NamedTuple):
    """An uploaded message that its store still keeps; `place` as the source said when it was uploaded."""

    copy: bytes
    message_id: UUID
    place: str | None


class SessionName(NamedTuple):
    """A session, as its store names it."""

    station: str
    direction: str
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A session as its station may read it."""

    name: SessionName
    status: str
    status_at: datetime
    job: str | None
    data_group: str | None
    rows: int | None
    path: str | None
    text: str | None
    changed_at: datetime


class MessageSource(Protocol):
    """A message store during one pass.

    All calls can be made again for the same messages, by another pass too: what was done is done. All raise
    MessageStoreAway or MessageStoreUnusable.
    """

    @property
    def place(self) -> str | None:
        """Return where messages are kept that are acknowledged now; `purge` is told it again."""
        ...

    async def take(self, limit: int) -> Sequence[Given]:
        """Return up to *limit* messages that are not uploaded, none twice in a pass; empty: there are no more."""
        ...

    async def acknowledge(self, copies: Sequence[bytes]) -> None:
        """Mark messages as uploaded: no later pass is given them."""
        ...

    async def drop(self, copies: Sequence[bytes]) -> None:
        """Remove messages that repeat others."""
        ...

    async def refuse(self, refusals: Sequence[tuple[bytes, str]]) -> None:
        """Set messages aside with the reason; nothing removes them but a person."""
        ...

    async def purge(self, kept: Sequence[Kept]) -> None:
        """Remove uploaded messages, and nothing else."""
        ...

    def left(self) -> Sequence[str]:
        """Say of what was seen and not taken in this pass why it was not; nothing is wrong with most of it."""
        ...

    async def publish(self, sessions: Sequence[Told]) -> None:
        """Let stations read how their sessions stand; each replaces what was told before."""
        ...

    async def withdraw(self, sessions: Sequence[SessionName]) -> None:
        """Tell of these sessions no more."""
        ...
