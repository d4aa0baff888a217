"""Is everything in order? Rules that must always hold, and things that wait although nothing is in their way.

Asked by an operator (`gateway doctor`), and in part by the running gateway every half minute.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from gateway.config.models import InboundPort, Settings
from gateway.db.open import Store
from gateway.explanations.facts import waits_by_plan
from gateway.explanations.finding import (
    ArchivedFile,
    Finding,
    Place,
    Staged,
    WorkFile,
    grouped,
    unread_too_long,
    unsettled_too_long,
)
from gateway.kernel.errors import AdapterUnavailable
from gateway.kernel.ids import PortName
from gateway.messaging.rules.states import Stage
from gateway.operations.attention import (
    LongestKey,
    find_attention,
    find_documents,
    find_ending,
    find_exchange,
    find_untaken,
)
from gateway.operations.nodes import Alive, as_node, service_jobs
from gateway.operations.reads import doctor
from gateway.operations.reads.doctor_answers import archived_digests
from gateway.operations.reads.doctor_jobs import find_stuck_jobs
from gateway.operations.reads.gateway import read_presence

_HASHED_AT_ONCE = 100
AGAIN_SECONDS = 1.0
"""Between two looks at what seems wrong: what moved meanwhile was only just being moved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Folders:
    """How the folders of ports are looked into; all raise AdapterUnavailable.

    `claimed` lists the work folder of a port that receives; `staged` the staging folder of one that delivers, None
    when that folder is not the one that this gateway has staged in. `waiting` names files in the inbound folder that
    a gateway would look at. `archived` lists the archive; `digests` are the SHA-256 of the first of the files given, as
    many as can be read in a few seconds, None for one that has gone.
    """

    claimed: Callable[[PortName], Awaitable[Sequence[WorkFile]]]
    staged: Callable[[PortName], Awaitable[Staged | None]]
    waiting: Callable[[PortName], Awaitable[Sequence[str]]]
    archived: Callable[[PortName], Awaitable[Sequence[ArchivedFile]]]
    digests: Callable[[PortName, Sequence[ArchivedFile]], Awaitable[Sequence[bytes | None]]]


async def examine(
    store: Store, settings: Settings, folders: Folders, *, longest_key: LongestKey, config_problems: Sequence[str] = ()
) -> list[Finding]:
    """Return everything that is not in order. What is found is looked at twice, but for archive and numbers.

    *config_problems* are those of the configuration on disk while a running gateway uses another.
    """
    found = await _look(store, settings, folders)
    if found:
        await asyncio.sleep(AGAIN_SECONDS)
        again = {place.identity for place in await _look(store, settings, folders)}
        found = [place for place in found if place.identity in again]
    found += [Place("config-refused", None, problem) for problem in config_problems]
    found += await find_ending(store, settings, longest_key)
    for name in settings.active_ports():
        if isinstance(settings.ports[name], InboundPort):
            found += await _archive(store, name, folders)
    return grouped(found)


async def find_stuck(store: Store, settings: Settings, folders: Folders, *, thorough: bool = False) -> list[Place]:
    """Return what waits too long, in the store and in the work folders; cheap enough to be asked all the time.

    Rule: what waits for a timed job, or in the work folder of a paused port, is not stuck. Only *thorough*: tasks that
    wait because somebody wanted it so.
    """
    now = datetime.now(UTC)
    found = await doctor.find_stuck(store) + await find_stuck_jobs(store, now)
    found += await find_untaken(store, now, wanted_too=thorough)
    for name in settings.active_ports():
        if isinstance(settings.ports[name], InboundPort):
            found += await _work_folder(store, name, folders)
    if not found:
        return found
    if any(place.code == "file-not-read" for place in found):
        paused = {port.port for port in (await read_presence(store)).ports if port.state == "paused"}
        found = [place for place in found if place.code != "file-not-read" or place.port not in paused]
    jobs = await service_jobs(store)
    resting = {stage for stage, its in jobs.items() if waits_by_plan(its)}
    return [place for place in found if _service_of(place) not in resting]


def _service_of(place: Place) -> Stage | None:
    """Return the service whose turn it would be, None when it does not depend on one."""
    match place.code:
        case "response-waits":
            return Stage.SEND
        case "request-waits":
            return Stage.OUTBOUND if place.what.startswith("send request") else Stage.INBOUND
        case "file-not-read" | "file-not-settled":
            return Stage.RECEIVE
    return None


async def _look(store: Store, settings: Settings, folders: Folders) -> list[Place]:
    answering = [name for name, port in settings.ports.items() if isinstance(port, InboundPort) and port.respond]
    found = await doctor.find_wrong(store, answering)
    found += [  # of an answer that is not delivered everything else is said below
        place for place in await find_stuck(store, settings, folders, thorough=True) if place.code != "address-away"
    ]
    for name in settings.active_ports():
        if settings.port_folders(name).send is not None:
            found += await _staging_folder(store, name, folders)
    there = await read_presence(store)
    processes = [as_node(row) for row in there.nodes]
    found += [
        Place("dead-owner", None, f"{node.leases} leases of {node.host}:{node.pid}")
        for node in processes
        if node.alive is Alive.ENDED and node.leases
    ]
    running = any(node.alive is Alive.RUNNING for node in processes)
    if not running:
        found += [Place("gateway-away", port, f"port {port}") for port in await doctor.unfinished_work(store)]
        for name in settings.active_ports():
            if isinstance(settings.ports[name], InboundPort):
                found += await _inbound_folder(name, folders)
    found += await find_exchange(store, settings, datetime.now(UTC))
    found += await find_documents(store, settings)
    return found + await find_attention(store, settings, there.ports, await service_jobs(store), running=running)


async def _inbound_folder(port: PortName, folders: Folders) -> list[Place]:
    """Return the files that wait for a gateway."""
    try:
        return [Place("gateway-away", port, f"file {name}") for name in await folders.waiting(port)]
    except AdapterUnavailable as error:
        return [Place("folder-away", port, error.message)]


async def _archive(store: Store, port: PortName, folders: Folders) -> list[Place]:
    """Return the archived files whose content is not what was received."""
    found: list[Place] = []
    try:
        every = await folders.archived(port)
        for start in range(0, len(every), _HASHED_AT_ONCE):
            files = every[start : start + _HASHED_AT_ONCE]
            received = await archived_digests(store, [file.claim_id for file in files])
            known = [file for file in files if file.claim_id in received]
            while known:
                digests = await folders.digests(port, known)
                for file, digest in zip(known, digests, strict=False):
                    if digest not in (None, received[file.claim_id]):
                        found.append(Place("archive-changed", port, f"{file.day}/{os.fsdecode(file.name)}"))
                known = known[len(digests) :]
    except AdapterUnavailable as error:
        found.append(Place("folder-away", port, error.message))
    return found


async def _work_folder(store: Store, port: PortName, folders: Folders) -> list[Place]:
    try:
        files = await folders.claimed(port)
    except AdapterUnavailable as error:
        return [Place("folder-away", port, error.message)]
    if not files:
        return []
    unknown = await doctor.unknown_claims(store, [file.claim_id for file in files])
    now = datetime.now(UTC)
    found: list[Place] = []
    for file in files:
        what = f"{file.name} (claim {file.claim_id})"
        if file.claim_id not in unknown:
            if unsettled_too_long(file.since, now):
                found.append(Place("file-not-settled", port, what))
        elif unread_too_long(file.since, file.size_bytes, now):
            found.append(Place("file-not-read", port, what))
    return found


async def _staging_folder(store: Store, port: PortName, folders: Folders) -> list[Place]:
    promised = await doctor.promised_files(store, port)
    if not promised:
        return []
    try:
        staged = await folders.staged(port)
    except AdapterUnavailable as error:
        return [Place("folder-away", port, error.message)]
    if staged is None:
        return []
    return [
        Place("promise-missing", port, f"message {promise.key}")
        for promise in promised
        if promise.staging in (None, staged.identity) and promise.name not in staged.names
    ]
