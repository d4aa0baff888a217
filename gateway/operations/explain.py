"""Why is it not moving? Finds out what somebody means, gathers the facts, and explains.

Meant may be a message (its number or MessageId), a file (as a partner named it, or as we name an answer), a port, a
message set (set:number, or its BatchId), a lane (port/lane), a job, a job queue entry (its name, or entry:number), a
document that can be posted (SalesOrder/1001), a run (run:number), a task (job/task), or a data-exchange session
(session:number, or station/number).
"""

import asyncio
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import PurePath

from gateway.config.models import InboundPort, OutboundPort
from gateway.config.models_ports import Mode
from gateway.config.suggest import nearest
from gateway.explanations.facts import (
    Deed,
    DeliveryFacts,
    Explanation,
    FileSighting,
    GatewayFacts,
    Holder,
    JobFacts,
    LaneFacts,
    MessageFacts,
    PortFacts,
    Turn,
)
from gateway.explanations.message import explain_message
from gateway.explanations.place import (
    explain_delivery,
    explain_lane,
    explain_port,
    explain_set,
    explain_sighting,
    explain_unseen,
    explain_unseen_lane,
)
from gateway.kernel.ids import LaneName, MessageKey, PortName
from gateway.messaging.delivery.staging import lost_staging
from gateway.messaging.queue.leases import ports_with_work
from gateway.messaging.rules.lane import WHOLE_PORT
from gateway.messaging.rules.states import Direction, Outcome, Reason, Stage, Status
from gateway.operations.audit import last_deed
from gateway.operations.explain_documents import explain_documents
from gateway.operations.explain_entries import explain_entry
from gateway.operations.explain_jobs import JobExplainer
from gateway.operations.explain_sessions import explain_sessions
from gateway.operations.jobs import visible_jobs
from gateway.operations.lanes import rule_subject
from gateway.operations.nodes import Alive, alive, service_jobs
from gateway.operations.principal import NotAllowed, OperatorSession, principal_of
from gateway.operations.reads import places
from gateway.operations.reads.gateway import Presence, count_ports, read_presence
from gateway.operations.reads.lanes import list_lanes
from gateway.operations.reads.messages import MessageRow, find_messages, read_message
from gateway.operations.reads.places import LanePlace
from gateway.operations.references import NotFound, parse_reference
from gateway.operations.statements.places_sql import IntakeTurn, LeaseHolder


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFinder:
    """How the folders of inbound ports are looked into; both block.

    `find` looks for a file of that name, and in the archive under these claims; `names` are those that lie in the
    inbound folder.
    """

    find: Callable[[PortName, bytes, Collection[str]], Sequence[FileSighting]]
    names: Callable[[PortName], Sequence[str]]


_MOST_MESSAGES = 5
_MOST_NAMES = 2_000


async def explain(
    session: OperatorSession, text: str, files: FileFinder, *, partition: str | None = None
) -> Sequence[Explanation]:
    """Explain everything that *text* may mean; never empty.

    Jobs, runs and documents are those of *partition*; None: of the default one, where the principal may look into it.
    Raises: NotAllowed for a partition that is named and closed to them.
    """
    seen: OperatorSession | None = None
    try:
        seen = replace(session, principal=principal_of(session.settings, session.actor, partition=partition))
    except NotAllowed:
        if partition is not None:
            raise
    there = await read_presence(session.store)
    return await _Explainer(session, seen, there, await service_jobs(session.store), files).explain(text.strip())


class _Explainer:
    """Gathers the facts for one question; the state of gateway and ports is read once."""

    def __init__(
        self, session: OperatorSession, seen: OperatorSession | None, there: Presence,
        jobs: Mapping[Stage, Sequence[JobFacts]], files: FileFinder,
    ) -> None:  # fmt: skip
        self._store = session.store
        self._settings = session.settings
        self._seen = seen  # as it may see jobs and documents; None: it may not
        self._there = there
        self._files_in = files
        running = [f"{row.host}:{row.pid}" for row in there.nodes if alive(row) is Alive.RUNNING]
        self._gateway = GatewayFacts(running=running, jobs=jobs)
        self._jobs = None if seen is None else JobExplainer(seen, running=bool(running))

    async def explain(self, text: str) -> list[Explanation]:
        """Explain what *text* means: the first of these that has the name; a port and a job may share it."""
        for meaning in (
            self._messages, self._port_or_job, self._entry, self._documents, self._run, self._sets, self._task,
            self._sessions, self._lanes, self._files,
        ):  # fmt: skip
            if found := await meaning(text):
                return found
        folders = [str(port.receive.folder) for port in self._settings.ports.values() if isinstance(port, InboundPort)]
        return [explain_unseen(text, folders, nearest(text[:200], await self._names()))]

    async def _names(self) -> list[str]:
        """Return what there is to be asked for, of files those that lie there, and those that came or went last."""
        jobs = [] if self._seen is None else [job.definition.name for job in await visible_jobs(self._seen)]
        lying: list[str] = []
        for name, port in self._settings.ports.items():
            if isinstance(port, InboundPort):
                lying += await asyncio.to_thread(self._files_in.names, PortName(name))
        latest = await places.latest_file_names(self._store, _MOST_NAMES)
        return [*self._settings.ports, *jobs, *lying[:_MOST_NAMES], *latest]

    async def _port_or_job(self, text: str) -> list[Explanation]:
        return [*await self._port(text), *(await self._jobs.job(text) if self._jobs else ())]

    async def _entry(self, text: str) -> list[Explanation]:
        return await explain_entry(self._seen, text, running=bool(self._gateway.running)) if self._seen else []

    async def _documents(self, text: str) -> list[Explanation]:
        return await explain_documents(self._seen, text, self._gateway) if self._seen else []

    async def _run(self, text: str) -> list[Explanation]:
        return await self._jobs.run(text) if self._jobs else []

    async def _task(self, text: str) -> list[Explanation]:
        return await self._jobs.task(text) if self._jobs else []

    async def _sessions(self, text: str) -> list[Explanation]:
        return await explain_sessions(self._store, text)

    async def _messages(self, text: str) -> list[Explanation]:
        try:
            reference = parse_reference(text)
        except NotFound:
            return []
        found = await find_messages(self._store, key=reference.key, message_id=reference.message_id)
        return [await self._message(MessageKey(message.key)) for message in found[:_MOST_MESSAGES]]

    async def _port(self, text: str) -> list[Explanation]:
        known = {*self._settings.ports, *(row.port for row in self._there.ports)}
        if text not in known:
            return []
        facts = await self._port_facts(PortName(text))
        (count,) = await count_ports(self._store, [text])
        found = explain_port(facts, self._gateway, waiting=count.waiting, held=count.held, failed=count.failed)
        lane = await places.read_lane(self._store, PortName(text), WHOLE_PORT)
        if lane.first is None:
            return [found]
        its = await self._lane_facts(PortName(text), WHOLE_PORT, lane)
        return [found, explain_lane(its, self._gateway, facts)]

    async def _sets(self, text: str) -> list[Explanation]:
        found = await places.sets_named(self._store, text, list(self._settings.ports))
        return [explain_set(one) for one in found]

    async def _lanes(self, text: str) -> list[Explanation]:
        port, _, name = text.partition("/")
        if name and port in self._settings.ports:
            lanes = [(PortName(port), LaneName(name))]
        else:
            lanes = await places.lanes_named(self._store, text)
        found: list[Explanation] = []
        for lane_port, lane in lanes:
            facts = await self._lane_facts(lane_port, lane, await places.read_lane(self._store, lane_port, lane))
            if not (facts.first or facts.parked_by or facts.ruled or await self._ever(lane_port, lane)):
                known = [
                    f"{row.port}/{row.name}"
                    for row in await list_lanes(self._store, port=lane_port, stopped=False, limit=1_000)
                ]
                found.append(explain_unseen_lane(lane_port, lane, nearest(text[:200], known)))
            else:
                found.append(explain_lane(facts, self._gateway, await self._port_facts(lane_port)))
        return found

    async def _ever(self, port: PortName, lane: LaneName) -> bool:
        """Tell whether a lane in which nothing stands is one at all."""
        found = self._settings.ports.get(port)
        if isinstance(found, InboundPort) and found.process.mode is Mode.SEQUENTIAL:
            return lane == WHOLE_PORT
        return await places.lane_was(self._store, port, lane)

    async def _files(self, text: str) -> list[Explanation]:
        """Explain what was taken under this name, what lies in the folders under it, and what we wrote under it."""
        name = PurePath(text).name
        if not name:
            return []
        found: list[Explanation] = []
        deliveries = await places.deliveries_named(self._store, name)
        taken = {delivery.claim_id for delivery in deliveries}
        lying: dict[str, str] = {}
        for port, each in self._settings.ports.items():
            if not isinstance(each, InboundPort):
                continue
            facts = await self._port_facts(PortName(port))
            for sighting in await asyncio.to_thread(self._files_in.find, PortName(port), os.fsencode(name), taken):
                if sighting.claim_id in taken:
                    lying[sighting.claim_id] = sighting.path
                else:
                    turn = _turn(await places.turn_of_intake(self._store, PortName(port)))
                    receive = each.receive
                    found.append(
                        explain_sighting(
                            sighting, name, self._gateway, facts, receive.sweep_seconds, receive.grace_seconds, turn
                        )
                    )
        for delivery in _replaced(deliveries):
            found.append(explain_delivery(delivery, lying.get(delivery.claim_id)))
            if delivery.replaced_at is not None:
                continue
            keys = await places.unfinished_of_claim(self._store, delivery.claim_id, _MOST_MESSAGES)
            found += [await self._message(key) for key in keys]
        written = await places.messages_by_file(self._store, name, list(self._settings.ports))
        return [*found, *[await self._message(key) for key in written]]

    async def _message(self, key: MessageKey) -> Explanation:
        report = await read_message(self._store, key, exceptions=0)
        if report is None:
            raise NotFound(f"there is no message {key} any more")
        return explain_message(await self._message_facts(report.message))

    async def _message_facts(self, row: MessageRow) -> MessageFacts:
        port = PortName(row.port)
        lane = None if row.lane is None else LaneName(row.lane)
        place = await places.place_of_message(self._store, MessageKey(row.key), port, lane)
        facts = MessageFacts(
            key=row.key,
            is_kept=row.direction == Direction.OUT or row.size_bytes > 0,
            direction=Direction(row.direction),
            port=await self._port_facts(port),
            gateway=self._gateway,
            is_request_to_send=row.direction == Direction.OUT and row.namespace == "",
            status=None if row.status is None else Status(row.status),
            reason=None if row.reason is None else Reason(row.reason),
            attempts=row.attempts or 0,
            error=row.error,
            since=row.since,
            not_before=row.not_before,
            set_key=row.set_key,
            policy=place.policy,
            file=row.file,
            folder=self._folder(row),
            lane=None if lane is None or place.lane is None else await self._lane_facts(port, lane, place.lane),
            holder=_holder(place.holder),
            lost_staging=await lost_staging(self._store, MessageKey(row.key)),
            ahead=place.ahead,
            culprit=place.culprit,
            before=place.before,
            deed=await self._deed(row),
            outcome=None if row.outcome is None else Outcome(row.outcome),
            finished_at=row.finished_at,
            answers=place.answers,
        )
        return await self._with_turn(facts)

    async def _with_turn(self, facts: MessageFacts) -> MessageFacts:
        """Add whom a message that waits for its turn shares it with."""
        if facts.reason is not Reason.READY:
            return facts
        ports = [PortName(name) for name in self._settings.ports]
        sharing = {
            *await ports_with_work(self._store, facts.stage, ports),
            *await places.ports_in_work(self._store, facts.stage),
        }
        in_work = await places.messages_in_work(self._store, PortName(facts.port.name), facts.stage)
        return replace(facts, in_work=in_work, sharing=len(sharing))

    async def _lane_facts(self, port: PortName, name: LaneName, place: LanePlace) -> LaneFacts:
        blocked_by, decided = place.blocked_by, None
        if blocked_by is not None and blocked_by.reason is Reason.HELD_BY_OPERATOR:
            held = await last_deed(self._store, "queue.hold", message=MessageKey(blocked_by.key))
            blocked_by = replace(blocked_by, held=held)
        if place.ruled:
            decided = await last_deed(self._store, "lane.set", subject=rule_subject(port, name, place.on_error))
        return LaneFacts(
            port=port, name=name, head=place.head, not_before=place.not_before, on_error=place.on_error,
            ruled=place.ruled, decided=decided, blocked_by=blocked_by, parked_by=place.parked_by,
            holder=_holder(place.holder), first=place.first, waiting=place.waiting, held=place.held,
            failed=place.failed,
        )  # fmt: skip

    async def _deed(self, row: MessageRow) -> Deed | None:
        """Return who held or deleted it."""
        if row.reason == Reason.HELD_BY_OPERATOR:
            return await last_deed(self._store, "queue.hold", message=MessageKey(row.key))
        if row.outcome == Outcome.DELETED:
            return await last_deed(self._store, "queue.delete", message=MessageKey(row.key))
        return None

    def _folder(self, row: MessageRow) -> str | None:
        """Return where its file lies: that of a refused one, or the one it was or will be published in."""
        if row.port not in self._settings.ports:
            return None
        folders = self._settings.port_folders(row.port)
        if row.direction == Direction.IN:
            return str(folders.receive.error) if folders.receive else None
        if folders.send is None:
            return None
        return str(folders.send.faults if row.is_fault else folders.send.outbound)

    async def _port_facts(self, name: PortName) -> PortFacts:
        said = next((row for row in self._there.ports if row.port == name), None)
        port = self._settings.ports.get(name)
        parallel = isinstance(port, InboundPort) and port.process.mode is Mode.PARALLEL
        return PortFacts(
            name=name,
            configured=port is not None,
            active=port is not None and port.active,
            receives=not isinstance(port, OutboundPort),
            delivers=port is not None and self._settings.port_folders(name).send is not None,
            state=said.state if said else None,
            reason=said.reason if said else None,
            since=said.changed_at if said else None,
            in_work=await places.messages_in_work(self._store, name),
            max_in_work=port.process.max_parallel if isinstance(port, InboundPort) and parallel else None,
        )


def _replaced(deliveries: Sequence[DeliveryFacts]) -> list[DeliveryFacts]:
    """Say of refused files, the newest first, when a later one of their name was accepted by their port."""
    accepted: dict[str, datetime] = {}
    found: list[DeliveryFacts] = []
    for delivery in deliveries:
        if delivery.refused is None:
            accepted.setdefault(delivery.port, delivery.received_at)
            found.append(delivery)
        else:
            found.append(replace(delivery, replaced_at=accepted.get(delivery.port)))
    return found


def _turn(found: IntakeTurn | None) -> Turn | None:
    if found is None:
        return None
    return Turn(f"{found.host}:{found.pid}", found.since, alive(found) is Alive.RUNNING)


def _holder(lease: LeaseHolder | None) -> Holder | None:
    if lease is None:
        return None
    return Holder(
        fence=lease.fence, stage=lease.stage, process=f"{lease.host}:{lease.pid}", since=lease.taken_at,
        alive=alive(lease) is Alive.RUNNING,
    )  # fmt: skip
