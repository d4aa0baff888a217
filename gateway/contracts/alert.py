"""How people are told of what happened."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One alert for one user.

    Shape: `site` is what the sending gateway is called; `key` names the alert for whoever receives it, the same however
    often it is sent; `address` is the user's e-mail address, None when there is none; `facts` can be written as JSON;
    `raised_at` is aware UTC.
    """

    site: str
    key: str
    user: str
    address: str | None
    subject: str
    body: str
    facts: Mapping[str, object]
    raised_at: datetime


class AlertSender(Protocol):
    """A channel. It may be asked to send a message again: after a crash, or when its answer got lost."""

    async def send(self, message: Message) -> None:
        """Deliver the message; returns when somebody has taken it over.

        Raises: TransientError when trying again may help, AlertRefused when it cannot; both say what to do.
        """
        ...
