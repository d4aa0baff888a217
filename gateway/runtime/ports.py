"""Open ports: make adapters of settings. The only place that knows which adapters there are."""

from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from pathlib import Path
from time import monotonic
from uuid import UUID

import schemas
from adapters.file.names import NameOrder, response_name
from adapters.file.receive import FileReceiveAdapter
from adapters.file.send import FileSendAdapter
from adapters.file.settings import FileReceiveSettings, FileSendSettings
from gateway.config.models import Port, Settings
from gateway.domain.errors import FileRefused
from gateway.domain.ids import PortName, format_message_id
from gateway.domain.message import Work
from gateway.stages.port import NameResponse, OpenPort
from gateway.xml.limits import ReadRules
from gateway.xml.pool import WorkerDied, XmlPool

Probe = Callable[[int], Awaitable[bool]]


class SystemClock:
    """The clocks of this machine."""

    def now(self) -> datetime:
        """Return the time of day, aware, UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds that never jump."""
        return monotonic()


def open_port(name: PortName, settings: Settings, *, executor: ThreadPoolExecutor, pool: XmlPool) -> OpenPort:
    """Return the port with its adapters; nothing is touched before the first look."""
    port = settings.ports[name]
    folders = settings.port_folders(name)
    rules = read_rules(port, settings)
    receive = FileReceiveAdapter(
        FileReceiveSettings(
            port=name,
            inbound=folders.inbound,
            work=folders.work,
            archive=folders.archive,
            error=folders.error,
            pattern=port.receive.pattern,
            order=NameOrder(port.receive.order.value),
            settle_seconds=port.receive.settle_seconds,
            grace_seconds=port.receive.grace_seconds,
            done_marker=port.receive.done_marker,
            force_polling=port.receive.force_polling,
            sweep_seconds=port.receive.sweep_seconds,
        ),
        executor=executor,
        clock=SystemClock(),
        probe=probe_with(pool, rules),
    )
    send: FileSendAdapter | None = None
    if folders.outbound is not None and folders.staging is not None:
        faults = None if folders.faults == folders.outbound else folders.faults
        send = FileSendAdapter(
            FileSendSettings(port=name, staging=folders.staging, outbound=folders.outbound, faults=faults),
            executor=executor,
        )
    return OpenPort(
        name=name, settings=port, exposed=frozenset(settings.exposed(name)), rules=rules, receive=receive, send=send,
        name_response=_naming(name, port),
    )  # fmt: skip


def schema_folders(settings: Settings) -> tuple[Path, ...]:
    """Return all folders with schemas: the built-in ones first."""
    return (schemas.FOLDER, *settings.schemas)


def read_rules(port: Port, settings: Settings) -> ReadRules:
    """Return what the port allows in a file."""
    folders = schema_folders(settings)
    return ReadRules(
        max_file_bytes=port.limits.max_file_bytes,
        max_envelope_bytes=port.limits.max_envelope_bytes,
        max_envelopes=port.limits.max_envelopes,
        max_attributes=port.limits.max_attributes,
        strict_header=port.process.strict_header,
        validate=port.process.validate_documents,
        schema_folders=tuple(str(folder) for folder in folders),
        schema_version=_schema_version(folders),
    )


def _schema_version(folders: tuple[Path, ...]) -> str:
    """Return a text that changes with the content of any schema."""
    digest = sha256()
    for folder in folders:
        for file in sorted(folder.rglob("*.xsd")):
            status = file.stat()
            digest.update(f"{file}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def probe_with(pool: XmlPool, rules: ReadRules) -> Probe:
    """Make the question that the adapter asks about a file with a suspicious end."""

    async def probe(descriptor: int) -> bool:
        """Return True when the file is whole or broken for good, False when only its end is missing."""
        try:
            async for _ in pool.read(descriptor, rules):
                pass
        except FileRefused as refused:
            return refused.code not in ("xml.incomplete", "file.empty")
        except WorkerDied:
            return True
        return True

    return probe


def _naming(name: PortName, port: Port) -> NameResponse:
    if port.respond is None:
        return lambda work, message_id, is_fault: f"{format_message_id(message_id)}.xml"
    return partial(_name_response, name, port.respond.name)


def _name_response(port: PortName, pattern: str, work: Work, message_id: UUID, is_fault: bool) -> str:
    return response_name(
        pattern, request=work.file_display.encode(), position=work.position, response_id=str(message_id),
        request_message_id=str(work.message_id), port=port, date=datetime.now(UTC).strftime("%Y%m%d"), fault=is_fault,
    )  # fmt: skip
