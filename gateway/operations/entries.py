"""Job queue entries and their queues as people see and change them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from gateway import queues
from gateway.batch.rules.definition import EntryDefinition
from gateway.config.definitions import entry_definition, group_name
from gateway.config.masks import without_passwords
from gateway.config.models import QueueEntry
from gateway.config.suggest import did_you_mean
from gateway.kernel.errors import EntryRefused
from gateway.kernel.ids import EntryId, RunId
from gateway.kernel.remedy import Action, do
from gateway.operations.audit import recorded
from gateway.operations.principal import NotAllowed, OperatorSession, known_account
from gateway.operations.references import NotFound
from gateway.queues import Category, Entry, EntryAction, EntryRun, EntryStatus, KeptBy, Queue

LAST_RUNS: Final = 5
_RECORDED: Final = {
    EntryAction.READY: "entry.ready", EntryAction.HOLD: "entry.hold", EntryAction.DELETE: "entry.delete"
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryRow:
    """An entry in a list.

    `next_start` is when it starts next, or wakes; None where it does not by itself. `held_by` is the entry that has the
    place of its category while it waits. `queue` takes it, None: none does; then `last_queue` is the one that did.
    `kept_by` is what else keeps it from starting. Of `source` config it stands in the configuration.
    """

    id: EntryId
    name: str | None
    description: str
    status: EntryStatus
    held_after: bool
    run: str
    record: str | None
    category: str | None
    priority: int
    queue: str | None
    last_queue: str | None
    kept_by: KeptBy | None
    held_by: EntryId | None
    user: str
    created_by: str
    partition: str
    company: str
    repeats: str
    next_start: datetime | None
    expires: datetime | None
    attempts: int
    max_attempts: int
    run_id: RunId | None
    started_at: datetime | None
    last_run_id: RunId | None
    error_code: str | None
    error: str | None
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryReport:
    """Everything about one entry, with its last runs. Secrets in parameters are the references that were written."""

    entry: EntryRow
    definition: EntryDefinition
    runs: tuple[EntryRun, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueRow:
    """A job queue in a list; `categories` None: it takes all entries."""

    name: str
    description: str
    started: bool
    starts_automatically: bool
    categories: tuple[str, ...] | None
    group: str
    in_queue: int
    in_process: int
    failed: int
    changed_by: str | None
    changed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryRow:
    """A category in a list; `held_by` are the entries that have its places, `waiting` those that wait for one."""

    name: str
    description: str
    width: int
    held_by: tuple[EntryId, ...]
    waiting: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueReport:
    """A job queue with its categories and entries."""

    queue: QueueRow
    categories: tuple[CategoryRow, ...]
    entries: tuple[EntryRow, ...]


async def list_entries(
    session: OperatorSession, *, statuses: Sequence[EntryStatus] | None = None, category: str | None = None,
    queue: str | None = None,
) -> list[EntryRow]:  # fmt: skip
    """Return the entries of the partition by category, best first; with `mine` those that run as the person."""
    user = session.actor if session.principal.mine else None
    found = await queues.list_entries(
        session.store, partition=session.partition, statuses=statuses, user=user, category=category, queue=queue
    )
    return [entry_row(one) for one in found]


async def find_entry(session: OperatorSession, text: str) -> Entry:
    """Return an entry by its number or its name. Raises: NotFound, NotAllowed."""
    if text.isascii() and text.isdecimal() and len(text) < 19:
        try:
            found = [await queues.read_entry(session.store, EntryId(int(text)))]
        except EntryRefused as error:
            raise NotFound(error.message).remedied(*error.remedies) from None
    else:
        found = list(await queues.list_entries(session.store, name=text))
    if not found or found[0].definition.partition != session.partition:
        names = [one.definition.name for one in await queues.list_entries(session.store, partition=session.partition)]
        hint = did_you_mean(text, [name for name in names if name]) or "."
        raise NotFound(f"There is no entry {text!a} in the partition {session.partition}{hint}").remedied(
            do(Action.LIST_ENTRIES, then="It shows what there is."),
            do(Action.READ_ENTRY_LOG, then="It shows what ran."),
        )
    session.principal.check_owner(f"the entry {text}", found[0].user_name)
    return found[0]


async def show_entry(session: OperatorSession, text: str) -> EntryReport:
    """Return everything about one entry. Raises: NotFound."""
    entry = await find_entry(session, text)
    log = await queues.entry_log(session.store, partition=session.partition, entry=entry.id, limit=LAST_RUNS)
    return EntryReport(entry=entry_row(entry), definition=entry.definition, runs=tuple(map(_shown, log)))


async def add_entry(session: OperatorSession, section: QueueEntry, *, name: str | None, ready: bool) -> EntryRow:
    """Add an entry of the person; it is on hold unless it is to be ready.

    Raises: EntryRefused when its name or record is taken; NotFound, NotAllowed for the account it runs as.
    """
    async with recorded(session, "entry.add", name or section.run):
        definition = _defined(session, section, name=name, user=section.user or session.actor)
        user = section.user or session.actor
        known_account(session.settings, user, partition=session.partition, company=definition.company)
        status = EntryStatus.READY if ready else EntryStatus.ON_HOLD
        number = await queues.add_entry(
            session.store, definition, by=session.actor, user=user, now=session.now, status=status
        )
        return entry_row(await queues.read_entry(session.store, number))


async def edit_entry(session: OperatorSession, text: str, section: QueueEntry) -> EntryRow:
    """Replace what an entry says; it must be on hold.

    Raises: NotFound; NotAllowed for an entry of the configuration; EntryRefused; IllegalTransition.
    """
    async with recorded(session, "entry.edit", text):
        entry = await find_entry(session, text)
        _of_operators(entry, "edit its section there")
        definition = _defined(session, section, name=entry.definition.name, user=entry.user_name)
        await queues.edit_entry(session.store, entry.id, definition, now=session.now)
        return entry_row(await queues.read_entry(session.store, entry.id))


async def change_entry(
    session: OperatorSession, text: str, action: EntryAction) -> EntryRow | None:  # fmt: skip
    """Set an entry to ready (it then runs as the person), put it on hold, or remove it (None).

    Raises: NotFound; NotAllowed for removing one of the configuration; IllegalTransition with what is possible.
    """
    async with recorded(session, _RECORDED[action], text):
        entry = await find_entry(session, text)
        if action is EntryAction.DELETE:
            _of_operators(entry, "take its section away there")
        await queues.change_entry(session.store, entry.id, action, by=session.actor, now=session.now)
        return None if action is EntryAction.DELETE else entry_row(await queues.read_entry(session.store, entry.id))


async def restart_entry(session: OperatorSession, text: str) -> EntryRow:
    """Let an entry that failed run again, with all its attempts. Raises: NotFound, NotAllowed, IllegalTransition."""
    entry = await find_entry(session, text)
    if entry.status is not EntryStatus.ERROR:
        raise NotAllowed(
            f"The entry {text} is {queues.standing(entry.status)}: only one in error is restarted."
        ).remedied(do(Action.READY_ENTRY, text, then="It runs when it is due."))
    row = await change_entry(session, text, EntryAction.READY)
    assert row is not None
    return row


async def run_once(session: OperatorSession, text: str) -> RunId:
    """Start a run of an entry now, for a try; returns the run. Raises: NotFound, IllegalTransition."""
    async with recorded(session, "entry.run-once", text):
        entry = await find_entry(session, text)
        return await queues.run_once(session.store, entry.id, by=session.actor, now=session.now)


async def entry_log(
    session: OperatorSession, *, entry: str | None = None, category: str | None = None,
    statuses: Sequence[str] | None = None, before: int | None = None, limit: int = 50,
) -> list[EntryRun]:  # fmt: skip
    """Return the runs of entries of the partition, the newest first, also of those that are gone by now."""
    number = int(entry) if entry is not None and entry.isascii() and entry.isdecimal() and len(entry) < 19 else None
    found = await queues.entry_log(
        session.store, partition=session.partition, entry=None if number is None else EntryId(number),
        name=entry if number is None else None, category=category, statuses=statuses,
        user=session.actor if session.principal.mine else None, before=None if before is None else RunId(before),
        limit=limit,
    )  # fmt: skip
    return [_shown(one) for one in found]


async def list_queues(session: OperatorSession) -> list[QueueRow]:
    """Return the job queues by name."""
    return [_queue_row(one) for one in await queues.list_queues(session.store)]


async def show_queue(session: OperatorSession, name: str) -> QueueReport:
    """Return a job queue with its categories and its entries of the partition. Raises: NotFound."""
    queue = await _find_queue(session, name)
    takes = queue.definition.categories
    categories = [
        one for one in await queues.list_categories(session.store) if takes is None or one.definition.name in takes
    ]
    return QueueReport(
        queue=_queue_row(queue), categories=tuple(map(_category_row, categories)),
        entries=tuple(await list_entries(session, queue=name)),
    )  # fmt: skip


async def start_queue(session: OperatorSession, name: str, started: bool) -> QueueRow:
    """Start or stop a job queue; what runs goes on. Raises: NotFound, IllegalTransition."""
    async with recorded(session, "queue.start" if started else "queue.stop", name):
        await _find_queue(session, name)
        await queues.start_queue(session.store, name, started, by=session.actor, now=session.now)
        return _queue_row(await _find_queue(session, name))


def entry_row(entry: Entry) -> EntryRow:
    """Return an entry as it stands in a list."""
    said = entry.definition
    starts = entry.status in {EntryStatus.READY, EntryStatus.INACTIVE}
    waits = starts or entry.status is EntryStatus.WAITING
    return EntryRow(
        id=entry.id, name=said.name, description=said.description, status=entry.status, held_after=entry.hold_after,
        run=said.run, record=said.record, category=said.category, priority=said.priority, queue=entry.queue,
        last_queue=entry.last_queue if entry.queue is None else None, kept_by=entry.kept_by if waits else None,
        held_by=entry.held_by if entry.status is EntryStatus.WAITING else None,
        user=entry.user_name, created_by=entry.created_by, partition=said.partition, company=said.company,
        repeats=queues.in_words(said), next_start=entry.next_start if starts else None, expires=said.expires,
        attempts=entry.attempts, max_attempts=said.max_attempts, run_id=entry.run_id, started_at=entry.started_at,
        last_run_id=entry.last_run_id, error_code=entry.error_code, error=entry.error, source=entry.source,
    )  # fmt: skip


def _shown(run: EntryRun) -> EntryRun:
    parameters: Mapping[str, object] = {name: without_passwords(value) for name, value in run.parameters.items()}
    return EntryRun(**{**{name: getattr(run, name) for name in EntryRun.__slots__}, "parameters": parameters})


async def _find_queue(session: OperatorSession, name: str) -> Queue:
    found = await queues.list_queues(session.store, name)
    if not found:
        names = [one.definition.name for one in await queues.list_queues(session.store)]
        hint = did_you_mean(name, names) or (f"; there are {', '.join(names)}." if names else "; there are none.")
        raise NotFound(f"There is no job queue {name!a}{hint}")
    return found[0]


def _queue_row(queue: Queue) -> QueueRow:
    said = queue.definition
    return QueueRow(
        name=said.name, description=said.description, started=queue.is_started,
        starts_automatically=said.starts_automatically, categories=said.categories, group=group_name(said.batch_group),
        in_queue=queue.in_queue, in_process=queue.in_process, failed=queue.failed, changed_by=queue.changed_by,
        changed_at=queue.changed_at,
    )  # fmt: skip


def _category_row(category: Category) -> CategoryRow:
    said = category.definition
    return CategoryRow(
        name=said.name, description=said.description, width=said.width, held_by=category.held_by,
        waiting=category.waiting,
    )  # fmt: skip


def _of_operators(entry: Entry, instead: str) -> None:
    """Refuse to change what the configuration says: the file would say it again. Raises: NotAllowed."""
    if entry.source == "config":
        raise NotAllowed(f"The entry {entry.shown} stands in the configuration: {instead}.")


def _defined(session: OperatorSession, section: QueueEntry, *, name: str | None, user: str) -> EntryDefinition:
    if section.partition not in {None, session.partition}:
        raise NotAllowed(
            f"The entry names the partition {section.partition}, and you work in {session.partition}: "
            f"give --partition {section.partition}."
        )
    inside = session.settings.model_copy(update={"default_partition": session.partition})
    return entry_definition(inside, section, name=name, user=user)
