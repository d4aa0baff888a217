"""Alerts: who hears of what, and the inbox of a person."""

from collections.abc import Collection, Sequence

from gateway.batch.alerts.outbox import AlertRule, set_alert_rule
from gateway.batch.rules.alert import AlertEvent, Channel
from gateway.config.models import Settings
from gateway.db.open import Store
from gateway.kernel.ids import JobId, PortName
from gateway.operations.audit import recorded
from gateway.operations.jobs import find_job
from gateway.operations.person import NotAllowed, Principal, known_account
from gateway.operations.reads import alerts as reports
from gateway.operations.reads.alerts import AlertRow, RuleRow
from gateway.operations.references import NotFound, require_port


async def list_rules(
    store: Store, settings: Settings, who: Principal, *, job: str | None = None, port: str | None = None
) -> list[RuleRow]:
    """Return who is told of what: of one job or port, or of all. Raises: NotFound."""
    job_id = None if job is None else (await find_job(store, who, job)).id
    name = None if port is None else require_port(settings, port)
    found = await reports.list_alert_rules(store, job_id=job_id, port=name)
    return [one for one in found if not who.mine or one.rule.user == who.name]


async def set_rule(
    store: Store,
    settings: Settings,
    who: Principal,
    *,
    user: str,
    job: str | None = None,
    port: str | None = None,
    events: Collection[AlertEvent],
    channels: Collection[Channel],
) -> None:
    """Let *user* hear of these events; replaces what was set for this user and job or port before.

    Raises: NotFound; NotAllowed for a user without access to the partition or the company of the job.
    """
    async with recorded(store, who, "alert.set", f"{user}: {job or port}"):
        job_id, name = await _place(store, settings, who, user, job, port)
        rule = AlertRule(user=user, events=frozenset(events), channels=frozenset(channels))
        async with store.transaction() as connection:
            await set_alert_rule(connection, store.queries, rule, job_id=job_id, port=name)


async def remove_rule(
    store: Store, settings: Settings, who: Principal, *, user: str, job: str | None = None, port: str | None = None
) -> None:
    """Let *user* no longer hear of a job or port. Raises: NotFound when there is no such rule."""
    async with recorded(store, who, "alert.remove", f"{user}: {job or port}"):
        if who.mine and user != who.name:
            raise NotAllowed(f"with --mine {who.name} may change their own alerts only")
        job_id = None if job is None else (await find_job(store, who, job)).id
        name = None if port is None else require_port(settings, port)
        found = await reports.list_alert_rules(store, job_id=job_id, port=name)
        if not any(one.rule.user == user for one in found):
            raise NotFound(f"{user} hears of nothing there; `gateway alerts list` shows who does")
        nothing = AlertRule(user=user, events=frozenset(), channels=frozenset())
        async with store.transaction() as connection:
            await set_alert_rule(connection, store.queries, nothing, job_id=job_id, port=name)


async def inbox(store: Store, user: str, *, everything: bool = False, limit: int = 50) -> list[AlertRow]:
    """Return what a person has not read yet, the newest first; with *everything* also what was read."""
    return await reports.list_alerts(store, user=user, channel=Channel.POPUP, unread=not everything, limit=limit)


async def outbox(store: Store, *, status: str | None = None, limit: int = 50) -> list[AlertRow]:
    """Return what was sent to whom, or why not, the newest first."""
    return await reports.list_alerts(store, status=status, limit=limit)


async def retry(store: Store, who: Principal, numbers: Sequence[int]) -> list[int]:
    """Give failed alerts another day; returns them. Raises: NotFound naming one that has not failed."""
    async with recorded(store, who, "alert.retry", ", ".join(map(str, numbers))):
        given = await reports.retry_alerts(store, numbers)
        if left := sorted(set(numbers) - set(given)):
            raise NotFound(
                f"{', '.join(map(str, left))}: no failed alert; `gateway alerts sent --status failed` lists them"
            )
        return given


async def read(store: Store, user: str, numbers: Sequence[int] | None) -> list[AlertRow]:
    """Mark entries of a person's inbox as read, all of them for None; returns those entries.

    Raises: NotFound naming a number that is not in this inbox; then nothing is marked.
    """
    found: list[AlertRow] = []
    for number in numbers or ():
        entry = await reports.read_alert(store, number)
        if entry is None or entry.user != user or entry.channel is not Channel.POPUP:
            raise NotFound(f"there is no entry {number} in the inbox of {user}")
        found.append(entry)
    marked = await reports.mark_read(store, user, numbers)
    if numbers is not None:
        return found
    return [entry for number in marked if (entry := await reports.read_alert(store, number)) is not None]


async def _place(
    store: Store, settings: Settings, who: Principal, user: str, job: str | None, port: str | None
) -> tuple[JobId | None, PortName | None]:
    if who.mine and user != who.name:
        raise NotAllowed(f"with --mine {who.name} may change their own alerts only")
    if job is None:
        known_account(settings, user, partition=who.partition, company=settings.default_company)
        return None, require_port(settings, port or "")
    found = await find_job(store, who, job)
    known_account(settings, user, partition=found.definition.partition, company=found.definition.company)
    return found.id, None
