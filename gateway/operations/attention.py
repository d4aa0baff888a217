"""What needs somebody although nothing is broken: in the store, jobs, data exchange, posting, number sequences."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from asyncpg import Record

from gateway.batch.rules.capacity import threads_at
from gateway.batch.store.servers import Server, list_servers
from gateway.config.definitions import group_name
from gateway.config.models import DocumentService, InboundPort, Settings
from gateway.db.open import Store
from gateway.exchange import MessageStoreRow, SessionFilter, SessionStatus, records
from gateway.explanations.facts import JobFacts, at, quoted, waits_by_plan
from gateway.explanations.finding import PATIENCE, Place
from gateway.messaging.rules.numbers import grows_soon, near_its_end
from gateway.messaging.rules.states import Stage
from gateway.messaging.services.entities import next_numbers
from gateway.operations.documents import kinds_by_document
from gateway.operations.reads.doctor_answers import find_unanswered
from gateway.operations.reads.doctor_jobs import tasks_not_taken
from gateway.operations.reads.gateway import PortStatusRow
from gateway.operations.statements.doctor_sql import NotTaken
from gateway.queues.posting.posting import local_name

_NOT_OPEN = frozenset({"degraded", "paused", "stopped"})
_NOBODYS = frozenset({"not-matched", "entry.folder", "entry.in-subfolder"})
"""Entries that lie in a folder and were hardly meant for us."""


async def find_attention(
    store: Store, settings: Settings, ports: Sequence[PortStatusRow], jobs: Mapping[Stage, Sequence[JobFacts]], *,
    running: bool,
) -> list[Place]:  # fmt: skip
    """Return everything that needs attention in the store; what ports and jobs say counts while a gateway is *running*.

    Rule: what waits for the start of a timed job needs none.
    """
    found = await find_unanswered(store)
    if running:
        active = set(settings.active_ports())
        found += _ports([row for row in ports if row.port in active], settings)
    return found + _services(jobs)


def _ports(ports: Sequence[PortStatusRow], settings: Settings) -> list[Place]:
    found: list[Place] = []
    long_ago = datetime.now(UTC) - PATIENCE
    for row in ports:
        if row.state in _NOT_OPEN:
            found.append(Place(f"port-{row.state}", row.port, quoted(row.reason), row.port, row.changed_at))
        if not isinstance(settings.ports[row.port], InboundPort):
            continue
        found += [
            Place("file-not-taken", row.port, f"{left['name']} ({quoted(left['text'])})", left["name"], since)
            for left in row.left_in_place
            if left["code"] not in _NOBODYS and (since := datetime.fromisoformat(left["since"])) < long_ago
        ]
    return found


def _services(jobs: Mapping[Stage, Sequence[JobFacts]]) -> list[Place]:
    """Return services that nothing runs; nothing is known of jobs before a gateway has ever run."""
    if not jobs:
        return []
    stopped: dict[tuple[str, str], list[str]] = {}
    found: list[Place] = []
    for stage in Stage:
        its = jobs.get(stage, ())
        if not its:
            found.append(Place("service-without-job", None, f"service {stage}", stage))
        elif not any(job.moving for job in its) and not waits_by_plan(its):
            stopped.setdefault((its[0].name, its[0].stands), []).append(stage)
    return found + [
        Place("service-stopped", None, f"job {name}, which runs {', '.join(stages)}, {stands}", name)
        for (name, stands), stages in stopped.items()
    ]


WANTED = frozenset({"task-group-paused", "task-no-threads"})


async def find_untaken(store: Store, now: datetime, *, wanted_too: bool = True) -> list[Place]:
    """Return the task of each group that waits the longest, when too long, by what keeps it.

    Rule: a task behind others that run waits its turn. With *wanted_too* also what somebody wanted so: paused groups,
    and hours without threads.
    """
    tasks, busy = await tasks_not_taken(store)
    if not tasks:
        return []
    servers = await list_servers(store)
    codes = {task: _code(task, servers, busy, now) for task in tasks}
    return [
        Place(
            code, None, f"task {task.task} of run {task.run_id} (job {task.job}, group {group_name(task.batch_group)})"
        )
        for task, code in codes.items()
        if code is not None and (wanted_too or code not in WANTED)
    ]


def _code(task: NotTaken, servers: Sequence[Server], busy: set[str], now: datetime) -> str | None:
    if task.concurrency < 0:
        return "task-group-paused"
    takers = [
        one
        for one in servers
        if one.incarnation is not None
        and one.definition.is_batch
        and not one.draining
        and task.batch_group in one.takes
    ]
    if not takers:
        return "task-no-server"
    if not any(threads_at(one.definition, now) for one in takers):
        return "task-no-threads"
    return None if any(one.definition.name in busy for one in takers) else "task-not-taken"


_DAY: Final = timedelta(hours=24)
_MOST: Final = 100


async def find_exchange(store: Store, settings: Settings, now: datetime) -> list[Place]:
    """Return what needs attention in the message stores of the configuration, and in the sessions of all."""
    found: list[Place] = []
    stores = settings.data_exchange.stores
    known = {row.store: row for row in await records.read_stores(store)} if stores else {}
    for name in stores:
        found += _of_store(name, known.get(name), now)
    for status in (SessionStatus.CREATE_FAILED, SessionStatus.APPLY_FAILED):
        failed = await records.list_sessions(store, SessionFilter(statuses=[status]), limit=_MOST)
        found += [
            Place(
                "session-failed", None, f"session {one.id} ({one.station}/{one.number}): {quoted(one.text)}",
                str(one.id), one.status_at,
            )
            for one in failed
        ]  # fmt: skip
    return found


def _of_store(name: str, row: MessageStoreRow | None, now: datetime) -> Sequence[Place]:
    subject = f"message store {name}"
    if row is None:
        return [Place("message-store-unread", None, f"{subject}: never", name)]
    found: list[Place] = []
    if row.error is not None:
        found.append(Place("message-store-away", None, f"{subject}: {quoted(row.error)}", name, row.tried_at))
    elif row.passed_at is None or now - row.passed_at > _DAY:
        last = "never" if row.passed_at is None else f"last at {at(row.passed_at)}"
        found.append(Place("message-store-unread", None, f"{subject}: {last}", name, row.passed_at))
    if row.refused:
        found.append(Place("status-message-refused", None, f"{subject}: {_counted(row.refused)}", name))
    if row.late:
        found.append(Place("status-message-waits", None, f"{subject}: {_counted(row.late)}", name))
    return found


def _counted(number: int) -> str:
    return f"{number} message{'s' if number != 1 else ''}"


LongestKey = Callable[[DocumentService], int | None]
"""Returns how many characters the key of a service's documents may have, None: any; reads schemas, for a thread."""


async def find_ending(store: Store, settings: Settings, longest_key: LongestKey) -> list[Place]:
    """Return the number sequences of services that are near their end, each with how many numbers are left."""
    found: list[Place] = []
    using = await next_numbers(store)
    for name, service in settings.services.items():
        if not isinstance(service, DocumentService) or (sequence := service.number_sequence) is None:
            continue
        following = using.get(sequence.name)
        if following is None or not grows_soon(sequence.format, following=following, step=sequence.step):
            continue  # schemas are read only where it may matter
        longest = await asyncio.to_thread(longest_key, service)
        if longest is None:
            continue
        left = near_its_end(sequence.format, longest, following=following, step=sequence.step)
        if left is not None:
            shown = sequence.format.format(number=following)
            what = f"sequence {sequence.name} of service {name} (next {shown}, {left} numbers left)"
            found.append(Place("numbers-end", None, what, sequence.name))
    return found


async def find_documents(store: Store, settings: Settings) -> list[Place]:
    """Return the documents whose posting failed, and the stopped queues in which others are scheduled."""
    kinds = kinds_by_document(settings)

    def failed_one(row: Record) -> Place:
        kind = kinds.get(row["document"])  # None: its handler is not in the configuration any more
        name, title = (kind.name, kind.title) if kind is not None else (local_name(row["document"]),) * 2
        what = f"{title} {row['key']} of company {row['company']} ({quoted(row['error'])})"
        return Place("document-failed", None, what, f"{name}/{row['key']}", row["changed_at"])

    async with store.reading() as connection:
        failed = await connection.fetch(store.queries.failed_documents, _MOST)
        stopped = await connection.fetch(store.queries.documents_in_stopped_queues)
    found = [failed_one(row) for row in failed]
    found += [
        Place(
            "documents-wait-for-queue", None,
            f"job queue {row['queue']}: {row['documents']} document{'s' if row['documents'] != 1 else ''}",
            row["queue"], row["since"],
        )
        for row in stopped
    ]  # fmt: skip
    return found
