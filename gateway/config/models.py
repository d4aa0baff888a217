"""The whole configuration as typed, checked records; `load` makes them from a file.

Paths in it are absolute once loaded; sizes are bytes, times are seconds.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from gateway.config.addresses import database_address
from gateway.config.models_alerts import AlertSettings, Mail, MailTls, PortAlerts, Webhook
from gateway.config.models_base import ByteSize, Count, Flag, Location, Name, Seconds, Section, Text, Word
from gateway.config.models_batch import Account, ActivePeriod, Group, Server, Throttling
from gateway.config.models_exchange import DataExchange, MessageStore
from gateway.config.models_jobs import Job, Jobs, Task
from gateway.config.models_ports import (
    After,
    Conversations,
    Encoding,
    InboundPort,
    Limits,
    Mode,
    OnError,
    Order,
    OutboundPort,
    OutboundProcess,
    Port,
    Process,
    Receive,
    Respond,
    Security,
    Send,
)
from gateway.config.models_posting import Posting
from gateway.config.models_queues import EntryCategory, JobQueue, QueueEntry, Queues
from gateway.config.models_services import (
    DocumentService,
    NumberSequence,
    PythonOperation,
    PythonService,
    Service,
)
from gateway.kernel.ids import PortName

__all__ = [
    "Account",
    "ActivePeriod",
    "After",
    "AlertSettings",
    "ByteSize",
    "Conversations",
    "Count",
    "DataExchange",
    "DocumentService",
    "Encoding",
    "EntryCategory",
    "Flag",
    "Group",
    "InboundPort",
    "Job",
    "JobQueue",
    "Jobs",
    "Level",
    "Limits",
    "Location",
    "LogFormat",
    "Logging",
    "Mail",
    "MailTls",
    "MessageStore",
    "Mode",
    "NumberSequence",
    "OnError",
    "Order",
    "OutboundPort",
    "OutboundProcess",
    "Port",
    "PortAlerts",
    "PortFolders",
    "Process",
    "PythonOperation",
    "PythonService",
    "Queue",
    "QueueEntry",
    "Queues",
    "Receive",
    "ReceiveFolders",
    "Respond",
    "Retention",
    "Seconds",
    "Section",
    "Security",
    "Send",
    "SendFolders",
    "Server",
    "Service",
    "Settings",
    "Shutdown",
    "StoreFolders",
    "Task",
    "Text",
    "Throttling",
    "Webhook",
    "Workers",
]

EMBEDDED = "embedded"
_URL = re.compile(r"(?i:postgres(?:ql)?)://(?:[^/?#]|/?[^/?#]*\?.)")
_URL_PASSWORD = re.compile(r"(?<=://)(?P<user>[^:/?#@]*):.*@|(?P<option>[?&](?:ssl)?password=)[^&]*", re.IGNORECASE)


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


def _store(value: str) -> str:
    if value == EMBEDDED:
        return value
    if _URL.match(value) is None:
        raise ValueError("must be embedded, or a URL such as postgresql://user:${PASSWORD}@host/database")
    return database_address(value)


class Settings(Section):
    """Everything in `config.yaml`."""

    site: Text | None = Field(
        default=None, description="What e-mails and webhooks call this gateway. Default: the folder of this file."
    )
    store: Annotated[Text, AfterValidator(_store)] = Field(
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
        return _URL_PASSWORD.sub(
            lambda match: f"{match['option'] or match['user'] + ':'}***{'' if match['option'] else '@'}",
            self.store,
        )

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
