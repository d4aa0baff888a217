"""Open ports: make adapters of settings. The only place that knows which adapters there are."""

import asyncio
import os
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import aclosing, suppress
from dataclasses import fields
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from pathlib import Path
from time import monotonic
from typing import Any
from uuid import UUID

import schemas
from adapters.file import FileReceiveAdapter, FileSendAdapter, FolderIdentities, Probe, ResponseNames
from adapters.file.folder import refuse_foreign_link
from gateway.config.models import DocumentService, InboundPort, OutboundPort, PythonService, Settings
from gateway.kernel.errors import FileRefused
from gateway.kernel.ids import PortName, format_message_id
from gateway.messaging.flow.port import NameResponse, OpenInbound, OpenOutbound, OpenPort, ServedInbound, ServedOutbound
from gateway.messaging.rules.message import Work
from gateway.runtime.addresses import receive_settings, send_settings
from gateway.xml.limits import ReadRules
from gateway.xml.pool import ReaderDied, TookTooLong, XmlPool
from gateway.xml.schema_files import find_schemas

FOLDERS_SECONDS = 3.0
"""So long the start waits for the folders of a port; one that hangs holds up no other port."""


class SystemClock:
    """The clocks of this machine."""

    def now(self) -> datetime:
        """Return the time of day, aware, UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds that never jump."""
        return monotonic()


def open_port(
    name: PortName, settings: Settings, *, executor: ThreadPoolExecutor, pool: XmlPool, identities: FolderIdentities
) -> OpenPort:
    """Return the port with its adapters; nothing is touched before the first look."""
    port = settings.ports[name]
    sending = send_settings(name, settings)
    send = None if sending is None else FileSendAdapter(sending, executor=executor, identities=identities)
    if isinstance(port, OutboundPort):
        assert send is not None
        return OpenOutbound(**_fields(serve_outbound(name, settings)), send=send)
    receiving, served = receive_settings(name, settings), serve_inbound(name, settings)
    assert receiving is not None
    probe = probe_with(pool, served.rules, name)
    receive = FileReceiveAdapter(receiving, executor=executor, clock=SystemClock(), probe=probe, identities=identities)
    return OpenInbound(**_fields(served), receive=receive, send=send)


def serve_inbound(name: PortName, settings: Settings) -> ServedInbound:
    """Return the port as processing knows it."""
    port = settings.ports[name]
    assert isinstance(port, InboundPort)
    return ServedInbound(
        name=name, settings=port, exposed=frozenset(settings.exposed(name)), rules=read_rules(port, settings),
        name_response=_naming(name, port),
    )  # fmt: skip


def serve_outbound(name: PortName, settings: Settings) -> ServedOutbound:
    """Return the port as processing knows it."""
    port = settings.ports[name]
    assert isinstance(port, OutboundPort)
    actions = {
        (service, operation): f"{settings.services[service].namespaces[0]}/{service}/{operation}"
        for service, operation in settings.exposed(name)
    }
    return ServedOutbound(
        name=name, settings=port, actions=actions, name_sent=partial(_name_sent, ResponseNames(port.send.name, name))
    )


def _fields(served: ServedInbound | ServedOutbound) -> dict[str, Any]:
    return {field.name: getattr(served, field.name) for field in fields(served)}


def make_folders(name: PortName, settings: Settings, site: Path) -> None:
    """Make the port's folders where that is safe, our own ones private.

    Rule: what lies in *site* (the folder of the configuration file) or in the data folder is made with its parents;
    anything else only when its parent is there, because a parent that is missing may be a share that is not mounted.
    """
    folders = settings.port_folders(name)
    receive, send = folders.receive, folders.send
    own = [receive.work, receive.archive, receive.error] if receive else []
    partners = [receive.inbound] if receive else []
    if send is not None:
        own.append(send.staging)
        partners += [send.outbound, send.faults]
    for folder, mode in [*((folder, 0o700) for folder in own), *((folder, 0o775) for folder in partners)]:
        inside = folder.is_relative_to(site) or folder.is_relative_to(settings.data)
        with suppress(OSError):  # the port says what is wrong with its folder when it wants to use it
            if inside or folder.parent.is_dir():
                refuse_foreign_link(folder)
                folder.mkdir(mode=mode, parents=inside, exist_ok=True)


async def prepare_folders(name: PortName, settings: Settings, site: Path, executor: Executor) -> None:
    """Make the port's folders in its own threads; what hangs may be made later, and the port says what is wrong."""
    making = asyncio.get_running_loop().run_in_executor(executor, make_folders, name, settings, site)
    with suppress(TimeoutError):
        async with asyncio.timeout(FOLDERS_SECONDS):
            await making


def schema_folders(settings: Settings) -> tuple[Path, ...]:
    """Return all folders with schemas: the built-in ones first."""
    return (schemas.FOLDER, *settings.schemas)


def read_rules(port: InboundPort, settings: Settings) -> ReadRules:
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


def documents_of(settings: Settings) -> tuple[str, ...]:
    """Return the canonical names of the documents that the configured services take, each once."""
    found: dict[str, None] = {}
    for service in settings.services.values():
        match service:
            case DocumentService():
                found[service.document] = None
            case PythonService():
                found |= dict.fromkeys(name for entry in service.operations.values() for name in entry.expects or ())
    return tuple(found)


def _schema_version(folders: tuple[Path, ...]) -> str:
    """Return a text that changes with the content of any schema; what cannot be looked at does not count."""
    digest = sha256()
    for folder in folders:
        for file in find_schemas(folder, []):
            with suppress(OSError):
                status = file.stat()
                digest.update(b"%b\0%d\0%d\n" % (os.fsencode(file), status.st_size, status.st_mtime_ns))
    return digest.hexdigest()[:16]


def probe_with(pool: XmlPool, rules: ReadRules, port: PortName) -> Probe:
    """Make the question that the adapter asks about a file with a suspicious end."""

    async def probe(descriptor: int) -> bool | None:
        """Tell whether the file is whole or broken for good. It is asked behind everything else that is to be read.

        Raises: ReadersUnavailable.
        """
        if not pool.is_idle(port):
            return None
        try:
            async with aclosing(pool.read(descriptor, rules, port=port, probe=True)) as pieces:
                async for _ in pieces:
                    pass
        except FileRefused as refused:
            return refused.code not in ("xml.incomplete", "file.empty")
        except TookTooLong:
            return False
        except ReaderDied:
            return True
        return True

    return probe


def _naming(name: PortName, port: InboundPort) -> NameResponse:
    if port.respond is None:
        return lambda work, message_id, is_fault: f"{format_message_id(message_id)}.xml"
    names = ResponseNames(port.respond.name, name)

    def name_response(work: Work, message_id: UUID, is_fault: bool) -> str:
        today = f"{datetime.now(UTC):%Y%m%d}"
        return names.name(
            work.file_display, work.position, str(message_id), str(work.message_id), today, fault=is_fault
        )

    return name_response


def _name_sent(names: ResponseNames, message_id: UUID) -> str:
    return names.name("", 1, str(message_id), "", f"{datetime.now(UTC):%Y%m%d}", fault=False)
