"""Alerts: who hears of what, and the inbox of a person."""

from collections.abc import Collection, Sequence

from gateway.batch.alerts.outbox import AlertRule, set_alert_rule
from gateway.batch.rules.alert import AlertEvent, Channel
from gateway.kernel.ids import JobId, PortName
from gateway.kernel.remedy import Action, do
from gateway.operations.audit import recorded
from gateway.operations.jobs import find_job
from gateway.operations.principal import NotAllowed, OperatorSession, known_account
from gateway.operations.reads import alerts as reports
from gateway.operations.reads.alerts import AlertRow, RuleRow
from gateway.operations.references import NotFound, require_port


async def list_rules(session: OperatorSession, *, job: str | None = None, port: str | None = None) -> list[RuleRow]:
    """Return who is told of what: of one job or port, or of all. Raises: NotFound."""
    job_id = None if job is None else (await find_job(session, job)).id
    name = None if port is None else require_port(session.settings, port)
    found = await reports.list_alert_rules(session.store, job_id=job_id, port=name)
    return [one for one in found if not session.principal.mine or one.rule.user == session.actor]


async def set_rule(
    session: OperatorSession,
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
    async with recorded(session, "alert.set", f"{user}: {job or port}"):
        job_id, name = await _place(session, user, job, port)
        rule = AlertRule(user=user, events=frozenset(events), channels=frozenset(channels))
        async with session.store.transaction() as connection:
            await set_alert_rule(connection, rule, job_id=job_id, port=name)


async def remove_rule(session: OperatorSession, *, user: str, job: str | None = None, port: str | None = None) -> None:
    """Let *user* no longer hear of a job or port. Raises: NotFound when there is no such rule."""
    async with recorded(session, "alert.remove", f"{user}: {job or port}"):
        if session.principal.mine and user != session.actor:
            raise NotAllowed(f"{session.actor} works on their own alerts only, and asked for that")
        job_id = None if job is None else (await find_job(session, job)).id
        name = None if port is None else require_port(session.settings, port)
        found = await reports.list_alert_rules(session.store, job_id=job_id, port=name)
        if not any(one.rule.user == user for one in found):
            who_does = do(Action.LIST_ALERT_RULES, then="It shows who does.")
            raise NotFound(f"{user} hears of nothing there").remedied(who_does)
        nothing = AlertRule(user=user, events=frozenset(), channels=frozenset())
        async with session.store.transaction() as connection:
            await set_alert_rule(connection, nothing, job_id=job_id, port=name)


async def inbox(session: OperatorSession, user: str, *, everything: bool = False, limit: int = 50) -> list[AlertRow]:
    """Return what a person has not read yet, the newest first; with *everything* also what was read."""
    return await reports.list_alerts(
        session.store, user=user, channel=Channel.POPUP, unread=not everything, limit=limit
    )


async def outbox(session: OperatorSession, *, status: str | None = None, limit: int = 50) -> list[AlertRow]:
    """Return what was sent to whom, or why not, the newest first."""
    return await reports.list_alerts(session.store, status=status, limit=limit)


async def retry(session: OperatorSession, numbers: Sequence[int]) -> list[int]:
    """Give failed alerts another day; returns them. Raises: NotFound naming one that has not failed."""
    async with recorded(session, "alert.retry", ", ".join(map(str, numbers))):
        given = await reports.retry_alerts(session.store, numbers)
        if left := sorted(set(numbers) - set(given)):
            those = do(Action.LIST_FAILED_ALERTS, then="It lists them.")
            raise NotFound(f"{', '.join(map(str, left))}: no failed alert").remedied(those)
        return given


async def read(session: OperatorSession, user: str, numbers: Sequence[int] | None) -> list[AlertRow]:
    """Mark entries of a person's inbox as read, all of them for None; returns those entries.

    Raises: NotFound naming a number that is not in this inbox; then nothing is marked.
    """
    found: list[AlertRow] = []
    for number in numbers or ():
        entry = await reports.read_alert(session.store, number)
        if entry is None or entry.user != user or entry.channel is not Channel.POPUP:
            raise NotFound(f"there is no entry {number} in the inbox of {user}")
        found.append(entry)
    marked = await reports.mark_read(session.store, user, numbers)
    if numbers is not None:
        return found
    return [entry for number in marked if (entry := await reports.read_alert(session.store, number)) is not None]


async def _place(
    session: OperatorSession, user: str, job: str | None, port: str | None
) -> tuple[JobId | None, PortName | None]:
    if session.principal.mine and user != session.actor:
        raise NotAllowed(f"{session.actor} works on their own alerts only, and asked for that")
    if job is None:
        known_account(session.settings, user, partition=session.partition, company=session.settings.default_company)
        return None, require_port(session.settings, port or "")
    found = await find_job(session, job)
    known_account(session.settings, user, partition=found.definition.partition, company=found.definition.company)
    return found.id, None
