"""What must fit together around job queues: names that exist, options that go with one another."""

from collections.abc import Iterator, Set

from gateway.batch.rules.job import Location
from gateway.config.consistency_jobs import closed_account, group_names, is_known
from gateway.config.models import DocumentService, QueueEntry, Settings
from gateway.config.models_jobs import GATEWAY_JOB
from gateway.config.place import Finding, Path

_AT: Path = ("job_queues",)


def check_queues(settings: Settings, *, gone: Set[Path] = frozenset()) -> Iterator[Finding]:
    """Yield everything about job queues that does not fit together; *gone* as in `check_jobs`."""
    queues = settings.job_queues
    for name, queue in queues.queues.items():
        at: Path = (*_AT, "queues", name)
        if queue.group is not None:
            yield from is_known((*at, "group"), ("groups",), queue.group, group_names(settings), gone)
        for position, category in enumerate(queue.categories or ()):
            yield from is_known(
                (*at, "categories", position), (*_AT, "categories"), category, queues.categories, gone
            )  # fmt: skip
    for name, entry in queues.entries.items():
        yield from _entry(settings, (*_AT, "entries", name), entry, gone)


def _entry(settings: Settings, at: Path, entry: QueueEntry, gone: Set[Path]) -> Iterator[Finding]:
    repeats = bool(entry.on or entry.formula)
    if entry.category is not None:
        known = settings.job_queues.categories
        yield from is_known((*at, "category"), (*_AT, "categories"), entry.category, known, gone)
    if entry.formula is not None and entry.minutes:
        yield Finding(path=(*at, "minutes"), text="goes without formula: a formula says the day of the next run")
    if entry.minutes and not entry.on:
        yield Finding(path=(*at, "minutes"), text="goes with `on`, the weekdays on which it repeats")
    if entry.inactivity_minutes and not repeats:
        yield Finding(path=(*at, "inactivity_minutes"), text="goes with `on` or `formula`: what runs once ends")
    if entry.wakes_on and not entry.inactivity_minutes:
        yield Finding(path=(*at, "wakes_on"), text="goes with inactivity_minutes: without, the entry does not sleep")
    if entry.location is Location.OPERATOR and repeats:
        yield Finding(path=(*at, "location"), text="operator goes without `on` and `formula`: a person runs it once")
    documents = [name for name, one in settings.services.items() if isinstance(one, DocumentService)]
    for position, service in enumerate(entry.wakes_on):
        yield from is_known((*at, "wakes_on", position), ("services",), service, documents, gone)
    if entry.user is not None and entry.user != GATEWAY_JOB and settings.accounts:
        yield from is_known((*at, "user"), ("accounts",), entry.user, settings.accounts, gone)
        account = settings.accounts.get(entry.user)
        partition, company = entry.partition or settings.default_partition, entry.company or settings.default_company
        text = None if account is None else closed_account(account, partition, company, what="entry")
        if text is not None:
            yield Finding(path=(*at, "user"), text=f"the account {entry.user} {text}")
