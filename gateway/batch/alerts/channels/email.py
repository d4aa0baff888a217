"""Alerts by e-mail."""

import ssl
from dataclasses import dataclass
from email.errors import MessageError
from email.message import EmailMessage
from email.utils import format_datetime
from hashlib import sha256
from typing import Final

import aiosmtplib

from gateway.config.models import Mail, MailTls
from gateway.contracts.alert import Message
from gateway.kernel.errors import AlertRefused, TransientError

_SECONDS: Final = 20.0
_PERMANENT: Final = range(500, 600)
_LOGIN: Final = frozenset({530, 534, 535, 538})
"""Somebody can mend the settings while the alert waits."""


@dataclass(frozen=True, slots=True)
class EmailSender:
    """Sends through the mail server of the site (`gateway.contracts.alert.AlertSender`).

    The Message-ID is made of the message's key: mail programs show a mail that was sent twice once.
    """

    settings: Mail

    async def send(self, message: Message) -> None:
        """Hand the mail to the server.

        Raises: AlertRefused when there is no server, no address, or the server refuses for good; TransientError.
        """
        if self.settings.host is None:
            raise AlertRefused("E-mail is not set up: name the mail server in `mail.host`.")
        if message.address is None:
            raise AlertRefused(
                f"The user {message.user} has no e-mail address: give the account one, `accounts.{message.user}.email`."
            )
        place = f"{self.settings.host}:{self.settings.port}"
        try:
            await aiosmtplib.send(
                self._mail(message, message.address), hostname=self.settings.host, port=self.settings.port,
                username=self.settings.user, password=self.settings.password, timeout=_SECONDS,
                use_tls=self.settings.tls is MailTls.TLS, start_tls=self.settings.tls is MailTls.STARTTLS,
            )  # fmt: skip
        except aiosmtplib.SMTPRecipientsRefused as error:
            (refused, *_) = error.recipients
            raise _judged(
                refused.code, f"The mail server {place} refuses {message.address}: {refused.message}"
            ) from error
        except aiosmtplib.SMTPResponseException as error:
            raise _judged(error.code, f"The mail server {place} answered {error.code}: {error.message}") from error
        except (aiosmtplib.SMTPException, OSError, ssl.SSLError) as error:
            raise _unusable(place, error) from error
        except (MessageError, ValueError) as error:
            raise AlertRefused(f"No mail can be made of it: {error}.") from error

    def _mail(self, message: Message, address: str) -> EmailMessage:
        mail = EmailMessage()
        sender = self.settings.sender
        mail["From"] = sender
        mail["To"] = address
        mail["Subject"] = f"[{message.site}] {message.subject}"
        mail["Date"] = format_datetime(message.raised_at)
        domain = sender.rpartition("@")[2].strip("> ") or "gateway"
        mail["Message-ID"] = f"<{sha256(message.key.encode()).hexdigest()[:40]}@{domain}>"
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(message.body)
        return mail


def _unusable(place: str, error: Exception) -> TransientError:
    """Say what keeps us from the server; somebody can mend it while the alert waits."""
    cause = error if isinstance(error, ssl.SSLError) else error.__cause__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return TransientError(
            f"The mail server {place} is not trusted, and it was told nothing: {cause.verify_message}. Name it in "
            "`mail.host` as its certificate does; the issuer of the certificate must be known to this machine, or "
            "stand in a file that the environment variable SSL_CERT_FILE names.",
            code="mail.untrusted",
        )
    if isinstance(cause, ssl.SSLError) or "STARTTLS" in str(error):
        return TransientError(
            f"The mail server {place} does not speak as `mail.tls` says: {error}. `starttls` is usual on port 587, "
            "`tls` on port 465.",
            code="mail.tls",
        )
    return TransientError(f"The mail server {place} cannot be used: {error}", code="mail.unavailable")


def _judged(code: int, text: str) -> Exception:
    if code in _PERMANENT and code not in _LOGIN:
        return AlertRefused(text)
    return TransientError(text, code="mail.refused")
