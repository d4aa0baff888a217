"""Alerts by webhook: a signed POST.

body       JSON: key, user, subject, body, raised_at, and the facts of what happened
headers    Idempotency-Key: the key, the same however often it is sent
           X-Gateway-Timestamp: seconds since 1970
           X-Gateway-Signature: sha256=<hex of HMAC-SHA256 over "<timestamp>.<body>" with the secret>
"""

import asyncio
import hmac
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final
from urllib.parse import urlsplit

import httpx

from gateway.config.models import Webhook
from gateway.contracts.alert import Message
from gateway.kernel.errors import AlertRefused, TransientError

_SECONDS: Final = 20.0
_SHOWN_CHARACTERS: Final = 200
_MAY_PASS: Final = frozenset({401, 403, 404, 408, 425, 429})
"""Besides 5xx: also what somebody mends at the other end while the alert waits."""


@dataclass(frozen=True, slots=True)
class WebhookSender:
    """Posts to the address of the site (`gateway.contracts.alert.AlertSender`)."""

    settings: Webhook
    clock: Callable[[], float] = time.time

    async def send(self, message: Message) -> None:
        """Post it. Raises: AlertRefused when there is no address or the answer is final; TransientError."""
        url = self.settings.url
        if url is None:
            raise AlertRefused("The webhook is not set up: name its address in `alerts.webhook.url`.")
        body = document(message)
        headers = {"Content-Type": "application/json", "Idempotency-Key": message.key, "User-Agent": "gateway",
                   "Accept-Encoding": "identity"}  # fmt: skip
        headers |= signature(self.settings.secret, body, int(self.clock()))
        place = urlsplit(url).hostname
        try:
            async with (
                asyncio.timeout(_SECONDS),
                httpx.AsyncClient(timeout=_SECONDS, follow_redirects=False, trust_env=False) as client,
                client.stream("POST", url, content=body, headers=headers) as answer,
            ):
                said = "" if answer.is_success else await _beginning(answer)
        except TimeoutError:
            raise TransientError(
                f"The webhook at {place} did not answer within {_SECONDS:g} seconds.", code="webhook.unreachable"
            ) from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            reason = str(error) or type(error).__name__
            raise TransientError(
                f"The webhook at {place} cannot be reached: {reason}", code="webhook.unreachable"
            ) from error
        if answer.is_success:
            return
        text = f"The webhook at {place} answered {answer.status_code}: {said}"
        if answer.is_server_error or answer.status_code in _MAY_PASS:
            raise TransientError(text, code="webhook.status")
        raise AlertRefused(text)


async def _beginning(answer: httpx.Response) -> str:
    """Return how an answer begins; the rest of it, however long, is not fetched."""
    content = b""
    async for piece in answer.aiter_raw(_SHOWN_CHARACTERS * 4):
        content += piece
        if len(content) >= _SHOWN_CHARACTERS * 4:
            break
    return content.decode(errors="replace")[:_SHOWN_CHARACTERS].strip()


def document(message: Message) -> bytes:
    """Return the JSON of a message: what webhooks post and commands read."""
    content = {
        **message.facts,
        "site": message.site,
        "key": message.key,
        "user": message.user,
        "subject": message.subject,
        "body": message.body,
        "raised_at": message.raised_at.isoformat(),
    }
    return json.dumps(content, ensure_ascii=False).encode()


def signature(secret: str | None, body: bytes, timestamp: int) -> dict[str, str]:
    """Return the headers that prove who sent *body* and when; without a secret only the time."""
    headers = {"X-Gateway-Timestamp": str(timestamp)}
    if secret is not None:
        digest = hmac.new(secret.encode(), f"{timestamp}.".encode() + body, sha256).hexdigest()
        headers["X-Gateway-Signature"] = f"sha256={digest}"
    return headers
