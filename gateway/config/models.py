"""The whole configuration as typed, checked records; `load` makes them from a file.

Paths in it are absolute once loaded; sizes are bytes, times are seconds.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from gateway.config.addresses import EMBEDDED, store_address, web_address, without_password
from gateway.config.models_base import AnyText, ByteSize, Count, Flag, Location, Name, Seconds, Section, Text, Word
from gateway.config.models_jobs import Account, ActivePeriod, Alerts, Group, Job, Jobs, Server, Task, Throttling
from gateway.config.models_ports import DataExchange, InboundPort, MessageStore, OutboundPort, Port, Respond
from gateway.config.models_posting import Posting
from gateway.config.models_queues import QueueEntry, Queues
from gateway.config.models_services import DocumentService, NumberSequence, PythonService, Service
from gateway.kernel.ids import PortName

# what other rooms need of the sections below these here
__all__ = [
    "DocumentService", "InboundPort", "Job", "MessageStore", "NumberSequence", "OutboundPort", "Port", "PythonService",
    "QueueEntry", "Respond", "Settings", "Task",
]  # fmt: skip


class Level(StrEnum):
    """From which level on events are written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """How events are written."""

    AUTO = "auto"  # console on a terminal, JSON otherwise
    JSON = "json"
    CONSOLE = "console"


class Queue(Section):
    """When intake pauses, so that neither the queue nor the disk fills up."""

    max_ready: Count = Field(
        default=200_000,
        ge=1,
        description="Unfinished messages of all ports; one port may have twice as many as it leaves to others.",
    )
    min_free_bytes: ByteSize = Field(
        default=512_000_000,
        ge=0,
        description="Free disk space below which no further files are taken, in bytes.",
    )


class Workers(Section):
    """How many hands work, and how much each takes at once."""

    xml: Count = Field(
        default=2,
        ge=1,
        le=64,
        description="Processes that read and check XML; of two or more, one is kept for files up to 1 MB.",
    )
    processing: Count | None = Field(
        default=None,
        ge=1,
        le=64,
        description="Processes that run services, and in them handlers. null: one per two processors.",
    )
    memory_bytes: ByteSize = Field(
        default=1_000_000_000,
        ge=100_000_000,
        description="Memory that such a process may hold; one that holds more is ended, and another takes its place.",
    )
    threads: Count = Field(default=4, ge=1, le=256, description="Threads for the folders of each port.")
    chunk: Count = Field(
        default=500,
        ge=1,
        le=10_000,
        description="Messages a stage takes and records at once at most, fewer when they are large or slow.",
    )

    @property
    def processes(self) -> int:
        """Return how many processes run services here."""
        return self.processing or max(1, (os.cpu_count() or 1) // 2)


class Logging(Section):
    """What the program writes about itself."""

    level: Level = Field(default=Level.INFO, description="Lowest level written: debug | info | warning | error.")
    format: LogFormat = Field(
        default=LogFormat.AUTO, description="auto (console on a terminal, else json) | json | console."
    )


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


class Retention(Section):
    """How long finished things are kept, in days. Nothing unfinished is ever removed."""

    archive_days: Count = Field(default=30, ge=1, le=36_500, description="Days that archived files are kept.")
    history_days: Count = Field(
        default=90,
        ge=1,
        le=36_500,
        description="Days that finished messages are kept; also the window for duplicates.",
    )
    exceptions_days: Count = Field(default=90, ge=1, le=36_500, description="Days that the exception log is kept.")
    audit_days: Count = Field(default=365, ge=1, le=36_500, description="Days that what operators did is kept.")


class Shutdown(Section):
    """How the gateway ends."""

    drain_seconds: Seconds = Field(
        default=20.0,
        ge=0,
        le=3600,
        description="Seconds that running work may take to end before it is given back.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiveFolders:
    """Where files come in and what becomes of them, absolute."""

    inbound: Path
    work: Path
    archive: Path
    error: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class SendFolders:
    """Where files go out, absolute."""

    staging: Path
    outbound: Path
    faults: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreFolders:
    """Where status files come in and what becomes of them, absolute; `sessions` None: nothing is told there."""

    inbound: Path
    work: Path
    uploaded: Path
    refused: Path
    sessions: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PortFolders:
    """All folders of a port: `receive` is None when it is outbound, `send` when it is inbound and does not respond."""

    receive: ReceiveFolders | None
    send: SendFolders | None


def _owner(value: int | str) -> int | str:
    if (isinstance(value, int) and value < 0) or value == "":
        raise ValueError("must be the number or the name of an account")
    return value


Owner = Annotated[int | str, AfterValidator(_owner)]


class Settings(Section):
    """Everything in `config.yaml`."""

    site: Text | None = Field(
        default=None, description="What e-mails and webhooks call this gateway. Default: the folder of this file."
    )
    store: Annotated[Text, AfterValidator(store_address)] = Field(
        default=EMBEDDED,
        repr=False,
        exclude=True,
        description="embedded, or postgresql://user:${PASSWORD}@host/database; a password comes from ${…}.",
    )
    data: Location = Field(
        default=Path("data"),
        description="Folder of the gateway's own files: database, work, archive, error, staging.",
    )
    schemas: tuple[Location, ...] = Field(
        default=(), description="Folders with document schemas (XSD), besides the built-in ones."
    )
    users: Mapping[Owner, Text] = Field(
        default_factory=dict,
        description="Owner of a file (number or account name) -> gateway user. Others go by account name.",
    )
    services: Mapping[Word, Service] = Field(default_factory=dict, description="Services by name.")
    ports: Mapping[Name, Port] = Field(default_factory=dict, description="Ports by name.")
    queue: Queue = Field(default_factory=Queue, description="When intake pauses.")
    workers: Workers = Field(default_factory=Workers, description="How many hands work.")
    server: Text | None = Field(
        default=None, description="Name of this gateway process among the servers. Default: the name of its host."
    )
    jobs: Jobs = Field(default_factory=dict, description="Batch jobs by name.")
    job_queues: Queues = Field(default_factory=Queues, description="Job queues: categories, queues and entries.")
    groups: Mapping[Name, Group] = Field(default_factory=dict, description="Batch groups by name.")
    servers: Mapping[Text, Server] = Field(default_factory=dict, description="Servers that run tasks, by name.")
    throttling: Throttling = Field(default_factory=Throttling, description="What is started too often waits.")
    active_periods: Mapping[Name, ActivePeriod] = Field(
        default_factory=dict, description="Named times in which jobs may start."
    )
    accounts: Mapping[Text, Account] = Field(
        default_factory=dict, description="Who may own and run jobs. Default: everybody."
    )
    mail: Mail = Field(default_factory=Mail, description="The mail server for alerts.")
    alerts: AlertSettings = Field(default_factory=AlertSettings, description="How people are told.")
    posting: Posting | None = Field(default=None, description="Posting of documents. null: nothing is posted.")
    logging: Logging = Field(default_factory=Logging, description="What the program writes about itself.")
    retention: Retention = Field(default_factory=Retention, description="How long finished things are kept.")
    data_exchange: DataExchange = Field(
        default_factory=DataExchange, description="Sessions of data exchange and their status messages."
    )
    shutdown: Shutdown = Field(default_factory=Shutdown, description="How the gateway ends.")
    default_company: Text = Field(default="DAT", description="Company of messages that name none.")
    default_partition: Text = Field(default="initial", description="Partition of messages that name none.")

    @property
    def embedded(self) -> bool:
        """True when the gateway brings its own database."""
        return self.store == EMBEDDED

    @property
    def store_shown(self) -> str:
        """Return the store as it may be shown to people: without any password."""
        return without_password(self.store)

    @property
    def postgres_folder(self) -> Path:
        """Return the folder of the embedded database."""
        return self.data / "postgres"

    def port_folders(self, port: str) -> PortFolders:
        """Return the folders of *port*: those it names, the others under the data folder.

        Raises: KeyError when there is no such port.
        """
        settings = self.ports[port]
        out = settings.send if isinstance(settings, OutboundPort) else settings.respond
        send = None
        if out is not None:
            faults = out.faults if isinstance(out, Respond) else None
            send = SendFolders(
                staging=out.staging or self.data / "staging" / port, outbound=out.folder, faults=faults or out.folder
            )
        if isinstance(settings, OutboundPort):
            return PortFolders(receive=None, send=send)
        receive = ReceiveFolders(
            inbound=settings.receive.folder,
            work=settings.receive.work or self.data / "work" / port,
            archive=settings.receive.archive or self.data / "archive" / port,
            error=settings.receive.error or self.data / "error" / port,
        )
        return PortFolders(receive=receive, send=send)

    def store_folders(self, store: str) -> StoreFolders | None:
        """Return all folders of a message store: those it names, the others under the data folder; None: a database.

        Raises: KeyError when there is no such store.
        """
        settings = self.data_exchange.stores[store]
        if settings.folder is None:
            return None
        own = self.data / "exchange" / store
        return StoreFolders(
            inbound=settings.folder,
            work=settings.work or own / "work",
            uploaded=settings.uploaded or own / "uploaded",
            refused=settings.refused or own / "refused",
            sessions=settings.sessions,
        )

    def exposed(self, port: str) -> tuple[tuple[str, str], ...]:
        """Return the (service, operation) pairs that *port* offers, each once, in the order written.

        Rule: `Service.*` stands for all operations of the service.
        Raises: KeyError when the port or a service does not exist.
        """
        pairs: dict[tuple[str, str], None] = {}
        for reference in self.ports[port].operations:
            service, _, operation = reference.partition(".")
            names = self.services[service].operation_names if operation == "*" else (operation,)
            pairs.update(dict.fromkeys((service, name) for name in names))
        return tuple(pairs)

    def active_ports(self) -> tuple[PortName, ...]:
        """Return the names of the ports that are switched on."""
        return tuple(PortName(name) for name, port in self.ports.items() if port.active)
