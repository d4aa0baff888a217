"""How people are told: the mail server, the webhook, the command, and which ports tell what."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, Field

from gateway.config.addresses import web_address
from gateway.config.models_base import AnyText, Count, Flag, Name, Seconds, Section, Text
from gateway.config.models_jobs import Alerts


class MailTls(StrEnum):
    """How the connection to the mail server is kept secret."""

    NONE = "none"
    STARTTLS = "starttls"  # from the server's greeting on
    TLS = "tls"  # from the first byte on


class Mail(Section):
    """The mail server that takes e-mails of the gateway."""

    host: Text | None = Field(default=None, description="Mail server; null: no e-mails.")
    port: Count = Field(default=587, ge=1, le=65_535, description="Its port.")
    tls: MailTls = Field(default=MailTls.STARTTLS, description="none | starttls | tls.")
    user: Text | None = Field(default=None, description="Account at the server; null: none is needed.")
    password: Text | None = Field(
        default=None, repr=False, exclude=True, description="Password of the account, from ${…}."
    )
    sender: Text = Field(default="gateway@localhost", alias="from", description="Sender of the e-mails.")


class Webhook(Section):
    """Where alerts are posted."""

    url: Annotated[Text, AfterValidator(web_address)] | None = Field(default=None, description="Address; null: none.")
    secret: Text | None = Field(
        default=None, repr=False, exclude=True, description="Key of the signature, from ${…}; null: not signed."
    )


class PortAlerts(Section):
    """What is told of a port."""

    silent_hours: Seconds | None = Field(
        default=None, gt=0, le=2_000, description="Hours without a file after which it is overdue; null: never."
    )
    to: Mapping[Text, Alerts] = Field(default_factory=dict, description="Who hears of it, by account.")


class AlertSettings(Section):
    """How alerts are delivered, and what ports tell."""

    ax_alerts: Flag = Field(
        default=False, description="true: outcomes of a job are told only where its history is kept, as in AX."
    )
    webhook: Webhook = Field(default_factory=Webhook, description="Where alerts are posted.")
    command: tuple[AnyText, ...] = Field(
        default=(), description="Program and arguments that get an alert as JSON on standard input."
    )
    entries: Mapping[Text, Alerts] = Field(
        default_factory=dict, description="Who hears of job queue entries, by account."
    )
    ports: Mapping[Name, PortAlerts] = Field(default_factory=dict, description="What is told of ports, by port.")
